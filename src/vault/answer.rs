//! The frame around every answer of Vault.
//!
//! Receives a body, gives its parts with the secret ones as [`Secret`]. Never demands a field that
//! only some operations have: who needs one asks for it.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::secret::{Secret, stored};

/// An answer; `T` is what this operation has under `data`.
#[derive(Deserialize)]
#[serde(default, bound(deserialize = "T: DeserializeOwned"))]
pub(super) struct Envelope<T> {
    pub(super) request_id: String,
    #[serde(deserialize_with = "stored::deserialize")]
    pub(super) lease_id: Secret,
    /// Seconds.
    pub(super) lease_duration: u64,
    pub(super) renewable: bool,
    pub(super) data: Option<T>,
    pub(super) auth: Option<AuthPart>,
}

impl<T> Default for Envelope<T> {
    fn default() -> Self {
        Self {
            request_id: String::new(),
            lease_id: Secret::new(String::new()),
            lease_duration: 0,
            renewable: false,
            data: None,
            auth: None,
        }
    }
}

/// What a login or a renewal of a token answers under `auth`.
#[derive(Deserialize)]
pub(super) struct AuthPart {
    #[serde(deserialize_with = "stored::deserialize")]
    pub(super) client_token: Secret,
    /// Seconds.
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// What is left of something; Vault counts below zero when it could not end it.
pub(super) fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// No `data` is looked at.
#[derive(Deserialize)]
pub(super) struct Nothing {}
