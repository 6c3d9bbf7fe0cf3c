//! Paths of any engine, leased and not.

use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::event::Reading;
use leasehold::error::Class;
use leasehold::lease::Granted;
use leasehold::postgres;
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{Connection, Field, Fields, SslMode, Version};
use leasehold::vault::{Source, Vault};
use serde_json::json;

use super::{Watched, no_secret_in, settings};
use crate::live::effects_servers::{Admin, env, pg_port, unique};

fn new(reading: Reading) -> (Version, Fields) {
    match reading {
        Reading::New { version, content: Granted::Fields(fields), .. } => {
            (version, Arc::unwrap_or_clone(fields))
        }
        Reading::New { .. } | Reading::Same { .. } | Reading::Leased(_) => panic!("{reading:?}"),
    }
}

fn text(field: &Field) -> String {
    match field {
        Field::Text(text) | Field::Json(text) => text.expose().to_owned(),
    }
}

#[tokio::test]
async fn a_change_of_a_kv_engine_without_versions_is_seen_by_its_data() {
    let admin = Admin::from_env();
    let (mount, token) = (unique("kv1"), admin.token(json!({ "policies": ["root"] })).await);
    let facts = json!({ "type": "kv", "options": { "version": "1" } });
    admin.call("POST", &format!("sys/mounts/{mount}"), facts).await;
    let path = format!("{mount}/team/app db");
    let write = async |body| drop(admin.call("POST", &path, body).await);
    let watched = Watched::new(&settings(&admin.address));
    let source = Source::Plain { path: path.clone() };
    let read =
        async |known: Option<&Version>| watched.vault.read(&token, &source, known).await.unwrap();

    let absent = watched.vault.read(&token, &source, None).await.unwrap_err();
    assert_eq!(absent.class, Class::Missing);
    write(json!({ "key": "a\"b", "port": 25, "none": null, "ttl": "30s" })).await;
    let (first, fields) = new(read(None).await);
    assert_eq!(fields["key"], Field::Text(Secret::new("a\"b".into())));
    assert_eq!(fields["port"], Field::Json(Secret::new("25".into())));
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["key", "port", "ttl"]);
    assert!(matches!(read(Some(&first)).await, Reading::Same { .. }));
    write(json!({ "key": "a\"b", "port": "25" })).await;
    let (second, _) = new(read(Some(&first)).await);
    assert_ne!(first, second);
    write(json!({ "key": "a\"b", "port": 25, "ttl": "30s" })).await;
    assert_eq!(new(read(Some(&second)).await).0, first, "the same data is the same version");

    // Another key, another fingerprint: without it nobody can try out guesses.
    let other = Vault::new(&settings(&admin.address), b"other", std::sync::Arc::new(|_, _, _| {}));
    assert_ne!(new(other.unwrap().read(&token, &source, None).await.unwrap()).0, first);
}

#[tokio::test]
async fn plain_paths_of_other_engines_are_read() {
    let admin = Admin::from_env();
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let transit = unique("transit");
    admin.call("POST", &format!("sys/mounts/{transit}"), json!({ "type": "transit" })).await;
    admin.call("POST", &format!("{transit}/keys/k"), json!({})).await;
    let watched = Watched::new(&settings(&admin.address));
    let read = async |path: String| watched.vault.read(&token, &Source::Plain { path }, None).await;
    let (_, fields) = new(read(format!("{transit}/keys/k")).await.unwrap());
    assert_eq!(fields["type"], Field::Text(Secret::new("aes256-gcm96".into())));
    assert_eq!(fields["latest_version"], Field::Json(Secret::new("1".into())));
    let (_, fields) = new(read("auth/token/lookup-self".into()).await.unwrap());
    assert!(text(&fields["ttl"]).parse::<u64>().unwrap() > 3500);

    // An answer that is no secret's.
    let failure = read("sys/health".into()).await.unwrap_err();
    assert_eq!(failure.class, Class::Ours);
    assert!(failure.text.ends_with("has no `data`"), "{failure}");
    let failure = read(format!("{}/x", unique("nothing"))).await.unwrap_err();
    assert_eq!(failure.class, Class::Missing, "{failure}");
    for source in [
        Source::Leased { path: "a/b".into() },
        Source::Database { mount: "a".into(), role: "b".into() },
    ] {
        let failure = watched.vault.read(&token, &source, None).await.unwrap_err();
        assert_eq!(failure.class, Class::Ours);
    }
}

#[tokio::test]
async fn a_leased_path_gives_a_lease_of_its_fields() {
    let admin = Admin::from_env();
    let mount = admin.database(pg_port()).await;
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let watched = Watched::new(&settings(&admin.address));
    let vault = &watched.vault;
    let source = Source::Leased { path: format!("{mount}/creds/app") };

    let grant = vault.issue(&token, &source).await.unwrap();
    assert_eq!((grant.duration, grant.renewable), (Duration::from_secs(3600), true));
    assert_eq!(grant.username(), "");
    let Granted::Fields(fields) = &grant.content else { panic!("{grant:?}") };
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["password", "username"]);
    let login = Credential {
        username: text(&fields["username"]),
        password: Secret::new(text(&fields["password"])),
    };
    assert!(!format!("{grant:?}").contains(login.password.expose()));
    postgres::probe(&connection(), &login).await.unwrap();
    let term = vault.renew_lease(&token, &grant.lease_id, Duration::from_secs(60)).await.unwrap();
    assert_eq!(term.ttl, Duration::from_secs(60));
    vault.revoke_lease(&token, &grant.lease_id).await.unwrap();
    assert_eq!(postgres::probe(&connection(), &login).await.unwrap_err().class, Class::Denied);

    let kv = admin.kv().await;
    admin.call("POST", &format!("{kv}/data/a"), json!({ "data": { "key": "x" } })).await;
    let none = vault.issue(&token, &Source::Leased { path: format!("{kv}/data/a") }).await;
    let none = none.unwrap_err();
    assert_eq!(none.class, Class::Ours, "{none}");
    assert!(none.hint.as_ref().unwrap().contains("leave out `leased: true`"), "{none}");
    let plain = vault.issue(&token, &Source::Plain { path: "a".into() }).await.unwrap_err();
    assert_eq!(plain.class, Class::Ours);
}

#[tokio::test]
async fn a_lease_that_nobody_asked_for_is_ended_at_once() {
    let admin = Admin::from_env();
    let mount = admin.database(pg_port()).await;
    let policy = format!(r#"path "{mount}/creds/app" {{ capabilities = ["read"] }}"#);
    let policy = admin.policy(&policy).await;
    let token = admin.token(json!({ "policies": [policy], "ttl": "1h" })).await;
    let watched = Watched::new(&settings(&admin.address));
    let source = Source::Plain { path: format!("{mount}/creds/app") };
    let Reading::Leased(failure) = watched.vault.read(&token, &source, None).await.unwrap() else {
        panic!("not noticed")
    };
    no_secret_in(&failure, &[&token]);
    assert!(failure.hint.as_ref().unwrap().starts_with("write `leased: true`"), "{failure}");
    assert_eq!(watched.requests(), ["read ok", "renew_lease ok"]);
    crate::live::effects_servers::eventually("the lease has ended", async || {
        let path = format!("{}/v1/sys/leases/lookup/{mount}/creds/app", admin.address);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let list = reqwest::Method::from_bytes(b"LIST").unwrap();
        let root = env("LEASEHOLD_TEST_VAULT_TOKEN");
        let asked = client.request(list, path).header("x-vault-token", root).send().await.ok()?;
        (asked.status() == 404).then_some(())
    })
    .await;
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
