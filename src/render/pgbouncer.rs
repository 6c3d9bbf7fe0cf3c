//! PgBouncer's two files: where its databases are, and who may log in to it.
//!
//! Receives a database secret, gives lines that PgBouncer reads back as they were. Never writes a
//! value that PgBouncer would read differently or take for a hash: that is an error.

use crate::error::{Class, Failure};
use crate::render::formats::{Place, database};
use crate::render::text::Text;
use crate::secret::Credential;
use crate::snapshot::{Content, Value};

/// PgBouncer refuses longer names, in bytes.
const LONGEST_NAME: usize = 63;

/// Before 1.17 PgBouncer refuses a longer password, and up to 1.24 one of more than 1024 bytes
/// crashes it at a SCRAM login.
const LONGEST_PASSWORD: usize = 995;

/// A section `[databases]` with one database, to be named by `%include`.
pub(super) fn write_databases(
    text: &mut Text,
    place: Place<'_>,
    value: &Value,
    alias: &str,
) -> Result<(), Failure> {
    let (credential, _, connection) =
        database(value).ok_or_else(|| place.wants_connection("pgbouncer"))?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if alias.is_empty() || alias.len() > LONGEST_NAME || !alias.chars().all(good) {
        let text = format!("render `{}`: `{alias:?}` cannot name a database", place.file);
        return Err(Failure::new(Class::Ours, text).hint("use letters, digits, `-` and `_`"));
    }
    let hosts = connection.hosts.join(",");
    let password = credential.password.expose();
    for (field, value, longest) in [
        ("host", hosts.as_str(), LONGEST_PASSWORD),
        ("dbname", &connection.dbname, LONGEST_NAME),
        ("username", &credential.username, LONGEST_NAME),
        ("password", password, LONGEST_PASSWORD),
    ] {
        let line_break =
            value.contains('\n').then_some("it has a line break, which ends the value");
        if let Some(because) = line_break.or_else(|| obstacle(value, longest)) {
            return Err(place.cannot_hold("pgbouncer", field, because));
        }
    }
    if is_hash(password) {
        return Err(place.cannot_hold("pgbouncer", "password", HASH));
    }
    text.push("[databases]\n");
    text.push(alias);
    text.push(" = host=");
    write_quoted(text, '\'', &hosts);
    text.push(&format!(" port={} dbname=", connection.port));
    write_quoted(text, '\'', &connection.dbname);
    text.push(" user=");
    write_quoted(text, '\'', &credential.username);
    text.push(" password=");
    write_quoted(text, '\'', password);
    text.push("\n");
    Ok(())
}

/// The lines of an `auth_file`: the credential, then those that still work. PgBouncer takes the
/// last line of a user, so there is one for each.
pub(super) fn write_users(text: &mut Text, place: Place<'_>, value: &Value) -> Result<(), Failure> {
    let Content::Database { credential, previous, connection: _ } = &value.content else {
        let Place { file, secret } = place;
        let text =
            format!("render `{file}`: a userlist needs a database secret, and `{secret}` is none");
        return Err(Failure::new(Class::Ours, text));
    };
    let mut written: Vec<&str> = Vec::new();
    for Credential { username, password } in std::iter::once(credential).chain(previous) {
        if written.contains(&username.as_str()) {
            continue;
        }
        written.push(username);
        let password = password.expose();
        // Here the quotes that are doubled count, too.
        let doubled = |value: &str| value.matches('"').count();
        for (field, value, longest) in [
            ("username", username.as_str(), LONGEST_NAME),
            ("password", password, LONGEST_PASSWORD),
        ] {
            let longest = longest.saturating_sub(doubled(value));
            if let Some(because) = obstacle(value, longest) {
                return Err(place.cannot_hold("userlist", field, because));
            }
        }
        if is_hash(password) {
            return Err(place.cannot_hold("userlist", "password", HASH));
        }
        write_quoted(text, '"', username);
        text.push(" ");
        write_quoted(text, '"', password);
        text.push("\n");
    }
    Ok(())
}

const HASH: &str = "PgBouncer would take it for the hash of a password";

fn is_hash(password: &str) -> bool {
    let md5 = password.strip_prefix("md5").is_some_and(|rest| rest.len() == 32);
    md5 || password.starts_with("SCRAM-SHA-256$")
}

fn obstacle(value: &str, longest: usize) -> Option<&'static str> {
    if value.is_empty() {
        Some("it is empty")
    } else if value.contains('\0') {
        Some("it has a NUL")
    } else if value.len() > longest {
        Some("it is longer than PgBouncer reads")
    } else {
        None
    }
}

fn write_quoted(text: &mut Text, quote: char, value: &str) {
    text.push_char(quote);
    for c in value.chars() {
        if c == quote {
            text.push_char(c);
        }
        text.push_char(c);
    }
    text.push_char(quote);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::render::Format;
    use crate::render::tests::{connection, database, failure, kv, login, text};

    fn pgbouncer() -> Format {
        Format::Pgbouncer { secret: Arc::from("db"), alias: "nova".to_owned() }
    }

    fn userlist() -> Format {
        Format::Userlist { secret: Arc::from("db") }
    }

    #[test]
    fn golden() {
        let previous = vec![login("v-app-0", "old"), login("v-app-1", "older")];
        let all = [("db", database("'\"\\$:#;\r", previous, Some(connection())))];
        let expected = "[databases]\nnova = host='a.internal,b.internal' port=5432 dbname='nova' \
                        user='v-app-1' password='''\"\\$:#;\r'\n";
        assert_eq!(text(pgbouncer(), &all), expected);
        let expected = "\"v-app-1\" \"'\"\"\\$:#;\r\"\n\"v-app-0\" \"old\"\n";
        assert_eq!(text(userlist(), &all), expected);
        let bare = [("db", database("p", vec![], None))];
        assert_eq!(text(userlist(), &bare), "\"v-app-1\" \"p\"\n");
    }

    #[test]
    fn what_cannot_be_held_is_named_and_never_shown() {
        let long = "hunter2".repeat(300);
        let md5 = format!("md5{}", "0".repeat(32));
        for (password, of_userlist) in [
            ("hunter2\n", false),
            ("", true),
            ("hunter2\0", true),
            (long.as_str(), true),
            (md5.as_str(), true),
            ("SCRAM-SHA-256$hunter2", true),
        ] {
            let all = [("db", database(password, vec![], Some(connection())))];
            for format in [Some(pgbouncer()), of_userlist.then(userlist)].into_iter().flatten() {
                let failure = failure(format, &all).to_string();
                assert!(failure.contains("`dir/file`"), "{failure}");
                assert!(failure.contains("field `password` of secret `db`"), "{failure}");
                assert!(!failure.contains("hunter2"), "{failure}");
            }
        }
        let failure = failure(userlist(), &[("db", kv(&[]))]);
        assert!(failure.text.ends_with("`db` is none"), "{failure}");
    }
}
