//! Vault and OpenBao over HTTP.
//!
//! Receives one request at a time with the token to use, gives an answer in the words of the
//! decisions or a classed [`Failure`]. Never retries, never keeps a token, never lets a body or a
//! header into an error: the agent decides, this module speaks.

mod answer;
mod auth;
mod error;
mod kv;
mod leases;
mod names;
mod tls;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::error::Failure;
use crate::secret::Secret;

/// Which Vault, and who we are to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://` or `https://` address, no path.
    pub address: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// The CA that the server's certificate is checked against; the system's where there is none.
    pub ca_cert: Option<PathBuf>,
    /// How to log in.
    pub auth: Auth,
}

/// How to log in.
#[derive(Clone, Debug)]
pub enum Auth {
    /// AppRole, its two ids in files.
    AppRole {
        /// Mount of the method.
        mount: String,
        /// File with the role id.
        role_id_file: PathBuf,
        /// File with the secret id.
        secret_id_file: PathBuf,
    },
    /// A token that somebody else keeps in a file.
    TokenFile(PathBuf),
    /// The token from `VAULT_TOKEN`.
    Token(Secret),
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Dynamic credentials of a database role.
    Database {
        /// Mount of the database engine.
        mount: String,
        /// Role.
        role: String,
    },
    /// A KV version 2 secret.
    Kv {
        /// Mount of the KV engine.
        mount: String,
        /// Logical path, without `data/`.
        path: String,
    },
}

/// Is told of every request: operation, outcome (`ok` or the failure's class), how long.
pub type Observer = Arc<dyn Fn(&'static str, &'static str, Duration) + Send + Sync>;

/// A connection to one Vault; cheap to clone.
///
/// Its requests are in `auth` (tokens), `leases` and `kv`.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    wire: wire::Wire,
    auth: Auth,
    hash_key: hmac::Key,
}

impl Vault {
    /// Reads the CA and readies the client; sends nothing. `hash_key` keys the hashes by which
    /// refused credentials are remembered. The CA file is read again at every request, so a new
    /// one needs no new `Vault`.
    ///
    /// # Errors
    /// `Ours` or `Missing` when the address, the namespace, the mount of the login or the CA
    /// cannot be used.
    pub fn new(settings: &Settings, hash_key: &[u8], observer: Observer) -> Result<Self, Failure> {
        if let Auth::AppRole { mount, .. } = &settings.auth {
            names::path("mount of the login", mount)?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                wire: wire::Wire::new(settings, observer)?,
                auth: settings.auth.clone(),
                hash_key: hmac::Key::new(hmac::HMAC_SHA256, hash_key),
            }),
        })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("address", &self.inner.wire.address()).finish_non_exhaustive()
    }
}
