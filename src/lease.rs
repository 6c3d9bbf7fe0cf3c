//! One lease: what Vault granted, what is left of it, and when something is due.
//!
//! Receives answers and the time, gives the next request. Never does I/O and never decides which
//! credential an app should use; that is [`crate::agent::leased`].

pub mod machine;
pub mod schedule;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::event::TokenTerm;
use crate::secret::{Credential, Secret, stored};
use crate::snapshot::{Connection, Content, Fields};
use crate::time::Moment;

/// A database role's oid. Names come and go; an oid stays with its sessions even after the role
/// was dropped.
pub type RoleId = u32;

/// What Vault gave for one issue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Names the lease to Vault. A secret: the default policy lets anybody renew by it.
    #[serde(with = "stored")]
    pub lease_id: Secret,
    /// The term, from when the request was sent.
    pub duration: Duration,
    /// Whether the term can be extended.
    pub renewable: bool,
    /// What is leased.
    pub content: Granted,
    /// Vault's name for the request, for its audit log.
    pub request_id: String,
}

/// A token made for one lease, under the session's: the lease ends with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChildToken {
    /// The token.
    #[serde(with = "stored")]
    pub token: Secret,
    /// The session that it dies with.
    pub session: u64,
    /// When it ends by itself, and its lease with it; `None` for one that never does.
    pub expires: Option<Moment>,
    /// Whether it was made to last, after the short life that it is born with.
    pub lasting: bool,
}

impl ChildToken {
    /// Whether it has ended by our count.
    pub fn is_past(&self, now: Moment) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// What a lease is of, or a value that is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Granted {
    /// A database login.
    Login(Credential),
    /// Whatever the path answered.
    Fields(Arc<Fields>),
}

impl Granted {
    /// The database login, where it is one.
    pub fn login(&self) -> Option<&Credential> {
        match self {
            Self::Login(credential) => Some(credential),
            Self::Fields(_) => None,
        }
    }

    /// The same as a set holds it: with the logins before it, and where to use it.
    pub fn content(
        &self,
        previous: Vec<Credential>,
        connection: Option<Arc<Connection>>,
    ) -> Content {
        match self {
            Self::Login(credential) => {
                Content::Database { credential: credential.clone(), previous, connection }
            }
            Self::Fields(fields) => Content::Fields(fields.clone()),
        }
    }
}

impl Grant {
    /// The database login, where it is one.
    pub fn login(&self) -> Option<&Credential> {
        self.content.login()
    }

    /// The database user; empty where it is no login.
    pub fn username(&self) -> String {
        self.login().map(|login| login.username.clone()).unwrap_or_default()
    }
}

/// What is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerm {
    /// From when the request was sent.
    pub ttl: Duration,
}

impl From<TokenTerm> for LeaseTerm {
    fn from(term: TokenTerm) -> Self {
        Self { ttl: term.ttl.unwrap_or(schedule::BEYOND_ANY_MAXIMUM) }
    }
}
