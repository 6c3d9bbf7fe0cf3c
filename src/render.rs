//! Files out of values.
//!
//! Receives a [`Snapshot`] and the list of files, gives the bytes of all of them or the first
//! reason why not. Never reads or writes a file: everything is rendered before anything is written.

mod dotenv;
mod formats;
mod json;
mod libpq;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::error::{Class, Failure};
use crate::render::formats::Place;
use crate::snapshot::{SecretName, Snapshot, Value};

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

/// What each file of a set holds, by its path.
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
pub fn render(files: &[File], snapshot: &Snapshot) -> Result<Rendering, Failure> {
    let mut rendering = Rendering::default();
    for file in files {
        let Some(text) = render_file(file, snapshot)? else { continue };
        let rendered = RenderedFile { bytes: text.into_bytes(), mode: file.mode };
        if rendering.files.insert(file.path.clone(), rendered).is_some() {
            let text = format!("render `{}`: two files have this path", file.path);
            return Err(Failure::new(Class::Ours, text));
        }
    }
    Ok(rendering)
}

/// `None` when a secret that the file names has no value.
fn render_file(file: &File, snapshot: &Snapshot) -> Result<Option<text::Text>, Failure> {
    let names = file.format.secrets();
    let mut values: Vec<(&SecretName, &Value)> = Vec::with_capacity(names.len());
    for name in names {
        let Some(value) = snapshot.secrets.get(name) else { return Ok(None) };
        values.push((name, value));
    }
    let place = |secret| Place { file: &file.path, secret };
    let mut text = text::Text::default();
    match &file.format {
        Format::Dotenv { .. } => dotenv::write(&mut text, &file.path, &values)?,
        Format::Json { .. } => json::write(&mut text, &values),
        Format::Raw { field, .. } => {
            for (name, value) in values {
                formats::write_raw(&mut text, place(name), value, field)?;
            }
        }
        Format::PgService { alias, .. } => {
            for (name, value) in values {
                libpq::write_service(&mut text, place(name), value, alias)?;
            }
        }
        Format::Pgpass { .. } => {
            for (name, value) in values {
                libpq::write_passwords(&mut text, place(name), value)?;
            }
        }
    }
    Ok(Some(text))
}

impl Format {
    /// Every secret that the file cannot be without.
    pub(crate) fn secrets(&self) -> &[SecretName] {
        match self {
            Self::Dotenv { secrets } | Self::Json { secrets } => secrets,
            Self::Raw { secret, .. } | Self::PgService { secret, .. } | Self::Pgpass { secret } => {
                std::slice::from_ref(secret)
            }
        }
    }
}
