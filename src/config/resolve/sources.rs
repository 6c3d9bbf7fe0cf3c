//! `database`, `kv` and `read`: where a secret comes from, and how often it is asked for.
//!
//! Receives the section of a secret, gives its one source. Never asks Vault whether it is there.

use std::time::Duration;

use crate::config::raw::{Keys, Section, shown};
use crate::config::value;
use crate::vault::Source;

const ALL: [&str; 3] = ["database", "kv", "read"];

const DATABASE: Keys = Keys { known: &["mount", "role"], later: &["static"] };

const KV: Keys = Keys { known: &["mount", "path", "engine", "version", "poll"], later: &[] };

const READ: Keys = Keys { known: &["path", "leased", "poll"], later: &[] };

const POLL: Duration = Duration::from_secs(15);

/// A version never changes; it can only be deleted.
const PINNED_POLL: Duration = Duration::from_secs(300);

/// Asking more often would load Vault and learn nothing.
pub(super) const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// How a secret is had.
pub(super) enum Had {
    /// A database login, leased.
    Login,
    /// Fields, leased.
    Leased,
    /// Fields, asked for this often.
    Polled(Duration),
}

/// How the secret is had and, where that could be read, from where. `None` where it has no source,
/// or several.
pub(super) fn resolve(section: &Section<'_>) -> Option<(Had, Option<Source>)> {
    let given: Vec<&str> = ALL.into_iter().filter(|source| section.has(source)).collect();
    match given[..] {
        ["database"] => Some((Had::Login, database(&section.section("database", DATABASE)))),
        ["kv"] => Some(kv(&section.section("kv", KV))),
        ["read"] => Some(read(&section.section("read", READ))),
        [first, second, ..] => {
            let text = format!("must not stand beside `{first}`: a secret has one source");
            section.problem(second, text);
            None
        }
        // A source of a later version has been reported; one message is enough.
        _ if super::secrets::KEYS.later.iter().any(|key| section.has(key)) => None,
        _ => {
            let hint = "give one of `database`, `kv`, `read`";
            section.problem_hint("database", "missing: the secret has no source", hint);
            None
        }
    }
}

fn database(section: &Section<'_>) -> Option<Source> {
    let role = path(section, "role");
    let mount = mount(section, "database");
    Some(Source::Database { mount: mount?, role: role? })
}

fn kv(section: &Section<'_>) -> (Had, Option<Source>) {
    let engine = section.number("engine").unwrap_or(2);
    let version = section.number("version");
    if !(1..=2).contains(&engine) {
        section.problem("engine", "must be 1 or 2");
    }
    if engine == 1 && version.is_some() {
        let hint = "leave out one of the two";
        section.problem_hint("version", "engine 1 keeps no versions", hint);
    }
    if version == Some(0) {
        section.problem("version", "must be at least 1: versions are counted from there");
    }
    let usual = if version.is_some() { PINNED_POLL } else { POLL };
    let poll = section.duration("poll", SHORTEST_POLL).unwrap_or(usual);
    let path = path(section, "path");
    let mount = mount(section, "secret");
    let source = mount.zip(path).map(|(mount, path)| match engine {
        1 => Source::Plain { path: format!("{mount}/{path}") },
        _ => Source::Kv { mount, path, version },
    });
    (Had::Polled(poll), source)
}

fn read(section: &Section<'_>) -> (Had, Option<Source>) {
    let path = path(section, "path");
    if path.as_ref().is_some_and(|path| path.starts_with("v1/")) {
        section.problem("path", "must begin with the mount, without `v1/`");
    }
    if section.boolean("leased", false) {
        if section.has("poll") {
            let hint = "`lookup` of the secret says how often its lease is looked at";
            section.problem_hint("poll", "a leased path is not polled", hint);
        }
        return (Had::Leased, path.map(|path| Source::Leased { path }));
    }
    let poll = section.duration("poll", SHORTEST_POLL).unwrap_or(POLL);
    (Had::Polled(poll), path.map(|path| Source::Plain { path }))
}

/// The mount at `mount`, `default` where there is none.
pub(super) fn mount(section: &Section<'_>, default: &str) -> Option<String> {
    if section.has("mount") { path(section, "mount") } else { Some(default.to_owned()) }
}

fn path(section: &Section<'_>, key: &str) -> Option<String> {
    let text = section.required_text(key)?;
    let path = text.trim_end_matches('/');
    if !value::is_vault_path(path) {
        let hint = "parts with `/` between, none empty or `..`";
        section.problem_hint(key, format!("not a path in Vault: `{}`", shown(&text)), hint);
        return None;
    }
    Some(path.to_owned())
}
