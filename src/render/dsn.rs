//! A connection URI, as `postgresql://user:password@host:5432/dbname?sslmode=verify-full`.
//!
//! Receives a database secret, gives one line without an end. Never leaves a character that means
//! something in a URI as it is, so that any parser finds the same parts.

use crate::error::Failure;
use crate::render::formats::{Place, database};
use crate::render::text::Text;
use crate::snapshot::Value;

/// What may stand in a path as it is, and node-postgres would not decode there.
const IN_PATH: &str = ":@&=+$,;";

/// Writes the URI; several hosts stand in a row with commas, as libpq has it.
pub(super) fn write(text: &mut Text, place: Place<'_>, value: &Value) -> Result<(), Failure> {
    let (credential, _, connection) =
        database(value).ok_or_else(|| place.wants_connection("dsn"))?;
    let password = credential.password.expose();
    let parts = [("username", credential.username.as_str()), ("password", password)];
    for (field, part) in parts.into_iter().chain([("dbname", connection.dbname.as_str())]) {
        if part.is_empty() {
            return Err(place.cannot_hold("dsn", field, "it is empty, as if it were not there"));
        }
        if part.contains('\0') {
            return Err(place.cannot_hold("dsn", field, "it has a NUL"));
        }
    }
    text.push("postgresql://");
    write_encoded(text, &credential.username, "");
    text.push(":");
    write_encoded(text, password, "");
    for (index, host) in connection.hosts.iter().enumerate() {
        text.push(if index == 0 { "@" } else { "," });
        write_host(text, host);
        text.push(&format!(":{}", connection.port));
    }
    text.push("/");
    write_encoded(text, &connection.dbname, IN_PATH);
    text.push("?sslmode=");
    text.push(connection.sslmode.as_str());
    if let Some(file) = &connection.sslrootcert {
        text.push("&sslrootcert=");
        write_encoded(text, file, "");
    }
    Ok(())
}

/// A name, an address, or the directory of a socket, which is encoded like any other part.
fn write_host(text: &mut Text, host: &str) {
    let version_6 = host.contains(':') && !host.starts_with(['/', '@']);
    if version_6 {
        text.push("[");
        for (index, part) in host.split(':').enumerate() {
            text.push(if index == 0 { "" } else { ":" });
            write_encoded(text, part, "");
        }
        text.push("]");
    } else {
        write_encoded(text, host, "");
    }
}

/// Writes `part` with everything encoded but letters, digits, `-._~` and what is in `kept`.
fn write_encoded(text: &mut Text, part: &str, kept: &str) {
    for byte in part.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain || kept.as_bytes().contains(&byte) {
            text.push_char(char::from(byte));
        } else {
            text.push(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::render::Format;
    use crate::render::tests::{connection, database, failure, text};

    fn dsn() -> Format {
        Format::Dsn { secret: Arc::from("db") }
    }

    #[test]
    fn golden() {
        let all = [("db", database("p@:/?#[]%é '", vec![], Some(connection())))];
        let expected = "postgresql://v-app-1:p%40%3A%2F%3F%23%5B%5D%25%C3%A9%20%27\
                        @a.internal:5432,b.internal:5432/nova\
                        ?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem";
        assert_eq!(text(dsn(), &all), expected);

        let mut odd = connection();
        odd.hosts = ["::1", "fe80::1%eth0", "/run/pg", "@abstract"].map(str::to_owned).to_vec();
        odd.sslrootcert = None;
        odd.dbname = "a/b?c@d e".to_owned();
        let expected = "postgresql://v-app-1:p@[::1]:5432,[fe80::1%25eth0]:5432,%2Frun%2Fpg:5432,\
                        %40abstract:5432/a%2Fb%3Fc@d%20e?sslmode=verify-full";
        assert_eq!(text(dsn(), &[("db", database("p", vec![], Some(odd)))]), expected);
    }

    #[test]
    fn what_cannot_be_held_is_named_and_never_shown() {
        for password in ["", "hunter2\0"] {
            let all = [("db", database(password, vec![], Some(connection())))];
            let failure = failure(dsn(), &all).to_string();
            assert!(failure.contains("`dir/file`"), "{failure}");
            assert!(failure.contains("field `password` of secret `db`"), "{failure}");
            assert!(!failure.contains("hunter2"), "{failure}");
        }
        let failure = failure(dsn(), &[("db", database("p", vec![], None))]);
        assert!(failure.text.contains("with a connection"), "{failure}");
    }
}
