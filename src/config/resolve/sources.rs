//! `database`, `kv`, `read`, `pki` and `file`: where a secret comes from, and how often it is asked
//! for.
//!
//! Receives the section of a secret, gives its one source. Never asks whether it is there.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::Refresh;
use crate::config::keys;
use crate::config::raw::{Section, shown};
use crate::config::value;
use crate::vault::{CertificateRequest, Source};

const ALL: [&str; 5] = ["database", "kv", "read", "pki", "file"];

const POLL: Duration = Duration::from_secs(15);

/// The kernel tells of changes; this is for file systems where it does not.
const FILE_POLL: Duration = Duration::from_secs(5);

/// Of a shorter life there would be less left than answers may take.
const SHORTEST_CERTIFICATE: Duration = Duration::from_secs(5);

/// A version never changes; it can only be deleted.
const PINNED_POLL: Duration = Duration::from_secs(300);

/// Asking more often would load Vault and learn nothing.
pub(super) const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// How a secret is had.
pub(super) enum Had {
    /// A database login, leased.
    Login,
    /// A database login that all share.
    SharedLogin(Refresh),
    /// Fields, leased.
    Leased,
    /// Fields.
    Polled(Refresh),
}

/// Where it comes from.
#[derive(Clone)]
pub(super) enum Place {
    Vault(Source),
    File(PathBuf),
}

/// How the secret is had and, where that could be read, from where. `None` where it has no source,
/// or several.
pub(super) fn resolve(section: &Section<'_>) -> Option<(Had, Option<Place>)> {
    let vault = |(had, source): (Had, Option<Source>)| Some((had, source.map(Place::Vault)));
    let given: Vec<&str> = ALL.into_iter().filter(|source| section.has(source)).collect();
    match given[..] {
        ["database"] => vault(database(&section.section("database", &keys::DATABASE))),
        ["kv"] => vault(kv(&section.section("kv", &keys::KV))),
        ["read"] => vault(read(&section.section("read", &keys::READ))),
        ["pki"] => vault(pki(&section.section("pki", &keys::PKI))),
        ["file"] => Some(file(&section.section("file", &keys::LOCAL))),
        [first, second, ..] => {
            let text = format!("must not stand beside `{first}`: a secret has one source");
            section.problem(second, text, "leave out one of the two");
            None
        }
        // A source of a later version has been reported; one message is enough.
        _ if keys::SECRET.later.iter().any(|key| section.has(key)) => None,
        _ => {
            let hint = "give one of `database`, `kv`, `read`, `pki`, `file`";
            section.problem("database", "missing: the secret has no source", hint);
            None
        }
    }
}

/// Whether it is a `file`, right or wrong, and no other source.
pub(super) fn is_file(section: &Section<'_>) -> bool {
    ALL.into_iter().all(|source| section.has(source) == (source == "file"))
}

fn database(section: &Section<'_>) -> (Had, Option<Source>) {
    let role = path(section, "role");
    let mount = mount(section, "database");
    let both = mount.zip(role);
    if section.boolean("static", false) {
        let poll = section.duration("poll", SHORTEST_POLL).unwrap_or(POLL);
        let source = both.map(|(mount, role)| Source::Static { mount, role });
        return (Had::SharedLogin(Refresh::Asked(poll)), source);
    }
    not_polled(section, "a leased login is not polled");
    (Had::Login, both.map(|(mount, role)| Source::Database { mount, role }))
}

fn not_polled(section: &Section<'_>, text: &str) {
    if section.has("poll") {
        let hint = "`lookup` of the secret says how often its lease is looked at";
        section.problem("poll", text, hint);
    }
}

fn pki(section: &Section<'_>) -> (Had, Option<Source>) {
    let role = path(section, "role");
    let mount = mount(section, "pki");
    section.require("common_name");
    let common_name = section.expanded("common_name");
    let alt_names = section.expanded_list("alt_names").unwrap_or_default();
    let ip_sans = section.expanded_list("ip_sans").unwrap_or_default();
    for text in ip_sans.iter().filter(|text| text.parse::<IpAddr>().is_err()) {
        section.problem(
            "ip_sans",
            format!("not an IP address: `{}`", shown(text)),
            "write it as `[10.0.0.7]`; names belong into `alt_names`",
        );
    }
    for name in alt_names.iter().chain(&common_name).filter(|name| name.contains([',', ' '])) {
        let key = if common_name.as_ref() == Some(name) { "common_name" } else { "alt_names" };
        section.problem(
            key,
            format!("not a name: `{}`", shown(name)),
            "write one name in each entry, without spaces or commas",
        );
    }
    let ttl = section.whole_seconds("ttl", SHORTEST_CERTIFICATE);
    let request = || {
        let (mount, role, common_name) = (mount?, role?, common_name?);
        Some(CertificateRequest { mount, role, common_name, alt_names, ip_sans, ttl })
    };
    (Had::Polled(Refresh::Made), request().map(Source::Certificate))
}

fn file(section: &Section<'_>) -> (Had, Option<Place>) {
    section.require("path");
    let path = section.file("path").map(Place::File);
    let poll = section.duration("poll", SHORTEST_POLL).unwrap_or(FILE_POLL);
    (Had::Polled(Refresh::Local(poll)), path)
}

fn kv(section: &Section<'_>) -> (Had, Option<Source>) {
    let engine = section.number("engine").unwrap_or(2);
    let version = section.number("version");
    if !(1..=2).contains(&engine) {
        section.problem("engine", "must be 1 or 2", "as `vault secrets list -detailed` shows it");
    }
    if engine == 1 && version.is_some() {
        let hint = "leave out one of the two";
        section.problem("version", "engine 1 keeps no versions", hint);
    }
    if version == Some(0) {
        section.problem(
            "version",
            "must be at least 1: versions are counted from there",
            "leave it out for the newest",
        );
    }
    let usual = if version.is_some() { PINNED_POLL } else { POLL };
    let poll = section.duration("poll", SHORTEST_POLL).unwrap_or(usual);
    let path = path(section, "path");
    let mount = mount(section, "secret");
    let source = mount.zip(path).map(|(mount, path)| match engine {
        1 => Source::Plain { path: format!("{mount}/{path}") },
        _ => Source::Kv { mount, path, version },
    });
    (Had::Polled(Refresh::Asked(poll)), source)
}

fn read(section: &Section<'_>) -> (Had, Option<Source>) {
    let path = path(section, "path");
    if path.as_ref().is_some_and(|path| path.starts_with("v1/")) {
        section.problem(
            "path",
            "must begin with the mount, without `v1/`",
            "write it as `aws/creds/deploy`",
        );
    }
    if section.boolean("leased", false) {
        not_polled(section, "a leased path is not polled");
        return (Had::Leased, path.map(|path| Source::Leased { path }));
    }
    let poll = section.duration("poll", SHORTEST_POLL).unwrap_or(POLL);
    (Had::Polled(Refresh::Asked(poll)), path.map(|path| Source::Plain { path }))
}

/// The mount at `mount`, `default` where there is none.
pub(in crate::config) fn mount(section: &Section<'_>, default: &str) -> Option<String> {
    if section.has("mount") { path(section, "mount") } else { Some(default.to_owned()) }
}

/// The path in Vault that must be at `key`.
pub(in crate::config) fn path(section: &Section<'_>, key: &str) -> Option<String> {
    let text = section.required_text(key)?;
    let path = text.trim_end_matches('/');
    if !value::is_vault_path(path) {
        let hint = "parts with `/` between, none empty or `..`";
        section.problem(key, format!("not a path in Vault: `{}`", shown(&text)), hint);
        return None;
    }
    Some(path.to_owned())
}
