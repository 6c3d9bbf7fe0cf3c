//! Tokens: got by a login, looked at, renewed, ended.
//!
//! Receives what the configuration says of the login, reads the credential's files at each login,
//! gives a [`Token`]. Never sends a credential that it is told to leave alone.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde::Deserialize;
use vaultrs::api::token::requests::{
    CreateTokenRequest, LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest,
};
use zeroize::Zeroizing;

use crate::agent::event::{LoginFailure, Token, TokenTerm, Unwrapped};
use crate::error::{Class, Failure};
use crate::secret::{Secret, hex};
use crate::vault::answer::{AuthPart, Envelope, Nothing, seconds};
use crate::vault::error::Operation;
use crate::vault::method::Method;
use crate::vault::wire::Call;
use crate::vault::{Auth, Vault};

const STILL_WRAPPED: &str = "what logs in only once would use up the wrapping token that the agent \
     needs: give it a configuration with a secret id that is not wrapped";

#[derive(Deserialize)]
struct TokenFacts {
    ttl: i64,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    period: i64,
    #[serde(default)]
    explicit_max_ttl: i64,
    expire_time: Option<String>,
}

impl Vault {
    /// Logs in, unless the credential found has a hash in `refused`: then it fails as `Denied`
    /// without sending anything. A wrapped secret id must have been `unwrapped` before.
    ///
    /// # Errors
    /// `Denied` only when Vault refused the credential itself.
    pub async fn login(
        &self,
        refused: &[String],
        unwrapped: Option<&Unwrapped>,
    ) -> Result<Token, LoginFailure> {
        match &self.inner.auth {
            Auth::AppRole { mount, role_id_file, secret_id_file, wrapped } => {
                let role_id = credential_file("role id", role_id_file)?;
                let secret_id = match (wrapped, unwrapped) {
                    (true, Some(unwrapped)) => unwrapped.secret_id.clone(),
                    (true, None) => {
                        let failure =
                            Failure::new(Class::Missing, "log in: the secret id is still wrapped");
                        return Err(failure.hint(STILL_WRAPPED).into());
                    }
                    (false, _) => credential_file("secret id", secret_id_file)?,
                };
                let place = format!("`{}`", secret_id_file.display());
                let credential =
                    self.untried(&[&role_id, &secret_id], refused, "secret id", &place)?;
                let answer = self.login_approle(mount, &role_id, &secret_id).await;
                answer.map_err(|failure| self.login_failure(failure, credential))
            }
            Auth::Kubernetes(login) => {
                self.login_with_token(Method::Kubernetes, login, refused).await
            }
            Auth::Jwt(login) => self.login_with_token(Method::Jwt, login, refused).await,
            Auth::Certificate(login) => self.login_with_certificate(login, refused).await,
            Auth::TokenFile(path) => {
                let token = credential_file("token", path)?;
                self.login_token(token, refused, &format!("`{}`", path.display())).await
            }
            Auth::Token(token) => self.login_token(token.clone(), refused, "`VAULT_TOKEN`").await,
        }
    }

    /// The credential's hash; fails where that is one of `refused`.
    pub(super) fn untried(
        &self,
        parts: &[&Secret],
        refused: &[String],
        what: &str,
        place: &str,
    ) -> Result<String, LoginFailure> {
        let texts: Vec<&str> = parts.iter().map(|part| part.expose()).collect();
        let joined = Zeroizing::new(texts.join("\0"));
        let credential = hex(hmac::sign(&self.inner.hash_key, joined.as_bytes()).as_ref());
        if !refused.contains(&credential) {
            return Ok(credential);
        }
        let text = format!("log in: vault refused the {what} from {place} before");
        let failure = Failure::new(Class::Denied, text)
            .hint(format!("nothing is sent until there is another {what} in {place}"));
        Err(self.login_failure(failure, credential))
    }

    /// What became of a login with `credential`.
    pub(super) fn login_failure(&self, failure: Failure, credential: String) -> LoginFailure {
        let lasting = match &self.inner.auth {
            Auth::AppRole { .. } | Auth::TokenFile(_) | Auth::Token(_) => true,
            Auth::Kubernetes(_) | Auth::Jwt(_) | Auth::Certificate(_) => false,
        };
        LoginFailure { failure, credential: Some(credential), lasting }
    }

    async fn login_token(
        &self,
        token: Secret,
        refused: &[String],
        place: &str,
    ) -> Result<Token, LoginFailure> {
        let credential = self.untried(&[&token], refused, "token", place)?;
        match self.lookup_token(&token).await {
            Ok(term) => Ok(Token { secret: token, term, ours: false }),
            Err(mut failure) => {
                failure.class = match failure.class {
                    Class::Gone => Class::Denied,
                    // A good token that may not look itself up: the policy is wrong, not it.
                    Class::Denied => Class::Ours,
                    other @ (Class::Again { .. }
                    | Class::Missing
                    | Class::Conflict
                    | Class::Unclear
                    | Class::Ours) => other,
                };
                if failure.class == Class::Denied {
                    failure.hint = Some(format!("put a valid token into {place}"));
                }
                Err(self.login_failure(failure, credential))
            }
        }
    }

    /// Makes a token under `token`, with its policies and for `term`, for one lease of `secret`.
    ///
    /// # Errors
    /// `Denied` when the policy gives no right to make tokens; `Ours` for a token that cannot have
    /// any (a batch token, one of limited use).
    pub async fn create_token(
        &self,
        token: &Secret,
        secret: &str,
        term: Duration,
    ) -> Result<Token, Failure> {
        let call = on_token(Operation::CreateToken, "create a child token", token);
        let request = CreateTokenRequest {
            ttl: Some(format!("{}s", term.as_secs())),
            meta: Some(HashMap::from([("leasehold_secret".to_owned(), secret.to_owned())])),
            ..CreateTokenRequest::default()
        };
        let answer = self.inner.wire.send::<_, Nothing>(&call, &request).await?;
        let auth = auth_part(&call, answer)?;
        let term = TokenTerm::from(&auth);
        Ok(Token { secret: auth.client_token, term, ours: true })
    }

    /// What is left of `token`.
    ///
    /// # Errors
    /// `Gone` when Vault does not know the token; `Denied` when it may not look itself up.
    pub async fn lookup_token(&self, token: &Secret) -> Result<TokenTerm, Failure> {
        let call = on_token(Operation::LookupToken, "look up the token", token);
        let answer: Envelope<TokenFacts> =
            self.inner.wire.send(&call, &LookupTokenSelfRequest {}).await?;
        let Some(facts) = answer.data else {
            return Err(call.failure(Class::Again { after: None }, "vault's answer has no `ttl`"));
        };
        let never_ends = facts.ttl == 0 && facts.expire_time.is_none();
        Ok(TokenTerm {
            ttl: (!never_ends).then(|| seconds(facts.ttl)),
            renewable: facts.renewable,
            periodic: Some(facts.period > 0 && facts.explicit_max_ttl == 0),
        })
    }

    /// Renews `token` by itself.
    ///
    /// # Errors
    /// As [`Vault::lookup_token`]; `Ours` for a token that cannot be renewed.
    pub async fn renew_token(
        &self,
        token: &Secret,
        increment: Option<Duration>,
    ) -> Result<TokenTerm, Failure> {
        let call = on_token(Operation::RenewToken, "renew the token", token);
        let increment = increment.map(|span| {
            let whole = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
            format!("{}s", whole.max(1))
        });
        let request = RenewTokenSelfRequest { increment };
        let answer = self.inner.wire.send::<_, Nothing>(&call, &request).await?;
        let auth = auth_part(&call, answer)?;
        Ok(TokenTerm {
            ttl: Some(Duration::from_secs(auth.lease_duration)),
            renewable: auth.renewable,
            periodic: None,
        })
    }

    /// Revokes `token` by itself, and with it every lease under it.
    ///
    /// # Errors
    /// `Gone` when Vault does not know the token; `Ours` for one that cannot be revoked.
    pub async fn revoke_token(&self, token: &Secret) -> Result<(), Failure> {
        let call = on_token(Operation::RevokeToken, "revoke the token", token);
        self.inner.wire.send::<_, Nothing>(&call, &RevokeTokenSelfRequest {}).await.map(drop)
    }
}

impl From<&AuthPart> for TokenTerm {
    fn from(auth: &AuthPart) -> Self {
        let never_ends = auth.lease_duration == 0;
        let ttl = (!never_ends).then(|| Duration::from_secs(auth.lease_duration));
        Self { ttl, renewable: auth.renewable, periodic: None }
    }
}

fn on_token<'a>(operation: Operation, doing: &str, token: &'a Secret) -> Call<'a> {
    Call { operation, doing: doing.to_owned(), token: Some(token), hidden: Vec::new() }
}

pub(super) fn auth_part(call: &Call<'_>, answer: Envelope<Nothing>) -> Result<AuthPart, Failure> {
    let auth = answer.auth.filter(|auth| !auth.client_token.expose().is_empty());
    auth.ok_or_else(|| {
        call.failure(Class::Again { after: None }, "vault's answer has no `auth.client_token`")
    })
}

/// The trimmed content of a file that holds one secret; `what` names it in the error.
///
/// # Errors
/// `Missing` when there is none, `Ours` when it cannot be read or holds something else.
pub fn credential_file(what: &str, path: &Path) -> Result<Secret, Failure> {
    let refuse = |class, why: &str| {
        Failure::new(class, format!("read the {what} from `{}`: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        let class =
            if error.kind() == io::ErrorKind::NotFound { Class::Missing } else { Class::Ours };
        refuse(class, &error.to_string())
    })?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(refuse(Class::Missing, "it is empty"));
    }
    if trimmed.chars().any(char::is_control) {
        return Err(refuse(Class::Ours, "it holds more than one line or a control character"));
    }
    Ok(Secret::new(trimmed.to_owned()))
}
