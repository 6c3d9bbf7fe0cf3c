//! Rights: what a source needs, and what a token may do.
//!
//! Receives paths, gives the capabilities that a token has on each; shows a right as the line of a
//! policy. Never judges whether a token should have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rustify_derive::Endpoint;

use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::wire::Call;
use crate::vault::{CertificateRequest, Source, Vault};

// vaultrs has none of this.

#[derive(Endpoint)]
#[endpoint(path = "sys/capabilities-self", method = "POST")]
struct ReadCapabilities {
    paths: Vec<String>,
}

/// What may be done at one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// With the mount, without `/v1`.
    pub path: String,
    /// In Vault's words, as `read`.
    pub capability: &'static str,
}

impl Right {
    /// `capability` at `path`.
    pub fn new(capability: &'static str, path: impl Into<String>) -> Self {
        Self { path: path.into(), capability }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path \"{}\" {{ capabilities = [\"{}\"] }}", self.path, self.capability)
    }
}

/// By path, what a token may do there; empty where that is nothing.
pub type Capabilities = BTreeMap<String, BTreeSet<String>>;

impl Source {
    /// The right without which there is nothing of this.
    pub fn right(&self) -> Right {
        match self {
            Self::Database { mount, role } => Right::new("read", format!("{mount}/creds/{role}")),
            Self::Kv { mount, path, .. } => Right::new("read", format!("{mount}/data/{path}")),
            Self::Static { mount, role } => {
                Right::new("read", format!("{mount}/static-creds/{role}"))
            }
            Self::Certificate(CertificateRequest { mount, role, .. }) => {
                Right::new("update", format!("{mount}/issue/{role}"))
            }
            Self::Leased { path } | Self::Plain { path } => Right::new("read", path.as_str()),
        }
    }
}

/// What Vault answers for each path.
pub(super) type Judged = BTreeMap<String, BTreeSet<String>>;

/// What of `answer` may be done: `deny` is none of it.
pub(super) fn allowed(call: &Call<'_>, answer: Envelope<Judged>) -> Result<Capabilities, Failure> {
    let Some(mut all) = answer.data else {
        return Err(call.failure(Class::Again { after: None }, "vault's answer has no `data`"));
    };
    for found in all.values_mut() {
        found.remove("deny");
    }
    Ok(all)
}

impl Vault {
    /// What `token` may do at each of `paths`.
    ///
    /// # Errors
    /// `Denied` where its policies do not let it ask.
    pub async fn capabilities(
        &self,
        token: &Secret,
        paths: impl IntoIterator<Item = String>,
    ) -> Result<Capabilities, Failure> {
        let call = Call {
            operation: Operation::ReadMetadata,
            doing: "ask what the token may do".to_owned(),
            token: Some(token),
            hidden: Vec::new(),
        };
        let request = ReadCapabilities { paths: paths.into_iter().collect() };
        allowed(&call, self.inner.wire.send(&call, &request).await?)
    }
}
