//! libpq's service file and password file.
//!
//! Receives a database secret, gives the lines that libpq reads back as they were. Never writes a
//! value that libpq would read differently: that is an error.

use crate::error::{Class, Failure};
use crate::render::formats::{Place, database};
use crate::render::text::Text;
use crate::secret::Credential;
use crate::snapshot::{Connection, Value};

/// The longest line of a service file that libpq 14 and later read, without its newline.
const SERVICE_LINE: usize = 1021;

/// One section of a service file.
///
/// The file knows no quoting: libpq takes everything behind the first `=`, without the blanks at
/// the end of the line.
pub(super) fn write_service(
    text: &mut Text,
    place: Place<'_>,
    value: &Value,
    alias: &str,
) -> Result<(), Failure> {
    let (credential, _, connection) =
        database(value).ok_or_else(|| place.wants_connection("pg_service"))?;
    if alias.is_empty() || alias.len() > SERVICE_LINE - 2 || alias.contains([']', '\n', '\r', '\0'])
    {
        let text = format!("render `{}`: `{alias:?}` cannot name a section", place.file);
        return Err(Failure::new(Class::Ours, text).hint("use letters, digits, `-` and `_`"));
    }
    let hosts = connection.hosts.join(",");
    let port = connection.port.to_string();
    let sslrootcert = connection.sslrootcert.as_deref();
    let entries = [
        ("host", Some(hosts.as_str())),
        ("port", Some(&port)),
        ("dbname", Some(&connection.dbname)),
        ("user", Some(&credential.username)),
        ("password", Some(credential.password.expose())),
        ("sslmode", Some(connection.sslmode.as_str())),
        ("sslrootcert", sslrootcert),
    ];
    text.push("[");
    text.push(alias);
    text.push("]\n");
    for (key, value) in entries {
        let Some(value) = value else { continue };
        if let Some(because) = service_obstacle(key, value) {
            return Err(place.cannot_hold("pg_service", key, because));
        }
        text.push(key);
        text.push("=");
        text.push(value);
        text.push("\n");
    }
    Ok(())
}

fn service_obstacle(key: &str, value: &str) -> Option<&'static str> {
    if value.contains(['\n', '\0']) {
        Some("it has a line break or a NUL, and the file has no quoting")
    } else if value.ends_with([' ', '\t', '\r', '\x0b', '\x0c']) {
        Some("it ends with a blank, which libpq takes away")
    } else if key.len() + 1 + value.len() > SERVICE_LINE {
        Some("the line would be longer than libpq reads")
    } else {
        None
    }
}

/// The lines of a password file: the credential first, as libpq takes the first line that fits,
/// then those that still work, each for every host.
pub(super) fn write_passwords(
    text: &mut Text,
    place: Place<'_>,
    value: &Value,
) -> Result<(), Failure> {
    let (credential, previous, connection) =
        database(value).ok_or_else(|| place.wants_connection("pgpass"))?;
    let obstacle = |value: &str| value.contains(['\n', '\0']);
    for (field, value) in [("dbname", &connection.dbname), ("username", &credential.username)] {
        if obstacle(value) {
            return Err(place.cannot_hold("pgpass", field, "it has a line break or a NUL"));
        }
    }
    for credential in std::iter::once(credential).chain(previous) {
        if obstacle(&credential.username) || obstacle(credential.password.expose()) {
            return Err(place.cannot_hold("pgpass", "password", "it has a line break or a NUL"));
        }
        for host in pgpass_hosts(connection) {
            if obstacle(host) {
                return Err(place.cannot_hold("pgpass", "host", "it has a line break or a NUL"));
            }
            write_pgpass_line(text, host, connection, credential);
        }
    }
    Ok(())
}

/// libpq looks a socket up by its directory, and its built-in directory as `localhost`; which one
/// that is differs from build to build.
fn pgpass_hosts(connection: &Connection) -> impl Iterator<Item = &str> {
    connection.hosts.iter().flat_map(|host| {
        let socket = host.starts_with(['/', '@']);
        std::iter::once(host.as_str()).chain(socket.then_some("localhost"))
    })
}

fn write_pgpass_line(text: &mut Text, host: &str, connection: &Connection, login: &Credential) {
    for field in [host, &connection.port.to_string(), &connection.dbname, &login.username] {
        // Alone, `*` fits everything; at the start of a line `#` makes it a comment.
        if field.starts_with(['*', '#']) {
            text.push("\\");
        }
        write_pgpass_field(text, field);
        text.push(":");
    }
    let password = login.password.expose();
    write_pgpass_field(text, password);
    if password.ends_with('\r') {
        // libpq takes it for half of the line break, unless a fifth colon comes in between.
        text.push(":");
    }
    text.push("\n");
}

fn write_pgpass_field(text: &mut Text, field: &str) {
    for c in field.chars() {
        if matches!(c, ':' | '\\') {
            text.push("\\");
        }
        text.push_char(c);
    }
}
