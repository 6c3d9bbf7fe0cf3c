//! libpq's password file, as a person has one.
//!
//! Receives its text and where a login is wanted, gives the password of the first line that fits.
//! Never takes a file that others may read: libpq does not either.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::snapshot::Connection;

/// The password of `user` for `connection` in the file at `path`.
///
/// # Errors
/// When the file cannot be read, is open to others, or has no line that fits.
pub fn password(path: &Path, connection: &Connection, user: &str) -> Result<Secret, Failure> {
    let refuse = |class, why: String| {
        Failure::new(class, format!("read `PGPASSFILE` `{}`: {why}", path.display()))
    };
    let unreadable = |error: std::io::Error| refuse(Class::Missing, error.to_string());
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let why = "others may read it; libpq takes none wider than 0600".to_owned();
        return Err(refuse(Class::Ours, why));
    }
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(unreadable)?;
    let found = connection.hosts.iter().find_map(|host| {
        let port = connection.port.to_string();
        let wanted = [host.as_str(), &port, &connection.dbname, user];
        text.lines().find_map(|line| fits(line, wanted))
    });
    found.ok_or_else(|| refuse(Class::Missing, format!("no line fits `{user}` there")))
}

/// The password in `line`, where its four other fields are `wanted`.
fn fits(line: &str, wanted: [&str; 4]) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line.chars();
    for wanted in wanted {
        let (field, more) = field(&mut rest);
        if !more || (*field != "*" && *field != *wanted) {
            return None;
        }
    }
    let (mut password, _) = field(&mut rest);
    (!password.is_empty()).then(|| Secret::new(std::mem::take(&mut *password)))
}

/// The text up to the next colon, and whether there was one.
fn field(rest: &mut std::str::Chars<'_>) -> (Zeroizing<String>, bool) {
    let mut text = Zeroizing::new(String::with_capacity(rest.as_str().len()));
    while let Some(c) = rest.next() {
        match c {
            ':' => return (text, true),
            '\\' => text.extend(rest.next()),
            c => text.push(c),
        }
    }
    (text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        for (line, password) in [
            ("h:5432:db:me:pass", Some("pass")),
            ("*:*:*:me:a\\:b\\\\c", Some("a:b\\c")),
            ("h:5432:db:me:a:rest", Some("a")),
            ("h:5433:db:me:pass", None),
            ("h:5432:other:me:pass", None),
            ("h:5432:db:you:pass", None),
            ("#h:5432:db:me:pass", None),
            ("h:5432:db:me:", None),
            ("h:5432:db", None),
            ("", None),
        ] {
            let found = fits(line, ["h", "5432", "db", "me"]);
            assert_eq!(found.as_ref().map(Secret::expose), password, "{line}");
        }
    }
}
