//! Vault and OpenBao over HTTP.
//!
//! Receives one request at a time with the token to use, gives an answer in the words of the
//! decisions or a classed [`Failure`]. Never retries, never keeps a token, never lets a body or a
//! header into an error: the agent decides, this module speaks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::event::{LoginFailure, Reading, Token, TokenTerm};
use crate::error::{Class, Failure};
use crate::lease::{Grant, LeaseTerm};
use crate::secret::Secret;
use crate::snapshot::Version;

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
#[derive(Clone)]
pub struct Vault {}

fn unbuilt() -> Failure {
    Failure::new(Class::Ours, "not built yet")
}

#[expect(clippy::unused_async, reason = "stub")]
impl Vault {
    /// Reads the CA and readies the client; sends nothing. `hash_key` keys the hashes by which
    /// refused credentials are remembered.
    ///
    /// # Errors
    /// `Ours` or `Missing` when the address or the CA cannot be used.
    pub fn new(
        _settings: &Settings,
        _hash_key: &[u8],
        _observer: Observer,
    ) -> Result<Self, Failure> {
        Err(unbuilt())
    }

    /// Logs in, unless the credential found has a hash in `refused`: then it fails as `Denied`
    /// without sending anything.
    ///
    /// # Errors
    /// `Denied` only when Vault refused the credential itself.
    pub async fn login(&self, _refused: &[String]) -> Result<Token, LoginFailure> {
        Err(LoginFailure { failure: unbuilt(), credential: None })
    }

    /// What is left of `token`.
    pub async fn lookup_token(&self, _token: &Secret) -> Result<TokenTerm, Failure> {
        Err(unbuilt())
    }

    /// Renews `token` by itself.
    pub async fn renew_token(
        &self,
        _token: &Secret,
        _increment: Option<Duration>,
    ) -> Result<TokenTerm, Failure> {
        Err(unbuilt())
    }

    /// Revokes `token` by itself, and with it every lease under it.
    pub async fn revoke_token(&self, _token: &Secret) -> Result<(), Failure> {
        Err(unbuilt())
    }

    /// Makes a lease. Waits a minute and more: an answer nobody reads is a lease nobody ends.
    pub async fn issue(&self, _token: &Secret, _source: &Source) -> Result<Grant, Failure> {
        Err(unbuilt())
    }

    /// Renews or shortens a lease; `increment` in whole seconds counts from now.
    pub async fn renew_lease(
        &self,
        _token: &Secret,
        _lease: &Secret,
        _increment: Duration,
    ) -> Result<LeaseTerm, Failure> {
        Err(unbuilt())
    }

    /// What is left of a lease; `Gone` when Vault does not know it.
    pub async fn lookup_lease(
        &self,
        _token: &Secret,
        _lease: &Secret,
    ) -> Result<LeaseTerm, Failure> {
        Err(unbuilt())
    }

    /// Ends a lease and waits until it has ended.
    pub async fn revoke_lease(&self, _token: &Secret, _lease: &Secret) -> Result<(), Failure> {
        Err(unbuilt())
    }

    /// Reads a KV secret where its current version is not `known`.
    pub async fn read(
        &self,
        _token: &Secret,
        _source: &Source,
        _known: Option<&Version>,
    ) -> Result<Reading, Failure> {
        Err(unbuilt())
    }
}
