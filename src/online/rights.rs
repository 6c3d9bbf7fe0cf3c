//! Which rights an agent of a configuration needs, can use, and should not have.
//!
//! Receives the configuration, gives rights with a reason each. Never asks whether the token has
//! them, and names no right as too many that somebody may have good reason to give.

use std::collections::BTreeMap;

use crate::agent::SecretPolicy;
use crate::config::Config;
use crate::snapshot::SecretName;
use crate::vault::{
    Auth, Capabilities, CertificateLogin, CertificateRequest, Right, Source, TokenLogin,
};

/// A name that nobody uses: what a token may do with it, it may do with every name.
const ANY: &str = "leasehold-check-any-name";

/// What every token may ask.
const LOOKUP_SELF: &str = "auth/token/lookup-self";
const RENEW_SELF: &str = "auth/token/renew-self";
const REVOKE_SELF: &str = "auth/token/revoke-self";
const LEASE_LOOKUP: &str = "sys/leases/lookup";
const LEASE_RENEW: &str = "sys/leases/renew";
const LEASE_REVOKE: &str = "sys/leases/revoke";

/// What a root token has everywhere.
const ROOT: &str = "root";

/// What changes a thing or ends it.
const WRITES: &[&str] = &["create", "update", "patch", "delete"];

/// What the right is for.
pub(super) struct Need {
    pub(super) right: Right,
    /// Whose.
    pub(super) subject: Option<SecretName>,
    /// What becomes of the agent without it.
    pub(super) without: &'static str,
    /// Whether it can do without.
    pub(super) optional: bool,
}

/// What is too much.
pub(super) struct Excess {
    pub(super) path: String,
    pub(super) capabilities: &'static [&'static str],
    /// Whose.
    pub(super) subject: Option<SecretName>,
    /// What comes of it.
    pub(super) why: &'static str,
}

/// The rights that are used beside those to read and to issue, which are tried.
pub(super) fn needs(config: &Config) -> Vec<Need> {
    let mut all = vec![
        own("read", LOOKUP_SELF, "a revoked token is noticed late"),
        own("update", RENEW_SELF, "the token is replaced and not renewed"),
        own("update", REVOKE_SELF, "the token is left to its end"),
    ];
    if config.policy.secrets.values().any(|policy| matches!(policy, SecretPolicy::Leased(_))) {
        all.push(own("update", LEASE_LOOKUP, "a revoked lease is noticed late"));
        all.push(own("update", LEASE_RENEW, "no login is renewed or gets its grace"));
        all.push(Need {
            optional: true,
            ..own("update", "auth/token/create", "a login whose answer is lost is left to its end")
        });
        all.push(Need {
            optional: true,
            ..own("update", LEASE_REVOKE, "a login ends by being shortened only")
        });
    }
    for (name, source) in &config.sources {
        if let Source::Kv { mount, path, .. } = source {
            all.push(Need {
                right: Right::new("read", format!("{mount}/metadata/{path}")),
                subject: Some(name.clone()),
                without: "each poll reads the secret itself",
                optional: true,
            });
        }
    }
    all
}

fn own(capability: &'static str, path: &str, without: &'static str) -> Need {
    Need { right: Right::new(capability, path), subject: None, without, optional: false }
}

/// What no agent needs, each path once.
pub(super) fn excess(config: &Config, auth: &Auth) -> Vec<Excess> {
    let mut all = BTreeMap::new();
    for (name, source) in &config.sources {
        for (path, capabilities, why) in of_source(source) {
            let subject = Some(name.clone());
            let excess = Excess { path: path.clone(), capabilities, subject, why };
            all.entry(path).or_insert(excess);
        }
    }
    let mut all: Vec<Excess> = all.into_values().collect();
    for (path, capabilities, why) in of_login(auth) {
        all.push(Excess { path, capabilities, subject: None, why });
    }
    all
}

/// Whether a token that may do what was `found` has `capability` at `path`.
pub(super) fn can(found: &Capabilities, path: &str, capability: &str) -> bool {
    found.get(path).is_some_and(|all| all.contains(capability) || all.contains(ROOT))
}

/// Whether it is a root token.
pub(super) fn is_root(found: &Capabilities) -> bool {
    found.values().any(|all| all.contains(ROOT))
}

/// Whether a lease that it makes can be ended: by itself, or with the token where that is `ours`.
pub(super) fn ends_leases(found: &Capabilities, ours: bool) -> bool {
    ours && can(found, REVOKE_SELF, "update")
        || can(found, LEASE_REVOKE, "update")
        || can(found, LEASE_RENEW, "update")
}

type Beyond = (String, &'static [&'static str], &'static str);

/// A source whose reader must not see something beside it, as the private half of a key, names
/// that here.
fn of_source(source: &Source) -> Vec<Beyond> {
    let written = "it is only read here";
    match source {
        Source::Database { mount, role } => vec![
            (format!("{mount}/roles/{role}"), WRITES, "what a login may do could be changed"),
            (format!("{mount}/roles/{ANY}"), WRITES, "roles of its own could be made"),
            (format!("{mount}/config/{ANY}"), WRITES, "the database could be another one"),
            (format!("{mount}/creds/{ANY}"), &["read"], "logins of every role could be made"),
        ],
        Source::Kv { mount, path, .. } => vec![
            (format!("{mount}/data/{path}"), WRITES, written),
            (format!("{mount}/metadata/{path}"), WRITES, written),
            (format!("{mount}/delete/{path}"), &["update"], written),
            (format!("{mount}/destroy/{path}"), &["update"], written),
            (format!("{mount}/data/{ANY}"), &["read"], "every secret of the mount could be read"),
        ],
        Source::Static { mount, role } => vec![
            (format!("{mount}/static-roles/{role}"), WRITES, written),
            (format!("{mount}/static-roles/{ANY}"), WRITES, "roles of its own could be made"),
            (format!("{mount}/config/{ANY}"), WRITES, "the database could be another one"),
            (format!("{mount}/static-creds/{ANY}"), &["read"], "every static login could be read"),
        ],
        Source::Certificate(CertificateRequest { mount, role, .. }) => vec![
            (
                format!("{mount}/roles/{role}"),
                WRITES,
                "what a certificate may say could be changed",
            ),
            (format!("{mount}/roles/{ANY}"), WRITES, "roles of its own could be made"),
            (
                format!("{mount}/issue/{ANY}"),
                &["update"],
                "certificates of every role could be made",
            ),
        ],
        Source::Plain { path } => vec![(path.clone(), WRITES, written)],
        Source::Leased { path } => {
            let sibling = path.rsplit_once('/').map(|(above, _)| format!("{above}/{ANY}"));
            let beyond = "leases of every role could be made";
            sibling.map(|sibling| (sibling, &["read"][..], beyond)).into_iter().collect()
        }
    }
}

fn of_login(auth: &Auth) -> Vec<Beyond> {
    let mut all: Vec<Beyond> = vec![
        ("auth/token/create".to_owned(), &["sudo"], "tokens with any policy could be made"),
        (format!("sys/policies/acl/{ANY}"), WRITES, "it could give itself every right"),
        (format!("sys/auth/{ANY}"), WRITES, "ways to log in could be made"),
        (format!("sys/mounts/{ANY}"), WRITES, "engines could be mounted and removed"),
        (format!("sys/leases/lookup/{ANY}"), &["list"], "leases of others could be listed"),
        (format!("sys/leases/revoke-prefix/{ANY}"), &["update"], "leases of others could be ended"),
    ];
    let roles = match auth {
        Auth::AppRole { mount, .. }
        | Auth::Kubernetes(TokenLogin { mount, .. })
        | Auth::Jwt(TokenLogin { mount, .. }) => format!("auth/{mount}/role/{ANY}"),
        Auth::Certificate(CertificateLogin { mount, .. }) => format!("auth/{mount}/certs/{ANY}"),
        Auth::TokenFile(_) | Auth::Token(_) => return all,
    };
    all.push((roles, WRITES, "who logs in as what could be changed"));
    all
}
