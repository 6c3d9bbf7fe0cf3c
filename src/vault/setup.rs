//! Vault's own settings: mounts, policies, roles, connections, for who sets Vault up.
//!
//! Receives a path, gives what is set there or sets it. Never needed by an agent, whose policy should
//! not have it; and what is read here is settings only, in which Vault shows no secret.

use rustify_derive::Endpoint;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::agent::event::{Token, TokenTerm};
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::vault::answer::Nothing;
use crate::vault::auth::auth_part;
use crate::vault::error::Operation;
use crate::vault::plain::{ReadPath, WritePath};
use crate::vault::rights::allowed;
use crate::vault::wire::Call;
use crate::vault::{Capabilities, Vault, names};

/// The fields of a setting by name, in Vault's own words.
pub type Setting = Map<String, Value>;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    fields: &'a Setting,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

#[derive(Endpoint)]
#[endpoint(path = "auth/token/create", method = "POST")]
struct CreateBoundToken {
    policies: Vec<String>,
    no_default_policy: bool,
    ttl: String,
    renewable: bool,
}

#[derive(Endpoint)]
#[endpoint(path = "sys/capabilities", method = "POST")]
struct ReadCapabilitiesOf {
    token: String,
    paths: Vec<String>,
}

#[derive(Endpoint)]
#[endpoint(path = "auth/token/revoke", method = "POST")]
struct RevokeOther {
    token: String,
}

impl Vault {
    /// What is set at `path`; `None` where nothing is.
    ///
    /// # Errors
    /// `Denied` where the token may not look.
    pub async fn setting(&self, token: &Secret, path: &str) -> Result<Option<Setting>, Failure> {
        let path = names::path("path", path)?;
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: format!("read `{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        match self.inner.wire.send::<_, Setting>(&call, &ReadPath { path }).await {
            Ok(answer) => Ok(answer.data),
            Err(failure) if failure.class == Class::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Sets `fields` at `path`, and with them `password` where there is one. What it does not name
    /// stays, where Vault keeps it.
    ///
    /// # Errors
    /// `Ours` when Vault does not take them.
    pub async fn set(
        &self,
        token: &Secret,
        path: &str,
        fields: &Setting,
        password: Option<&Secret>,
    ) -> Result<(), Failure> {
        let path = names::path("path", path)?;
        let call = Call {
            operation: Operation::Configure,
            doing: format!("write `{path}`"),
            token: Some(token),
            hidden: password.into_iter().collect(),
        };
        let body = Body { fields, password: password.map(Secret::expose) };
        let request = WritePath::of(&call, path, &body)?;
        self.inner.wire.send::<_, Nothing>(&call, &request).await.map(drop)
    }

    /// Makes a token that has `policy` and no other, for a minute.
    ///
    /// # Errors
    /// `Denied` when the token may not make such a one: that takes `sudo`, or all rights of it.
    pub async fn bound_token(&self, token: &Secret, policy: &str) -> Result<Token, Failure> {
        let call = Call {
            operation: Operation::CreateToken,
            doing: format!("create a token with the policy `{policy}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = CreateBoundToken {
            policies: vec![policy.to_owned()],
            no_default_policy: true,
            ttl: "60s".to_owned(),
            renewable: false,
        };
        let answer = self.inner.wire.send::<_, Nothing>(&call, &request).await?;
        let auth = auth_part(&call, answer)?;
        let term = TokenTerm::from(&auth);
        Ok(Token { secret: auth.client_token, term, ours: true })
    }

    /// Revokes `other`, which may have no right to do that itself.
    ///
    /// # Errors
    /// `Denied` where `token` may not revoke others.
    pub async fn revoke_other(&self, token: &Secret, other: &Secret) -> Result<(), Failure> {
        let call = Call {
            operation: Operation::RevokeToken,
            doing: "revoke another token".to_owned(),
            token: Some(token),
            hidden: vec![other],
        };
        let mut request = RevokeOther { token: other.expose().to_owned() };
        let answer = self.inner.wire.send::<_, Nothing>(&call, &request).await;
        request.token.zeroize();
        answer.map(drop)
    }

    /// What `other` may do at each of `paths`.
    ///
    /// # Errors
    /// `Denied` where `token` may not ask that.
    pub async fn capabilities_of(
        &self,
        token: &Secret,
        other: &Secret,
        paths: impl IntoIterator<Item = String>,
    ) -> Result<Capabilities, Failure> {
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: "ask what another token may do".to_owned(),
            token: Some(token),
            hidden: vec![other],
        };
        let mut request = ReadCapabilitiesOf {
            token: other.expose().to_owned(),
            paths: paths.into_iter().collect(),
        };
        let answer = self.inner.wire.send(&call, &request).await;
        request.token.zeroize();
        allowed(&call, answer?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_more_field_and_none_is_left_out() {
        let fields = Setting::from_iter([("username".to_owned(), Value::from("vault-admin"))]);
        for (password, wanted) in [
            (None, r#"{"username":"vault-admin"}"#),
            (Some("p\"w"), r#"{"username":"vault-admin","password":"p\"w"}"#),
        ] {
            let text = serde_json::to_string(&Body { fields: &fields, password }).unwrap();
            assert_eq!(text, wanted);
        }
    }
}
