//! What the agent shall do: the decisions' part of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::command::TargetName;
use crate::snapshot::{Connection, SecretName};

/// What the agent shall do; valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Every secret, enabled ones only.
    pub secrets: BTreeMap<SecretName, SecretPolicy>,
    /// For each notify target the secrets that it wants to hear of.
    pub targets: BTreeMap<TargetName, BTreeSet<SecretName>>,
    /// What becomes of the leases on SIGTERM.
    pub on_stop: OnStop,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// When it stops by itself.
    pub until: Until,
}

/// When the agent stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Stopped,
    /// Once every required secret is published, or when that cannot be.
    Published {
        /// How long it may take.
        within: Duration,
    },
    /// Where that cannot be; else it goes on.
    Unpublished {
        /// How long it may take.
        within: Duration,
    },
}

impl Policy {
    /// The same for an agent that publishes once and leaves everything to the next.
    #[must_use]
    pub fn publish_once(self, within: Duration) -> Self {
        Self { until: Until::Published { within }, on_stop: OnStop::Keep, ..self }
    }

    /// The same for an agent that has no use before it has published.
    #[must_use]
    pub fn publish_first(self, within: Duration) -> Self {
        Self { until: Until::Unpublished { within }, ..self }
    }
}

/// What becomes of the leases when the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// They work for `grace` more.
    Drain,
    /// They end at once.
    Revoke,
    /// They are left for the next process.
    Keep,
}

/// How one secret is kept fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPolicy {
    /// By leases: each issue makes a new login.
    Leased(LeasedPolicy),
    /// As one value that is looked at, or made anew, now and then.
    Polled(PolledPolicy),
}

/// How a leased secret is kept fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedPolicy {
    /// Where the leases come from, as text; when it changes, the lease is replaced.
    pub source: String,
    /// Whether nothing is published without it.
    pub required: bool,
    /// What the leases are of.
    pub gives: Gives,
    /// Where the login is used: where to prove it and to count its sessions.
    pub connection: Option<Arc<Connection>>,
    /// The evidence that ends an old login.
    pub confirm: Confirm,
    /// How long the old login works after the evidence.
    pub grace: Duration,
    /// After which time without evidence the old login is ended all the same.
    pub unconfirmed_after: Option<Duration>,
    /// Replace at least this often; without it as late as Vault allows.
    pub rotate_every: Option<Duration>,
    /// The pause between two lookups of token and lease.
    pub lookup: Duration,
}

/// What a secret consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// A database login.
    Login,
    /// Fields whose names only the answer tells.
    Fields,
}

/// How a polled secret is kept fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolledPolicy {
    /// Where the value comes from, as text; when it changes, the value is had anew.
    pub source: String,
    /// Whether nothing is published without it.
    pub required: bool,
    /// What the value is.
    pub gives: Gives,
    /// Where a login is used.
    pub connection: Option<Arc<Connection>>,
    /// Where the next value comes from, and when.
    pub refresh: Refresh,
}

/// How a polled secret gets its next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Vault is asked for its version this often, and closely when it is about to be replaced.
    Asked(Duration),
    /// Vault makes another when two thirds of its life have passed.
    Made,
    /// A file of this machine is looked at this often, and when it changed.
    Local(Duration),
}

/// The evidence that an app has moved to the new login, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirm {
    /// None is wanted.
    None,
    /// Every target of the secret acknowledged it.
    Told,
    /// That too, and the new role has sessions, the old one has none left.
    Moved,
}

impl LeasedPolicy {
    /// For a secret that the configuration no longer has: its leases drain.
    pub(super) fn retired(grace: Duration) -> Self {
        Self {
            source: String::new(),
            required: false,
            gives: Gives::Login,
            connection: None,
            confirm: Confirm::None,
            grace,
            unconfirmed_after: None,
            rotate_every: None,
            lookup: super::LOOKUP,
        }
    }
}
