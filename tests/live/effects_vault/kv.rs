//! KV secrets and their versions.

use std::sync::Arc;

use leasehold::agent::event::Reading;
use leasehold::error::Class;
use leasehold::lease::Granted;
use leasehold::secret::Secret;
use leasehold::snapshot::{Field, Fields, Version};
use leasehold::vault::{Settings, Source};
use serde_json::{Value, json};

use super::{Watched, settings};
use crate::live::effects_servers::{Admin, unique};

struct Kv {
    admin: Admin,
    mount: String,
    watched: Watched,
    token: Secret,
}

impl Kv {
    async fn make() -> Self {
        let admin = Admin::from_env();
        let mount = admin.kv().await;
        let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
        let watched = Watched::new(&settings(&admin.address));
        Self { admin, mount, watched, token }
    }

    async fn call(&self, method: &str, kind: &str, body: Value) {
        self.admin.call(method, &format!("{}/{kind}/team/app db", self.mount), body).await;
    }

    fn source(&self) -> Source {
        Source::Kv { mount: self.mount.clone(), path: "team/app db".into(), version: None }
    }

    async fn token_for(&self, name: &str, rules: &str) -> Secret {
        let policy = format!("{name}-{}", self.mount);
        let body = json!({ "policy": rules });
        self.admin.call("POST", &format!("sys/policies/acl/{policy}"), body).await;
        self.admin.token(json!({ "policies": [policy], "ttl": "1h" })).await
    }

    async fn read(&self, known: Option<&str>) -> Result<Reading, leasehold::error::Failure> {
        let known: Option<Version> = known.map(Into::into);
        self.watched.vault.read(&self.token, &self.source(), known.as_ref()).await
    }
}

fn new(reading: Reading) -> (String, Fields) {
    match reading {
        Reading::New { version, content: Granted::Fields(fields), .. } => {
            (version.to_string(), Arc::unwrap_or_clone(fields))
        }
        Reading::New { .. } | Reading::Same { .. } | Reading::Leased(_) => panic!("{reading:?}"),
    }
}

#[tokio::test]
async fn a_secret_is_read_once_for_each_version() {
    let kv = Kv::make().await;
    kv.call("POST", "data", json!({ "data": { "key": "a\"b", "port": 25, "hosts": ["x"] } })).await;
    let (version, fields) = new(kv.read(None).await.unwrap());
    assert_eq!(version, "1");
    assert_eq!(fields["key"], Field::Text(Secret::new("a\"b".into())));
    assert_eq!(fields["port"], Field::Json(Secret::new("25".into())));
    assert_eq!(fields["hosts"], Field::Json(Secret::new(r#"["x"]"#.into())));
    assert_eq!(kv.watched.requests(), ["read ok"]);

    assert!(matches!(kv.read(Some("1")).await.unwrap(), Reading::Same { .. }));
    assert_eq!(kv.watched.requests(), ["read_metadata ok"]);

    kv.call("POST", "data", json!({ "data": { "key": "c" } })).await;
    let (version, fields) = new(kv.read(Some("1")).await.unwrap());
    assert_eq!((version.as_str(), fields.len()), ("2", 1));
    assert_eq!(kv.watched.requests(), ["read_metadata ok", "read ok"]);
}

#[tokio::test]
async fn without_the_right_to_the_metadata_the_secret_itself_tells() {
    let mut kv = Kv::make().await;
    kv.call("POST", "data", json!({ "data": { "key": "a" } })).await;
    let rules = format!(r#"path "{}/data/*" {{ capabilities = ["read"] }}"#, kv.mount);
    let policy = kv.admin.policy(&rules).await;
    kv.token = kv.admin.token(json!({ "policies": [policy], "ttl": "1h" })).await;
    assert!(matches!(kv.read(Some("1")).await.unwrap(), Reading::Same { .. }));
    assert_eq!(kv.watched.requests(), ["read_metadata denied", "read ok"]);
    assert_eq!(new(kv.read(Some("0")).await.unwrap()).0, "1");
}

#[tokio::test]
async fn a_deleted_secret_is_missing_and_says_which_way() {
    let kv = Kv::make().await;
    let absent = kv.read(None).await.unwrap_err();
    assert_eq!(absent.class, Class::Missing);
    assert!(absent.hint.unwrap().contains("/data/team/app db"));

    kv.call("POST", "data", json!({ "data": { "key": "a" } })).await;
    kv.call("DELETE", "data", json!({})).await;
    for known in [None, Some("1")] {
        let deleted = kv.read(known).await.unwrap_err();
        assert_eq!(deleted.class, Class::Missing);
        assert!(deleted.text.ends_with("is deleted"), "{deleted}");
    }
    kv.call("POST", "destroy", json!({ "versions": [1] })).await;
    let destroyed = kv.read(Some("1")).await.unwrap_err();
    assert_eq!(destroyed.class, Class::Missing);
    assert!(destroyed.text.ends_with("is destroyed"), "{destroyed}");
}

#[tokio::test]
async fn a_secret_that_will_be_deleted_is_still_there() {
    let kv = Kv::make().await;
    kv.call("POST", "metadata", json!({ "delete_version_after": "1h" })).await;
    kv.call("POST", "data", json!({ "data": { "key": "a" } })).await;
    assert_eq!(new(kv.read(None).await.unwrap()).0, "1");
    assert!(matches!(kv.read(Some("1")).await.unwrap(), Reading::Same { .. }));
}

#[tokio::test]
async fn a_missing_right_names_the_policy_line() {
    let mut kv = Kv::make().await;
    kv.token = kv.admin.token(json!({ "policies": ["default"], "ttl": "1h" })).await;
    let failure = kv.read(None).await.unwrap_err();
    assert_eq!(failure.class, Class::Denied);
    let line = format!(r#"path "{}/data/team/app db" {{ capabilities = ["read"] }}"#, kv.mount);
    assert!(failure.hint.as_ref().unwrap().contains(&line), "{failure}");
}

#[tokio::test]
async fn a_named_version_stays_until_it_is_gone() {
    let kv = Kv::make().await;
    for key in ["a", "b", "c"] {
        kv.call("POST", "data", json!({ "data": { "key": key } })).await;
    }
    let source =
        Source::Kv { mount: kv.mount.clone(), path: "team/app db".into(), version: Some(2) };
    let read = async |known: Option<&str>| {
        let known: Option<Version> = known.map(Into::into);
        kv.watched.vault.read(&kv.token, &source, known.as_ref()).await
    };
    let (version, fields) = new(read(None).await.unwrap());
    assert_eq!(version, "2");
    assert_eq!(fields["key"], Field::Text(Secret::new("b".into())));
    kv.call("POST", "data", json!({ "data": { "key": "d" } })).await;
    assert!(matches!(read(Some("2")).await.unwrap(), Reading::Same { .. }));
    assert_eq!(kv.watched.requests(), ["read ok", "read_metadata ok"]);

    for (how, body, ends) in [
        ("delete", json!({ "versions": [2] }), "version 2 is deleted"),
        ("destroy", json!({ "versions": [2] }), "version 2 is destroyed"),
    ] {
        kv.call("POST", how, body).await;
        for known in [None, Some("2")] {
            let gone = read(known).await.unwrap_err();
            assert_eq!(gone.class, Class::Missing);
            assert!(gone.text.ends_with(ends), "{gone}");
            assert!(gone.hint.as_ref().unwrap().contains("`kv.version`"), "{gone}");
        }
    }
}

#[tokio::test]
async fn a_version_that_never_was_is_missing() {
    let kv = Kv::make().await;
    kv.call("POST", "data", json!({ "data": { "key": "a" } })).await;
    let source =
        Source::Kv { mount: kv.mount.clone(), path: "team/app db".into(), version: Some(9) };
    let failure = kv.watched.vault.read(&kv.token, &source, None).await.unwrap_err();
    assert_eq!(failure.class, Class::Missing);
    assert!(failure.text.contains("read version 9 of"), "{failure}");
}

#[tokio::test]
async fn version_one_of_the_engine_is_refused() {
    let kv = Kv::make().await;
    let mount = unique("kv1");
    kv.admin.call("POST", &format!("sys/mounts/{mount}"), json!({ "type": "kv" })).await;
    kv.admin.call("POST", &format!("{mount}/data/a"), json!({ "data": "b" })).await;
    let source = Source::Kv { mount, path: "a".into(), version: None };
    let failure = kv.watched.vault.read(&kv.token, &source, None).await.unwrap_err();
    assert_eq!(failure.class, Class::Ours, "{failure}");
    assert!(failure.hint.unwrap().contains("version 2"));
}

#[tokio::test]
async fn an_engine_of_version_two_is_no_plain_one() {
    let kv = Kv::make().await;
    kv.call("POST", "data", json!({ "data": { "key": "a" } })).await;
    let source = Source::Plain { path: format!("{}/team/app db", kv.mount) };
    let failure = kv.watched.vault.read(&kv.token, &source, None).await.unwrap_err();
    assert_eq!(failure.class, Class::Missing);
    assert!(failure.text.ends_with("the mount is a KV engine of version 2"), "{failure}");
}

#[tokio::test]
async fn a_namespace_has_its_own_secrets() {
    let kv = Kv::make().await;
    let namespace = unique("team");
    kv.admin.call("POST", &format!("sys/namespaces/{namespace}"), json!({})).await;
    let inside = kv.admin.inside(&namespace);
    let mount = inside.kv().await;
    inside.call("POST", &format!("{mount}/data/a"), json!({ "data": { "key": "inside" } })).await;
    let source = Source::Kv { mount, path: "a".into(), version: None };

    let there = Settings { namespace: format!("{namespace}/"), ..settings(&kv.admin.address) };
    let there = Watched::new(&there);
    assert_eq!(new(there.vault.read(&kv.token, &source, None).await.unwrap()).0, "1");
    let outside = kv.watched.vault.read(&kv.token, &source, None).await.unwrap_err();
    assert_eq!(outside.class, Class::Missing);
    let nowhere = Settings { namespace: unique("no"), ..settings(&kv.admin.address) };
    let nowhere = Watched::new(&nowhere);
    let failure = nowhere.vault.read(&kv.token, &source, None).await.unwrap_err();
    assert!(failure.text.contains("namespace not found"), "{failure}");
}

#[tokio::test]
async fn a_folder_of_many_secrets_is_asked_about_at_once_where_that_is_allowed() {
    let kv = Kv::make().await;
    let source = |number: u32| {
        let path = format!("many/s{number}");
        Source::Kv { mount: kv.mount.clone(), path, version: None }
    };
    for number in 0..10 {
        let path = format!("{}/data/many/s{number}", kv.mount);
        kv.admin.call("POST", &path, json!({ "data": { "key": "x" } })).await;
    }
    let read = format!(r#"path "{}/metadata/*" {{ capabilities = ["read"] }}"#, kv.mount);
    let list =
        format!(r#"path "{}/detailed-metadata/many/" {{ capabilities = ["list"] }}"#, kv.mount);
    let narrow = kv.token_for("read", &read).await;
    let wider = kv.token_for("list", &format!("{read}\n{list}")).await;
    let known: Version = "1".into();
    for (token, asked) in [(&wider, 7 + 1), (&narrow, 7 + 1 + 3)] {
        let watched = Watched::new(&settings(&kv.admin.address));
        let read = async |number| {
            let read = watched.vault.read(token, &source(number), Some(&known)).await.unwrap();
            assert!(matches!(read, Reading::Same { .. }), "{number}");
        };
        for number in 0..7 {
            read(number).await;
        }
        tokio::join!(read(7), read(8), read(9));
        assert_eq!(watched.requests().len(), asked);
    }

    let path = format!("{}/data/many/s3", kv.mount);
    kv.admin.call("POST", &path, json!({ "data": { "key": "y" } })).await;
    let watched = Watched::new(&settings(&kv.admin.address));
    for number in (0..10).filter(|number| *number != 3) {
        watched.vault.read(&kv.token, &source(number), Some(&known)).await.unwrap();
    }
    let read = watched.vault.read(&kv.token, &source(3), Some(&known)).await.unwrap();
    assert_eq!(new(read).0, "2");
}
