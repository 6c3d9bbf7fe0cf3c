//! `secrets`: where each comes from and how it is kept fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::command::TargetName;
use crate::agent::{Confirm, Gives, LeasedPolicy, PolledPolicy, SecretPolicy};
use crate::config::raw::{Keys, Section, shown};
use crate::config::resolve::connection;
use crate::config::resolve::sources::{self, Had, SHORTEST_POLL};
use crate::config::value;
use crate::snapshot::{Connection, SecretName, Value};
use crate::vault::Source;

pub(super) const KEYS: Keys = Keys {
    known: &[
        "database",
        "kv",
        "read",
        "connection",
        "confirm",
        "grace",
        "unconfirmed_after",
        "rotate_every",
        "lookup",
        "required",
        "enabled",
    ],
    later: &["keyset", "pki", "file"],
};

/// Keys that only mean something for a lease.
const LEASED_ONLY: [&str; 5] = ["confirm", "grace", "unconfirmed_after", "rotate_every", "lookup"];

/// Vault counts leases in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

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
    Leased(Leased),
    Polled { poll: Duration },
}

struct Leased {
    gives: Gives,
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
            Some(Some(Entry { kind: Kind::Leased(leased), .. })) => leased.connection.is_none(),
            Some(Some(Entry { kind: Kind::Polled { .. }, .. })) => true,
            Some(None) | None => false,
        }
    }

    /// Whether `name` is known to be something else than a database login.
    pub(super) fn is_no_login(&self, name: &str) -> bool {
        match self.named.get(name) {
            Some(Some(entry)) => match &entry.kind {
                Kind::Leased(leased) => leased.gives != Gives::Login,
                Kind::Polled { .. } => true,
            },
            Some(None) | None => false,
        }
    }

    /// A value for each login that is right so far, to try files out with.
    pub(super) fn stand_ins(&self) -> BTreeMap<SecretName, Value> {
        let login = |(name, entry): (&SecretName, &Option<Entry>)| {
            let Kind::Leased(leased) = &entry.as_ref()?.kind else { return None };
            if leased.gives != Gives::Login {
                return None;
            }
            let right = |connection: &Connection| {
                !connection.hosts.is_empty()
                    && connection.port != 0
                    && !connection.dbname.is_empty()
            };
            let right = leased.connection.as_deref().is_none_or(right);
            right.then(|| (name.clone(), Value::stand_in(leased.connection.clone())))
        };
        self.named.iter().filter_map(login).collect()
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
            let source = in_words(&entry.source);
            let policy = match &entry.kind {
                Kind::Leased(leased) => SecretPolicy::Leased(LeasedPolicy {
                    source,
                    required,
                    gives: leased.gives,
                    connection: leased.connection.clone(),
                    confirm: confirm(top, name, leased, told),
                    grace: leased.grace,
                    unconfirmed_after: leased.unconfirmed_after,
                    rotate_every: leased.rotate_every,
                    lookup: leased.lookup,
                }),
                Kind::Polled { poll } => {
                    SecretPolicy::Polled(PolledPolicy { source, required, poll: *poll })
                }
            };
            policies.insert(name.clone(), policy);
        }
        policies
    }
}

/// Where a secret comes from, so that another source reads otherwise.
fn in_words(source: &Source) -> String {
    match source {
        Source::Database { mount, role } => format!("{mount}/creds/{role}"),
        Source::Leased { path } => format!("{path} (fields)"),
        Source::Kv { mount, path, version: None } => format!("{mount}/{path}"),
        Source::Kv { mount, path, version: Some(version) } => {
            format!("{mount}/{path} (version {version})")
        }
        Source::Plain { path } => path.clone(),
    }
}

/// The evidence that is wanted: what the file says where it can be had, else the strongest that
/// can.
fn confirm(top: &Section<'_>, name: &str, leased: &Leased, told: bool) -> Confirm {
    let problem = |text: &str, hint: &str| {
        top.problem_hint(&format!("secrets.{name}.confirm"), text, hint);
    };
    match leased.confirm {
        Some(Confirm::Moved) if leased.connection.is_none() => {
            problem("`moved` needs a `connection`", "sessions are counted there");
        }
        Some(Confirm::Told) if !told => {
            problem("`told` needs a target", "name this secret in an entry of `notify`");
        }
        Some(_) | None => {}
    }
    match leased.confirm {
        Some(confirm) => confirm,
        None if leased.connection.is_some() => Confirm::Moved,
        None if told => Confirm::Told,
        None => Confirm::None,
    }
}

fn entry(section: &Section<'_>) -> Option<Entry> {
    let required = section.boolean("required", true);
    let (had, source) = sources::resolve(section)?;
    let kind = match had {
        Had::Login => {
            let connection = connection::resolve(section).map(Arc::new);
            Kind::Leased(leased(section, Gives::Login, connection))
        }
        Had::Leased | Had::Polled(_) if section.has("connection") => {
            section.problem("connection", "only a `database` secret has it");
            return None;
        }
        Had::Leased => Kind::Leased(leased(section, Gives::Fields, None)),
        Had::Polled(poll) => {
            for key in LEASED_ONLY.into_iter().filter(|key| section.has(key)) {
                let hint = "leave it out; a path of `read` whose answers are leases wants \
                            `leased: true`";
                section.problem_hint(key, "only a leased secret has it", hint);
            }
            Kind::Polled { poll }
        }
    };
    Some(Entry { source: source?, required, kind })
}

fn leased(section: &Section<'_>, gives: Gives, connection: Option<Arc<Connection>>) -> Leased {
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
    Leased {
        gives,
        connection,
        confirm: section.choice("confirm", &words, &[]),
        grace,
        unconfirmed_after,
        rotate_every: section.duration("rotate_every", SECOND),
        lookup: section.duration("lookup", SHORTEST_POLL).unwrap_or(Duration::from_secs(30)),
    }
}
