//! What every secret is worth at one point.
//!
//! Built by the agent from what it holds, taken by `render` to make files. Immutable, complete,
//! and cheap to clone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::secret::{Credential, Secret, hex, stored};
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

    /// The same of fields that are called so.
    pub fn stand_in_of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let field = |name: &str| (name.to_owned(), Field::Text(Secret::new("x".to_owned())));
        let fields: Fields = names.into_iter().map(field).collect();
        Self { content: Content::Fields(Arc::new(fields)), ..Self::stand_in(None) }
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

/// Tells one value from the next that has no version of its own. Nobody without the key can try out
/// guesses on it.
pub fn fingerprint(key: &hmac::Key, fields: &Fields) -> Version {
    let mut context = hmac::Context::with_key(key);
    for (name, field) in fields {
        let (kind, value) = match field {
            Field::Text(text) => ("text", text),
            Field::Json(json) => ("json", json),
        };
        for part in [name, kind, value.expose()] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    hex(&context.sign().as_ref()[..8]).into()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn fields(list: &[(&str, Field)]) -> Fields {
        list.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect()
    }

    fn text(value: &str) -> Field {
        Field::Text(Secret::new(value.to_owned()))
    }

    #[test]
    fn every_difference_shows_and_only_with_the_key() {
        let key = |bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let all = [
            fields(&[("a", text("b"))]),
            fields(&[("a", text("c"))]),
            fields(&[("ab", text(""))]),
            fields(&[("a", text("1"))]),
            fields(&[("a", Field::Json(Secret::new("1".to_owned())))]),
            fields(&[("a", text("b")), ("c", text("d"))]),
            fields(&[("a", text("bc")), ("d", text(""))]),
            fields(&[]),
        ];
        let seen: BTreeSet<Version> =
            all.iter().map(|fields| fingerprint(&key(b"key"), fields)).collect();
        assert_eq!(seen.len(), all.len());
        assert!(seen.contains(&fingerprint(&key(b"key"), &all[5].clone())));
        assert_ne!(fingerprint(&key(b"other"), &all[0]), fingerprint(&key(b"key"), &all[0]));
    }
}
