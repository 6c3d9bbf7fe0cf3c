//! `secrets`: where each comes from and how it is kept fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::command::TargetName;
use crate::agent::{Confirm, Gives, LeasedPolicy, PolledPolicy, Refresh, SecretPolicy};
use crate::config::keys;
use crate::config::raw::{Section, shown};
use crate::config::resolve::connection;
use crate::config::resolve::sources::{self, Had, Place, SHORTEST_POLL};
use crate::config::value;
use crate::snapshot::{Connection, SecretName, Value};
use crate::vault::{CERTIFICATE_FIELDS, CertificateRequest, Source};

/// Keys that only mean something for a lease.
pub(in crate::config) const LEASED_ONLY: [&str; 5] =
    ["confirm", "grace", "unconfirmed_after", "rotate_every", "lookup"];

/// Vault counts leases in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// The secrets of the file as far as they could be read.
#[derive(Default)]
pub(super) struct Secrets {
    /// By name; `None` for one that is wrong or switched off.
    named: BTreeMap<SecretName, Option<Entry>>,
    /// Those with `enabled: false`.
    disabled: BTreeSet<SecretName>,
    /// Those that are a `file`, right or wrong.
    files: BTreeSet<SecretName>,
}

struct Entry {
    place: Place,
    required: bool,
    gives: Gives,
    connection: Option<Arc<Connection>>,
    kind: Kind,
}

enum Kind {
    Leased(Leased),
    Polled(Refresh),
}

struct Leased {
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
            section.problem(
                name,
                "a secret's name has lower case letters, digits, `_` and `-`",
                "choose a name such as `db` or `mail-key`",
            );
        }
        let name = SecretName::from(name.as_str());
        let below = section.below(&name, node, &keys::SECRET);
        let entry = entry(&below);
        if sources::is_file(&below) {
            secrets.files.insert(name.clone());
        }
        if below.boolean("enabled", true) {
            secrets.named.insert(name, entry);
        } else {
            secrets.disabled.insert(name.clone());
            secrets.named.insert(name, None);
        }
    }
    if secrets.named.len() == secrets.disabled.len() {
        top.problem("secrets", "there is none", "name at least one that is enabled");
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
                    let hint = match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "name one that stands below `secrets`".to_owned(),
                    };
                    section.problem(key, text, hint);
                }
            }
        }
        names
    }

    /// All that are enabled.
    pub(super) fn enabled(&self) -> impl Iterator<Item = &SecretName> {
        self.named.keys().filter(|name| !self.disabled.contains(*name))
    }

    /// Whether any comes from Vault, as far as is known.
    pub(super) fn need_vault(&self) -> bool {
        let mut enabled = self.enabled().peekable();
        enabled.peek().is_none() || enabled.any(|name| !self.files.contains(name))
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.named.get(name)?.as_ref()
    }

    /// Whether `name` is known to be something else than a database login with a connection.
    pub(super) fn has_no_connection(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| entry.connection.is_none())
    }

    /// Whether `name` is known to be something else than a database login.
    pub(super) fn is_no_login(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| entry.gives != Gives::Login)
    }

    /// A value for each of which the fields are known, and that is right so far, to try files out
    /// with.
    pub(super) fn stand_ins(&self) -> BTreeMap<SecretName, Value> {
        let known = |(name, entry): (&SecretName, &Option<Entry>)| {
            let entry = entry.as_ref()?;
            match (entry.gives, &entry.place) {
                (Gives::Login, _) => {}
                (Gives::Fields, Place::Vault(Source::Certificate(_))) => {
                    return Some((name.clone(), Value::stand_in_of(CERTIFICATE_FIELDS)));
                }
                (Gives::Fields, _) => return None,
            }
            let right = |connection: &Connection| {
                !connection.hosts.is_empty()
                    && connection.port != 0
                    && !connection.dbname.is_empty()
            };
            let right = entry.connection.as_deref().is_none_or(right);
            right.then(|| (name.clone(), Value::stand_in(entry.connection.clone())))
        };
        self.named.iter().filter_map(known).collect()
    }

    /// Where in Vault each comes from that comes from there.
    pub(super) fn sources(&self) -> BTreeMap<SecretName, Source> {
        self.places(|place| match place {
            Place::Vault(source) => Some(source.clone()),
            Place::File(_) => None,
        })
    }

    /// The file of each that comes from one.
    pub(super) fn local(&self) -> BTreeMap<SecretName, PathBuf> {
        self.places(|place| match place {
            Place::File(path) => Some(path.clone()),
            Place::Vault(_) => None,
        })
    }

    fn places<T>(&self, wanted: impl Fn(&Place) -> Option<T>) -> BTreeMap<SecretName, T> {
        let known = |(name, entry): (&SecretName, &Option<Entry>)| {
            Some((name.clone(), wanted(&entry.as_ref()?.place)?))
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
            let Entry { place, required, gives, connection, kind } = entry;
            let (required, gives) = (*required, *gives);
            let (source, connection) = (in_words(place), connection.clone());
            let policy = match kind {
                Kind::Leased(leased) => SecretPolicy::Leased(LeasedPolicy {
                    source,
                    required,
                    gives,
                    confirm: confirm(top, name, leased.confirm, connection.is_some(), told),
                    connection,
                    grace: leased.grace,
                    unconfirmed_after: leased.unconfirmed_after,
                    rotate_every: leased.rotate_every,
                    lookup: leased.lookup,
                }),
                Kind::Polled(refresh) => {
                    let refresh = *refresh;
                    let polled = PolledPolicy { source, required, gives, connection, refresh };
                    SecretPolicy::Polled(polled)
                }
            };
            policies.insert(name.clone(), policy);
        }
        policies
    }
}

/// Where a secret comes from, so that another source reads otherwise.
fn in_words(place: &Place) -> String {
    let source = match place {
        Place::Vault(source) => source,
        Place::File(path) => return path.display().to_string(),
    };
    match source {
        Source::Database { mount, role } => format!("{mount}/creds/{role}"),
        Source::Static { mount, role } => format!("{mount}/static-creds/{role} (static role)"),
        Source::Certificate(CertificateRequest {
            mount,
            role,
            common_name,
            alt_names,
            ip_sans,
            ttl,
        }) => {
            let also: String =
                alt_names.iter().chain(ip_sans).map(|name| format!(" {name}")).collect();
            let ttl = ttl.map(|ttl| format!(", for {}", value::duration_text(ttl)));
            format!("{mount}/issue/{role} ({common_name}{also}{})", ttl.unwrap_or_default())
        }
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
fn confirm(
    top: &Section<'_>,
    name: &str,
    wanted: Option<Confirm>,
    connected: bool,
    told: bool,
) -> Confirm {
    let problem = |text: &str, hint: &str| {
        top.problem(&format!("secrets.{name}.confirm"), text, hint);
    };
    match wanted {
        Some(Confirm::Moved) if !connected => {
            problem("`moved` needs a `connection`", "sessions are counted there");
        }
        Some(Confirm::Told) if !told => {
            problem("`told` needs a target", "name this secret in an entry of `notify`");
        }
        Some(_) | None => {}
    }
    match wanted {
        Some(confirm) => confirm,
        None if connected => Confirm::Moved,
        None if told => Confirm::Told,
        None => Confirm::None,
    }
}

fn entry(section: &Section<'_>) -> Option<Entry> {
    let required = section.boolean("required", true);
    let (had, place) = sources::resolve(section)?;
    let gives = match had {
        Had::Login | Had::SharedLogin(_) => Gives::Login,
        Had::Leased | Had::Polled(_) => Gives::Fields,
    };
    if gives == Gives::Fields && section.has("connection") {
        section.problem("connection", "only a `database` secret has it", "leave it out");
        return None;
    }
    let connection = connection::resolve(section).map(Arc::new);
    let kind = match had {
        Had::Login | Had::Leased => Kind::Leased(leased(section)),
        Had::SharedLogin(refresh) => {
            let text = "the old password of a static role ends as soon as there is a new one";
            let hint = "leave it out; a role without `static: true` gives logins that overlap";
            leased_only(section, text, hint);
            Kind::Polled(refresh)
        }
        Had::Polled(refresh) => {
            let hint = "leave it out; a path of `read` whose answers are leases wants \
                        `leased: true`";
            leased_only(section, "only a leased secret has it", hint);
            Kind::Polled(refresh)
        }
    };
    Some(Entry { place: place?, required, gives, connection, kind })
}

fn leased_only(section: &Section<'_>, text: &str, hint: &str) {
    for key in LEASED_ONLY.into_iter().filter(|key| section.has(key)) {
        section.problem(key, text, hint);
    }
}

fn leased(section: &Section<'_>) -> Leased {
    let grace = section.whole_seconds("grace", SECOND).unwrap_or(Duration::from_secs(300));
    let unconfirmed_after = match section.text("unconfirmed_after").as_deref() {
        None | Some("never") => None,
        Some(_) => section.duration("unconfirmed_after", SECOND),
    };
    let words = [("moved", Confirm::Moved), ("told", Confirm::Told), ("none", Confirm::None)];
    Leased {
        confirm: section.choice("confirm", &words, &[]),
        grace,
        unconfirmed_after,
        rotate_every: section.duration("rotate_every", SECOND),
        lookup: section.duration("lookup", SHORTEST_POLL).unwrap_or(Duration::from_secs(30)),
    }
}
