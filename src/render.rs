//! Files out of values.
//!
//! Receives a [`Snapshot`] and the list of files, gives the bytes of all of them or the first
//! reason why not. Never reads or writes a file: everything is rendered before anything is written.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::error::{Class, Failure};
use crate::snapshot::{SecretName, Snapshot};

/// One file to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative path below the publish directory, `/` between parts, no `.` or `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub format: Format,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `SECRET_FIELD=value` lines.
    Dotenv {
        /// Whose fields, in this order.
        secrets: Vec<SecretName>,
    },
    /// `{secret: {field: value}}`.
    Json {
        /// Whose fields.
        secrets: Vec<SecretName>,
    },
    /// One field, no newline.
    Raw {
        /// Whose.
        secret: SecretName,
        /// Which.
        field: String,
    },
    /// libpq's service file, one section.
    PgService {
        /// A database secret with a connection.
        secret: SecretName,
        /// The section's name.
        alias: String,
    },
    /// libpq's password file, for the credential and those before it.
    Pgpass {
        /// A database secret with a connection.
        secret: SecretName,
    },
}

/// The bytes of every file of a snapshot, by path.
#[derive(Clone, Default)]
pub struct Rendering {
    /// The files; one that names an optional secret without a value is not among them.
    pub files: BTreeMap<String, RenderedFile>,
}

/// One rendered file.
#[derive(Clone)]
pub struct RenderedFile {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Permission bits.
    pub mode: u32,
}

/// Renders every file.
///
/// # Errors
/// `Missing` for a field that is not there, `Ours` for a value that the format cannot hold. The
/// text names file, secret and field.
pub fn render(_files: &[File], _snapshot: &Snapshot) -> Result<Rendering, Failure> {
    Err(Failure::new(Class::Ours, "not built yet"))
}
