//! The catalogue: one record drives the log line, the metric and (with a store) the audit row.
//!
//! Made by the agent's decisions, shown by the sinks. User names (empty where a lease is no login)
//! and lease hashes yes; passwords, tokens and lease ids never.

use std::time::Duration;

use crate::agent::command::TargetName;
use crate::error::Failure;
use crate::snapshot::{Generation, SecretName, Version};

/// How much an operator should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The ordinary course.
    Info,
    /// An operator may want to look.
    Warn,
    /// The app may lose its credentials.
    Error,
}

/// One thing that an operator can see. `lease` is always the short hash.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields repeat the same few words; the variants say the rest")]
pub enum Record {
    /// The agent goes on from a state that an earlier process left.
    Adopted { leases: usize, generation: Generation },
    /// The configuration changed, and the agent goes on by it.
    Reloaded { added: Vec<SecretName>, removed: Vec<SecretName> },
    /// What the changed configuration publishes cannot be shown yet: these are required and not
    /// there. The files stay as they were configured before.
    ReloadWaits { secrets: Vec<SecretName> },
    /// Logged in to Vault.
    SessionOpened { ttl: Option<Duration>, renewable: bool },
    /// The wrapped secret id was unwrapped; the next process finds it in the state.
    SecretIdUnwrapped,
    /// A login failed and is tried again.
    LoginFailed { failure: Failure, retry_in: Duration },
    /// Vault refused this credential twice; it is not tried again until it changes.
    LoginRefused { failure: Failure },
    /// The token was renewed.
    SessionRenewed { ttl: Option<Duration> },
    /// A renewal of the token failed and is tried again.
    SessionRenewalFailed { failure: Failure },
    /// Vault could not be asked whether the token lives; tried again.
    SessionLookupFailed { failure: Failure },
    /// The token nears its end: a new login, and every lease anew under it.
    SessionEnding { remaining: Duration },
    /// The token is no longer one, and every lease under it is dead.
    SessionLost { cause: String },
    /// An old token was let go.
    SessionEnded,
    /// A new credential is asked for.
    IssueRequested { secret: SecretName },
    /// A new credential was obtained.
    LeaseIssued {
        secret: SecretName,
        lease: String,
        username: String,
        ttl: Duration,
        request_id: String,
    },
    /// No credential was obtained; tried again.
    IssueFailed { secret: SecretName, failure: Failure, retry_in: Duration },
    /// A request for a credential was sent and its answer never read. `undone`: whatever it made
    /// ends with its child token, or with the session; else one lease may exist that nobody knows,
    /// for one lease duration.
    IssueUnanswered { secret: SecretName, undone: bool },
    /// Vault gives no child tokens, so a lost answer leaves a lease until it ends by itself.
    NoChildTokens { failure: Failure },
    /// The issue budget is spent.
    BudgetSpent { secret: SecretName, retry_in: Duration },
    /// A new credential did log in to its database.
    CredentialProved { secret: SecretName, lease: String },
    /// The database refused a new credential; it is ended and never published.
    CredentialRefused { secret: SecretName, lease: String, failure: Failure },
    /// The database could not be asked about a new credential; tried again.
    ProbeFailed { secret: SecretName, failure: Failure },
    /// A credential is published though the database could not be asked, since the old one ends.
    PublishedUnproved { secret: SecretName, lease: String },
    /// The longest life of a lease was learned from Vault.
    MaximumLearned { secret: SecretName, lease: String, remaining: Duration },
    /// The longest life of a lease cannot be learned.
    MaximumUnknown { secret: SecretName, lease: String, failure: Failure },
    /// The configured grace may not fit into the life of a lease; so much does.
    GraceCut { secret: SecretName, grace: Duration },
    /// A lease was renewed.
    LeaseRenewed { secret: SecretName, lease: String, ttl: Duration },
    /// A renewal failed and is tried again; the credential is kept.
    RenewalFailed { secret: SecretName, lease: String, failure: Failure, remaining: Duration },
    /// Vault could not be asked whether a lease lives; tried again.
    LookupFailed { secret: SecretName, lease: String, failure: Failure },
    /// Vault no longer knows a lease that should live, or it ran out.
    LeaseLost { secret: SecretName, lease: String, cause: String },
    /// A new credential took over.
    Rotated { secret: SecretName, lease: String, username: String, took: Duration },
    /// There is evidence that the app moved to the new credential.
    Confirmed { secret: SecretName, lease: String, after: Duration },
    /// No evidence came before the old credential's own end.
    Unconfirmed { secret: SecretName, lease: String, remaining: Duration },
    /// The sessions of a database could not be counted.
    CountFailed { secret: SecretName, failure: Failure },
    /// The old credential works for this long and then ends, with us or without us.
    Draining { secret: SecretName, lease: String, grace: Duration },
    /// The old credential's end could not be set yet; tried again.
    DrainFailed { secret: SecretName, lease: String, failure: Failure },
    /// The old credential ended before its grace had passed.
    GraceViolated { secret: SecretName, lease: String, missing: Duration },
    /// A lease has ended.
    LeaseEnded { secret: SecretName, lease: String },
    /// A lease could not be ended yet; tried again.
    EndFailed { secret: SecretName, lease: String, failure: Failure },
    /// The policy gives no right to revoke; the lease is shortened to a second.
    RevokeDenied { secret: SecretName, lease: String, failure: Failure },
    /// A polled secret has a new value.
    ValueRead { secret: SecretName, version: Version },
    /// A value that ends by itself has ended, and there is no newer one.
    ValueEnded { secret: SecretName, version: Version },
    /// A polled secret could not be read; its last good value stays.
    ReadFailed { secret: SecretName, failure: Failure, stale: bool },
    /// A polled secret turned out to be leased; it is not read again by this process.
    ReadStopped { secret: SecretName, failure: Failure },
    /// The next set could not be published; no lease is made until it can.
    RehearsalFailed { failure: Failure, retry_in: Duration },
    /// A generation is visible.
    Published { generation: Generation, secrets: Vec<SecretName> },
    /// A generation could not be published; the last one stays.
    PublishFailed { generation: Generation, failure: Failure, retry_in: Duration },
    /// The publish directory was changed by somebody else and is put back.
    Repairing { file: String },
    /// It is changed again and again.
    Tampered { file: String, times: u32 },
    /// A target acknowledged.
    Delivered { target: TargetName, generation: Generation },
    /// A target did not acknowledge; told again.
    DeliveryFailed {
        target: TargetName,
        generation: Generation,
        failure: Failure,
        retry_in: Duration,
    },
    /// The agent stops.
    Stopping { leases: usize },
    /// The agent has stopped; so many leases are left, for the next process or to end by themselves.
    Stopped { leases: usize },
}
