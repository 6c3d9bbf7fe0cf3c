//! PostgreSQL: log in with a credential, count sessions.
//!
//! Receives a credential, gives a role's oid or session counts, or a classed [`Failure`]. Never
//! keeps a connection open and never writes.

use std::collections::BTreeMap;

use crate::error::{Class, Failure};
use crate::lease::RoleId;
use crate::secret::Credential;
use crate::snapshot::Connection;

/// Logs in with `credential` on every host of `connection` and gives the role's oid.
///
/// # Errors
/// `Denied` only for SQLSTATE 28P01, 28000 and 3D000: those speak of the credential. Anything else
/// (unreachable, too many connections, starting up, time-out) is `Again`.
#[expect(clippy::unused_async, reason = "stub")]
pub async fn probe(_connection: &Connection, _credential: &Credential) -> Result<RoleId, Failure> {
    Err(Failure::new(Class::Ours, "not built yet"))
}

/// Counts, on every host, the sessions of `roles`, without our own.
///
/// # Errors
/// As [`probe`].
#[expect(clippy::unused_async, reason = "stub")]
pub async fn count(
    _connection: &Connection,
    _credential: &Credential,
    _roles: &[RoleId],
) -> Result<Vec<BTreeMap<RoleId, u64>>, Failure> {
    Err(Failure::new(Class::Ours, "not built yet"))
}
