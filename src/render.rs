//! Files out of values.
//!
//! Receives a [`Snapshot`] and the list of files, gives the bytes of all of them or the first
//! reason why not. Never reads or writes a file: everything is rendered before anything is written.

mod dotenv;
mod dsn;
mod formats;
mod json;
mod keyset;
mod libpq;
mod pgbouncer;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod variables;
mod yaml;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::error::{Class, Failure};
use crate::render::formats::Place;
use crate::snapshot::{SecretName, Snapshot, Value};

pub use dotenv::Names;
pub use keyset::Keyset;
pub use template::Template;
pub use variables::{try_variables, variables};

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
        /// How the variables are called.
        names: Names,
    },
    /// `{secret: {field: value}}`.
    Json {
        /// Whose fields.
        secrets: Vec<SecretName>,
    },
    /// `{secret: {field: value}}`, every value a text.
    Yaml {
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
    /// A connection URI, no newline.
    Dsn {
        /// A database secret with a connection.
        secret: SecretName,
    },
    /// PgBouncer's section `[databases]`.
    Pgbouncer {
        /// A database secret with a connection.
        secret: SecretName,
        /// What PgBouncer's clients call the database.
        alias: String,
    },
    /// PgBouncer's `auth_file`, for the credential and those before it.
    Userlist {
        /// A database secret.
        secret: SecretName,
    },
    /// The public keys of a key set, as a JWKS.
    Jwks {
        /// A key set.
        secret: SecretName,
    },
    /// The key that signs, as PEM; where only verifying is allowed, the public keys.
    Pem {
        /// A key set.
        secret: SecretName,
    },
    /// What a template of the user says.
    Template(Template),
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

/// Tries whether the files that name `secret` can hold its value. Of the other secrets `snapshot`
/// need not have all: one that it has not may turn out to be anything.
///
/// # Errors
/// As [`render`], where that depends on values in `snapshot`.
pub fn try_out(files: &[File], snapshot: &Snapshot, secret: &SecretName) -> Result<(), Failure> {
    files
        .iter()
        .filter(|file| file.format.secrets().contains(secret))
        .try_for_each(|file| try_file(file, snapshot))
}

/// Tries one file, as [`try_out`].
///
/// # Errors
/// As [`try_out`].
pub fn try_file(file: &File, snapshot: &Snapshot) -> Result<(), Failure> {
    if let Format::Template(template) = &file.format {
        return template.try_out(snapshot).map_err(|failure| of_file(file, failure));
    }
    let names = file.format.secrets().iter();
    let values: Vec<_> = names.filter_map(|name| snapshot.secrets.get_key_value(name)).collect();
    write(file, &values).map(drop)
}

/// `None` when a secret that the file names has no value.
fn render_file(file: &File, snapshot: &Snapshot) -> Result<Option<text::Text>, Failure> {
    if let Format::Template(template) = &file.format {
        return template.render(snapshot).map_err(|failure| of_file(file, failure));
    }
    let names = file.format.secrets().iter();
    let values: Option<Vec<_>> = names.map(|name| snapshot.secrets.get_key_value(name)).collect();
    values.map(|values| write(file, &values)).transpose()
}

fn of_file(file: &File, failure: Failure) -> Failure {
    Failure { text: format!("render `{}`: template {}", file.path, failure.text), ..failure }
}

fn write(file: &File, values: &[(&SecretName, &Value)]) -> Result<text::Text, Failure> {
    let mut text = text::Text::default();
    let mut each = |write: &dyn Fn(&mut text::Text, Place<'_>, &Value) -> Result<(), Failure>| {
        let mut values = values.iter();
        values.try_for_each(|(secret, value)| {
            write(&mut text, Place { file: &file.path, secret }, value)
        })
    };
    match &file.format {
        Format::Raw { field, .. } => {
            each(&|text, place, value| formats::write_raw(text, place, value, field))?;
        }
        Format::PgService { alias, .. } => {
            each(&|text, place, value| libpq::write_service(text, place, value, alias))?;
        }
        Format::Pgpass { .. } => each(&libpq::write_passwords)?,
        Format::Dsn { .. } => each(&dsn::write)?,
        Format::Pgbouncer { alias, .. } => {
            each(&|text, place, value| pgbouncer::write_databases(text, place, value, alias))?;
        }
        Format::Userlist { .. } => each(&pgbouncer::write_users)?,
        Format::Jwks { .. } => each(&keyset::write_jwks)?,
        Format::Pem { .. } => each(&keyset::write_pem)?,
        Format::Dotenv { names, .. } => dotenv::write(&mut text, &file.path, names, values)?,
        Format::Json { .. } => json::write(&mut text, values),
        Format::Yaml { .. } => yaml::write(&mut text, &file.path, values)?,
        // What it uses is known only when it has run, so that its callers do not come here.
        Format::Template(_) => {}
    }
    Ok(text)
}

impl Format {
    /// Every secret that the file holds; of a template, every one that it might.
    pub(crate) fn secrets(&self) -> &[SecretName] {
        match self {
            Self::Dotenv { secrets, .. } | Self::Json { secrets } | Self::Yaml { secrets } => {
                secrets
            }
            Self::Raw { secret, .. }
            | Self::PgService { secret, .. }
            | Self::Pgpass { secret }
            | Self::Dsn { secret }
            | Self::Pgbouncer { secret, .. }
            | Self::Userlist { secret }
            | Self::Jwks { secret }
            | Self::Pem { secret } => std::slice::from_ref(secret),
            Self::Template(template) => template.secrets(),
        }
    }
}
