//! `connection`: where a login is used.
//!
//! Receives the section of a secret, gives hosts, port, database and how TLS is meant. Never looks
//! whether a host is there or a file can be read.

use crate::config::keys;
use crate::config::raw::{Section, shown};
use crate::snapshot::{Connection, SslMode};

const SSL_MODES: [SslMode; 6] = [
    SslMode::Disable,
    SslMode::Allow,
    SslMode::Prefer,
    SslMode::Require,
    SslMode::VerifyCa,
    SslMode::VerifyFull,
];

/// The connection of a secret that has one. One that is wrong in some key is a connection all the
/// same: without it, what depends on it would be reported too.
pub(in crate::config) fn resolve(secret: &Section<'_>) -> Option<Connection> {
    if !secret.has("connection") {
        return None;
    }
    let section = secret.section("connection", &keys::CONNECTION);
    section.require("host");
    section.require("dbname");
    let hosts = hosts(&section);
    let words = SSL_MODES.map(|mode| (mode.as_str(), mode));
    let sslmode = match section.has("sslmode") {
        true => section.expanded_choice("sslmode", &words),
        false => Some(SslMode::VerifyFull),
    };
    if let (Some(hosts), Some(sslmode)) = (&hosts, sslmode) {
        check_authority(&section, hosts, sslmode);
    }
    let sslrootcert = section.optional_file("sslrootcert");
    Some(Connection {
        hosts: hosts.unwrap_or_default(),
        port: port(&section, 5432).unwrap_or_default(),
        dbname: section.expanded("dbname").unwrap_or_default(),
        sslmode: sslmode.unwrap_or(SslMode::VerifyFull),
        sslrootcert: sslrootcert.map(|path| path.to_string_lossy().into_owned()),
    })
}

fn hosts(section: &Section<'_>) -> Option<Vec<String>> {
    let text = section.expanded("host")?;
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    if hosts.iter().any(|host| host.is_empty() || host.contains(char::is_whitespace)) {
        let problem = format!("not a host, or several with commas: `{}`", shown(&text));
        section.problem("host", problem, "write it as `postgres.internal`, several as `pg-1,pg-2`");
    }
    Some(hosts)
}

/// The `port` of a section; `usual` where nothing is said.
pub(super) fn port(section: &Section<'_>, usual: u16) -> Option<u16> {
    if !section.has("port") {
        return Some(usual);
    }
    let number = section.number("port")?;
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    if port.is_none() {
        let hint = format!("leave it out for {usual}");
        section.problem("port", "must be from 1 to 65535", hint);
    }
    port
}

/// Without a CA the first login could not be tried, and would have been made for nothing. A socket
/// has no TLS.
fn check_authority(section: &Section<'_>, hosts: &[String], sslmode: SslMode) {
    let checks = match sslmode {
        SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => false,
    };
    let sockets = hosts.iter().all(|host| host.starts_with('/'));
    if checks && !sockets && section.is_blank("sslrootcert") {
        let mode = sslmode.as_str();
        section.problem(
            "sslrootcert",
            format!("missing: with sslmode `{mode}` the database's certificate is checked"),
            "write `sslrootcert: /…/ca.pem`, or choose another `sslmode`",
        );
    }
}
