//! Leases: made, looked at, renewed or shortened, ended.
//!
//! Receives a lease id or a role, gives a [`Grant`] or what is left of the lease. Never makes a
//! lease without saying so: where one may exist that nobody knows, the failure is `Unclear`.

use std::sync::Arc;
use std::time::Duration;

use rustify_derive::Endpoint;
use serde::Deserialize;
use vaultrs::api::database::requests::GenerateCredentialsRequest;
use zeroize::Zeroize;

use crate::error::{Class, Failure};
use crate::lease::{Grant, Granted, LeaseTerm};
use crate::secret::{Credential, Secret, stored};
use crate::vault::answer::{Envelope, Nothing, seconds};
use crate::vault::error::Operation;
use crate::vault::plain::{RawFields, ReadPath, fields};
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

// vaultrs has none of these three.

#[derive(Endpoint)]
#[endpoint(path = "sys/leases/lookup", method = "PUT")]
pub(super) struct LookupLease {
    pub(super) lease_id: String,
}

#[derive(Endpoint)]
#[endpoint(path = "sys/leases/renew", method = "PUT")]
struct RenewLease {
    lease_id: String,
    /// Seconds from now on.
    increment: u64,
}

#[derive(Endpoint)]
#[endpoint(path = "sys/leases/revoke", method = "PUT")]
struct RevokeLease {
    lease_id: String,
    /// Whether the answer waits until the login is gone.
    sync: bool,
}

#[derive(Deserialize)]
struct Login {
    username: Option<String>,
    #[serde(default, deserialize_with = "some_secret")]
    password: Option<Secret>,
}

pub(super) fn some_secret<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<Option<Secret>, D::Error> {
    stored::deserialize(input).map(Some)
}

#[derive(Deserialize)]
struct Left {
    ttl: i64,
}

impl Vault {
    /// Makes a lease. Waits a minute and more: an answer nobody reads is a lease nobody ends.
    ///
    /// # Errors
    /// `Unclear` when a lease may exist all the same; `Ours` for a source that gives no leases.
    pub async fn issue(&self, token: &Secret, source: &Source) -> Result<Grant, Failure> {
        match source {
            Source::Database { mount, role } => {
                let request = GenerateCredentialsRequest {
                    mount: names::path("mount", mount)?,
                    name: names::path("role", role)?,
                };
                let call = issuing(token, &format!("{}/creds/{}", request.mount, request.name));
                let answer: Envelope<Login> = self.inner.wire.send(&call, &request).await?;
                self.grant(&call, token, answer, login).await
            }
            Source::Leased { path } => {
                let request = ReadPath { path: names::path("path", path)? };
                let call = issuing(token, &request.path);
                let answer: Envelope<RawFields> = self.inner.wire.send(&call, &request).await?;
                if answer.lease_id.expose().is_empty() {
                    return Err(call
                        .failure(Class::Ours, "vault's answer is no lease")
                        .hint("leave out `leased: true`: this path is read, and polled"));
                }
                let data = |data: Option<RawFields>| {
                    data.map(|data| Granted::Fields(Arc::new(fields(data)))).ok_or("data")
                };
                self.grant(&call, token, answer, data).await
            }
            Source::Kv { mount, path, .. } => read_not_leased(&format!("{mount}/{path}")),
            Source::Static { mount, role } => read_not_leased(&format!("{mount}/{role}")),
            Source::Plain { path } => read_not_leased(path),
            Source::Certificate(request) => Err(request.only_made()),
        }
    }

    /// The grant in `answer`; `content` takes what is leased out of it or names what it lacks.
    async fn grant<T>(
        &self,
        call: &Call<'_>,
        token: &Secret,
        answer: Envelope<T>,
        content: impl FnOnce(Option<T>) -> Result<Granted, &'static str>,
    ) -> Result<Grant, Failure> {
        let field = match content(answer.data) {
            _ if answer.lease_id.expose().is_empty() => "lease_id",
            Ok(content) if answer.lease_duration > 0 => {
                return Ok(Grant {
                    lease_id: answer.lease_id,
                    duration: Duration::from_secs(answer.lease_duration),
                    renewable: answer.renewable,
                    content,
                    request_id: answer.request_id,
                });
            }
            Ok(_) => "lease_duration",
            Err(field) => field,
        };
        let failure = call
            .failure(Class::Unclear, format!("vault's answer has no `{field}`"))
            .hint("of database roles, only those with the credential type `password` can be used");
        Err(self.discard(token, &answer.lease_id, failure).await)
    }

    /// Ends a lease that nobody will use, for the reason `failure`, which it gives back with what
    /// became of the lease. Where ending it fails, it ends with its term.
    pub async fn discard(&self, token: &Secret, lease: &Secret, failure: Failure) -> Failure {
        if lease.expose().is_empty()
            || self.renew_lease(token, lease, Duration::from_secs(1)).await.is_ok()
            || self.revoke_lease(token, lease).await.is_ok()
        {
            return failure;
        }
        let hint = failure.hint.as_deref().map_or_else(String::new, |hint| format!("{hint}; "));
        failure.hint(format!("{hint}the lease runs to its end unused"))
    }

    /// Renews or shortens a lease; `increment` in whole seconds counts from now.
    ///
    /// # Errors
    /// `Gone` only when Vault says that there is no such lease.
    pub async fn renew_lease(
        &self,
        token: &Secret,
        lease: &Secret,
        increment: Duration,
    ) -> Result<LeaseTerm, Failure> {
        let call = on_lease(Operation::RenewLease, "renew", token, lease);
        let mut request =
            RenewLease { lease_id: lease.expose().to_owned(), increment: whole_seconds(increment) };
        let answer = self.inner.wire.send::<_, Nothing>(&call, &request).await;
        request.lease_id.zeroize();
        let answer = answer?;
        if answer.lease_id.expose().is_empty() {
            let class = Class::Again { after: None };
            return Err(call.failure(class, "vault's answer has no `lease_duration`"));
        }
        Ok(LeaseTerm { ttl: Duration::from_secs(answer.lease_duration) })
    }

    /// What is left of a lease.
    ///
    /// # Errors
    /// `Gone` when Vault does not know it.
    pub async fn lookup_lease(&self, token: &Secret, lease: &Secret) -> Result<LeaseTerm, Failure> {
        let call = on_lease(Operation::LookupLease, "look up", token, lease);
        let mut request = LookupLease { lease_id: lease.expose().to_owned() };
        let answer = self.inner.wire.send::<_, Left>(&call, &request).await;
        request.lease_id.zeroize();
        match answer?.data {
            Some(left) => Ok(LeaseTerm { ttl: seconds(left.ttl) }),
            None => Err(call.failure(Class::Again { after: None }, "vault's answer has no `ttl`")),
        }
    }

    /// Ends a lease and waits until it has ended. OpenBao answers so for an unknown lease too.
    ///
    /// # Errors
    /// `Again` when the database behind it cannot be reached; `Gone` when there is no such lease.
    pub async fn revoke_lease(&self, token: &Secret, lease: &Secret) -> Result<(), Failure> {
        let call = on_lease(Operation::RevokeLease, "revoke", token, lease);
        let mut request = RevokeLease { lease_id: lease.expose().to_owned(), sync: true };
        let answer = self.inner.wire.send::<_, Nothing>(&call, &request).await;
        request.lease_id.zeroize();
        answer.map(drop)
    }
}

fn issuing<'a>(token: &'a Secret, path: &str) -> Call<'a> {
    Call {
        operation: Operation::Issue,
        doing: format!("issue `{path}`"),
        token: Some(token),
        hidden: Vec::new(),
    }
}

fn login(login: Option<Login>) -> Result<Granted, &'static str> {
    match login {
        Some(Login { username: Some(username), password: Some(password) }) => {
            Ok(Granted::Login(Credential { username, password }))
        }
        Some(Login { username: Some(_), password: None }) => Err("password"),
        Some(Login { username: None, .. }) | None => Err("username"),
    }
}

fn read_not_leased(path: &str) -> Result<Grant, Failure> {
    let text = format!("issue `{path}`: what is there is read, not leased");
    Err(Failure::new(Class::Ours, text))
}

pub(super) fn on_lease<'a>(
    operation: Operation,
    verb: &str,
    token: &'a Secret,
    lease: &'a Secret,
) -> Call<'a> {
    Call {
        operation,
        doing: format!("{verb} lease {}", lease.short_hash()),
        token: Some(token),
        hidden: vec![lease],
    }
}

/// Vault takes 0 and fractions for "the full default": the opposite of a short term.
fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_are_whole_seconds_and_never_none() {
        for (millis, secs) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), secs, "{millis}");
        }
    }
}
