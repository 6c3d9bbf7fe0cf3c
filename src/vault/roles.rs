//! What a database role grants, before it is asked for a login.
//!
//! Receives a source, gives the term of its leases and how far renewals carry them. Never guesses:
//! where the policy does not show all of it, that is the answer.

use std::time::Duration;

use rustify_derive::Endpoint;
use serde::Deserialize;

use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

// vaultrs answers these two with more than is wanted, and in types that print themselves.

#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/roles/{self.role}", method = "GET")]
struct ReadRole {
    #[endpoint(skip)]
    mount: String,
    #[endpoint(skip)]
    role: String,
}

#[derive(Endpoint)]
#[endpoint(path = "sys/mounts/{self.mount}/tune", method = "GET")]
struct ReadTune {
    #[endpoint(skip)]
    mount: String,
}

/// Seconds; 0 stands for the mount's own.
#[derive(Deserialize)]
struct Role {
    default_ttl: u64,
    max_ttl: u64,
}

/// Seconds.
#[derive(Deserialize)]
struct Tune {
    default_lease_ttl: u64,
    max_lease_ttl: u64,
}

/// What the leases of a role are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleTerms {
    /// The term of each.
    pub ttl: Duration,
    /// How long renewals carry it.
    pub longest: Duration,
}

impl Vault {
    /// Reads the role of `source` and the settings of its mount, which bound it.
    ///
    /// # Errors
    /// `Denied` where the policy shows one of them not; `Ours` for a source that is no database
    /// role.
    pub async fn role_terms(&self, token: &Secret, source: &Source) -> Result<RoleTerms, Failure> {
        let Source::Database { mount, role } = source else {
            return Err(Failure::new(Class::Ours, "read the role: this source has none"));
        };
        let (mount, role) = (names::path("mount", mount)?, names::path("role", role)?);
        let call = |doing: String| Call {
            operation: Operation::ReadMetadata,
            doing,
            token: Some(token),
            hidden: Vec::new(),
        };
        let reading = call(format!("read `{mount}/roles/{role}`"));
        let request = ReadRole { mount: mount.clone(), role };
        let answer: Envelope<Role> = self.inner.wire.send(&reading, &request).await?;
        let missing = |call: &Call<'_>| call.failure(Class::Ours, "vault's answer has no terms");
        let role = answer.data.ok_or_else(|| missing(&reading))?;

        let reading = call(format!("read `sys/mounts/{mount}/tune`"));
        let answer: Envelope<Tune> = self.inner.wire.send(&reading, &ReadTune { mount }).await?;
        let tune = answer.data.ok_or_else(|| missing(&reading))?;
        Ok(terms(&role, &tune))
    }
}

fn terms(role: &Role, tune: &Tune) -> RoleTerms {
    let or = |own: u64, mounts: u64| if own == 0 { mounts } else { own };
    let longest = or(role.max_ttl, tune.max_lease_ttl).min(tune.max_lease_ttl);
    let ttl = or(role.default_ttl, tune.default_lease_ttl).min(longest);
    RoleTerms { ttl: Duration::from_secs(ttl), longest: Duration::from_secs(longest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_fills_in_and_bounds() {
        for (role, tune, wanted) in [
            ((86_400, 259_200), (3600, 2_764_800), (86_400, 259_200)),
            ((0, 0), (3600, 7200), (3600, 7200)),
            ((86_400, 259_200), (3600, 43_200), (43_200, 43_200)),
            ((0, 1800), (3600, 7200), (1800, 1800)),
        ] {
            let found = terms(
                &Role { default_ttl: role.0, max_ttl: role.1 },
                &Tune { default_lease_ttl: tune.0, max_lease_ttl: tune.1 },
            );
            let wanted = RoleTerms {
                ttl: Duration::from_secs(wanted.0),
                longest: Duration::from_secs(wanted.1),
            };
            assert_eq!(found, wanted, "{role:?} {tune:?}");
        }
    }
}
