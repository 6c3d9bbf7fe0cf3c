//! Everything that the agent can ever do.
//!
//! `Save`, `Rehearse`, `Publish`, `Repair` and `Record` are performed by the driver in order,
//! before it looks at the next event; everything else runs beside it.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::Unmet;
use crate::agent::event::{Op, Unwrapped};
use crate::audit::event::Record;
use crate::lease::RoleId;
use crate::secret::{Credential, Secret};
use crate::snapshot::{Generation, SecretName, Snapshot, Version};
use crate::time::Moment;

/// A notify target's name in the configuration.
pub type TargetName = Arc<str>;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Log in to Vault, unless the credential found is one of `refused`.
    Login {
        /// Answered by `LoggedIn`, or by `Unwrapped` where there is a wrapped secret id that is not
        /// `unwrapped`.
        op: Op,
        /// Keyed hashes of credentials that Vault refused, for good or a moment ago.
        refused: Vec<String>,
        /// The secret id that was unwrapped last.
        unwrapped: Option<Unwrapped>,
    },
    /// Ask what is left of a token.
    LookupToken {
        /// Answered by `TokenSeen`.
        op: Op,
        /// The token.
        token: Secret,
    },
    /// Renew a token.
    RenewToken {
        /// Answered by `TokenSeen`.
        op: Op,
        /// The token.
        token: Secret,
        /// Asked for, from now on; `None` for the token's own term.
        increment: Option<Duration>,
    },
    /// End a token, and with it every lease that is still under it.
    RevokeToken {
        /// Answered by `TokenRevoked`.
        op: Op,
        /// The token.
        token: Secret,
    },
    /// Make a child token, for one lease to live under.
    CreateToken {
        /// Answered by `TokenCreated`.
        op: Op,
        /// For a lease of which secret.
        secret: SecretName,
        /// Under which token.
        token: Secret,
        /// How long it lives at first.
        term: Duration,
    },
    /// Make a new lease. Never cut short: an answer nobody reads is a lease nobody ends.
    Issue {
        /// Answered by `Issued`.
        op: Op,
        /// For which secret.
        secret: SecretName,
        /// Under which token.
        token: Secret,
    },
    /// Let a lease end soon. Its deadline must be in the state first: a next process that does not
    /// know it would renew.
    ShortenLease {
        /// Answered by `LeaseSeen`.
        op: Op,
        /// The lease.
        lease: Secret,
        /// What is left of it from now on; whole seconds, at least one.
        increment: Duration,
        /// By which token.
        token: Secret,
    },
    /// Renew a lease.
    RenewLease {
        /// Answered by `LeaseSeen`.
        op: Op,
        /// The lease.
        lease: Secret,
        /// Asked for, from now on; whole seconds, at least one.
        increment: Duration,
        /// By which token.
        token: Secret,
    },
    /// Ask what is left of a lease.
    LookupLease {
        /// Answered by `LeaseSeen`.
        op: Op,
        /// The lease.
        lease: Secret,
        /// By which token.
        token: Secret,
    },
    /// End a lease and wait until it has ended.
    RevokeLease {
        /// Answered by `LeaseRevoked`.
        op: Op,
        /// The lease.
        lease: Secret,
        /// By which token.
        token: Secret,
    },
    /// Read a polled secret where its version is not `known`.
    Read {
        /// Answered by `Read`.
        op: Op,
        /// Which.
        secret: SecretName,
        /// The version held.
        known: Option<Version>,
        /// By which token.
        token: Secret,
    },
    /// Log in to the database with a new credential.
    Probe {
        /// Answered by `Probed`.
        op: Op,
        /// Whose connection.
        secret: SecretName,
        /// The login to try.
        credential: Credential,
    },
    /// Count the database sessions of some roles.
    Count {
        /// Answered by `Counted`.
        op: Op,
        /// Whose connection.
        secret: SecretName,
        /// The login to count with; its own session does not count.
        credential: Credential,
        /// The roles.
        roles: Vec<RoleId>,
    },
    /// Try whether `Publish` of this would succeed, and keep room for it. Answered by `Rehearsed`.
    Rehearse(Snapshot),
    /// Write the state, as it is after this batch of decisions. When that fails the commands
    /// behind it are not performed and complete with the failure.
    Save,
    /// Make a snapshot visible. Answered by `Published`.
    Publish(Snapshot),
    /// Put the visible generation back as it was published. Answered by `Published`.
    Repair,
    /// Tell a target. Answered by `Delivered`.
    Deliver {
        /// The command.
        op: Op,
        /// Whom.
        target: TargetName,
        /// What.
        notice: Notice,
    },
    /// Tell the operator, in the log, the metrics and the audit trail.
    Record(Record),
    /// Everything that the stop policy asks for is done, or its time is up. The last command.
    Exit {
        /// Why an agent that was to publish once has not.
        unmet: Option<Unmet>,
    },
}

/// What a target is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The visible generation.
    pub generation: Generation,
    /// The secrets of the target whose version it has not acknowledged.
    pub secrets: Vec<NoticeSecret>,
}

/// One changed secret in a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeSecret {
    /// Its name.
    pub name: SecretName,
    /// The version that is visible.
    pub version: Version,
    /// When that version ends, where it ends by itself.
    pub expires: Option<Moment>,
    /// When the version before it stops working, where that is known.
    pub previous_ends: Option<Moment>,
}
