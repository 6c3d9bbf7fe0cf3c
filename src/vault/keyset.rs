//! Key sets in KV: a manifest that says what each key does, and for each key a document of its own.
//!
//! Receives where a set is, gives its manifest and its keys, writes and removes them. Never writes
//! over what it has not seen, and never removes a manifest: there is no request here that could.
//!
//! | path below the set | written | by |
//! |---|---|---|
//! | `keyset` | again and again, each time after the version that was read | `write_manifest` |
//! | `version-7` | once | `write_material` |

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vaultrs::api::kv2::requests::DeleteSecretMetadataRequest;
use zeroize::Zeroizing;

use crate::error::{Class, Failure};
use crate::jwt::{Material, Status};
use crate::secret::Secret;
use crate::vault::answer::Nothing;
use crate::vault::error::Operation;
use crate::vault::store::AsJson;
use crate::vault::wire::Call;
use crate::vault::{Place, Setting, Vault, names};

const MANIFEST: &str = "keyset";
const MATERIAL: &str = "version-";

/// Where a key set is: a folder of a KV engine of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysetPlace {
    /// Where the engine is mounted, with no slash at either end.
    pub mount: String,
    /// The folder, with none either.
    pub path: String,
}

/// A document, and the version that one after it has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// KV's number of it, also where it is deleted; 0 where there never was one.
    pub version: u64,
    /// The document; none where it is deleted, or never was.
    pub content: Option<T>,
}

impl KeysetPlace {
    fn manifest(&self) -> Place {
        self.document(MANIFEST)
    }

    fn material(&self, version: u64) -> Place {
        self.document(&format!("{MATERIAL}{version}"))
    }

    fn document(&self, name: &str) -> Place {
        let path = format!("{}/{name}", self.path);
        Place { mount: self.mount.clone(), path, versioned: true }
    }

    fn folder(&self) -> Place {
        Place { mount: self.mount.clone(), path: self.path.clone(), versioned: true }
    }
}

impl Vault {
    /// The manifest of `set`.
    ///
    /// # Errors
    /// `Denied` where the token may not read it, `Ours` where what is there is none.
    pub async fn manifest<T: DeserializeOwned>(
        &self,
        token: &Secret,
        set: &KeysetPlace,
    ) -> Result<Versioned<T>, Failure> {
        self.document(token, &set.manifest(), "the manifest of a key set").await
    }

    /// Writes the manifest that follows `version`: nothing that a set does counts before this.
    /// After a failure it may have been written all the same, which the next reading tells.
    ///
    /// # Errors
    /// `Conflict` when another is there by now.
    pub async fn write_manifest<T: Serialize>(
        &self,
        token: &Secret,
        set: &KeysetPlace,
        manifest: &T,
        version: u64,
    ) -> Result<(), Failure> {
        self.write(token, &set.manifest(), Vec::new(), manifest, version).await
    }

    /// Has Vault refuse a manifest that names no version which it follows, whoever writes it. A
    /// manifest that is removed takes this along.
    ///
    /// # Errors
    /// `Denied` where the token may not set that.
    pub async fn guard_manifest(&self, token: &Secret, set: &KeysetPlace) -> Result<(), Failure> {
        let rule = Setting::from_iter([("cas_required".to_owned(), Value::from(true))]);
        self.set(token, &metadata(&set.manifest()), &rule, None).await
    }

    /// The key that has this version; none where there is none.
    ///
    /// # Errors
    /// `Denied` where the token may not read it, `Ours` where what is there is none.
    pub async fn material(
        &self,
        token: &Secret,
        set: &KeysetPlace,
        version: u64,
    ) -> Result<Option<Material>, Failure> {
        let found: Versioned<Material> =
            self.document(token, &set.material(version), "a key of a key set").await?;
        Ok(found.content)
    }

    /// Writes a key where there never was one of its version.
    ///
    /// # Errors
    /// `Conflict` where there is: read it, it may be the one that was to be written. After another
    /// failure it may be there without its status beside it, which [`Vault::note_status`] mends.
    pub async fn write_material(
        &self,
        token: &Secret,
        set: &KeysetPlace,
        material: &Material,
    ) -> Result<(), Failure> {
        let place = set.material(material.version);
        self.write(token, &place, material.secrets(), material, 0).await?;
        self.note_status(token, set, material.version, material.status).await
    }

    /// Writes a key's present status beside it, for people who look there; the manifest is what
    /// counts. Has Vault keep one version of the document.
    ///
    /// # Errors
    /// `Denied` where the token may not set that.
    pub async fn note_status(
        &self,
        token: &Secret,
        set: &KeysetPlace,
        version: u64,
        status: Status,
    ) -> Result<(), Failure> {
        let facts = Setting::from_iter([
            ("max_versions".to_owned(), Value::from(1)),
            ("custom_metadata".to_owned(), json!({ "status": status.as_str() })),
        ]);
        self.set(token, &metadata(&set.material(version)), &facts, None).await
    }

    /// Destroys a key for good, where it still is. (What KV calls to delete can be undone.)
    ///
    /// # Errors
    /// `Denied` where the token may not.
    pub async fn destroy_material(
        &self,
        token: &Secret,
        set: &KeysetPlace,
        version: u64,
    ) -> Result<(), Failure> {
        let place = set.material(version);
        let path = names::path("path", &metadata(&place))?;
        let call = Call {
            operation: Operation::Configure,
            doing: format!("destroy `{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = DeleteSecretMetadataRequest { mount: place.mount, path: place.path };
        self.inner.wire.send::<_, Nothing>(&call, &request).await.map(drop)
    }

    /// The versions of which there is something, be it nothing but a status.
    ///
    /// # Errors
    /// `Denied` where the token may not list them.
    pub async fn materials(
        &self,
        token: &Secret,
        set: &KeysetPlace,
    ) -> Result<BTreeSet<u64>, Failure> {
        match self.names(token, &set.folder()).await {
            Ok(names) => Ok(names.iter().filter_map(|name| version(name)).collect()),
            Err(failure) if failure.class == Class::Missing => Ok(BTreeSet::new()),
            Err(failure) => Err(failure),
        }
    }

    async fn document<T: DeserializeOwned>(
        &self,
        token: &Secret,
        place: &Place,
        what: &str,
    ) -> Result<Versioned<T>, Failure> {
        let kept = self.kept(token, place).await?;
        if kept.fields.is_empty() {
            return Ok(Versioned { version: kept.version, content: None });
        }
        // What a parser says may quote a key.
        let json = serde_json::to_vec(&AsJson(&kept.fields)).map(Zeroizing::new);
        let content = json.ok().and_then(|json| serde_json::from_slice(&json).ok());
        let content = content.ok_or_else(|| {
            let text = format!("read `{}/data/{}`: it is not {what}", place.mount, place.path);
            let hint = "it may have been written by hand, or by a later version of this program";
            Failure::new(Class::Ours, text).hint(hint)
        })?;
        Ok(Versioned { version: kept.version, content: Some(content) })
    }
}

/// Where Vault has what it knows of a document.
fn metadata(place: &Place) -> String {
    format!("{}/metadata/{}", place.mount, place.path)
}

/// The version that a document of this name is of.
fn version(name: &str) -> Option<u64> {
    let version: u64 = name.strip_prefix(MATERIAL)?.parse().ok()?;
    (name == format!("{MATERIAL}{version}")).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_a_key_is_never_another() {
        let set = KeysetPlace { mount: "secret".to_owned(), path: "team/jwt".to_owned() };
        assert_eq!(metadata(&set.manifest()), "secret/metadata/team/jwt/keyset");
        assert_eq!(metadata(&set.material(12)), "secret/metadata/team/jwt/version-12");
        assert_eq!(version("version-12"), Some(12));
        for name in ["keyset", "version-", "version-x", "version-012", "version-+1", "version-1/"] {
            assert_eq!(version(name), None, "{name}");
        }
    }
}
