//! Whose leases there are: Vault's own list, for an operator.
//!
//! Receives a source or a lease, gives the ids of its leases or when one began and ends. Never
//! needed by an agent: listing wants `sudo`, which no agent should have.

use std::time::Duration;

use jiff::Timestamp;
use rustify_derive::Endpoint;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::vault::answer::{Envelope, seconds};
use crate::vault::error::Operation;
use crate::vault::leases::{LookupLease, on_lease};
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

#[derive(Endpoint)]
#[endpoint(path = "sys/leases/lookup/{self.below}", method = "LIST")]
struct ListLeases {
    #[endpoint(skip)]
    below: String,
}

#[derive(Deserialize)]
struct Listing {
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Facts {
    ttl: i64,
    issue_time: String,
    expire_time: Option<String>,
}

/// When a lease began and when it ends, by Vault's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends unless it is renewed; `None` for one that never does.
    pub expires: Option<Timestamp>,
    /// How old it was when Vault was asked.
    pub age: Duration,
}

impl Vault {
    /// The ids of all leases of `source`, whoever made them. A role that has none, and one that
    /// is not there, have no leases.
    ///
    /// # Errors
    /// `Denied` without the right to list and `sudo`; `Ours` for a source that makes no leases.
    pub async fn list_leases(
        &self,
        token: &Secret,
        source: &Source,
    ) -> Result<Vec<Secret>, Failure> {
        let below = source.leases_below().ok_or_else(|| {
            Failure::new(Class::Ours, "list leases: what is read has none".to_owned())
        })?;
        let below = names::path("path of the leases", &below)?;
        let call = Call {
            operation: Operation::ListLeases,
            doing: format!("list the leases of `{below}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ListLeases { below: below.clone() };
        let listed: Result<Envelope<Listing>, Failure> =
            self.inner.wire.send(&call, &request).await;
        let keys = match listed {
            Ok(answer) => answer.data.map(|listing| Zeroizing::new(listing.keys)),
            Err(failure) if failure.class == Class::Missing => Some(Zeroizing::default()),
            Err(failure) => return Err(failure),
        };
        let keys = keys.ok_or_else(|| {
            call.failure(Class::Again { after: None }, "vault's answer has no `keys`")
        })?;
        // What ends with a slash is a folder: leases of another path.
        let own = keys.iter().filter(|key| !key.ends_with('/'));
        Ok(own.map(|key| Secret::new(format!("{below}/{key}"))).collect())
    }

    /// When `lease` began and ends.
    ///
    /// # Errors
    /// `Gone` when Vault does not know it.
    pub async fn lease_times(&self, token: &Secret, lease: &Secret) -> Result<LeaseTimes, Failure> {
        let call = on_lease(Operation::LookupLease, "look up", token, lease);
        let mut request = LookupLease { lease_id: lease.expose().to_owned() };
        let answer = self.inner.wire.send::<_, Facts>(&call, &request).await;
        request.lease_id.zeroize();
        let times = answer?.data.and_then(|facts| times(&facts, Timestamp::now()));
        times.ok_or_else(|| {
            call.failure(Class::Again { after: None }, "vault's answer has no `issue_time`")
        })
    }
}

/// What is left of a lease tells what Vault's clock showed; `now` is for one that never ends.
fn times(facts: &Facts, now: Timestamp) -> Option<LeaseTimes> {
    let issued: Timestamp = facts.issue_time.parse().ok()?;
    let expires: Option<Timestamp> = match &facts.expire_time {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let asked = match expires {
        Some(end) if facts.ttl > 0 => end.saturating_sub(seconds(facts.ttl)).unwrap_or(now),
        Some(_) | None => now,
    };
    let age = Duration::try_from(asked.duration_since(issued)).unwrap_or_default();
    Some(LeaseTimes { issued, expires, age })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_told_by_vaults_clock() {
        let (issued, ours) = ("2026-11-27T13:50:18.4Z", "2026-11-27T19:00:00Z".parse().unwrap());
        for (ttl, expires, age) in [
            (3590, Some("2026-11-27T14:50:18.4Z"), 10),
            (3600, Some("2026-11-27T14:50:18.4Z"), 0),
            (3700, Some("2026-11-27T14:50:18.4Z"), 0),
            (-5, Some("2026-11-27T14:50:18.4Z"), 18_581),
            (0, None, 18_581),
        ] {
            let (issue_time, expire_time) = (issued.to_owned(), expires.map(str::to_owned));
            let found = times(&Facts { ttl, issue_time, expire_time }, ours).unwrap();
            assert_eq!(found.age.as_secs(), age, "{ttl}");
        }
    }
}
