//! `secrets`: where each comes from and how it is kept fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::command::TargetName;
use crate::agent::{Confirm, LeasedPolicy, PolledPolicy, SecretPolicy};
use crate::config::raw::{Keys, Section, shown};
use crate::config::resolve::connection;
use crate::config::value;
use crate::snapshot::{Connection, SecretName};
use crate::vault::Source;

const KEYS: Keys = Keys {
    known: &[
        "database",
        "kv",
        "connection",
        "confirm",
        "grace",
        "unconfirmed_after",
        "rotate_every",
        "lookup",
        "required",
        "enabled",
    ],
    later: &["keyset", "pki", "read", "file"],
};

/// Keys that only mean something for a database login.
const DATABASE_ONLY: [&str; 6] =
    ["connection", "confirm", "grace", "unconfirmed_after", "rotate_every", "lookup"];

const DATABASE: Keys = Keys { known: &["mount", "role"], later: &["static"] };

const KV: Keys = Keys { known: &["mount", "path", "engine", "poll"], later: &["version"] };

/// Vault counts leases in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Asking more often would load Vault and learn nothing.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// The secrets of the file as far as they could be read.
#[derive(Default)]
pub(super) struct Secrets {
    /// By name; `None` for one that is wrong or switched off.
    named: BTreeMap<SecretName, Option<Entry>>,
    /// Those with `enabled: false`.
    disabled: BTreeSet<SecretName>,
}

struct Entry {
    source: Source,
    required: bool,
    kind: Kind,
}

enum Kind {
    Database(Database),
    Kv { poll: Duration },
}

struct Database {
    connection: Option<Arc<Connection>>,
    confirm: Option<Confirm>,
    grace: Duration,
    unconfirmed_after: Option<Duration>,
    rotate_every: Option<Duration>,
    lookup: Duration,
}

/// Reads all secrets.
pub(super) fn resolve(top: &Section<'_>) -> Secrets {
    let section = top.names("secrets");
    let mut secrets = Secrets::default();
    for (name, node) in section.entries() {
        if !value::is_name(name) {
            section.problem(name, "a secret's name has lower case letters, digits, `_` and `-`");
        }
        let name = SecretName::from(name.as_str());
        let below = section.below(&name, node, KEYS);
        let entry = entry(&below);
        if below.boolean("enabled", true) {
            secrets.named.insert(name, entry);
        } else {
            secrets.disabled.insert(name.clone());
            secrets.named.insert(name, None);
        }
    }
    if secrets.named.len() == secrets.disabled.len() {
        top.problem_hint("secrets", "there is none", "name at least one that is enabled");
    }
    secrets
}

impl Secrets {
    /// The names in `listed` that are enabled; a name that is nowhere is a problem at `key`.
    pub(super) fn check(
        &self,
        section: &Section<'_>,
        key: &str,
        listed: &[String],
    ) -> Vec<SecretName> {
        let mut names = Vec::new();
        for name in listed {
            match self.named.get_key_value(name.as_str()) {
                Some((name, _)) if self.disabled.contains(name) => {}
                Some((name, _)) => names.push(name.clone()),
                None => {
                    let near =
                        crate::config::problem::nearest(name, self.named.keys().map(AsRef::as_ref));
                    let text = format!("there is no secret `{}`", shown(name));
                    match near {
                        Some(near) => {
                            section.problem_hint(key, text, format!("did you mean `{near}`?"));
                        }
                        None => section.problem(key, text),
                    }
                }
            }
        }
        names
    }

    /// All that are enabled.
    pub(super) fn enabled(&self) -> impl Iterator<Item = &SecretName> {
        self.named.keys().filter(|name| !self.disabled.contains(*name))
    }

    /// Whether `name` is known to be something else than a database login with a connection.
    pub(super) fn has_no_connection(&self, name: &str) -> bool {
        match self.named.get(name) {
            Some(Some(Entry { kind: Kind::Database(database), .. })) => {
                database.connection.is_none()
            }
            Some(Some(Entry { kind: Kind::Kv { .. }, .. })) => true,
            Some(None) | None => false,
        }
    }

    /// Where each comes from.
    pub(super) fn sources(&self) -> BTreeMap<SecretName, Source> {
        let known = |(name, entry): (&SecretName, &Option<Entry>)| {
            Some((name.clone(), entry.as_ref()?.source.clone()))
        };
        self.named.iter().filter_map(known).collect()
    }

    /// How each is kept fresh; `wants` says which targets there are for the default of `confirm`.
    pub(super) fn policies(
        &self,
        top: &Section<'_>,
        wants: &BTreeMap<TargetName, BTreeSet<SecretName>>,
    ) -> BTreeMap<SecretName, SecretPolicy> {
        let mut policies = BTreeMap::new();
        for (name, entry) in &self.named {
            let Some(entry) = entry else { continue };
            let told = wants.values().any(|secrets| secrets.contains(name));
            let required = entry.required;
            let policy = match (&entry.kind, &entry.source) {
                (Kind::Database(database), Source::Database { mount, role }) => {
                    SecretPolicy::Leased(LeasedPolicy {
                        source: format!("{mount}/creds/{role}"),
                        required,
                        connection: database.connection.clone(),
                        confirm: confirm(top, name, database, told),
                        grace: database.grace,
                        unconfirmed_after: database.unconfirmed_after,
                        rotate_every: database.rotate_every,
                        lookup: database.lookup,
                    })
                }
                (Kind::Kv { poll }, Source::Kv { mount, path }) => {
                    let source = format!("{mount}/{path}");
                    SecretPolicy::Polled(PolledPolicy { source, required, poll: *poll })
                }
                (Kind::Database(_), Source::Kv { .. })
                | (Kind::Kv { .. }, Source::Database { .. }) => {
                    continue;
                }
            };
            policies.insert(name.clone(), policy);
        }
        policies
    }
}

/// The evidence that is wanted: what the file says where it can be had, else the strongest that
/// can.
fn confirm(top: &Section<'_>, name: &str, database: &Database, told: bool) -> Confirm {
    let problem = |text: &str, hint: &str| {
        top.problem_hint(&format!("secrets.{name}.confirm"), text, hint);
    };
    match database.confirm {
        Some(Confirm::Moved) if database.connection.is_none() => {
            problem("`moved` needs a `connection`", "sessions are counted there");
        }
        Some(Confirm::Told) if !told => {
            problem("`told` needs a target", "name this secret in an entry of `notify`");
        }
        Some(_) | None => {}
    }
    match database.confirm {
        Some(confirm) => confirm,
        None if database.connection.is_some() => Confirm::Moved,
        None if told => Confirm::Told,
        None => Confirm::None,
    }
}

fn entry(section: &Section<'_>) -> Option<Entry> {
    let required = section.boolean("required", true);
    match (section.has("database"), section.has("kv")) {
        (true, true) => {
            section.problem("kv", "must not stand beside `database`: a secret has one source");
            None
        }
        (true, false) => {
            let kind = Kind::Database(database(section));
            let below = section.section("database", DATABASE);
            let role = path(&below, "role");
            let mount = mount(&below, "database");
            Some(Entry { source: Source::Database { mount: mount?, role: role? }, required, kind })
        }
        (false, true) => {
            for key in DATABASE_ONLY.into_iter().filter(|key| section.has(key)) {
                section.problem(key, "only a `database` secret has it");
            }
            let below = section.section("kv", KV);
            if below.number("engine").is_some_and(|engine| engine != 2) {
                below.problem("engine", "not in this version: only engine 2");
            }
            let poll = below.duration("poll", SHORTEST_POLL).unwrap_or(Duration::from_secs(15));
            let path = path(&below, "path");
            let mount = mount(&below, "secret");
            let source = Source::Kv { mount: mount?, path: path? };
            Some(Entry { source, required, kind: Kind::Kv { poll } })
        }
        (false, false) => {
            // A source of a later version has been reported; one message is enough.
            if !KEYS.later.iter().any(|key| section.has(key)) {
                let hint = "give one of `database`, `kv`";
                section.problem_hint("database", "missing: the secret has no source", hint);
            }
            None
        }
    }
}

fn database(section: &Section<'_>) -> Database {
    let whole = |key: &str| {
        let span = section.duration(key, SECOND)?;
        if span.subsec_nanos() != 0 {
            section.problem(key, "must be whole seconds");
        }
        Some(span)
    };
    let grace = whole("grace").unwrap_or(Duration::from_secs(300));
    let unconfirmed_after = match section.text("unconfirmed_after").as_deref() {
        None | Some("never") => None,
        Some(_) => section.duration("unconfirmed_after", SECOND),
    };
    let words = [("moved", Confirm::Moved), ("told", Confirm::Told), ("none", Confirm::None)];
    Database {
        connection: connection::resolve(section).map(Arc::new),
        confirm: section.choice("confirm", &words, &[]),
        grace,
        unconfirmed_after,
        rotate_every: section.duration("rotate_every", SECOND),
        lookup: section.duration("lookup", SHORTEST_POLL).unwrap_or(Duration::from_secs(30)),
    }
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
