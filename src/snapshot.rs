//! What every secret is worth at one point.
//!
//! Built by the agent from what it holds, taken by `render` to make files. Immutable, complete,
//! and cheap to clone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::secret::{Credential, Secret, stored};
use crate::time::Moment;

/// Counts snapshots upwards, never back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A secret's name in the configuration.
pub type SecretName = Arc<str>;

/// Tells one value of a secret from the next: the short hash of a lease id, a KV version. May be
/// shown.
pub type Version = Arc<str>;

/// Every secret that has a value, at one generation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// By name. A secret that has no value yet (an optional one) is not in it.
    pub secrets: BTreeMap<SecretName, Value>,
}

/// One secret's value.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which value it is.
    pub version: Version,
    /// When it ends, where it ends by itself.
    pub expires: Option<Moment>,
    /// When the value before it stops working, where that is known.
    pub previous_ends: Option<Moment>,
    /// The value.
    pub content: Content,
}

impl Value {
    /// A login of full size, to try out files with where there is none yet.
    pub fn stand_in(connection: Option<Arc<Connection>>) -> Self {
        // PostgreSQL's longest name.
        let longest = "x".repeat(63);
        let credential = Credential { username: longest.clone(), password: Secret::new(longest) };
        Self {
            version: Version::from("rehearsal"),
            expires: None,
            previous_ends: None,
            content: Content::Database { credential, previous: Vec::new(), connection },
        }
    }
}

/// What a value consists of.
#[derive(Clone, Debug)]
pub enum Content {
    /// A database login.
    Database {
        /// The one to use.
        credential: Credential,
        /// Those before it that may still work, newest first.
        previous: Vec<Credential>,
        /// Where to use it, where the configuration says.
        connection: Option<Arc<Connection>>,
    },
    /// Named fields, as a KV secret has them.
    Fields(Arc<Fields>),
}

/// The fields of a KV secret by name.
pub type Fields = BTreeMap<String, Field>;

/// One field of a KV secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// A JSON string, unquoted.
    Text(#[serde(with = "stored")] Secret),
    /// Any other JSON value, as JSON text.
    Json(#[serde(with = "stored")] Secret),
}

/// Where a database is. `host` may list several, as libpq allows, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Host names or addresses; `port` goes with each.
    pub hosts: Vec<String>,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub dbname: String,
    /// How TLS is used.
    pub sslmode: SslMode,
    /// The CA file that `verify-ca` and `verify-full` check against.
    pub sslrootcert: Option<String>,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server wants it no other way.
    Allow,
    /// If the server can.
    Prefer,
    /// Always, with any certificate.
    Require,
    /// Always, certificate checked.
    VerifyCa,
    /// Always, certificate and host name checked.
    VerifyFull,
}

impl SslMode {
    /// The word that libpq knows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}
