//! Everything that the agent asks for, in a namespace.

use std::time::Duration;

use leasehold::agent::event::Reading;
use leasehold::error::Class;
use leasehold::vault::{Settings, Source};
use serde_json::json;

use super::{AppRole, Watched};
use crate::live::effects_servers::{Admin, pg_port, unique};

#[tokio::test]
async fn a_whole_life_inside_of_a_namespace() {
    let root = Admin::from_env();
    let (outer, inner) = (unique("ns"), unique("team"));
    root.call("POST", &format!("sys/namespaces/{outer}"), json!({})).await;
    root.inside(&outer).call("POST", &format!("sys/namespaces/{inner}"), json!({})).await;
    let namespace = format!("{outer}/{inner}");
    let admin = root.inside(&namespace);
    let (mount, kv) = (admin.database(pg_port()).await, admin.kv().await);
    let rules = format!(
        r#"path "{mount}/creds/app" {{ capabilities = ["read"] }}
           path "{kv}/*" {{ capabilities = ["read"] }}
           path "sys/leases/revoke" {{ capabilities = ["update"] }}"#
    );
    let policy = admin.policy(&rules).await;
    let role = AppRole::make(&admin, json!({ "token_policies": [policy] })).await;
    let path = format!("auth/{}/role/app/secret-id", role.mount);
    let wrapping = admin.wrapped(&path, json!({}), "60s").await;
    let settings = role.with(&admin, wrapping.expose(), true);
    let watched = Watched::new(&Settings { namespace: namespace.clone(), ..settings.clone() });
    let vault = &watched.vault;

    let unwrapped = vault.unwrap(&[], None).await.unwrap().unwrap();
    let token = vault.login(&[], Some(&unwrapped)).await.unwrap().secret;
    vault.lookup_token(&token).await.unwrap();
    vault.renew_token(&token, None).await.unwrap();
    let source = Source::Database { mount: mount.clone(), role: "app".into() };
    let grant = vault.issue(&token, &source).await.unwrap();
    let lease = &grant.lease_id;
    let span = Duration::from_secs(60);
    assert_eq!(vault.renew_lease(&token, lease, span).await.unwrap().ttl, span);
    assert!(vault.lookup_lease(&token, lease).await.unwrap().ttl <= span);
    vault.revoke_lease(&token, lease).await.unwrap();
    assert_eq!(vault.lookup_lease(&token, lease).await.unwrap_err().class, Class::Gone);
    admin.call("POST", &format!("{kv}/data/a"), json!({ "data": { "key": "x" } })).await;
    let source = Source::Kv { mount: kv, path: "a".into(), version: None };
    let read = vault.read(&token, &source, None).await.unwrap();
    assert!(matches!(read, Reading::New { .. }));

    // Without the header none of it is there.
    let outside = Watched::new(&settings);
    outside.vault.login(&[], Some(&unwrapped)).await.unwrap_err();
    assert_eq!(outside.vault.read(&token, &source, None).await.unwrap_err().class, Class::Denied);
    vault.revoke_token(&token).await.unwrap();
    assert_eq!(vault.lookup_token(&token).await.unwrap_err().class, Class::Gone);
}
