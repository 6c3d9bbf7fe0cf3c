//! Vault and OpenBao over HTTP.
//!
//! Receives one request at a time with the token to use, gives an answer in the words of the
//! decisions or a classed [`Failure`]. Never retries, never keeps a token, never lets a body or a
//! header into an error: the agent decides, this module speaks.

mod advice;
mod answer;
mod auth;
mod error;
mod folder;
mod kv;
mod leases;
mod listing;
mod names;
mod plain;
mod roles;
mod tls;
mod wire;
mod wrapping;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::error::Failure;
use crate::secret::Secret;

pub use auth::credential_file;
pub use listing::LeaseTimes;
pub use roles::RoleTerms;

/// Which Vault, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http://` or `https://` address, no path.
    pub address: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// The CA that the server's certificate is checked against; the system's where there is none.
    pub ca_cert: Option<PathBuf>,
    /// What we show to a server that asks for a certificate.
    pub client: Option<ClientCertificate>,
    /// How to log in.
    pub auth: Auth,
}

/// A certificate of ours, and its key; PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with those between it and its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// AppRole, its two ids in files.
    AppRole {
        /// Mount of the method.
        mount: String,
        /// File with the role id.
        role_id_file: PathBuf,
        /// File with the secret id.
        secret_id_file: PathBuf,
        /// Whether that file holds a wrapping token with the secret id in it.
        wrapped: bool,
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
        /// The version to read; the newest where there is none.
        version: Option<u64>,
    },
    /// Any path whose answer is a lease.
    Leased {
        /// With the mount.
        path: String,
    },
    /// Any path whose answer is none, KV version 1 among them.
    Plain {
        /// With the mount.
        path: String,
    },
}

impl Source {
    /// Where Vault keeps the leases that this makes; `None` where it makes none.
    pub fn leases_below(&self) -> Option<String> {
        match self {
            Self::Database { mount, role } => Some(format!("{mount}/creds/{role}")),
            Self::Leased { path } => Some(path.clone()),
            Self::Kv { .. } | Self::Plain { .. } => None,
        }
    }
}

/// Is told of every request: operation, outcome (`ok` or the failure's class), how long.
pub type Observer = Arc<dyn Fn(&'static str, &'static str, Duration) + Send + Sync>;

/// A connection to one Vault; cheap to clone.
///
/// Its requests are in `auth` and `wrapping` (tokens), `leases` and `listing`, `kv` and `plain`.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    wire: wire::Wire,
    auth: Auth,
    hash_key: hmac::Key,
    folders: folder::Folders,
}

impl Vault {
    /// Reads the TLS files and readies the client; sends nothing. `hash_key` keys the hashes by
    /// which refused credentials and plain values are known again. Files that changed are read anew
    /// at the next request, so they need no new `Vault`.
    ///
    /// # Errors
    /// `Ours` or `Missing` when the address, the namespace, the mount of the login or a TLS file
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
                folders: folder::Folders::default(),
            }),
        })
    }
}

impl Vault {
    /// What became of TLS files that changed, told once for each change: `Ok` when new connections
    /// use them, else why they still use those before.
    pub fn tls_files(&self) -> Option<Result<(), Failure>> {
        self.inner.wire.tls_files()
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("address", &self.inner.wire.address()).finish_non_exhaustive()
    }
}
