//! Everything that can reach the agent. With [`crate::agent::command`] this is the whole design:
//! what may happen, and what may be done about it.
//!
//! Each completion names the [`Op`] of the command that it completes; the driver sends exactly one
//! for each command that carries one, also after a time-out or a panic.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::Policy;
use crate::error::Failure;
use crate::lease::{Grant, Granted, LeaseTerm, RoleId};
use crate::secret::{Secret, stored};
use crate::snapshot::{Generation, SecretName, Version};
use crate::time::Moment;

/// Names one command under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The moment that `next_wakeup` named has come.
    Wake,
    /// A login was answered.
    LoggedIn {
        /// The command.
        op: Op,
        /// When the request was sent.
        sent: Moment,
        /// The new token, or why there is none.
        result: Result<Token, LoginFailure>,
    },
    /// A login found a wrapped secret id that was not known, and unwrapped it; it did not log in.
    Unwrapped {
        /// The command.
        op: Op,
        /// What was found.
        unwrapped: Unwrapped,
    },
    /// A token was looked up or renewed.
    TokenSeen {
        /// The command.
        op: Op,
        /// When the request was sent.
        sent: Moment,
        /// What Vault says of it; `Gone` when Vault does not know it, `Denied` when it may not ask.
        result: Result<TokenTerm, Failure>,
    },
    /// A token was revoked.
    TokenRevoked {
        /// The command.
        op: Op,
        /// Whether.
        result: Result<(), Failure>,
    },
    /// A child token was made.
    TokenCreated {
        /// The command.
        op: Op,
        /// For which secret.
        secret: SecretName,
        /// When the request was sent.
        sent: Moment,
        /// The token and how long it lives, or why there is none.
        result: Result<Token, Failure>,
    },
    /// An issue was answered, however late.
    Issued {
        /// The command.
        op: Op,
        /// Whose.
        secret: SecretName,
        /// When the request was sent; the lease counts from there.
        sent: Moment,
        /// The lease, or why there is none. `Unclear`: there may be one that nobody knows.
        result: Result<Grant, Failure>,
    },
    /// A lease was looked up or renewed.
    LeaseSeen {
        /// The command.
        op: Op,
        /// When the request was sent; the term counts from there.
        sent: Moment,
        /// What is left of it; `Gone` when Vault does not know it.
        result: Result<LeaseTerm, Failure>,
    },
    /// A lease was revoked.
    LeaseRevoked {
        /// The command.
        op: Op,
        /// Whether; `Gone` is as good as done.
        result: Result<(), Failure>,
    },
    /// A polled secret was read, or made anew.
    Read {
        /// The command.
        op: Op,
        /// When the request was sent; what is left of the value counts from there.
        sent: Moment,
        /// What was found. `Unclear` of one that is made: it may exist, and nobody has it.
        result: Result<Reading, Failure>,
    },
    /// Files that secrets come from may have changed.
    FilesChanged,
    /// The database took a login that is being tried: the first part of `Probed`, where that has
    /// two.
    Accepted {
        /// The command.
        op: Op,
    },
    /// A login to the database was tried.
    Probed {
        /// The command.
        op: Op,
        /// The role's oid; `Denied` when the database refused the login, anything else when
        /// nothing was learned about the credential.
        result: Result<RoleId, Failure>,
    },
    /// Database sessions were counted.
    Counted {
        /// The command.
        op: Op,
        /// For each host the number of sessions of each role asked for.
        result: Result<Vec<BTreeMap<RoleId, u64>>, Failure>,
    },
    /// The next set was rehearsed: it renders, and the directory has room for it.
    Rehearsed {
        /// Why it could not be published.
        result: Result<(), Failure>,
    },
    /// A publish or a repair was carried out.
    Published {
        /// What readers see now, or why nothing changed.
        result: Result<Visible, Failure>,
    },
    /// A notice was answered.
    Delivered {
        /// The command.
        op: Op,
        /// Whether the target acknowledged.
        result: Result<(), Failure>,
    },
    /// What is in the publish directory is not what was published.
    Drifted {
        /// The first file that differs.
        file: String,
    },
    /// The configuration changed: go on by this policy. Files of its own become visible by
    /// `Switch`.
    Reload(Policy),
    /// Somebody wants Vault asked now.
    Refresh {
        /// About this secret, or all.
        secret: Option<SecretName>,
    },
    /// Stop, as the policy says.
    Stop,
}

/// A Vault token as the login answered it.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token.
    pub secret: Secret,
    /// Its life.
    pub term: TokenTerm,
    /// Whether we made it, and so may revoke it.
    pub ours: bool,
}

/// A secret id that came in a wrapping token, which gives it only once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unwrapped {
    /// The keyed hash of the wrapping token, to know it again.
    pub of: String,
    /// The secret id.
    #[serde(with = "stored")]
    pub secret_id: Secret,
}

/// What Vault says of a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTerm {
    /// How long from the request on; `None` for a token that never ends.
    pub ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Whether each renewal gives a whole period, without end. `None` when the answer does not say
    /// (only a lookup does).
    pub periodic: Option<bool>,
}

/// Why a login failed.
#[derive(Clone, Debug)]
pub struct LoginFailure {
    /// The failure; `Denied` when Vault refused the credential itself.
    pub failure: Failure,
    /// The keyed hash of the credential that was tried, to know it again.
    pub credential: Option<String>,
    /// Whether a credential that is `Denied` stays so: Vault would lock the role, or it can never
    /// become good. Others may be taken once something is mended in Vault.
    pub lasting: bool,
}

impl From<Failure> for LoginFailure {
    /// One that says nothing of a credential.
    fn from(failure: Failure) -> Self {
        Self { failure, credential: None, lasting: false }
    }
}

/// What a poll found.
#[derive(Clone, Debug)]
pub enum Reading {
    /// Still the version that is known.
    Same {
        /// What is left of it, as in `New`.
        left: Option<Duration>,
    },
    /// Another one.
    New {
        /// Its version.
        version: Version,
        /// The value.
        content: Granted,
        /// How long until it ends, or somebody replaces it, where that is known.
        left: Option<Duration>,
    },
    /// The answer was a lease that nobody asked for, and so would be each further one. It was
    /// ended, as far as it could be; the failure says so.
    Leased(Failure),
}

/// What readers of the publish directory see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    /// The generation.
    pub generation: Generation,
    /// Whether anything had to be written.
    pub changed: bool,
}
