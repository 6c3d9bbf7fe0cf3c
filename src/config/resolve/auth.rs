//! `vault.auth`: who we are to Vault.

use crate::config::keys;
use crate::config::raw::Section;
use crate::config::resolve::sources::mount;
use crate::secret::Secret;
use crate::vault::{Auth, CertificateLogin, ClientCertificate, TokenLogin};

const ALL: &str = "`kubernetes`, `approle`, `jwt`, `cert`, `token_file`";

/// Where the kubelet puts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The login that `vault` names; `address` is what it names too.
pub(super) fn resolve(vault: &Section<'_>, address: Option<&str>) -> Option<Auth> {
    let auth = vault.section("auth", &keys::AUTH);
    let token = ["BAO_TOKEN", "VAULT_TOKEN"]
        .into_iter()
        .find_map(|name| Some((name, vault.environment().get(name)?)));
    if auth.entries().next().is_some() {
        // A token that somebody left in the environment must not replace the identity that the
        // file names.
        if let Some((name, _)) = token {
            vault.warn("auth", &format!("`{name}` in the environment is not used"));
        }
        return from_file(vault, &auth, address);
    }
    match token {
        Some((name, token)) => {
            let text = format!("the token comes from `{name}`: nobody can replace it when it ends");
            vault.warn("auth", &text);
            Some(Auth::Token(Secret::new(token.trim().to_owned())))
        }
        None => {
            let hint = format!("give one of {ALL}, or `VAULT_TOKEN` in the environment");
            vault.problem("auth", "missing", hint);
            None
        }
    }
}

fn from_file(vault: &Section<'_>, auth: &Section<'_>, address: Option<&str>) -> Option<Auth> {
    let given: Vec<&str> = keys::AUTH.one_of.iter().copied().filter(|way| auth.has(way)).collect();
    match given[..] {
        ["approle"] => approle(&auth.section("approle", &keys::APPROLE)),
        ["kubernetes"] => token(
            &auth.section("kubernetes", &keys::KUBERNETES),
            "kubernetes",
            Some(SERVICE_ACCOUNT),
        )
        .map(Auth::Kubernetes),
        ["jwt"] => token(&auth.section("jwt", &keys::JWT), "jwt", None).map(Auth::Jwt),
        ["cert"] => {
            shown_by_one(vault, auth, address);
            certificate(&auth.section("cert", &keys::CERT)).map(Auth::Certificate)
        }
        ["token_file"] => Some(Auth::TokenFile(auth.file("token_file")?)),
        [] => {
            // Any other key has been reported; one message is enough.
            if auth.entries().all(|(key, _)| keys::AUTH.get(key).is_some()) {
                vault.problem("auth", "missing", format!("give one of {ALL}"));
            }
            None
        }
        _ => {
            let all: Vec<String> = given.iter().map(|way| format!("`{way}`")).collect();
            let hint = format!("leave out all of {} but one", all.join(", "));
            vault.problem("auth", "must be exactly one way to log in", hint);
            None
        }
    }
}

fn approle(section: &Section<'_>) -> Option<Auth> {
    section.require("role_id_file");
    section.require("secret_id_file");
    let mount = mount(section, "approle");
    let files = (section.file("role_id_file"), section.file("secret_id_file"));
    Some(Auth::AppRole {
        mount: mount?,
        role_id_file: files.0?,
        secret_id_file: files.1?,
        wrapped: section.boolean("wrapped", false),
    })
}

/// A login with a signed token, which is at `usual` where the file does not say.
fn token(section: &Section<'_>, method: &str, usual: Option<&str>) -> Option<TokenLogin> {
    let mount = mount(section, method);
    needed(section, "role", &format!("a role in `auth/{}/role/`", shown(&mount, method)));
    let role = section.text("role");
    let token_file = match usual.filter(|_| !section.has("token_file")) {
        Some(usual) => Some(section.usual_file(usual)),
        None => {
            needed(section, "token_file", "a file with the token, which somebody keeps fresh");
            section.file("token_file")
        }
    };
    Some(TokenLogin { mount: mount?, role: role?, token_file: token_file? })
}

fn certificate(section: &Section<'_>) -> Option<CertificateLogin> {
    let mount = mount(section, "cert");
    needed(section, "name", &format!("a role in `auth/{}/certs/`", shown(&mount, "cert")));
    let name = section.text("name");
    needed(section, "cert_file", "a PEM file with the certificate");
    needed(section, "key_file", "a PEM file with the certificate's key");
    let (cert, key) = (section.file("cert_file"), section.file("key_file"));
    let certificate = ClientCertificate { cert: cert?, key: key? };
    Some(CertificateLogin { mount: mount?, name: name?, certificate })
}

/// Writes down that `what` is wanted at `key`, where there is nothing.
fn needed(section: &Section<'_>, key: &str, what: &str) {
    if !section.has(key) {
        section.problem(key, "missing", format!("name {what}"));
    }
}

fn shown<'a>(mount: &'a Option<String>, usual: &'a str) -> &'a str {
    mount.as_deref().unwrap_or(usual)
}

/// A login by certificate is what the connection shows, and that is one certificate.
fn shown_by_one(vault: &Section<'_>, auth: &Section<'_>, address: Option<&str>) {
    if address.is_some_and(|address| address.starts_with("http://")) {
        let hint = "a certificate is shown with TLS only: begin `vault.address` with `https://`";
        auth.problem("cert", "cannot be used with an `http://` address", hint);
    }
    for key in ["client_cert", "client_key"] {
        if !vault.is_blank(key) {
            let text = "must not stand beside `auth.cert`: a connection shows one certificate";
            let hint = "leave it out; the server is shown the certificate of the login anyway";
            vault.problem(key, text, hint);
        }
    }
}
