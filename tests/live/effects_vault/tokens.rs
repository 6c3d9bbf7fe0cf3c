//! Logins and tokens.

use std::time::Duration;

use leasehold::error::Class;
use leasehold::secret::Secret;
use leasehold::vault::{Auth, Settings};
use serde_json::json;

use super::{AGAIN, AppRole, Watched, no_secret_in, settings, write};
use crate::live::effects_servers::{Admin, unique};

#[tokio::test]
async fn approle_gives_a_token_of_our_own() {
    let admin = Admin::from_env();
    // A login whose token has no policy at all is a login.
    let facts =
        json!({ "token_ttl": "1h", "token_max_ttl": "4h", "token_no_default_policy": true });
    let role = AppRole::make(&admin, facts).await;
    let watched = Watched::new(&role.settings(&admin, role.secret_id.expose()));
    let token = watched.vault.login(&[], None).await.unwrap();
    assert!(token.ours && token.term.renewable);
    assert_eq!(token.term.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(token.term.periodic, None);
    assert_eq!(watched.requests(), ["login ok"]);
}

#[tokio::test]
async fn a_wrong_secret_id_is_denied_and_not_sent_again() {
    let admin = Admin::from_env();
    let role = AppRole::make(&admin, json!({})).await;
    let watched = Watched::new(&role.settings(&admin, "hunter2-wrong"));
    let first = watched.vault.login(&[], None).await.unwrap_err();
    assert_eq!(first.failure.class, Class::Denied, "{first:?}");
    no_secret_in(&first.failure, &[&role.role_id, &Secret::new("hunter2-wrong".into())]);
    assert_eq!(watched.requests(), ["login denied"]);

    let refused = vec![first.credential.clone().unwrap()];
    let second = watched.vault.login(&refused, None).await.unwrap_err();
    assert_eq!(second.failure.class, Class::Denied);
    assert_eq!(second.credential, first.credential);
    assert!(second.failure.to_string().contains("until there is another"), "{second:?}");
    assert_eq!(watched.requests(), Vec::<String>::new());

    role.settings(&admin, role.secret_id.expose());
    watched.vault.login(&refused, None).await.unwrap();
    assert_eq!(watched.requests(), ["login ok"]);
}

#[tokio::test]
async fn a_wrong_role_id_is_denied() {
    let admin = Admin::from_env();
    let mut role = AppRole::make(&admin, json!({})).await;
    role.role_id = Secret::new("nobody".into());
    let watched = Watched::new(&role.settings(&admin, role.secret_id.expose()));
    assert_eq!(watched.vault.login(&[], None).await.unwrap_err().failure.class, Class::Denied);
}

#[tokio::test]
async fn a_locked_role_says_nothing_about_the_secret_id() {
    let admin = Admin::from_env();
    let role = AppRole::make(&admin, json!({})).await;
    for turn in 0..6 {
        let watched = Watched::new(&role.settings(&admin, &format!("wrong-{turn}")));
        watched.vault.login(&[], None).await.unwrap_err();
    }
    let watched = Watched::new(&role.settings(&admin, role.secret_id.expose()));
    let failure = watched.vault.login(&[], None).await.unwrap_err().failure;
    assert_eq!(failure.class, AGAIN, "{failure}");
    assert!(failure.hint.unwrap().contains("locked"));
}

#[tokio::test]
async fn a_login_that_is_not_mounted_says_so() {
    let admin = Admin::from_env();
    let mut role = AppRole::make(&admin, json!({})).await;
    role.mount = unique("nothing");
    let watched = Watched::new(&role.settings(&admin, role.secret_id.expose()));
    let failure = watched.vault.login(&[], None).await.unwrap_err().failure;
    assert_eq!(failure.class, AGAIN);
    assert!(failure.hint.unwrap().contains("nothing is mounted"));
}

#[tokio::test]
async fn an_address_outside_the_roles_network_is_no_wrong_credential() {
    let admin = Admin::from_env();
    let role = AppRole::make(&admin, json!({ "secret_id_bound_cidrs": ["10.1.2.3/32"] })).await;
    let watched = Watched::new(&role.settings(&admin, role.secret_id.expose()));
    let failure = watched.vault.login(&[], None).await.unwrap_err().failure;
    assert_eq!(failure.class, Class::Ours);
    assert!(failure.text.contains("CIDR"), "{failure}");
}

#[tokio::test]
async fn an_absent_or_empty_credential_file_is_missing() {
    let admin = Admin::from_env();
    let role = AppRole::make(&admin, json!({})).await;
    let watched = Watched::new(&role.settings(&admin, ""));
    assert_eq!(watched.vault.login(&[], None).await.unwrap_err().failure.class, Class::Missing);
    std::fs::remove_file(role.dir.path().join("secret-id")).unwrap();
    let failure = watched.vault.login(&[], None).await.unwrap_err();
    assert_eq!(failure.failure.class, Class::Missing);
    assert_eq!(failure.credential, None);
    assert_eq!(watched.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_file_is_looked_up_and_never_ours() {
    let admin = Admin::from_env();
    let dir = tempfile::tempdir().unwrap();
    let periodic = admin.token(json!({ "policies": ["default"], "period": "10m" })).await;
    let plain = admin.token(json!({ "policies": ["default"], "ttl": "10m" })).await;
    let bounded = json!({ "policies": ["default"], "period": "10m", "explicit_max_ttl": "1h" });
    let bounded = admin.token(bounded).await;
    let path = write(dir.path(), "token", "");
    let auth = Auth::TokenFile(path.clone());
    let watched = Watched::new(&Settings { auth, ..settings(&admin.address) });
    for (token, is_periodic) in [(&periodic, true), (&plain, false), (&bounded, false)] {
        std::fs::write(&path, format!("{}\n", token.expose())).unwrap();
        let found = watched.vault.login(&[], None).await.unwrap();
        assert!(!found.ours && found.term.renewable);
        assert_eq!(found.term.periodic, Some(is_periodic));
        let ttl = found.term.ttl.unwrap();
        assert!(ttl <= Duration::from_secs(600) && ttl > Duration::from_secs(590), "{ttl:?}");
    }

    std::fs::write(&path, "s.nonsense").unwrap();
    let wrong = watched.vault.login(&[], None).await.unwrap_err();
    assert_eq!(wrong.failure.class, Class::Denied);
    watched.requests();
    let refused = [wrong.credential.unwrap()];
    assert_eq!(watched.vault.login(&refused, None).await.unwrap_err().failure.class, Class::Denied);
    assert_eq!(watched.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_root_token_never_ends() {
    let admin = Admin::from_env();
    let root = admin.token(json!({ "policies": ["root"] })).await;
    let auth = Auth::Token(root.clone());
    let watched = Watched::new(&Settings { auth, ..settings(&admin.address) });
    let token = watched.vault.login(&[], None).await.unwrap();
    assert_eq!(token.term.ttl, None);
    assert_eq!(watched.vault.lookup_token(&root).await.unwrap().ttl, None);
}

#[tokio::test]
async fn a_token_is_renewed_and_revoked() {
    let admin = Admin::from_env();
    let token = admin.token(json!({ "policies": ["default"], "ttl": "1h" })).await;
    let watched = Watched::new(&settings(&admin.address));
    let span = Some(Duration::from_millis(29_001));
    let term = watched.vault.renew_token(&token, span).await.unwrap();
    assert_eq!((term.ttl, term.periodic), (Some(Duration::from_secs(30)), None));
    watched.vault.renew_token(&token, None).await.unwrap();
    watched.vault.revoke_token(&token).await.unwrap();
    let gone = watched.vault.lookup_token(&token).await.unwrap_err();
    assert_eq!(gone.class, Class::Gone, "{gone}");
    assert_eq!(watched.vault.renew_token(&token, None).await.unwrap_err().class, Class::Gone);
    assert_eq!(watched.vault.revoke_token(&token).await.unwrap_err().class, Class::Gone);
    no_secret_in(&gone, &[&token]);
}

#[tokio::test]
async fn a_token_without_the_right_is_told_from_one_that_is_gone() {
    let admin = Admin::from_env();
    let facts = json!({ "policies": ["nothing"], "no_default_policy": true, "ttl": "1h" });
    let token = admin.token(facts).await;
    let watched = Watched::new(&settings(&admin.address));
    let failure = watched.vault.lookup_token(&token).await.unwrap_err();
    assert_eq!(failure.class, Class::Denied);
    let line = r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#;
    assert!(failure.hint.as_ref().unwrap().contains(line), "{failure}");
    let failure = watched.vault.renew_token(&token, None).await.unwrap_err();
    let line = r#"path "auth/token/renew-self" { capabilities = ["update"] }"#;
    assert!(failure.hint.as_ref().unwrap().contains(line), "{failure}");

    let auth = Auth::Token(token);
    let held = Watched::new(&Settings { auth, ..settings(&admin.address) });
    assert_eq!(held.vault.login(&[], None).await.unwrap_err().failure.class, Class::Ours);
}

#[tokio::test]
async fn a_batch_token_is_used_but_not_renewed() {
    let admin = Admin::from_env();
    let facts = json!({ "policies": ["default"], "ttl": "1h", "type": "batch" });
    let token = admin.token(facts).await;
    let watched = Watched::new(&settings(&admin.address));
    let term = watched.vault.lookup_token(&token).await.unwrap();
    assert!(!term.renewable && term.ttl.is_some());
    assert_eq!(watched.vault.renew_token(&token, None).await.unwrap_err().class, Class::Ours);
}
