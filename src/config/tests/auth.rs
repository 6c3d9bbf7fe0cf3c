//! `vault.auth`: what each way to log in means, and what a person is told, word by word.

use super::*;
use crate::vault::{CertificateLogin, ClientCertificate, TokenLogin};

fn vault(vault: &str) -> String {
    format!("vault: {{ {vault} }}\n{DB}{PUBLISH}")
}

fn auth(auth: &str) -> Auth {
    good(&vault(&format!("address: 'https://v', auth: {{ {auth} }}")), &[]).vault.unwrap().auth
}

#[test]
fn a_login_with_a_token_has_a_role_and_a_file() {
    let login = |mount: &str, token_file: &str| TokenLogin {
        mount: mount.to_owned(),
        role: "app".to_owned(),
        token_file: token_file.into(),
    };
    let Auth::Kubernetes(found) = auth("kubernetes: { role: app }") else { panic!("another") };
    let projected = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(found, login("kubernetes", projected));
    let Auth::Kubernetes(found) = auth("kubernetes: { role: app, mount: k8s/eu, token_file: /t }")
    else {
        panic!("another")
    };
    assert_eq!(found, login("k8s/eu", "/t"));
    let Auth::Jwt(found) = auth("jwt: { role: app, token_file: /t }") else { panic!("another") };
    assert_eq!(found, login("jwt", "/t"));
}

#[test]
fn a_login_with_a_certificate_has_a_pair_of_files() {
    let Auth::Certificate(found) = auth("cert: { name: app, cert_file: /c, key_file: /k }") else {
        panic!("another")
    };
    let certificate = ClientCertificate { cert: "/c".into(), key: "/k".into() };
    let (mount, name) = ("cert".to_owned(), "app".to_owned());
    assert_eq!(found, CertificateLogin { mount, name, certificate });
}

#[test]
fn what_is_wrong_with_a_login() {
    let https = |auth: &str| vault(&format!("address: 'https://v', auth: {{ {auth} }}"));
    let pair = "cert: { name: app, cert_file: /c, key_file: /k }";
    for (text, expected) in [
        (
            https("token_file: ''"),
            "  vault.auth: missing\n    hint: give one of `kubernetes`, `approle`, `jwt`, `cert`, `token_file`",
        ),
        (
            https("token_file: /t, approle: { role_id_file: /r, secret_id_file: /s }"),
            "  vault.auth: must be exactly one way to log in\n    hint: leave out all of `approle`, `token_file` but one",
        ),
        (
            https(&format!("kubernetes: {{ role: r }}, jwt: {{}}, {pair}")),
            "  vault.auth: must be exactly one way to log in\n    hint: leave out all of `kubernetes`, `jwt`, `cert` but one",
        ),
        (
            https("approle: { role_id_file: /r, secret_id_file: /s, wrapped: 1 }"),
            "  vault.auth.approle.wrapped: must be `true` or `false`, not a number\n    hint: write it without quotes",
        ),
        (
            https("kubernetes: { mount: k8s }"),
            "  vault.auth.kubernetes.role: missing\n    hint: name a role in `auth/k8s/role/`",
        ),
        (
            https("kubernetes: { role: r, token_file: token, mount: a//b, jwt: x }"),
            "  vault.auth.kubernetes.jwt: unknown key\n    hint: known here: role, token_file, mount\n  vault.auth.kubernetes.mount: not a path in Vault: `a//b`\n    hint: parts with `/` between, none empty or `..`\n  vault.auth.kubernetes.token_file: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`",
        ),
        (
            https("kubernetes: r"),
            "  vault.auth.kubernetes: must be a map of keys, not text\n    hint: write `key: value` lines below it, each two spaces further in\n  vault.auth.kubernetes.role: missing\n    hint: name a role in `auth/kubernetes/role/`",
        ),
        (
            https("jwt: { mount: ci }"),
            "  vault.auth.jwt.role: missing\n    hint: name a role in `auth/ci/role/`\n  vault.auth.jwt.token_file: missing\n    hint: name a file with the token, which somebody keeps fresh",
        ),
        (
            https("cert: { role: r }"),
            "  vault.auth.cert.cert_file: missing\n    hint: name a PEM file with the certificate\n  vault.auth.cert.key_file: missing\n    hint: name a PEM file with the certificate's key\n  vault.auth.cert.name: missing\n    hint: name a role in `auth/cert/certs/`\n  vault.auth.cert.role: unknown key\n    hint: known here: name, cert_file, key_file, mount",
        ),
        (
            vault(&format!("address: 'http://127.0.0.1:8200', auth: {{ {pair} }}")),
            "  vault.auth.cert: cannot be used with an `http://` address\n    hint: a certificate is shown with TLS only: begin `vault.address` with `https://`",
        ),
        (
            vault(&format!(
                "address: 'https://v', client_cert: /a, client_key: /b, auth: {{ {pair} }}"
            )),
            "  vault.client_cert: must not stand beside `auth.cert`: a connection shows one certificate\n    hint: leave it out; the server is shown the certificate of the login anyway\n  vault.client_key: must not stand beside `auth.cert`: a connection shows one certificate\n    hint: leave it out; the server is shown the certificate of the login anyway",
        ),
    ] {
        check(&text, &[expected]);
    }
}
