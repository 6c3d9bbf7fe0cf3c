use super::*;

const AGAIN: Class = Class::Again { after: None };

/// Texts as OpenBao 2.7.2 says them, unless marked.
#[test]
fn answers_have_classes() {
    use Operation::{
        Configure, Issue, LookupLease, LookupToken, LookupWrapping, Read, ReadMetadata, RenewLease,
        RenewToken, RevokeLease, RevokeToken, Unwrap,
    };
    let [approle, kubernetes, jwt, certificate] =
        [Method::AppRole, Method::Kubernetes, Method::Jwt, Method::Certificate]
            .map(Operation::Login);
    let claim = "invalid audience (aud) claim: audience claim does not match any expected audience";
    let lacking = "1 error occurred:\n\t* permission denied\n\n";
    let down = "failed to renew entry: failed to renew lease: dial tcp: connection refused";
    for (operation, status, text, class) in [
        (RenewLease, 400, "lease not found", Class::Gone),
        (LookupLease, 400, "invalid lease", Class::Gone),
        (RevokeLease, 400, "1 error occurred:\n\t* invalid lease\n\n", Class::Gone),
        (RenewLease, 400, down, AGAIN),
        (RenewLease, 400, "failed to renew entry: invalid lease id format", AGAIN),
        (RevokeLease, 400, "failed to revoke entry", AGAIN),
        (RenewLease, 403, lacking, Class::Denied),
        (
            Configure,
            400,
            "check-and-set parameter did not match the current version",
            Class::Conflict,
        ),
        (Configure, 400, "path is already in use at approle/", Class::Conflict),
        (Configure, 400, "unknown parameter", Class::Ours),
        (approle, 400, "invalid role or secret ID", Class::Denied),
        (approle, 400, "source address \"127.0.0.1\" unauthorized by CIDR", Class::Ours),
        (approle, 403, "permission denied", AGAIN),
        (approle, 404, "namespace not found", Class::Missing),
        (kubernetes, 403, "permission denied", AGAIN),
        (kubernetes, 403, claim, Class::Denied),
        (kubernetes, 403, "service account name not authorized", Class::Denied),
        (kubernetes, 403, "namespace not authorized", Class::Denied),
        (kubernetes, 400, "invalid role name \"app\"", Class::Ours),
        (kubernetes, 500, "could not load backend configuration", AGAIN),
        (jwt, 400, &format!("error validating token: {claim}"), Class::Denied),
        (
            jwt,
            400,
            "error validating token: error verifying token signature: no known key successfully \
             validated the token signature",
            Class::Denied,
        ),
        (
            jwt,
            400,
            "error validating token: error verifying token signature: fetching keys oidc: get keys \
             failed Get \"http://127.0.0.1:1/\": connection refused",
            Class::Ours,
        ),
        (jwt, 400, "role \"app\" could not be found", Class::Ours),
        (jwt, 403, "permission denied", AGAIN),
        (certificate, 400, "invalid certificate or no client certificate supplied", Class::Denied),
        (certificate, 400, "no client certificate found", Class::Ours),
        (certificate, 403, "permission denied", AGAIN),
        // The words of one method mean nothing in another.
        (approle, 400, &format!("error validating token: {claim}"), Class::Ours),
        (
            RenewToken,
            500,
            "1 error occurred:\n\t* failed to renew entry: client identity during renewal not \
             matching client identity used during login",
            Class::Denied,
        ),
        (RenewToken, 500, "internal error", AGAIN),
        (RenewLease, 500, "failed to renew entry: connection refused", AGAIN),
        (LookupWrapping, 400, "wrapping token is not valid or does not exist", Class::Gone),
        (LookupWrapping, 403, "permission denied", AGAIN),
        (LookupWrapping, 504, "", AGAIN),
        (Unwrap, 400, "wrapping token is not valid or does not exist", Class::Gone),
        (Unwrap, 504, "", Class::Unclear),
        (LookupToken, 403, "permission denied", Class::Gone),
        (LookupToken, 403, lacking, Class::Denied),
        // Vault's words for an unknown token.
        (
            RenewToken,
            403,
            "2 errors occurred:\n\t* permission denied\n\t* invalid token\n",
            Class::Gone,
        ),
        (RevokeToken, 403, "bad token", Class::Gone),
        (RenewToken, 400, "batch tokens cannot be renewed", Class::Ours),
        (Issue, 400, "unknown role: nosuch", Class::Missing),
        (Issue, 400, "invalid lease", Class::Ours),
        (Issue, 403, "permission denied", Class::Denied),
        (Issue, 404, "no handler for route", Class::Missing),
        (Issue, 405, "unsupported operation", Class::Ours),
        (Issue, 500, "failed to create user", AGAIN),
        (Issue, 504, "", Class::Unclear),
        (Issue, 502, "", Class::Unclear),
        (Issue, 502, "upstream plugin broke", AGAIN),
        (Read, 400, "unknown role: nosuch", Class::Missing),
        (Read, 400, "invalid role", Class::Ours),
        (Read, 504, "", AGAIN),
        (Read, 412, "required index state not present", AGAIN),
        (Read, 429, "", AGAIN),
        (Read, 473, "", AGAIN),
        (Read, 502, "", AGAIN),
        (Read, 503, "Vault is sealed", AGAIN),
        (Read, 307, "", AGAIN),
        (ReadMetadata, 403, lacking, Class::Denied),
        (ReadMetadata, 400, "invalid lease", Class::Ours),
    ] {
        let found = classify(operation, status, &[text.to_owned()], None);
        assert_eq!(found, class, "{operation:?} {status} {text}");
    }
}

#[test]
fn a_named_time_is_kept() {
    let after = Some(Duration::from_secs(7));
    assert_eq!(classify(Operation::Issue, 429, &[], after), Class::Again { after });
    assert_eq!(classify(Operation::Read, 503, &[], after), Class::Again { after });
}

#[test]
fn a_request_without_an_answer_is_unclear_only_where_it_may_have_changed_something() {
    assert_eq!(Operation::Issue.unanswered(), Class::Unclear);
    assert_eq!(Operation::RenewLease.unanswered(), Class::Unclear);
    assert_eq!(Operation::LookupLease.unanswered(), AGAIN);
    assert_eq!(Operation::Issue.unreadable(), Class::Unclear);
    assert_eq!(Operation::RenewLease.unreadable(), AGAIN);
}

#[test]
fn the_servers_text_is_one_short_line() {
    let texts = errors(br#"{"errors":["1 error occurred:\n\t* no\u001b[31m way\n\n","x"]}"#);
    assert_eq!(quotable(&texts, &[]).unwrap(), "1 error occurred: * no [31m way ; x");
    let long = vec!["é".repeat(900)];
    assert_eq!(quotable(&long, &[]).unwrap().chars().count(), 300);
    assert_eq!(quotable(&errors(br#"{"errors":[]}"#), &[]), None);
    assert_eq!(quotable(&errors(b"<html>password</html>"), &[]), None);
}

#[test]
fn a_text_that_repeats_a_secret_is_withheld() {
    let texts = vec![format!("{} lease db/creds/app/XYZ is odd", "x".repeat(290))];
    let quoted = quotable(&texts, &["", "db/creds/app/XYZ\n"]).unwrap();
    assert!(quoted.contains("withheld") && !quoted.contains("XYZ"), "{quoted}");
}

#[test]
fn a_missing_kv_version_says_which_way() {
    let body = |metadata: &str| format!(r#"{{"data":{{"data":null,"metadata":{metadata}}}}}"#);
    let deleted = r#"{"deletion_time":"2026-11-23T14:32:41Z","destroyed":false,"version":1}"#;
    let destroyed = r#"{"deletion_time":"2026-11-23T14:32:41Z","destroyed":true,"version":1}"#;
    assert!(absence(body(deleted).as_bytes()).unwrap().ends_with("deleted"));
    assert!(absence(body(destroyed).as_bytes()).unwrap().ends_with("destroyed"));
    let other = r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}"#;
    assert!(absence(other.as_bytes()).unwrap().ends_with("version 2"));
    assert_eq!(absence(br#"{"errors":[]}"#), None);
}
