//! Vault and OpenBao over HTTP.
//!
//! Receives one request at a time with the token to use, gives an answer in the words of the
//! decisions or a classed [`Failure`]. Never retries, never keeps a token, never lets a body or a
//! header into an error: the agent decides, this module speaks.

mod advice;
mod answer;
mod auth;
mod certificate;
mod error;
mod folder;
mod keyset;
mod kv;
mod leases;
mod listing;
mod login;
mod method;
mod names;
mod plain;
mod rights;
mod roles;
mod setup;
mod static_role;
mod store;
mod tls;
mod wire;
mod wrapping;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::date::Now;
use crate::error::Failure;
use crate::secret::Secret;

pub use auth::credential_file;
pub use certificate::{CERTIFICATE_FIELDS, CertificateRequest};
pub use keyset::{KeysetPlace, Versioned};
pub use listing::LeaseTimes;
pub use rights::{Capabilities, Right};
pub use roles::RoleTerms;
pub use setup::Setting;
pub use store::{Kept, Place};

/// Which Vault, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http://` or `https://` address, no path.
    pub address: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// The CA that the server's certificate is checked against; the system's where there is none.
    pub ca_cert: Option<PathBuf>,
    /// What we show to a server that asks for a certificate; not beside a login by certificate.
    pub client: Option<ClientCertificate>,
    /// How to log in.
    pub auth: Auth,
}

impl Settings {
    /// The certificate that connections show, and the keys of the configuration that name its files.
    fn shown(&self) -> Option<(&ClientCertificate, [&'static str; 2])> {
        match &self.auth {
            Auth::Certificate(login) => {
                let keys = ["vault.auth.cert.cert_file", "vault.auth.cert.key_file"];
                Some((&login.certificate, keys))
            }
            Auth::AppRole { .. }
            | Auth::Kubernetes(_)
            | Auth::Jwt(_)
            | Auth::TokenFile(_)
            | Auth::Token(_) => {
                Some((self.client.as_ref()?, ["vault.client_cert", "vault.client_key"]))
            }
        }
    }
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
    /// The token of a service account, which the cluster judges for Vault.
    Kubernetes(TokenLogin),
    /// A signed token, which Vault judges by the keys that it was given.
    Jwt(TokenLogin),
    /// The certificate that is shown as the connection is made.
    Certificate(CertificateLogin),
    /// A token that somebody else keeps in a file.
    TokenFile(PathBuf),
    /// The token from `VAULT_TOKEN`.
    Token(Secret),
}

impl Auth {
    fn mount(&self) -> Option<&str> {
        match self {
            Self::AppRole { mount, .. }
            | Self::Kubernetes(TokenLogin { mount, .. })
            | Self::Jwt(TokenLogin { mount, .. })
            | Self::Certificate(CertificateLogin { mount, .. }) => Some(mount),
            Self::TokenFile(_) | Self::Token(_) => None,
        }
    }
}

/// A login with a signed token that somebody else keeps fresh in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLogin {
    /// Mount of the method.
    pub mount: String,
    /// Its role.
    pub role: String,
    /// File with the token.
    pub token_file: PathBuf,
}

/// A login with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateLogin {
    /// Mount of the method.
    pub mount: String,
    /// Its role.
    pub name: String,
    /// What is shown.
    pub certificate: ClientCertificate,
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
    /// The login of a static database role.
    Static {
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
    /// A certificate of the PKI engine.
    Certificate(CertificateRequest),
}

impl Source {
    /// Where Vault keeps the leases that this makes; `None` where it makes none.
    pub fn leases_below(&self) -> Option<String> {
        match self {
            Self::Database { mount, role } => Some(format!("{mount}/creds/{role}")),
            Self::Leased { path } => Some(path.clone()),
            Self::Static { .. } | Self::Kv { .. } | Self::Plain { .. } | Self::Certificate(_) => {
                None
            }
        }
    }
}

/// Is told of every request: operation, outcome (`ok` or the failure's class), how long.
pub type Observer = Arc<dyn Fn(&'static str, &'static str, Duration) + Send + Sync>;

/// A connection to one Vault; cheap to clone.
///
/// Its requests are in `login`, `auth` and `wrapping` (tokens), `leases` and `listing`, `kv`, `plain`
/// and `static_role`, `certificate`, `setup`, `store` and `keyset`.
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
        if let Some(mount) = settings.auth.mount() {
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
    /// The present, by the clock of this machine and by that of Vault, as its last answer told it.
    pub fn present(&self) -> Now {
        self.inner.wire.present()
    }

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
