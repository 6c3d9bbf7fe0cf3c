//! One lease: what Vault granted, what is left of it, and when something is due.
//!
//! Receives answers and the time, gives the next request. Never does I/O and never decides which
//! credential an app should use; that is [`crate::agent::leased`].

pub mod machine;
pub mod schedule;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::{Credential, Secret, stored};

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
    /// The login.
    pub credential: Credential,
    /// Vault's name for the request, for its audit log.
    pub request_id: String,
}

/// What is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerm {
    /// From when the request was sent.
    pub ttl: Duration,
}
