//! What a real server does not do on demand.

use std::time::Duration;

use leasehold::error::Class;
use leasehold::secret::Secret;
use leasehold::vault::{Auth, Settings, Source};

use super::{AGAIN, Watched, no_secret_in, settings, write};
use crate::live::effects_servers::{Act, Script};
use crate::support::free_port;

fn token() -> Secret {
    Secret::new("s.hunter2token".into())
}

fn lease() -> Secret {
    Secret::new("database/creds/app/hunter2lease".into())
}

fn app() -> Source {
    Source::Database { mount: "database".into(), role: "app".into() }
}

fn config() -> Source {
    Source::Kv { mount: "secret".into(), path: "app".into(), version: None }
}

#[tokio::test]
async fn an_overloaded_server_names_its_time() {
    let act = Act::answer("429 Too Many Requests", "Retry-After: 7\r\n", r#"{"errors":["slow"]}"#);
    let script = Script::play(vec![act, Act::answer("503 Sealed", "", "")]).await;
    let watched = Watched::new(&settings(&script.url()));
    let failure = watched.vault.lookup_lease(&token(), &lease()).await.unwrap_err();
    assert_eq!(failure.class, Class::Again { after: Some(Duration::from_secs(7)) });
    let failure = watched.vault.lookup_lease(&token(), &lease()).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert_eq!(watched.requests(), ["lookup_lease again", "lookup_lease again"]);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_may_hide_a_lease() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"lease_id\":\"x/hunter2";
    let huge = format!(r#"{{"lease_id":"{}"}}"#, "hunter2".repeat(200_000));
    for act in [
        Act::answer("200 OK", "", "<html>hunter2</html>"),
        Act::answer("200 OK", "", r#"{"lease_id":7,"data":{"password":"hunter2"}}"#),
        Act::Say(half.to_owned()),
        Act::answer("200 OK", "", &huge),
        Act::answer("200 OK", "", r#"{"data":{"username":"u","password":"hunter2"}}"#),
        Act::answer("204 No Content", "", ""),
        Act::Say(String::new()),
    ] {
        let script = Script::play(vec![act]).await;
        let watched = Watched::new(&settings(&script.url()));
        let failure = watched.vault.issue(&token(), &app()).await.unwrap_err();
        assert_eq!(failure.class, Class::Unclear, "{failure}");
        no_secret_in(&failure, &[&Secret::new("hunter2".into())]);
        assert!(failure.text.starts_with("issue `database/creds/app`: "), "{failure}");
        let failure = watched.vault.read(&token(), &config(), None).await.unwrap_err();
        assert!(matches!(failure.class, Class::Again { .. } | Class::Ours), "{failure}");
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_used_is_ended() {
    let issued = r#"{"lease_id":"database/creds/app/x","lease_duration":60,
        "data":{"username":"u","rsa_private_key":"hunter2"}}"#;
    let renewed = r#"{"lease_id":"database/creds/app/x","lease_duration":1}"#;
    let acts = vec![Act::answer("200 OK", "", issued), Act::answer("200 OK", "", renewed)];
    let script = Script::play(acts).await;
    let watched = Watched::new(&settings(&script.url()));
    let failure = watched.vault.issue(&token(), &app()).await.unwrap_err();
    assert_eq!(failure.class, Class::Unclear);
    assert!(failure.text.contains("no `password`"), "{failure}");
    let ending = script.seen().pop().unwrap();
    assert!(ending.starts_with("PUT /v1/sys/leases/renew "), "{ending}");
    assert!(ending.contains(r#""increment":1"#), "{ending}");
}

#[tokio::test]
async fn a_request_carries_what_vault_wants_and_no_more() {
    let answer = r#"{"data":{"ttl":5}}"#;
    let script = Script::play(vec![Act::answer("200 OK", "", answer)]).await;
    let namespace = "/team/a/".to_owned();
    let watched = Watched::new(&Settings { namespace, ..settings(&script.url()) });
    let token = Secret::new("s.hunter2token\n".into());
    watched.vault.lookup_lease(&token, &lease()).await.unwrap();
    let seen = script.seen().pop().unwrap();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("PUT /v1/sys/leases/lookup HTTP/1.1\r\n"), "{head}");
    for line in
        ["x-vault-token: s.hunter2token", "x-vault-request: true", "x-vault-namespace: team/a"]
    {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert_eq!(body, r#"{"lease_id":"database/creds/app/hunter2lease"}"#);
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_refused_before_sending() {
    let script = Script::play(vec![Act::answer("200 OK", "", "{}")]).await;
    let watched = Watched::new(&settings(&script.url()));
    let token = Secret::new("s.a\r\nX-Evil: 1".into());
    let failure = watched.vault.lookup_token(&token).await.unwrap_err();
    assert_eq!(failure.class, Class::Ours);
    let source = Source::Kv { mount: "secret".into(), path: "../../sys/raw".into(), version: None };
    let failure = watched.vault.read(&token, &source, None).await.unwrap_err();
    assert_eq!(failure.class, Class::Ours);
    assert_eq!(script.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_server_repeats_of_ours_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let errors = format!(
        r#"{{"errors":["secret_id hunter2secret of {} and {}"]}}"#,
        token().expose(),
        lease().expose()
    );
    let script = Script::play(vec![Act::answer("400 Bad Request", "", &errors)]).await;
    let auth = Auth::AppRole {
        mount: "approle".into(),
        role_id_file: write(dir.path(), "role-id", "role"),
        secret_id_file: write(dir.path(), "secret-id", "hunter2secret"),
        wrapped: false,
    };
    let watched = Watched::new(&Settings { auth, ..settings(&script.url()) });
    let login = watched.vault.login(&[], None).await.unwrap_err().failure;
    no_secret_in(&login, &[&Secret::new("hunter2secret".into())]);
    let lookup = watched.vault.lookup_lease(&token(), &lease()).await.unwrap_err();
    no_secret_in(&lookup, &[&token(), &lease()]);
    assert!(lookup.text.contains("withheld"), "{lookup}");
    assert!(!format!("{:?}", watched.vault).contains("hunter2"));
}

#[tokio::test]
async fn a_redirect_never_takes_the_token_elsewhere() {
    let other = Script::play(vec![Act::answer("200 OK", "", r#"{"data":{"ttl":5}}"#)]).await;
    let header = format!("Location: {}/v1/sys/leases/lookup\r\n", other.url());
    let script = Script::play(vec![Act::answer("307 Temporary Redirect", &header, "")]).await;
    let watched = Watched::new(&settings(&script.url()));
    let failure = watched.vault.lookup_lease(&token(), &lease()).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert!(failure.text.contains(&format!("`{}`", other.url())), "{failure}");
    assert_eq!(other.seen(), Vec::<String>::new());
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_the_same_address_is_followed_once() {
    let away = Act::answer("307 Temporary Redirect", "Location: /v1/sys/leases/lookup?n=1\r\n", "");
    let there = Act::answer("200 OK", "", r#"{"data":{"ttl":5}}"#);
    let script = Script::play(vec![away.clone(), there, away]).await;
    let watched = Watched::new(&settings(&script.url()));
    let term = watched.vault.lookup_lease(&token(), &lease()).await.unwrap();
    assert_eq!(term.ttl, Duration::from_secs(5));
    assert!(script.seen()[1].contains("hunter2lease"));
    let failure = watched.vault.lookup_lease(&token(), &lease()).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert_eq!(script.seen().len(), 4);
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let address = format!("http://127.0.0.1:{}", free_port());
    let watched = Watched::new(&settings(&address));
    let failure = watched.vault.issue(&token(), &app()).await.unwrap_err();
    assert_eq!(failure.class, AGAIN, "{failure}");
    assert!(failure.text.contains(&address) && failure.text.contains("refused"), "{failure}");
}

/// The only test that waits for the real limits: 10 s for all but an issue.
#[tokio::test]
async fn a_silent_server_is_given_up_but_not_while_it_issues() {
    let script = Script::play(vec![Act::Stall(String::new())]).await;
    let vault = Watched::new(&settings(&script.url())).vault;
    let slow = Script::play(vec![Act::Stall(String::new())]).await;
    let issuing = Watched::new(&settings(&slow.url())).vault;
    let (token, lease, source) = (token(), lease(), app());
    let issue = issuing.issue(&token, &source);
    let span = Duration::from_secs(60);
    tokio::select! {
        result = issue => panic!("given up: {result:?}"),
        (renewed, looked_up) = async {
            tokio::join!(
                vault.renew_lease(&token, &lease, span),
                vault.lookup_lease(&token, &lease)
            )
        } => {
            let renewed = renewed.unwrap_err();
            assert_eq!(renewed.class, Class::Unclear, "{renewed}");
            assert!(renewed.text.contains("no answer within 10 s"), "{renewed}");
            assert_eq!(looked_up.unwrap_err().class, AGAIN);
        }
    }
}
