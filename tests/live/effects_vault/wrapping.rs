//! Secret ids that arrive in a wrapping token.

use leasehold::agent::event::Unwrapped;
use leasehold::error::Class;
use leasehold::secret::Secret;
use serde_json::json;

use super::{AGAIN, AppRole, Watched, no_secret_in};
use crate::live::effects_servers::{Act, Admin, Script, eventually};

struct Wrapped {
    admin: Admin,
    role: AppRole,
    path: String,
}

impl Wrapped {
    async fn make() -> Self {
        let admin = Admin::from_env();
        let role = AppRole::make(&admin, json!({})).await;
        let path = format!("auth/{}/role/app/secret-id", role.mount);
        Self { admin, role, path }
    }

    async fn wrap(&self, ttl: &str) -> Secret {
        self.admin.wrapped(&self.path, json!({}), ttl).await
    }

    fn vault(&self, token: &Secret) -> Watched {
        Watched::new(&self.role.with(&self.admin, token.expose(), true))
    }
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_and_logs_in() {
    let wrapped = Wrapped::make().await;
    let token = wrapped.wrap("60s").await;
    let watched = wrapped.vault(&token);
    let vault = &watched.vault;
    let found = vault.unwrap(&[], None).await.unwrap().unwrap();
    assert!(!format!("{found:?}").contains(found.secret_id.expose()));
    assert_eq!(watched.requests(), ["lookup_wrapping ok", "unwrap ok"]);
    assert!(vault.login(&[], Some(&found)).await.unwrap().ours);

    // Known, it is not asked for again, and neither when its file is gone.
    assert!(vault.unwrap(&[], Some(&found)).await.unwrap().is_none());
    std::fs::remove_file(wrapped.role.dir.path().join("secret-id")).unwrap();
    assert!(vault.unwrap(&[], Some(&found)).await.unwrap().is_none());
    vault.login(&[], Some(&found)).await.unwrap();
    assert_eq!(watched.requests(), ["login ok", "login ok"]);

    // Another token in the file is another secret id.
    let watched = wrapped.vault(&wrapped.wrap("60s").await);
    let next = watched.vault.unwrap(&[], Some(&found)).await.unwrap().unwrap();
    assert!(next.of != found.of && next.secret_id != found.secret_id);
}

#[tokio::test]
async fn a_token_that_was_used_says_that_it_may_be_stolen() {
    let wrapped = Wrapped::make().await;
    let token = wrapped.wrap("60s").await;
    let thief = wrapped.vault(&token).vault.unwrap(&[], None).await.unwrap().unwrap();
    let watched = wrapped.vault(&token);
    let failed = watched.vault.unwrap(&[], None).await.unwrap_err();
    assert_eq!(failed.failure.class, Class::Denied);
    assert!(failed.failure.hint.as_ref().unwrap().contains("as stolen"), "{failed:?}");
    no_secret_in(&failed.failure, &[&token, &thief.secret_id]);
    assert_eq!(watched.requests(), ["lookup_wrapping gone"]);

    // Refused for good, nothing is sent.
    let refused = [failed.credential.unwrap()];
    let again = watched.vault.unwrap(&refused, None).await.unwrap_err();
    assert_eq!(again.failure.class, Class::Denied);
    // A secret id from before is not lost for it.
    let before =
        Unwrapped { of: "another token".into(), secret_id: wrapped.role.secret_id.clone() };
    assert!(watched.vault.unwrap(&refused, Some(&before)).await.unwrap().is_none());
    assert_eq!(watched.requests(), Vec::<String>::new());
    watched.vault.login(&refused, Some(&before)).await.unwrap();
}

#[tokio::test]
async fn an_unwrapped_secret_id_that_is_wrong_is_not_sent_again() {
    let wrapped = Wrapped::make().await;
    let watched = wrapped.vault(&wrapped.wrap("60s").await);
    let wrong = Unwrapped { of: "a token".into(), secret_id: Secret::new("hunter2-wrong".into()) };
    let first = watched.vault.login(&[], Some(&wrong)).await.unwrap_err();
    assert_eq!(first.failure.class, Class::Denied);
    no_secret_in(&first.failure, &[&wrong.secret_id]);
    let refused = [first.credential.unwrap()];
    watched.vault.login(&refused, Some(&wrong)).await.unwrap_err();
    assert_eq!(watched.requests(), ["login denied"]);
}

#[tokio::test]
async fn what_is_no_wrapping_token_of_our_approle_is_never_unwrapped() {
    let wrapped = Wrapped::make().await;
    let other = AppRole::make(&wrapped.admin, json!({})).await;
    let others = format!("auth/{}/role/app/secret-id", other.mount);
    let evil = json!({ "secret_id": "planted-by-somebody" });
    for (token, made_at) in [
        (wrapped.admin.wrapped("sys/wrapping/wrap", evil, "60s").await, "sys/wrapping/wrap"),
        (wrapped.admin.wrapped(&others, json!({}), "60s").await, others.as_str()),
    ] {
        let watched = wrapped.vault(&token);
        let failed = watched.vault.unwrap(&[], None).await.unwrap_err();
        assert_eq!(failed.failure.class, Class::Denied);
        assert!(failed.failure.text.contains(made_at), "{failed:?}");
        assert!(failed.failure.hint.as_ref().unwrap().contains("an attack"), "{failed:?}");
        no_secret_in(&failed.failure, &[&token]);
        assert_eq!(watched.requests(), ["lookup_wrapping ok"]);
        assert!(failed.credential.is_some());
    }
    // The secret id itself, by mistake.
    let failed = wrapped.vault(&wrapped.role.secret_id).vault.unwrap(&[], None).await.unwrap_err();
    assert_eq!(failed.failure.class, Class::Denied);
    no_secret_in(&failed.failure, &[&wrapped.role.secret_id]);
}

#[tokio::test]
async fn a_token_that_ran_out_is_denied() {
    let wrapped = Wrapped::make().await;
    let token = wrapped.wrap("1s").await;
    let watched = wrapped.vault(&token);
    let path = "sys/wrapping/lookup";
    eventually("the token has run out", async || {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/v1/{path}", wrapped.admin.address);
        let body = json!({ "token": token.expose() }).to_string();
        let asked = client.post(url).body(body).send().await.ok()?;
        (asked.status() == 400).then_some(())
    })
    .await;
    let failed = watched.vault.unwrap(&[], None).await.unwrap_err();
    assert_eq!(failed.failure.class, Class::Denied);
}

#[tokio::test]
async fn a_lost_answer_and_a_file_that_is_not_there_say_so() {
    let wrapped = Wrapped::make().await;
    let origin = json!({ "data": { "creation_path": wrapped.path } }).to_string();
    let script = Script::play(vec![
        Act::answer("503 Sealed", "", ""),
        Act::answer("200 OK", "", &origin),
        Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into()),
    ])
    .await;
    let admin = Admin::new(script.url(), "unused".into());
    let watched = Watched::new(&wrapped.role.with(&admin, "s.token-in-the-file", true));
    assert_eq!(watched.vault.unwrap(&[], None).await.unwrap_err().failure.class, AGAIN);
    let lost = watched.vault.unwrap(&[], None).await.unwrap_err().failure;
    assert!(lost.text.starts_with("unwrap the secret id from"), "{lost}");
    no_secret_in(&lost, &[&Secret::new("s.token-in-the-file".into())]);
    assert_eq!(watched.requests(), ["lookup_wrapping again", "lookup_wrapping ok", "unwrap again"]);

    std::fs::remove_file(wrapped.role.dir.path().join("secret-id")).unwrap();
    let failed = watched.vault.unwrap(&[], None).await.unwrap_err();
    assert_eq!((failed.failure.class, failed.credential), (Class::Missing, None));
    let stale = Unwrapped { of: "other".into(), secret_id: Secret::new("kept-since".into()) };
    assert!(watched.vault.unwrap(&[], Some(&stale)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_still_wrapped_is_never_sent_as_a_secret_id() {
    let wrapped = Wrapped::make().await;
    let watched = wrapped.vault(&wrapped.wrap("60s").await);
    assert_eq!(watched.vault.login(&[], None).await.unwrap_err().failure.class, Class::Missing);
    assert_eq!(watched.requests(), Vec::<String>::new());
}
