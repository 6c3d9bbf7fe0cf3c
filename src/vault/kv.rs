//! KV version 2: what its newest version is, or whether a named one is there, and what it holds.
//!
//! Receives a path and the version that is known, gives the fields of another one. Never reads the
//! secret to learn that nothing changed, where the policy allows to ask for the metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use vaultrs::api::kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest};
use zeroize::Zeroizing;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::secret::Secret;
use crate::snapshot::Version;
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::plain::field;
use crate::vault::wire::Call;
use crate::vault::{Vault, names};

#[derive(Deserialize)]
pub(super) struct Metadata {
    current_version: u64,
    #[serde(default)]
    versions: BTreeMap<String, VersionState>,
}

#[derive(Deserialize, Default)]
struct VersionState {
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl Metadata {
    /// The newest version, whole or not.
    pub(super) fn newest(&self) -> u64 {
        self.current_version
    }

    /// The version that is `wanted`, else the newest; `None` where it is deleted, or may be by now:
    /// a deletion may be set for later, and only a read tells whether it has happened.
    pub(super) fn whole(&self, wanted: Option<u64>) -> Option<Version> {
        let wanted = wanted.unwrap_or(self.current_version).to_string();
        let whole = self
            .versions
            .get(&wanted)
            .is_some_and(|version| !version.destroyed && version.deletion_time.is_empty());
        whole.then(|| wanted.into())
    }
}

#[derive(Deserialize)]
struct Content {
    data: Option<BTreeMap<String, Box<RawValue>>>,
    metadata: Option<ContentVersion>,
}

#[derive(Deserialize)]
struct ContentVersion {
    version: u64,
}

impl Vault {
    /// Reads `version` of a KV secret, the newest where none is named, unless that is `known`. A
    /// named one that is known is only looked at, whether it is still there.
    pub(super) async fn read_kv(
        &self,
        token: &Secret,
        (mount, path): (&str, &str),
        version: Option<u64>,
        known: Option<&Version>,
    ) -> Result<Reading, Failure> {
        let (mount, path) = (names::path("mount", mount)?, names::path("path", path)?);
        if let Some(known) = known {
            match self.is_current(token, (&mount, &path), version, known).await {
                Ok(true) => return Ok(Reading::Same { left: None }),
                Ok(false) => {}
                Err(failure) if failure.class == Class::Denied => {}
                Err(failure) => return Err(failure),
            }
        }
        let of_it = version.map_or_else(String::new, |version| format!("version {version} of "));
        let call = Call {
            operation: Operation::Read,
            doing: format!("read {of_it}`{mount}/data/{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ReadSecretRequest { mount, path, version };
        match self.inner.wire.send::<_, Box<RawValue>>(&call, &request).await {
            Ok(answer) => reading(&call, answer.data, known),
            Err(failure) if failure.class == Class::Missing && version.is_some() => {
                Err(failure
                    .hint("undelete this version, or name one that is there in `kv.version`"))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn is_current(
        &self,
        token: &Secret,
        (mount, path): (&str, &str),
        version: Option<u64>,
        known: &Version,
    ) -> Result<bool, Failure> {
        let (wire, folders) = (&self.inner.wire, &self.inner.folders);
        if version.is_none()
            && let Some(current) = folders.is_current(wire, token, (mount, path), known).await
        {
            return Ok(current);
        }
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: format!("read `{mount}/metadata/{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ReadSecretMetadataRequest { mount: mount.into(), path: path.into() };
        let answer: Envelope<Metadata> = self.inner.wire.send(&call, &request).await?;
        let Some(metadata) = answer.data else {
            let class = Class::Again { after: None };
            return Err(call.failure(class, "vault's answer has no `current_version`"));
        };
        Ok(metadata.whole(version).as_ref() == Some(known))
    }
}

fn reading(
    call: &Call<'_>,
    content: Option<Box<RawValue>>,
    known: Option<&Version>,
) -> Result<Reading, Failure> {
    let content = content.map(|json| Zeroizing::new(String::from(Box::<str>::from(json))));
    let content = content.and_then(|json| serde_json::from_str::<Content>(&json).ok());
    let parts = content.and_then(|content| content.data.zip(content.metadata));
    let Some((data, metadata)) = parts else {
        return Err(call
            .failure(Class::Ours, "vault's answer is not that of a KV version 2 secret")
            .hint("the mount must be of type `kv` with version 2"));
    };
    let version: Version = metadata.version.to_string().into();
    if known == Some(&version) {
        return Ok(Reading::Same { left: None });
    }
    let fields = data.into_iter().map(|(name, value)| (name, field(value))).collect();
    Ok(Reading::New { version, content: Granted::Fields(Arc::new(fields)), left: None })
}
