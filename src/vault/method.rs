//! The ways to log in: by which words each refuses a credential, and what to do about it.
//!
//! Receives the answer to a login, gives its class and a hint. Never takes an answer for a refusal
//! of the credential that may as well speak of something else.

use crate::error::{Class, Failure};

/// How a login is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    AppRole,
    Kubernetes,
    Jwt,
    Certificate,
}

impl Method {
    /// Whether `line` of a refusal speaks of the credential. Of Kubernetes Vault says a bare
    /// `permission denied` whatever the cluster answered, and also when that did not answer.
    pub(super) fn refuses(self, line: &str) -> bool {
        match self {
            Self::AppRole => ["invalid role or secret ID", "invalid secret id", "invalid role ID"]
                .contains(&line),
            Self::Kubernetes => {
                line.starts_with("invalid ") && line.contains(" claim: ")
                    || ["service account name not authorized", "namespace not authorized"]
                        .contains(&line)
            }
            Self::Jwt => {
                let judged = ["error validating token: ", "error validating claims: "];
                judged.iter().any(|start| line.starts_with(start)) && !line.contains(NO_KEYS)
            }
            Self::Certificate => {
                line == "invalid certificate or no client certificate supplied"
                    || line.starts_with("no chain matching all constraints")
            }
        }
    }

    /// What to do about a login at `path` that failed so, where this method has more to say than
    /// the others; `why` is what Vault said.
    pub(super) fn advice(self, status: u16, class: Class, why: &str, path: &str) -> Option<String> {
        let mount = path.trim_start_matches("auth/").trim_end_matches("/login");
        let denied = class == Class::Denied;
        let advice = match self {
            Self::AppRole if denied => {
                "write the role's id and a valid secret id to their files".to_owned()
            }
            Self::AppRole if status == 403 => format!(
                "either nothing is mounted for `{path}`, or the role is locked for some minutes \
                 after too many wrong logins"
            ),
            Self::Kubernetes | Self::Jwt if denied && why.contains("expired") => {
                "have the token's file written anew before the token runs out, as the kubelet does \
                 with a projected one; a copy of it is not"
                    .to_owned()
            }
            Self::Kubernetes if denied => format!(
                "compare the pod's service account and the audience of its projected token with \
                 `bound_service_account_names`, `bound_service_account_namespaces` and `audience` \
                 of the role in `auth/{mount}/role/`"
            ),
            Self::Kubernetes if status == 403 => format!(
                "either nothing is mounted for `{path}`, or the cluster does not take the token, \
                 or Vault cannot ask it: see whether `kubernetes_host` in `auth/{mount}/config` \
                 answers Vault, and whether who asks there may make token reviews \
                 (`system:auth-delegator`)"
            ),
            Self::Jwt if denied && why.contains("signature") => format!(
                "Vault knows no key that signed the token: compare the keys in \
                 `auth/{mount}/config` with who makes the token"
            ),
            Self::Jwt if denied => format!(
                "compare the token's claims with `bound_audiences`, `bound_subject` and the like \
                 of the role in `auth/{mount}/role/`, and with `bound_issuer` in \
                 `auth/{mount}/config`"
            ),
            Self::Jwt if status == 403 => format!(
                "either nothing is mounted for `{path}`, or the role in `auth/{mount}/role/` is \
                 bound to other claims (`bound_claims`) or to other addresses"
            ),
            Self::Jwt if why.contains(NO_KEYS) => {
                format!("Vault does not reach the keys that `auth/{mount}/config` names")
            }
            Self::Kubernetes | Self::Jwt if why.contains("role") => {
                format!("make the role in `auth/{mount}/role/`, or name one that is there")
            }
            Self::Kubernetes | Self::Jwt if why.contains("configuration") => {
                format!("write `auth/{mount}/config`: the method is mounted and not set up")
            }
            Self::Certificate if denied => format!(
                "compare the certificate with the role that `vault.auth.cert.name` names in \
                 `auth/{mount}/certs/`: its authority (`certificate`), `allowed_common_names` and \
                 the like"
            ),
            Self::Certificate if why.contains("no client certificate") => {
                "Vault sees no certificate: nothing before it may end TLS, and its listener must \
                 not have `tls_disable_client_certs`"
                    .to_owned()
            }
            Self::Certificate if status == 403 => format!("nothing is mounted for `{path}`"),
            Self::AppRole | Self::Kubernetes | Self::Jwt | Self::Certificate => return None,
        };
        Some(advice)
    }

    /// `failure` to read the token that this is made with.
    pub(super) fn without_token(self, failure: Failure) -> Failure {
        if self != Self::Kubernetes || failure.class != Class::Missing {
            return failure;
        }
        failure.hint(
            "mount a projected service account token there, or name where it is in \
             `vault.auth.kubernetes.token_file`",
        )
    }
}

const NO_KEYS: &str = "fetching keys";
