//! KV version 2: what its newest version is, and what it holds.
//!
//! Receives a path and the version that is known, gives the fields of another one. Never reads the
//! secret to learn that nothing changed, where the policy allows to ask for the metadata.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use vaultrs::api::kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest};
use zeroize::Zeroizing;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::snapshot::{Field, Fields, Version};
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

#[derive(Deserialize)]
struct Metadata {
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
    /// Reads a KV secret where its current version is not `known`.
    ///
    /// # Errors
    /// `Missing` when there is no such secret or its newest version was deleted.
    pub async fn read(
        &self,
        token: &Secret,
        source: &Source,
        known: Option<&Version>,
    ) -> Result<Reading, Failure> {
        let (mount, path) = match source {
            Source::Kv { mount, path } => {
                (names::path("mount", mount)?, names::path("path", path)?)
            }
            Source::Database { mount, role } => {
                let text = format!("read `{mount}/creds/{role}`: a login is leased, not read");
                return Err(Failure::new(Class::Ours, text));
            }
        };
        if let Some(known) = known {
            match self.is_current(token, &mount, &path, known).await {
                Ok(true) => return Ok(Reading::Same),
                Ok(false) => {}
                Err(failure) if failure.class == Class::Denied => {}
                Err(failure) => return Err(failure),
            }
        }
        let call = Call {
            operation: Operation::Read,
            doing: format!("read `{mount}/data/{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ReadSecretRequest { mount, path, version: None };
        let answer: Envelope<Box<RawValue>> = self.inner.wire.send(&call, &request).await?;
        reading(&call, answer.data, known)
    }

    async fn is_current(
        &self,
        token: &Secret,
        mount: &str,
        path: &str,
        known: &Version,
    ) -> Result<bool, Failure> {
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
        let current = metadata.current_version.to_string();
        // A deletion may be set for later; only a read tells whether it has happened.
        let whole = metadata
            .versions
            .get(&current)
            .is_none_or(|version| !version.destroyed && version.deletion_time.is_empty());
        Ok(whole && current == **known)
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
        return Ok(Reading::Same);
    }
    let fields: Fields = data.into_iter().map(|(name, value)| (name, field(value))).collect();
    Ok(Reading::New { version, fields })
}

/// A string without its quotes, anything else as the JSON text that Vault sent.
fn field(value: Box<RawValue>) -> Field {
    let json = Zeroizing::new(String::from(Box::<str>::from(value)));
    match serde_json::from_str::<String>(&json) {
        Ok(text) => Field::Text(Secret::new(text)),
        Err(_) => Field::Json(Secret::new(json.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_what_vault_sent() {
        let data: BTreeMap<String, Box<RawValue>> = serde_json::from_str(
            r#"{"s":"a\"b\n","n":12345678901234567890123.10,"o":{"z":1,"a":[true]},"e":""}"#,
        )
        .unwrap();
        let found: Fields = data.into_iter().map(|(name, value)| (name, field(value))).collect();
        assert_eq!(found["s"], Field::Text(Secret::new("a\"b\n".into())));
        assert_eq!(found["e"], Field::Text(Secret::new(String::new())));
        assert_eq!(found["n"], Field::Json(Secret::new("12345678901234567890123.10".into())));
        assert_eq!(found["o"], Field::Json(Secret::new(r#"{"z":1,"a":[true]}"#.into())));
    }
}
