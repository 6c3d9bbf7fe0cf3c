//! What an answer of Vault that is no success means.
//!
//! Receives operation, status and the server's own `errors`, gives the class and a text. Never
//! lets a text through that holds something we sent in confidence.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Class;
use crate::vault::method::Method;

/// Everything we ask of Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Login(Method),
    LookupWrapping,
    Unwrap,
    LookupToken,
    RenewToken,
    RevokeToken,
    CreateToken,
    Issue,
    RenewLease,
    LookupLease,
    ListLeases,
    RevokeLease,
    ReadMetadata,
    Read,
    /// A setting of Vault's own is written; once more does no harm.
    Configure,
}

impl Operation {
    /// Its name for the observer.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Login(_) => "login",
            Self::LookupWrapping => "lookup_wrapping",
            Self::Unwrap => "unwrap",
            Self::LookupToken => "lookup_token",
            Self::RenewToken => "renew_token",
            Self::RevokeToken => "revoke_token",
            Self::CreateToken => "create_token",
            Self::Issue => "issue",
            Self::RenewLease => "renew_lease",
            Self::LookupLease => "lookup_lease",
            Self::ListLeases => "list_leases",
            Self::RevokeLease => "revoke_lease",
            Self::ReadMetadata => "read_metadata",
            Self::Read => "read",
            Self::Configure => "configure",
        }
    }

    /// How long the whole request may take.
    pub(super) fn timeout(self) -> Duration {
        match self {
            // An issue that is given up may still make a login that nobody knows.
            Self::Issue => Duration::from_secs(90),
            // Of a connection Vault tries first whether it works.
            Self::Configure => Duration::from_secs(30),
            Self::Login(_)
            | Self::LookupWrapping
            | Self::Unwrap
            | Self::LookupToken
            | Self::RenewToken
            | Self::RevokeToken
            | Self::CreateToken
            | Self::RenewLease
            | Self::LookupLease
            | Self::ListLeases
            | Self::RevokeLease
            | Self::ReadMetadata
            | Self::Read => Duration::from_secs(10),
        }
    }

    /// The class of a request that was sent and not answered.
    pub(super) fn unanswered(self) -> Class {
        match self {
            Self::Login(_)
            | Self::Unwrap
            | Self::RenewToken
            | Self::RevokeToken
            | Self::CreateToken
            | Self::Issue
            | Self::RenewLease
            | Self::RevokeLease => Class::Unclear,
            Self::LookupWrapping
            | Self::LookupToken
            | Self::LookupLease
            | Self::ListLeases
            | Self::ReadMetadata
            | Self::Read
            | Self::Configure => Class::Again { after: None },
        }
    }

    /// Whether `errors` speak of the credential of a login.
    fn refuses(self, errors: &[String]) -> bool {
        matches!(self, Self::Login(method) if lines(errors).any(|line| method.refuses(line)))
    }

    /// The class of a success whose body cannot be used.
    pub(super) fn unreadable(self) -> Class {
        if self == Self::Issue { Class::Unclear } else { Class::Again { after: None } }
    }
}

/// The class of a failure's name for the observer.
pub(super) fn label(class: Class) -> &'static str {
    match class {
        Class::Again { .. } => "again",
        Class::Denied => "denied",
        Class::Missing => "missing",
        Class::Gone => "gone",
        Class::Conflict => "conflict",
        Class::Unclear => "unclear",
        Class::Ours => "ours",
    }
}

/// What `status` means for `operation`, where `errors` are the server's texts.
pub(super) fn classify(
    operation: Operation,
    status: u16,
    errors: &[String],
    after: Option<Duration>,
) -> Class {
    match status {
        400 | 401 | 403 if operation.refuses(errors) => Class::Denied,
        400 => bad_request(operation, errors),
        401 | 403 => forbidden(operation, errors),
        404 => Class::Missing,
        // Who made the token does not stand by it any more; Vault says so of each renewal.
        500 if operation == Operation::RenewToken
            && lines(errors).any(|line| line.starts_with("failed to renew entry")) =>
        {
            Class::Denied
        }
        408 | 412 | 425 | 429 | 472 | 473 => Class::Again { after },
        // With no word of Vault's own a proxy answered for it: the server may have heard the request.
        502 | 504..=599 if errors.iter().all(|text| text.trim().is_empty()) => {
            match operation.unanswered() {
                Class::Unclear => Class::Unclear,
                Class::Again { .. }
                | Class::Denied
                | Class::Missing
                | Class::Gone
                | Class::Conflict
                | Class::Ours => Class::Again { after },
            }
        }
        300..=399 | 500..=599 => Class::Again { after },
        _ => Class::Ours,
    }
}

fn bad_request(operation: Operation, errors: &[String]) -> Class {
    let says = |texts: &[&str]| lines(errors).any(|line| texts.contains(&line));
    match operation {
        Operation::RenewLease | Operation::LookupLease | Operation::RevokeLease => {
            // A database that is down answers 400 here too, and the lease is whole.
            if says(&["invalid lease", "lease not found"]) {
                Class::Gone
            } else {
                Class::Again { after: None }
            }
        }
        Operation::Login(_) => Class::Ours,
        Operation::LookupWrapping | Operation::Unwrap => {
            if says(&["wrapping token is not valid or does not exist"]) {
                Class::Gone
            } else {
                Class::Ours
            }
        }
        Operation::Issue | Operation::Read => {
            let unknown = lines(errors).any(|line| line.starts_with("unknown role"));
            if unknown { Class::Missing } else { Class::Ours }
        }
        Operation::LookupToken
        | Operation::RenewToken
        | Operation::RevokeToken
        | Operation::CreateToken
        | Operation::ListLeases
        | Operation::ReadMetadata => Class::Ours,
        Operation::Configure => {
            const FIRST: [&str; 2] =
                ["check-and-set parameter did not match", "path is already in use"];
            let first = |line: &str| FIRST.iter().any(|text| line.starts_with(text));
            if lines(errors).any(first) { Class::Conflict } else { Class::Ours }
        }
    }
}

fn forbidden(operation: Operation, errors: &[String]) -> Class {
    match operation {
        // Also the answer for a mount that is not there, for a cluster that Vault cannot ask, and,
        // for minutes, for a role with too many wrong logins: it says nothing about the credential.
        Operation::Login(_) | Operation::LookupWrapping | Operation::Unwrap => {
            Class::Again { after: None }
        }
        Operation::LookupToken
        | Operation::RenewToken
        | Operation::RevokeToken
        | Operation::CreateToken => {
            if token_is_unknown(errors) {
                Class::Gone
            } else {
                Class::Denied
            }
        }
        Operation::Issue
        | Operation::RenewLease
        | Operation::LookupLease
        | Operation::ListLeases
        | Operation::RevokeLease
        | Operation::ReadMetadata
        | Operation::Read
        | Operation::Configure => Class::Denied,
    }
}

/// OpenBao answers a bare `permission denied` for a token that it does not know, and a list of
/// errors for one that lacks a right; Vault adds `invalid token` to the list.
fn token_is_unknown(errors: &[String]) -> bool {
    lines(errors).any(|line| matches!(line, "invalid token" | "bad token"))
        || matches!(errors, [only] if only == "permission denied")
}

fn lines(errors: &[String]) -> impl Iterator<Item = &str> {
    errors.iter().flat_map(|text| text.lines()).map(|line| line.trim().trim_start_matches("* "))
}

/// The `errors` of an answer; empty where the body is something else.
pub(super) fn errors(body: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<String>,
    }
    if let Ok(body) = serde_json::from_slice::<Body>(body) {
        return body.errors;
    }
    const PLAIN_TO_TLS: &str = "Client sent an HTTP request to an HTTPS server";
    if body.starts_with(PLAIN_TO_TLS.as_bytes()) {
        return vec![format!("{PLAIN_TO_TLS}; the address must begin with https")];
    }
    Vec::new()
}

/// `errors` on one line, at most 300 characters, or nothing where they repeat one of `secrets`.
pub(super) fn quotable(errors: &[String], secrets: &[&str]) -> Option<String> {
    let text = one_line(&errors.join("; "));
    let leaks = secrets.iter().any(|secret| {
        let secret = secret.trim();
        !secret.is_empty() && text.contains(secret)
    });
    if leaks {
        return Some("(the server's text repeats a secret and is withheld)".to_owned());
    }
    (!text.is_empty()).then(|| text.chars().take(300).collect())
}

/// `text` with every run of blanks and control characters as one space.
pub(super) fn one_line(text: &str) -> String {
    let parts = text.split(|c: char| c.is_whitespace() || c.is_control());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Why a KV secret answers 404: the version was deleted or destroyed, or the engine is of the other
/// version than was thought.
pub(super) fn absence(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Warned {
        warnings: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Body {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        version: u64,
        #[serde(default)]
        destroyed: bool,
        #[serde(default)]
        deletion_time: String,
    }
    let versioned = |text: &String| text.starts_with("Invalid path for a versioned K/V");
    if serde_json::from_slice::<Warned>(body).is_ok_and(|said| said.warnings.iter().any(versioned))
    {
        return Some("the mount is a KV engine of version 2".to_owned());
    }
    let metadata = serde_json::from_slice::<Body>(body).ok()?.data.metadata;
    let version = metadata.version;
    if metadata.destroyed {
        return Some(format!("version {version} is destroyed"));
    }
    (!metadata.deletion_time.is_empty()).then(|| format!("version {version} is deleted"))
}

#[cfg(test)]
mod tests;
