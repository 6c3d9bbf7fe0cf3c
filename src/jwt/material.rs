//! A key as Vault stores it, in a document of its own that is written once.
//!
//! Receives the document's JSON, gives the key and its dates, and the other way round. Never the
//! place to look up what a key does at present: its status there is that of the day it was written.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::date::Date;
use crate::jwt::key::PrivateJwk;
use crate::jwt::{Algorithm, Key, Unusable};
use crate::secret::Secret;

/// A key's status, as people are told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It signs.
    Active,
    /// It is being replaced, or replaces another.
    Rotating,
    /// Its tokens are still accepted.
    Deprecated,
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Rotating => "rotating",
            Self::Deprecated => "deprecated",
        }
    }
}

/// One version of a key set's keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Document")]
pub struct Material {
    /// Which of the set's keys.
    pub version: u64,
    /// When it was made.
    pub created_at: Date,
    /// When it is to be out of use.
    pub expires_at: Date,
    /// What it was made for.
    pub status: Status,
    /// The key.
    pub key: Key,
}

impl Material {
    /// Everything of it that no message may repeat.
    pub fn secrets(&self) -> Vec<&Secret> {
        self.key.secrets()
    }
}

impl Serialize for Material {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            secret: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            private_jwk: Option<PrivateJwk<'a>>,
            version: u64,
            created_at: Date,
            expires_at: Date,
            status: Status,
            kid: &'a str,
            alg: Algorithm,
        }
        let written = Written {
            secret: self.key.secret().map(Secret::expose),
            private_jwk: self.key.private_jwk(),
            version: self.version,
            created_at: self.created_at,
            expires_at: self.expires_at,
            status: self.status,
            kid: self.key.kid(),
            alg: self.key.algorithm(),
        };
        written.serialize(out)
    }
}

/// As it is read.
#[derive(Deserialize)]
struct Document {
    secret: Option<Zeroizing<String>>,
    private_jwk: Option<Box<RawValue>>,
    version: u64,
    created_at: Date,
    expires_at: Date,
    status: Status,
    kid: String,
    alg: Algorithm,
}

impl TryFrom<Document> for Material {
    type Error = Unusable;

    fn try_from(document: Document) -> Result<Self, Unusable> {
        let Document { secret, private_jwk, version, created_at, expires_at, status, kid, alg } =
            document;
        let jwk = private_jwk.map(|json| Zeroizing::new(String::from(Box::<str>::from(json))));
        let key = match (secret, jwk) {
            (Some(mut secret), None) => {
                Key::shared(kid.clone(), alg, Secret::new(std::mem::take(&mut *secret)))?
            }
            (None, Some(jwk)) => Key::from_jwk(&jwk)?,
            (Some(_), Some(_)) | (None, None) => return Err(Unusable),
        };
        if (key.kid(), key.algorithm()) != (kid.as_str(), alg) {
            return Err(Unusable);
        }
        Ok(Self { version, created_at, expires_at, status, key })
    }
}
