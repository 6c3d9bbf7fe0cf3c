//! KV as a person needs it who puts secrets there: where it is mounted, what is there, more of it.
//!
//! Receives a path, gives what is there or writes it. Never writes over what it has not seen: each
//! write names the version that it follows. Never needed by an agent.

use std::collections::BTreeMap;

use rustify_derive::Endpoint;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use vaultrs::api::kv2::requests::ReadSecretMetadataRequest;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::secret::Secret;
use crate::snapshot::{Field, Fields};
use crate::vault::answer::{Envelope, Nothing};
use crate::vault::error::Operation;
use crate::vault::kv::Metadata;
use crate::vault::plain::WritePath;
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

/// Where a path of a KV engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the engine is mounted, with no slash at either end.
    pub mount: String,
    /// What of the path is below it; empty for the whole engine.
    pub path: String,
    /// Whether the engine keeps versions.
    pub versioned: bool,
}

/// What is at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its newest version, whether or not that is deleted; 0 where there never was one.
    pub version: u64,
    /// The fields; none where it is deleted, or never was.
    pub fields: Fields,
}

#[derive(Endpoint)]
#[endpoint(path = "sys/internal/ui/mounts/{self.path}")]
struct FindMount {
    #[endpoint(skip)]
    path: String,
}

#[derive(Deserialize)]
struct MountFacts {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
}

#[derive(Endpoint)]
#[endpoint(path = "{self.path}", method = "LIST")]
struct ListPath {
    #[endpoint(skip)]
    path: String,
}

#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

/// Fields as JSON.
pub(super) struct AsJson<'a>(pub(super) &'a Fields);

impl Serialize for AsJson<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let mut map = out.serialize_map(Some(self.0.len()))?;
        for (name, field) in self.0 {
            match field {
                Field::Text(text) => map.serialize_entry(name, text.expose())?,
                Field::Json(json) => {
                    let raw: &RawValue = serde_json::from_str(json.expose())
                        .map_err(|_| S::Error::custom("a field is no JSON"))?;
                    map.serialize_entry(name, raw)?;
                }
            }
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Body<T> {
    data: T,
    options: Options,
}

#[derive(serde::Serialize)]
struct Options {
    cas: u64,
}

impl Vault {
    /// Where `path` is. A token may ask that of every engine in which it may do anything.
    ///
    /// # Errors
    /// `Denied` also where no engine is: Vault does not tell the two apart. `Ours` where the engine
    /// is another than KV.
    pub async fn place(&self, token: &Secret, path: &str) -> Result<Place, Failure> {
        let path = names::path("path", path)?;
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: format!("look which engine is at `{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = FindMount { path: path.clone() };
        let answer: Envelope<MountFacts> = self.inner.wire.send(&call, &request).await?;
        let Some(facts) = answer.data else {
            return Err(call.failure(Class::Again { after: None }, "vault's answer has no `data`"));
        };
        if facts.kind != "kv" {
            let why = format!("it is `{}`, not `kv`", facts.kind);
            return Err(call.failure(Class::Ours, &why).hint("name a path of a KV engine"));
        }
        let mount = facts.path.trim_matches('/').to_owned();
        let below = path.strip_prefix(&mount).unwrap_or_default().trim_matches('/').to_owned();
        let version = facts.options.as_ref().and_then(|options| options.get("version"));
        Ok(Place { versioned: version.is_some_and(|version| version == "2"), mount, path: below })
    }

    /// What is at `place` in its newest version.
    ///
    /// # Errors
    /// `Denied` where the token may not read it.
    pub async fn kept(&self, token: &Secret, place: &Place) -> Result<Kept, Failure> {
        let (mount, path) = (place.mount.clone(), place.path.clone());
        let source = match place.versioned {
            true => Source::Kv { mount, path, version: None },
            false => Source::Plain { path: format!("{mount}/{path}") },
        };
        match self.read(token, &source, None).await {
            Ok(Reading::New { version, content: Granted::Fields(fields), .. }) => {
                // Of a plain one it is a hash, and no write follows it.
                let version = version.to_string().parse().unwrap_or_default();
                Ok(Kept { version, fields: fields.as_ref().clone() })
            }
            Ok(_) => {
                let text = format!("read `{}/{}`: there are no fields", place.mount, place.path);
                Err(Failure::new(Class::Ours, text))
            }
            Err(failure) if failure.class == Class::Missing => {
                let version = match place.versioned {
                    true => self.newest(token, place).await?,
                    false => 0,
                };
                Ok(Kept { version, fields: Fields::new() })
            }
            Err(failure) => Err(failure),
        }
    }

    /// The newest version of what is deleted, or 0.
    async fn newest(&self, token: &Secret, place: &Place) -> Result<u64, Failure> {
        let Place { mount, path, .. } = place;
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: format!("read `{mount}/metadata/{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ReadSecretMetadataRequest { mount: mount.clone(), path: path.clone() };
        match self.inner.wire.send::<_, Metadata>(&call, &request).await {
            Ok(answer) => Ok(answer.data.map_or(0, |metadata| metadata.newest())),
            Err(failure) if failure.class == Class::Missing => Ok(0),
            Err(failure) => Err(failure),
        }
    }

    /// Writes `fields` as the version that follows `version` at `place`, whose engine keeps versions.
    ///
    /// # Errors
    /// `Conflict` when another version is there by now.
    pub async fn keep(
        &self,
        token: &Secret,
        place: &Place,
        fields: &Fields,
        version: u64,
    ) -> Result<(), Failure> {
        let values = fields.values().map(|field| match field {
            Field::Text(value) | Field::Json(value) => value,
        });
        self.write(token, place, values.collect(), AsJson(fields), version).await
    }

    /// The same of any data. No message may repeat what is `hidden` in it.
    pub(super) async fn write(
        &self,
        token: &Secret,
        place: &Place,
        hidden: Vec<&Secret>,
        data: impl Serialize,
        version: u64,
    ) -> Result<(), Failure> {
        let path = names::path("path", &format!("{}/data/{}", place.mount, place.path))?;
        let call = Call {
            operation: Operation::Configure,
            doing: format!("write `{path}`"),
            token: Some(token),
            hidden,
        };
        let body = Body { data, options: Options { cas: version } };
        let request = WritePath::of(&call, path, &body)?;
        self.inner.wire.send::<_, Nothing>(&call, &request).await.map(drop)
    }

    /// The names at `place`; those of folders end with a slash.
    ///
    /// # Errors
    /// `Missing` where nothing is below it.
    pub async fn names(&self, token: &Secret, place: &Place) -> Result<Vec<String>, Failure> {
        let middle = if place.versioned { "/metadata" } else { "" };
        let path = names::path("path", &format!("{}{middle}/{}", place.mount, place.path))?;
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: format!("list `{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let answer: Envelope<Names> = self.inner.wire.send(&call, &ListPath { path }).await?;
        Ok(answer.data.map_or_else(Vec::new, |names| names.keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_read() {
        let fields = Fields::from([
            ("text".to_owned(), Field::Text(Secret::new("a\"b\n".to_owned()))),
            ("number".to_owned(), Field::Json(Secret::new("1.50".to_owned()))),
        ]);
        let body = Body { data: AsJson(&fields), options: Options { cas: 3 } };
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(text, r#"{"data":{"number":1.50,"text":"a\"b\n"},"options":{"cas":3}}"#);
    }
}
