//! Secret ids that arrive wrapped: in a token that gives them away once, and tells who made it.
//!
//! Receives the file with the wrapping token, gives the secret id in it. Never unwraps what somebody
//! else wrapped, and never asks twice for what Vault gives only once.

use std::path::Path;

use serde::Deserialize;
use vaultrs::api::sys::requests::{UnwrapRequest, WrappingLookupRequest};
use zeroize::Zeroize;

use crate::agent::event::{LoginFailure, Unwrapped};
use crate::error::{Class, Failure};
use crate::secret::{Secret, stored};
use crate::vault::answer::Envelope;
use crate::vault::auth::credential_file;
use crate::vault::error::{Operation, one_line};
use crate::vault::wire::Call;
use crate::vault::{Auth, Vault};

const STOLEN: &str = "it was used before, has run out, or is no wrapping token; where none of you \
                      used it, treat the secret id in it as stolen: destroy it and wrap a new one";

#[derive(Deserialize)]
struct Origin {
    creation_path: String,
}

#[derive(Deserialize)]
struct Content {
    #[serde(deserialize_with = "stored::deserialize")]
    secret_id: Secret,
}

impl Vault {
    /// Unwraps the secret id that the login needs; `None` where it is not wrapped, or the login is
    /// to go on with `known`: because that was in the file's token, or nothing better is.
    ///
    /// # Errors
    /// `Denied` when the wrapping token is none, gave its secret id away already, or was not made
    /// by our AppRole; without sending anything when its hash is in `refused`.
    pub async fn unwrap(
        &self,
        refused: &[String],
        known: Option<&Unwrapped>,
    ) -> Result<Option<Unwrapped>, LoginFailure> {
        let Auth::AppRole { mount, secret_id_file, wrapped: true, .. } = &self.inner.auth else {
            return Ok(None);
        };
        let Some(token) = wrapping_token(secret_id_file, known)? else {
            return Ok(None);
        };
        let place = format!("`{}`", secret_id_file.display());
        let of = self.untried(&[&token], refused, "wrapping token", &place);
        let of = match (of, known) {
            // A token that has run out, or is a mistake, does not take away what we had before.
            (Err(_), Some(_)) => return Ok(None),
            (of, None) => of?,
            (Ok(of), Some(known)) if known.of == of => return Ok(None),
            (Ok(of), Some(_)) => of,
        };
        match self.unwrap_token(&token, mount, &place).await {
            Ok(secret_id) => Ok(Some(Unwrapped { of, secret_id })),
            Err(failure) => Err(self.login_failure(failure, of)),
        }
    }

    async fn unwrap_token(
        &self,
        token: &Secret,
        mount: &str,
        place: &str,
    ) -> Result<Secret, Failure> {
        let mut call = Call {
            operation: Operation::LookupWrapping,
            doing: format!("look up the wrapping token from {place}"),
            token: None,
            hidden: vec![token],
        };
        let mut request = WrappingLookupRequest { token: token.expose().to_owned() };
        let answer = self.inner.wire.send::<_, Origin>(&call, &request).await;
        request.token.zeroize();
        let Some(Origin { creation_path }) = answer.map_err(stolen)?.data else {
            let again = Class::Again { after: None };
            return Err(call.failure(again, "vault's answer has no `creation_path`"));
        };
        if !is_secret_id(mount, &creation_path) {
            let made: String = one_line(&creation_path).chars().take(200).collect();
            let text = format!("it was made at `{made}`, not at `auth/{mount}/role/…/secret-id`");
            return Err(call.failure(Class::Denied, text).hint(
                "nothing was unwrapped; take it for an attack: find out who wrote the file, and \
                 have a new secret id wrapped",
            ));
        }
        call.operation = Operation::Unwrap;
        call.doing = format!("unwrap the secret id from {place}");
        call.token = Some(token);
        let request = UnwrapRequest { token: None };
        let answer: Envelope<Content> =
            self.inner.wire.send(&call, &request).await.map_err(stolen)?;
        let content = answer.data.map(|content| content.secret_id);
        content.ok_or_else(|| call.failure(Class::Denied, "there was no `secret_id` in it"))
    }
}

/// The token in the file. One that is gone is no longer needed where its secret id is `known`.
fn wrapping_token(file: &Path, known: Option<&Unwrapped>) -> Result<Option<Secret>, Failure> {
    match credential_file("wrapping token", file) {
        Err(failure) if failure.class == Class::Missing && known.is_some() => Ok(None),
        read => read.map(Some),
    }
}

fn stolen(mut failure: Failure) -> Failure {
    if failure.class == Class::Gone {
        failure.class = Class::Denied;
        return failure.hint(STOLEN);
    }
    failure
}

/// Whether `path` is where the AppRole at `mount` makes secret ids.
fn is_secret_id(mount: &str, path: &str) -> bool {
    let role = path
        .strip_prefix("auth/")
        .and_then(|rest| rest.strip_prefix(mount.trim_matches('/')))
        .and_then(|rest| rest.strip_prefix("/role/"))
        .and_then(|rest| rest.strip_suffix("/secret-id"));
    role.is_some_and(|role| !role.is_empty() && !role.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_approles_own_path_makes_secret_ids() {
        for (mount, path, good) in [
            ("approle", "auth/approle/role/app/secret-id", true),
            ("team/approle/", "auth/team/approle/role/app/secret-id", true),
            ("approle", "auth/approle/role/app/custom-secret-id", false),
            ("approle", "auth/approle/role/app/secret-id/lookup", false),
            ("approle", "auth/approle/role//secret-id", false),
            ("approle", "auth/approle/role/a/b/secret-id", false),
            ("approle", "auth/approle2/role/app/secret-id", false),
            ("approle", "sys/wrapping/wrap", false),
            ("approle", "secret/data/auth/approle/role/app/secret-id", false),
            ("approle", "", false),
        ] {
            assert_eq!(is_secret_id(mount, path), good, "{path}");
        }
    }
}
