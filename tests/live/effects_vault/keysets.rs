//! Key sets: a manifest, and keys that are written once.

use std::collections::BTreeSet;

use leasehold::error::Class;
use leasehold::jwt::{Algorithm, Material, Status, generate};
use leasehold::secret::Secret;
use leasehold::vault::{KeysetPlace, Versioned};
use serde_json::{Value, json};

use super::{Watched, no_secret_in, settings};
use crate::live::effects_servers::Admin;
use crate::support::bao::Bao;

struct Sets {
    admin: Admin,
    watched: Watched,
    token: Secret,
    set: KeysetPlace,
}

impl Sets {
    async fn make() -> Self {
        let admin = Admin::from_env();
        let set = KeysetPlace { mount: admin.kv().await, path: "team/jwt".to_owned() };
        let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
        let watched = Watched::new(&settings(&admin.address));
        Self { admin, watched, token, set }
    }

    async fn manifest(&self) -> (u64, Option<Value>) {
        let found = self.watched.vault.manifest(&self.token, &self.set).await;
        let Versioned { version, content } = found.unwrap();
        (version, content)
    }

    async fn write(&self, epoch: u64, version: u64) -> Result<(), Class> {
        let manifest = json!({ "epoch": epoch, "keys": [{ "kid": "a", "note": null }] });
        let vault = &self.watched.vault;
        let written = vault.write_manifest(&self.token, &self.set, &manifest, version).await;
        written.map_err(|failure| failure.class)
    }

    async fn metadata(&self, document: &str) -> (u16, Value) {
        let KeysetPlace { mount, path } = &self.set;
        Bao::shared().ask("GET", &format!("{mount}/metadata/{path}/{document}"), None).await
    }
}

fn material(version: u64, algorithm: Algorithm) -> Material {
    Material {
        version,
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        expires_at: "2026-04-01T00:00:00Z".parse().unwrap(),
        status: Status::Rotating,
        key: generate::key(algorithm).unwrap(),
    }
}

#[tokio::test]
async fn a_manifest_follows_the_one_that_was_read_and_no_other() {
    let sets = Sets::make().await;
    assert_eq!(sets.manifest().await, (0, None));
    sets.watched.vault.guard_manifest(&sets.token, &sets.set).await.unwrap();
    assert_eq!(sets.manifest().await, (0, None), "a rule is no manifest");
    assert_eq!(sets.write(1, 1).await, Err(Class::Conflict));
    sets.write(1, 0).await.unwrap();
    assert_eq!(sets.write(2, 0).await, Err(Class::Conflict));
    sets.write(2, 1).await.unwrap();
    let (version, manifest) = sets.manifest().await;
    let expected = json!({ "epoch": 2, "keys": [{ "kid": "a", "note": null }] });
    assert_eq!((version, manifest), (2, Some(expected)));

    // Somebody who does not say which one is to follow is refused.
    let (path, body) = (format!("{}/data/team/jwt/keyset", sets.set.mount), json!({ "data": {} }));
    assert_eq!(Bao::shared().ask("POST", &path, Some(body)).await.0, 400);
    // One that was deleted has a number all the same.
    sets.admin.call("DELETE", &path, json!({})).await;
    assert_eq!(sets.manifest().await, (2, None));
    assert_eq!(sets.write(3, 0).await, Err(Class::Conflict));
    sets.write(3, 2).await.unwrap();
}

#[tokio::test]
async fn a_key_is_written_once_and_destroyed_for_good() {
    let sets = Sets::make().await;
    let (vault, token, set) = (&sets.watched.vault, &sets.token, &sets.set);
    assert_eq!(vault.materials(token, set).await.unwrap(), BTreeSet::new());
    let algorithms = [Algorithm::HS256, Algorithm::EdDSA, Algorithm::ES256];
    for (version, algorithm) in (1..).zip(algorithms) {
        let written = material(version, algorithm);
        vault.write_material(token, set, &written).await.unwrap();
        let read = vault.material(token, set, version).await.unwrap();
        assert_eq!(read.as_ref(), Some(&written));

        let other = material(version, algorithm);
        let failure = vault.write_material(token, set, &other).await.unwrap_err();
        assert_eq!(failure.class, Class::Conflict);
        no_secret_in(&failure, &other.secrets());
        assert_eq!(vault.material(token, set, version).await.unwrap(), Some(written));
    }
    sets.write(1, 0).await.unwrap();
    assert_eq!(vault.materials(token, set).await.unwrap(), BTreeSet::from([1, 2, 3]));

    let (_, found) = sets.metadata("version-2").await;
    assert_eq!(found["data"]["max_versions"], 1);
    assert_eq!(found["data"]["custom_metadata"], json!({ "status": "rotating" }));
    vault.note_status(token, set, 2, Status::Active).await.unwrap();
    let (_, found) = sets.metadata("version-2").await;
    assert_eq!(found["data"]["custom_metadata"], json!({ "status": "active" }));

    for _ in 0..2 {
        vault.destroy_material(token, set, 2).await.unwrap();
        assert_eq!(sets.metadata("version-2").await.0, 404);
        assert_eq!(vault.material(token, set, 2).await.unwrap(), None);
        assert_eq!(vault.materials(token, set).await.unwrap(), BTreeSet::from([1, 3]));
    }
    assert_eq!(sets.manifest().await.0, 1);
}

#[tokio::test]
async fn what_is_no_key_says_so_and_shows_nothing() {
    let sets = Sets::make().await;
    let path = format!("{}/data/team/jwt/version-1", sets.set.mount);
    let body = json!({ "data": { "secret": "hunter2", "version": "1" } });
    sets.admin.call("POST", &path, body).await;
    let found = sets.watched.vault.material(&sets.token, &sets.set, 1).await;
    let failure = found.unwrap_err();
    assert_eq!(failure.class, Class::Ours);
    assert!(failure.text.contains("/data/team/jwt/version-1`"), "{failure}");
    no_secret_in(&failure, &[&Secret::new("hunter2".to_owned())]);
}
