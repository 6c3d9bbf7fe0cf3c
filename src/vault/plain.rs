//! Secrets that are read rather than leased, and paths of any engine.
//!
//! Receives a source and the version that is known, gives the fields of another one. Never keeps
//! what it read: a value without a version of its own is known again by its keyed hash.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use rustify_derive::Endpoint;
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::secret::Secret;
use crate::snapshot::{Field, Fields, Version, fingerprint};
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

/// Whatever is at a path.
#[derive(Endpoint)]
#[endpoint(path = "{self.path}")]
pub(super) struct ReadPath {
    #[endpoint(skip)]
    pub(super) path: String,
}

/// A body of any form at a path. As the library's own requests have it, what they hold would be
/// copied once more, and left behind.
pub(super) struct WritePath {
    path: String,
    body: Zeroizing<Vec<u8>>,
}

impl WritePath {
    /// # Errors
    /// `Ours` where `body` makes no JSON.
    pub(super) fn of(
        call: &Call<'_>,
        path: String,
        body: &impl Serialize,
    ) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body).map(Zeroizing::new);
        let body = body.map_err(|_| call.failure(Class::Ours, "it makes no JSON"))?;
        Ok(Self { path, body })
    }
}

impl Endpoint for WritePath {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(Some(self.body.to_vec()))
    }
}

/// Fields as Vault sent them, not yet secret.
pub(super) type RawFields = BTreeMap<String, Box<RawValue>>;

impl Vault {
    /// Reads a secret where its current version is not `known`.
    ///
    /// # Errors
    /// `Missing` when there is no such secret or its version was deleted; `Ours` for a source that
    /// gives leases, or makes what it gives.
    pub async fn read(
        &self,
        token: &Secret,
        source: &Source,
        known: Option<&Version>,
    ) -> Result<Reading, Failure> {
        let leased = |path: &str| {
            let text = format!("read `{path}`: what is there is leased, not read");
            Err(Failure::new(Class::Ours, text))
        };
        match source {
            Source::Kv { mount, path, version } => {
                self.read_kv(token, (mount, path), *version, known).await
            }
            Source::Plain { path } => self.read_plain(token, path, known).await,
            Source::Static { mount, role } => self.read_static(token, (mount, role), known).await,
            Source::Certificate(request) => Err(request.only_made()),
            Source::Database { mount, role } => leased(&format!("{mount}/creds/{role}")),
            Source::Leased { path } => leased(path),
        }
    }

    async fn read_plain(
        &self,
        token: &Secret,
        path: &str,
        known: Option<&Version>,
    ) -> Result<Reading, Failure> {
        let path = names::path("path", path)?;
        let call = Call {
            operation: Operation::Read,
            doing: format!("read `{path}`"),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ReadPath { path };
        let answer: Envelope<RawFields> = self.inner.wire.send(&call, &request).await?;
        if !answer.lease_id.expose().is_empty() {
            let failure = call
                .failure(Class::Ours, "vault's answer is a lease, and each further one would be")
                .hint("write `leased: true` beside its `path`");
            return Ok(Reading::Leased(self.discard(token, &answer.lease_id, failure).await));
        }
        let Some(data) = answer.data else {
            return Err(call
                .failure(Class::Ours, "vault's answer has no `data`")
                .hint("only paths that answer with fields can be read"));
        };
        let fields = fields(data);
        let version = fingerprint(&self.inner.hash_key, &fields);
        if known == Some(&version) {
            return Ok(Reading::Same { left: None });
        }
        Ok(Reading::New { version, content: Granted::Fields(Arc::new(fields)), left: None })
    }
}

/// All that say something: engines answer `null` for what a credential does not have, and no file
/// should hold that word as its value.
pub(super) fn fields(data: RawFields) -> Fields {
    let said = data.into_iter().filter(|(_, value)| value.get() != "null");
    said.map(|(name, value)| (name, field(value))).collect()
}

/// A string without its quotes, anything else as the JSON text that Vault sent.
pub(super) fn field(value: Box<RawValue>) -> Field {
    let json = Zeroizing::new(String::from(Box::<str>::from(value)));
    match serde_json::from_str::<String>(&json) {
        Ok(text) => Field::Text(Secret::new(text)),
        Err(_) => Field::Json(Secret::new(json.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> RawFields {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn fields_keep_what_vault_sent() {
        let found = fields(raw(
            r#"{"s":"a\"b\n","n":12345678901234567890123.10,"o":{"z":1,"a":[true]},"e":"","no":null}"#,
        ));
        assert_eq!(found["s"], Field::Text(Secret::new("a\"b\n".into())));
        assert_eq!(found["e"], Field::Text(Secret::new(String::new())));
        assert_eq!(found["n"], Field::Json(Secret::new("12345678901234567890123.10".into())));
        assert_eq!(found["o"], Field::Json(Secret::new(r#"{"z":1,"a":[true]}"#.into())));
        assert!(!found.contains_key("no"));
    }
}
