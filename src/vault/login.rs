//! The request of each way to log in.
//!
//! Receives the credential, gives a [`Token`]. Never keeps the credential, nor looks at what is in
//! a signed token: that is Vault's to judge.

use std::path::Path;

use rustify::endpoint::Endpoint;
use rustify_derive::Endpoint;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use zeroize::Zeroize;

use crate::agent::event::{LoginFailure, Token, TokenTerm};
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::vault::answer::Nothing;
use crate::vault::auth::{auth_part, credential_file};
use crate::vault::error::Operation;
use crate::vault::method::Method;
use crate::vault::wire::Call;
use crate::vault::{CertificateLogin, TokenLogin, Vault, names};

/// vaultrs calls the role `cert_name`, which Vault ignores: any role that fits would do.
#[derive(Endpoint)]
#[endpoint(path = "auth/{self.mount}/login", method = "POST")]
struct LoginWithCertificate {
    #[endpoint(skip)]
    mount: String,
    name: String,
}

impl Vault {
    pub(super) async fn login_approle(
        &self,
        mount: &str,
        role_id: &Secret,
        secret_id: &Secret,
    ) -> Result<Token, Failure> {
        let mut request = LoginWithApproleRequest {
            mount: names::path("mount of the login", mount)?,
            role_id: role_id.expose().to_owned(),
            secret_id: secret_id.expose().to_owned(),
        };
        let call = login(Method::AppRole, &request.mount, vec![secret_id, role_id]);
        let token = self.send_login(&call, &request).await;
        request.secret_id.zeroize();
        token
    }

    /// Logs in with the signed token that is in the file now: whoever made it replaces it in time.
    pub(super) async fn login_with_token(
        &self,
        method: Method,
        TokenLogin { mount, role, token_file }: &TokenLogin,
        refused: &[String],
    ) -> Result<Token, LoginFailure> {
        let signed = credential_file("token of the login", token_file)
            .map_err(|failure| method.without_token(failure))?;
        let place = format!("`{}`", token_file.display());
        let credential = self.untried(&[&signed], refused, "token", &place)?;
        let mount = names::path("mount of the login", mount)?;
        let call = login(method, &mount, vec![&signed]);
        let (role, jwt) = (role.clone(), signed.expose().to_owned());
        let token = if method == Method::Kubernetes {
            let mut request = LoginWithKubernetesRequest { mount, role, jwt };
            let token = self.send_login(&call, &request).await;
            request.jwt.zeroize();
            token
        } else {
            let mut request = JWTLoginRequest { mount, jwt, role: Some(role) };
            let token = self.send_login(&call, &request).await;
            request.jwt.zeroize();
            token
        };
        token.map_err(|failure| self.login_failure(failure, credential))
    }

    /// Logs in with the certificate that every connection shows.
    pub(super) async fn login_with_certificate(
        &self,
        CertificateLogin { mount, name, certificate }: &CertificateLogin,
        refused: &[String],
    ) -> Result<Token, LoginFailure> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).map(Secret::new);
            text.map_err(|error| {
                let text = format!("log in: read `{}`: {error}", path.display());
                Failure::new(Class::Ours, text)
            })
        };
        let pair = [read(&certificate.cert)?, read(&certificate.key)?];
        let place = format!("`{}`", certificate.cert.display());
        let credential = self.untried(&pair.each_ref(), refused, "certificate", &place)?;
        let mount = names::path("mount of the login", mount)?;
        let call = login(Method::Certificate, &mount, Vec::new());
        let request = LoginWithCertificate { mount, name: name.clone() };
        let token = self.send_login(&call, &request).await;
        token.map_err(|failure| self.login_failure(failure, credential))
    }

    async fn send_login<E: Endpoint>(
        &self,
        call: &Call<'_>,
        request: &E,
    ) -> Result<Token, Failure> {
        let answer = self.inner.wire.send::<_, Nothing>(call, request).await?;
        let auth = auth_part(call, answer)?;
        let term = TokenTerm::from(&auth);
        Ok(Token { secret: auth.client_token, term, ours: true })
    }
}

fn login<'a>(method: Method, mount: &str, hidden: Vec<&'a Secret>) -> Call<'a> {
    let doing = format!("log in at `auth/{mount}/login`");
    Call { operation: Operation::Login(method), doing, token: None, hidden }
}
