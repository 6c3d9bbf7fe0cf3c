//! Leases of database logins, with the database behind them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold::error::Class;
use leasehold::postgres;
use leasehold::snapshot::{Connection, SslMode};
use leasehold::vault::Source;
use serde_json::json;

use super::{AGAIN, Watched, no_secret_in, settings};
use crate::live::effects_servers::{Admin, Forward, env, pg_port, unique};

fn app(mount: &str) -> Source {
    Source::Database { mount: mount.to_owned(), role: "app".into() }
}

fn connection() -> Connection {
    Connection {
        hosts: vec![env("LEASEHOLD_TEST_PG_HOST")],
        port: pg_port(),
        dbname: "postgres".into(),
        sslmode: SslMode::Prefer,
        sslrootcert: None,
    }
}

#[tokio::test]
async fn a_lease_lives_is_shortened_and_ends() {
    let admin = Admin::from_env();
    let mount = admin.database(pg_port()).await;
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let watched = Watched::new(&settings(&admin.address));
    let vault = &watched.vault;

    let (issuing, by, from) = (vault.clone(), token.clone(), app(&mount));
    let issued = tokio::spawn(async move { issuing.issue(&by, &from).await }).await.unwrap();
    let grant = issued.unwrap();
    assert_eq!(grant.duration, Duration::from_secs(3600));
    assert!(grant.renewable && !grant.request_id.is_empty());
    assert!(grant.lease_id.expose().starts_with(&format!("{mount}/creds/app/")));
    assert!(!format!("{grant:?}").contains(grant.login().unwrap().password.expose()));
    postgres::probe(&connection(), grant.login().unwrap()).await.unwrap();

    let lease = &grant.lease_id;
    let left = vault.lookup_lease(&token, lease).await.unwrap().ttl;
    assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3600), "{left:?}");
    let longest = Duration::from_secs(1_000_000);
    let longest = vault.renew_lease(&token, lease, longest).await.unwrap().ttl;
    assert!(longest > Duration::from_secs(7100) && longest <= Duration::from_secs(7200));
    let short = vault.renew_lease(&token, lease, Duration::from_millis(29_500)).await.unwrap().ttl;
    assert_eq!(short, Duration::from_secs(30));
    assert!(vault.lookup_lease(&token, lease).await.unwrap().ttl <= short);

    vault.revoke_lease(&token, lease).await.unwrap();
    let refused = postgres::probe(&connection(), grant.login().unwrap()).await.unwrap_err();
    assert_eq!(refused.class, Class::Denied, "{refused}");
    for failure in [
        vault.lookup_lease(&token, lease).await.unwrap_err(),
        vault.renew_lease(&token, lease, Duration::from_secs(60)).await.unwrap_err(),
    ] {
        assert_eq!(failure.class, Class::Gone, "{failure}");
        assert!(failure.text.contains(&lease.short_hash()), "{failure}");
        no_secret_in(&failure, &[lease, &token]);
    }
    assert_eq!(
        watched.requests(),
        [
            "issue ok",
            "lookup_lease ok",
            "renew_lease ok",
            "renew_lease ok",
            "lookup_lease ok",
            "revoke_lease ok",
            "lookup_lease gone",
            "renew_lease gone"
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_issued_says_why() {
    let admin = Admin::from_env();
    let mount = admin.database(pg_port()).await;
    let root = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let poor = admin.token(json!({ "policies": ["default"], "ttl": "1h" })).await;
    let vault = Watched::new(&settings(&admin.address)).vault;

    let denied = vault.issue(&poor, &app(&mount)).await.unwrap_err();
    assert_eq!(denied.class, Class::Denied);
    let line = format!(r#"path "{mount}/creds/app" {{ capabilities = ["read"] }}"#);
    assert!(denied.hint.as_ref().unwrap().contains(&line), "{denied}");
    no_secret_in(&denied, &[&poor]);

    let role = Source::Database { mount: mount.clone(), role: "nosuch".into() };
    let missing = vault.issue(&root, &role).await.unwrap_err();
    assert_eq!(missing.class, Class::Missing, "{missing}");
    assert!(missing.text.contains("unknown role"), "{missing}");
    let missing = vault.issue(&root, &app(&unique("nothing"))).await.unwrap_err();
    assert_eq!(missing.class, Class::Missing, "{missing}");

    let kv = Source::Kv { mount, path: "a".into(), version: None };
    assert_eq!(vault.issue(&root, &kv).await.unwrap_err().class, Class::Ours);
}

#[tokio::test]
async fn the_policy_that_the_hint_names_is_enough() {
    let admin = Admin::from_env();
    let mount = admin.database(pg_port()).await;
    let rules = format!(r#"path "{mount}/creds/app" {{ capabilities = ["read"] }}"#);
    let policy = admin.policy(&rules).await;
    let token = admin.token(json!({ "policies": [policy], "ttl": "1h" })).await;
    let vault = Watched::new(&settings(&admin.address)).vault;
    let grant = vault.issue(&token, &app(&mount)).await.unwrap();
    // The default policy allows to look at and to shorten a lease, not to revoke it.
    vault.lookup_lease(&token, &grant.lease_id).await.unwrap();
    vault.renew_lease(&token, &grant.lease_id, Duration::from_secs(60)).await.unwrap();
    let denied = vault.revoke_lease(&token, &grant.lease_id).await.unwrap_err();
    assert_eq!(denied.class, Class::Denied);
    let line = r#"path "sys/leases/revoke" { capabilities = ["update"] }"#;
    assert!(denied.hint.as_ref().unwrap().contains(line), "{denied}");
}

#[tokio::test]
async fn a_database_that_is_down_costs_no_lease() {
    let admin = Admin::from_env();
    let forward = Forward::to((env("LEASEHOLD_TEST_PG_HOST"), pg_port())).await;
    let mount = admin.database(forward.port).await;
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let vault = Watched::new(&settings(&admin.address)).vault;
    let grant = vault.issue(&token, &app(&mount)).await.unwrap();
    drop(forward);

    let lease = &grant.lease_id;
    for failure in [
        vault.renew_lease(&token, lease, Duration::from_secs(60)).await.unwrap_err(),
        vault.revoke_lease(&token, lease).await.unwrap_err(),
        vault.issue(&token, &app(&mount)).await.unwrap_err(),
    ] {
        assert_eq!(failure.class, AGAIN, "{failure}");
        no_secret_in(&failure, &[lease, &token, &grant.login().unwrap().password]);
    }
    vault.lookup_lease(&token, lease).await.unwrap();
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let poisoned = |_| std::io::Error::other("another test thread panicked");
        self.0.lock().map_err(poisoned)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The libraries write their own log lines; none of ours can hold a secret.
#[tokio::test]
async fn even_the_most_talkative_log_holds_no_secret() {
    let log = Log::default();
    let into = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || into.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let admin = Admin::from_env();
    let mount = admin.database(pg_port()).await;
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let vault = Watched::new(&settings(&admin.address)).vault;
    let grant = vault.issue(&token, &app(&mount)).await.unwrap();
    postgres::probe(&connection(), grant.login().unwrap()).await.unwrap();
    vault.renew_lease(&token, &grant.lease_id, Duration::from_secs(60)).await.unwrap();
    vault.revoke_lease(&token, &grant.lease_id).await.unwrap();
    vault.lookup_lease(&token, &grant.lease_id).await.unwrap_err();
    vault.revoke_token(&token).await.unwrap();

    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains(&format!("{mount}/creds/app")), "the libraries are silent");
    for secret in [&token, &grant.lease_id, &grant.login().unwrap().password] {
        assert!(!written.contains(secret.expose()), "{written}");
    }
}
