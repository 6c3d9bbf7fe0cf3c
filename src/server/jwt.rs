//! Tokens, for an app that verifies none itself and for the proxy in front of one that cannot.
//!
//! Receives questions and the keys of the moment, gives public keys and verdicts. Never asks
//! anybody else, so that a token naming a key which nobody knows costs nothing; and of a refused
//! one it never says more than whether a fresh one would help.
//!
//! A proxy asks about a request that it holds: nginx (`auth_request`) and Traefik (`forwardAuth`)
//! by `GET` at the address that they were given, Envoy (`ext_authz` with a `path_prefix`) by the
//! method of that request, and with its path behind ours.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::jwt::{LONGEST_TOKEN, Refusal, VerifySet};
use crate::server::{Page, token};

const JWKS: &str = "/.well-known/jwks.json";
const VERIFY: &str = "/v1/jwt/verify";
const FORWARD_AUTH: &str = "/v1/jwt/forward-auth";

/// A body that is longer holds no token.
pub const LONGEST_BODY: usize = LONGEST_TOKEN + 1024;

/// The keys that are valid; none before the first were read.
pub type Keys = watch::Receiver<Option<Arc<VerifySet>>>;

/// A question with all that an answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET` and the like.
    pub method: &'a Method,
    /// What stands before the `?`.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body; at most [`LONGEST_BODY`].
    pub body: &'a [u8],
}

/// An answer, and what is to be counted of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is answered.
    pub page: Page,
    /// Why a token was refused.
    pub refusal: Option<Refusal>,
    /// Whether one that holds lives longer than tokens should.
    pub outlives: bool,
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self { page, refusal: None, outlives: false }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    token: Zeroizing<String>,
}

#[derive(Serialize)]
struct Holds<'a> {
    kid: &'a str,
    claims: &'a RawValue,
}

/// What is answered to `request` at `now`, counted from 1970.
pub fn answer(keys: &Keys, request: Request<'_>, now: Duration) -> Answer {
    let get = [Method::GET, Method::HEAD].contains(request.method);
    let post = *request.method == Method::POST;
    let held = keys.borrow().clone();
    let set = || held.as_deref().ok_or_else(no_keys);
    let answered = match request.path {
        JWKS if get => set().map(public),
        VERIFY if post => set().map(|set| verify(set, request.body, now)),
        JWKS => Err(Page::not_allowed("GET, HEAD").into()),
        VERIFY => Err(Page::not_allowed("POST").into()),
        path if is_forward_auth(path) => set().map(|set| forward(set, request.headers, now)),
        _ => Err(Page::nothing().into()),
    };
    answered.unwrap_or_else(|instead| instead)
}

fn is_forward_auth(path: &str) -> bool {
    path.strip_prefix(FORWARD_AUTH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn public(set: &VerifySet) -> Answer {
    let body = format!("{}\n", set.jwks());
    let page = Page::new(StatusCode::OK, "application/json", body);
    // A key is in the set for longer than that before it signs.
    Page { cache_control: "max-age=300", ..page }.into()
}

fn verify(set: &VerifySet, body: &[u8], now: Duration) -> Answer {
    let Ok(Asked { token }) = serde_json::from_slice(body) else {
        let text = r#"send {"token": "…"}"#;
        return Page::text(StatusCode::BAD_REQUEST, text).into();
    };
    match set.verify(&token, now) {
        Ok(token) => {
            let said = Holds { kid: token.kid, claims: &token.claims };
            let page = Page::json(StatusCode::OK, &said);
            Answer { outlives: token.outlives, ..page.into() }
        }
        Err(refusal) => refused(refusal),
    }
}

fn forward(set: &VerifySet, headers: &HeaderMap, now: Duration) -> Answer {
    let shown = token::bearer(headers).ok_or(Refusal::Missing);
    match shown.and_then(|token| set.verify(token, now)) {
        Ok(token) => {
            let page = Page::text(StatusCode::OK, "ok");
            Answer { outlives: token.outlives, ..page.into() }
        }
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Answer {
    let page = Page::text(StatusCode::UNAUTHORIZED, refusal.answer());
    Answer { refusal: Some(refusal), ..page.into() }
}

/// So that a proxy lets nobody through, and nobody is sent to log in again.
fn no_keys() -> Answer {
    Page::text(StatusCode::SERVICE_UNAVAILABLE, "there are no keys yet").into()
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;
    use serde_json::{Value, json};

    use super::*;
    use crate::jwt::{Algorithm, Key, Rules, generate};

    struct Asker {
        key: Key,
        keys: Keys,
    }

    impl Asker {
        fn new(algorithm: Algorithm) -> Self {
            let key = generate::key(algorithm).unwrap();
            let rules = Rules { max_token_ttl: Some(Duration::from_secs(900)), ..Rules::default() };
            let set = VerifySet::new(rules, [key.verifier().unwrap()]);
            let (_sender, keys) = watch::channel(Some(Arc::new(set)));
            Self { key, keys }
        }

        fn token(&self, end: u64) -> String {
            let claims = json!({ "sub": "u1", "iat": 1000, "exp": end, "n": 1.0 });
            self.key.sign(&claims).unwrap().expose().to_owned()
        }

        fn ask(&self, method: Method, path: &str, authorization: &[String], body: &str) -> Answer {
            let mut headers = HeaderMap::new();
            for value in authorization {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            let (method, body, headers) = (&method, body.as_bytes(), &headers);
            let request = Request { method, path, headers, body };
            answer(&self.keys, request, Duration::from_secs(1500))
        }

        fn verify(&self, body: &str) -> Answer {
            self.ask(Method::POST, VERIFY, &[], body)
        }

        fn forward(&self, path: &str, authorization: &[String]) -> Answer {
            self.ask(Method::GET, path, authorization, "")
        }
    }

    fn shown(answer: &Answer) -> (u16, &str) {
        (answer.page.status.as_u16(), &answer.page.body)
    }

    #[test]
    fn public_keys_may_be_kept_and_nothing_else() {
        let asker = Asker::new(Algorithm::EdDSA);
        let found = asker.ask(Method::GET, JWKS, &[], "").page;
        assert_eq!((found.status, found.cache_control), (StatusCode::OK, "max-age=300"));
        let jwks: Value = serde_json::from_str(&found.body).unwrap();
        assert_eq!(jwks["keys"][0]["kid"], asker.key.kid());
        let token = asker.token(1900);
        for answer in [
            asker.verify(&json!({ "token": token }).to_string()),
            asker.verify(""),
            asker.forward(FORWARD_AUTH, &[format!("Bearer {token}")]),
            asker.forward(FORWARD_AUTH, &[]),
        ] {
            assert_eq!(answer.page.cache_control, "no-store");
        }
        let symmetric = Asker::new(Algorithm::HS256);
        assert_eq!(shown(&symmetric.ask(Method::GET, JWKS, &[], "")), (200, "{\"keys\":[]}\n"));
    }

    #[test]
    fn claims_come_back_as_they_were_signed() {
        let asker = Asker::new(Algorithm::HS256);
        let answer = asker.verify(&json!({ "token": asker.token(1900) }).to_string());
        let (status, body) = shown(&answer);
        let claims = json!({ "sub": "u1", "iat": 1000, "exp": 1900, "n": 1.0 });
        let expected = json!({ "kid": asker.key.kid(), "claims": claims });
        assert_eq!((status, serde_json::from_str::<Value>(body).unwrap()), (200, expected));
        assert!(body.contains(r#""n":1.0"#), "{body}");
        assert_eq!((answer.refusal, answer.outlives), (None, false));
        let longer = asker.verify(&json!({ "token": asker.token(1901) }).to_string());
        assert_eq!((shown(&longer).0, longer.outlives), (200, true));
    }

    #[test]
    fn a_refused_token_says_no_more_than_whether_another_would_help() {
        let (asker, other) = (Asker::new(Algorithm::EdDSA), Asker::new(Algorithm::EdDSA));
        for (token, text, refusal) in [
            (asker.token(1500), "Token expired\n", Refusal::Expired),
            (other.token(1500), "Invalid token\n", Refusal::UnknownKey),
            (other.token(1900), "Invalid token\n", Refusal::UnknownKey),
            ("nonsense".to_owned(), "Invalid token\n", Refusal::Malformed),
            ("x".repeat(LONGEST_TOKEN + 1), "Invalid token\n", Refusal::TooLong),
        ] {
            let by_body = asker.verify(&json!({ "token": token }).to_string());
            let by_header = asker.forward(FORWARD_AUTH, &[format!("Bearer {token}")]);
            for answer in [by_body, by_header] {
                assert_eq!(shown(&answer), (401, text));
                assert_eq!(answer.refusal, Some(refusal));
            }
        }
    }

    #[test]
    fn a_proxy_is_answered_at_the_path_and_by_the_method_that_it_uses() {
        let asker = Asker::new(Algorithm::EdDSA);
        let good = [format!("bearer {}", asker.token(1900))];
        for path in [FORWARD_AUTH, "/v1/jwt/forward-auth/", "/v1/jwt/forward-auth/app/orders"] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                assert_eq!(shown(&asker.ask(method, path, &good, "")), (200, "ok\n"), "{path}");
            }
        }
        assert_eq!(shown(&asker.forward("/v1/jwt/forward-authority", &good)).0, 404);
        let basic = [format!("Basic {}", asker.token(1900))];
        let twice = [good[0].clone(), good[0].clone()];
        for authorization in [&[][..], &basic, &twice] {
            let answer = asker.forward(FORWARD_AUTH, authorization);
            assert_eq!(shown(&answer), (401, "Invalid token\n"));
            assert_eq!(answer.refusal, Some(Refusal::Missing));
        }
    }

    #[test]
    fn each_path_has_its_methods_and_a_body_its_shape() {
        let asker = Asker::new(Algorithm::EdDSA);
        for (method, path, status, allow) in [
            (Method::POST, JWKS, 405, "GET, HEAD"),
            (Method::GET, VERIFY, 405, "POST"),
            (Method::GET, "/", 404, ""),
            (Method::HEAD, JWKS, 200, ""),
        ] {
            let page = asker.ask(method, path, &[], "").page;
            assert_eq!((page.status.as_u16(), page.allow), (status, allow), "{path}");
        }
        for body in ["", "x", "{}", r#"{"token":1}"#, r#"{"token":"a","b":1}"#] {
            assert_eq!(shown(&asker.verify(body)).0, 400, "{body}");
        }
    }

    #[test]
    fn other_keys_count_at_once_and_none_let_nobody_in() {
        let (old, new) = (Asker::new(Algorithm::EdDSA), Asker::new(Algorithm::EdDSA));
        let set = |asker: &Asker| asker.keys.borrow().clone();
        let (sender, keys) = watch::channel(None);
        let asker = Asker { key: old.key.clone(), keys };
        let status =
            |token: String| shown(&asker.forward(FORWARD_AUTH, &[format!("Bearer {token}")])).0;
        assert_eq!(status(old.token(1900)), 503);
        assert_eq!(shown(&asker.ask(Method::GET, JWKS, &[], "")).0, 503);
        sender.send(set(&old)).unwrap();
        assert_eq!((status(old.token(1900)), status(new.token(1900))), (200, 401));
        sender.send(set(&new)).unwrap();
        assert_eq!((status(old.token(1900)), status(new.token(1900))), (401, 200));
    }
}
