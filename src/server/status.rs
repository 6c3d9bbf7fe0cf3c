//! The agent's own account of itself, as JSON.
//!
//! Made of a view and an outlook where it is asked for, read again by `leasehold status`. Holds
//! no value, no token and no lease id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::outlook::{Next, Step};
use crate::agent::view::View;
use crate::time::{Clock, Moment};

/// The whole account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's name.
    pub instance: String,
    /// Its program's version.
    pub version: String,
    /// When the account was given; like all times here as RFC 3339.
    pub time: String,
    /// The visible generation.
    pub generation: u64,
    /// Whether something was published.
    pub started: bool,
    /// Whether every required secret is published and valid.
    pub ready: bool,
    /// Whether it is stopping.
    pub stopping: bool,
    /// The token.
    pub session: Session,
    /// Every secret, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Every target, by name.
    pub targets: BTreeMap<String, Target>,
    /// What is due, the soonest first.
    pub next: Vec<Due>,
}

/// The token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whether anything comes from Vault.
    pub needed: bool,
    /// Whether there is one that is not known to be dead.
    pub valid: bool,
    /// When it ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Whether readiness depends on it.
    pub required: bool,
    /// Whether what is visible works.
    pub valid: bool,
    /// Whether a refresh of it fails.
    pub stale: bool,
    /// The visible version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The database user that is visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When the visible version was obtained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<String>,
    /// When it ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Leases that are held, and how many of them are on their way out.
    pub leases: usize,
    /// Of those.
    pub leaving: usize,
    /// Since when it is being replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotating_since: Option<String>,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Whether it owes an acknowledgement.
    pub pending: bool,
}

/// One thing that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// When.
    pub at: String,
    /// `login`, `renew_token`, `renew`, `replace`, `end_old`, `read`, `publish`, `tell`.
    pub what: String,
    /// With which secret or target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

impl Status {
    /// The account of `view` and `outlook` at `now`.
    pub fn new(instance: &str, view: &View, outlook: &[Next], now: Moment, clock: &Clock) -> Self {
        let time = |moment: Moment| clock.rfc3339(moment);
        let secrets = view.secrets.iter().map(|(name, secret)| {
            let account = Secret {
                required: secret.required,
                valid: secret.valid,
                stale: secret.stale,
                version: secret.version.as_deref().map(str::to_owned),
                username: secret.username.clone(),
                obtained_at: secret.obtained.map(time),
                expires_at: secret.expires.map(time),
                leases: secret.leases,
                leaving: secret.leaving,
                rotating_since: secret.rotating_since.map(time),
            };
            (name.to_string(), account)
        });
        let targets = view.targets.iter();
        Self {
            instance: instance.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: time(now),
            generation: view.generation.0,
            started: view.started,
            ready: view.ready(),
            stopping: view.stopping,
            session: Session {
                needed: view.needs_vault,
                valid: view.session,
                expires_at: view.session_expires.map(time),
            },
            secrets: secrets.collect(),
            targets: targets
                .map(|(name, pending)| (name.to_string(), Target { pending: *pending }))
                .collect(),
            next: outlook.iter().map(|next| due(next, time(next.at.max(now)))).collect(),
        }
    }
}

fn due(next: &Next, at: String) -> Due {
    let (what, of) = match &next.step {
        Step::Login => ("login", None),
        Step::RenewToken => ("renew_token", None),
        Step::Renew(secret) => ("renew", Some(secret)),
        Step::Replace(secret) => ("replace", Some(secret)),
        Step::EndOld(secret) => ("end_old", Some(secret)),
        Step::Read(secret) => ("read", Some(secret)),
        Step::Publish => ("publish", None),
        Step::Tell(target) => ("tell", Some(target)),
    };
    Due { at, what: what.to_owned(), of: of.map(ToString::to_string) }
}
