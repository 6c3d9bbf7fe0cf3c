//! `import`: secrets that are in files, in a cluster or elsewhere in Vault, brought into Vault.
//!
//! Receives what was read and where it is to go, writes what is missing there, reads it again and
//! compares. Never deletes nor changes what it read from, never replaces a value unasked, and shows
//! no value: only checksums under a key of this run, on which nobody can try guesses.

mod env;
mod folder;
mod literal;
mod manifest;
mod report;

use std::cell::Cell;
use std::collections::BTreeSet;

use aws_lc_rs::hmac;

use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::snapshot::{Field, Fields, fingerprint};
use crate::timeline::{Error, go_on};
use crate::vault::{Kept, Place, Vault};

pub use env::env;
pub use folder::folder;
pub use literal::literal;
pub use manifest::manifest;
pub use report::{json, table};

/// Whether a field of this name is to be brought. What is not is not judged either.
pub type Wanted<'a> = &'a dyn Fn(&str) -> bool;

/// Fields that go to one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The path of Vault that they go to.
    pub to: String,
    /// The fields.
    pub fields: Fields,
}

/// What may be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Nothing is written.
    pub dry: bool,
    /// A value that is otherwise there is replaced; its version stays in Vault.
    pub replace: bool,
}

/// What a field is to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The same value is there already.
    Same,
    /// It is not there.
    New,
    /// Another value is there, which is replaced.
    Replaced,
    /// Another value is there, and stays.
    Differs,
}

/// What came of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it goes to.
    pub to: String,
    /// Its name.
    pub field: String,
    /// What it was to what was there.
    pub state: State,
    /// Of the value that was read, under the key of this run.
    pub checksum: String,
}

/// What came of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A row for each field.
    pub rows: Vec<Row>,
    /// Whether what was to be written was.
    pub written: bool,
}

impl Report {
    /// Whether everything that was read is in Vault now.
    pub fn is_done(&self) -> bool {
        let written = |row: &Row| match row.state {
            State::Same => true,
            State::New | State::Replaced => self.written,
            State::Differs => false,
        };
        self.rows.iter().all(written)
    }

    fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }
}

/// The key under which the values of one run are told apart.
///
/// # Errors
/// Where the system has no randomness.
pub fn key() -> Result<hmac::Key, Failure> {
    let random = aws_lc_rs::rand::SystemRandom::new();
    hmac::Key::generate(hmac::HMAC_SHA256, &random)
        .map_err(|_| Failure::new(Class::Ours, "read the system's randomness"))
}

/// Only the fields of `wanted`, and all where none is named.
///
/// # Errors
/// With a name that no parcel has.
pub fn only(parcels: Vec<Parcel>, wanted: &[String]) -> Result<Vec<Parcel>, Failure> {
    if wanted.is_empty() {
        return Ok(parcels);
    }
    let known: BTreeSet<&String> = parcels.iter().flat_map(|parcel| parcel.fields.keys()).collect();
    if let Some(name) = wanted.iter().find(|name| !known.contains(name)) {
        let text = format!("import `{name}`: there is no such field in what was read");
        return Err(Failure::new(Class::Ours, text).hint("`--dry-run` lists what there is"));
    }
    let kept = parcels.into_iter().map(|mut parcel| {
        parcel.fields.retain(|name, _| wanted.contains(name));
        parcel
    });
    Ok(kept.filter(|parcel| !parcel.fields.is_empty()).collect())
}

/// Brings `parcels` to their places. Everything is looked at before anything is written.
///
/// # Errors
/// When Vault refuses or does not answer, when somebody else wrote there meanwhile, or when what is
/// there afterwards is not what was written. What was written before that stays; the next run finds it.
pub async fn import(
    vault: &Vault,
    token: &Secret,
    parcels: &[Parcel],
    mode: Mode,
    key: &hmac::Key,
    stop: &Cell<bool>,
) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut work = Vec::new();
    for parcel in parcels {
        go_on(stop)?;
        let place = vault.place(token, &parcel.to).await.map_err(told)?;
        if !place.versioned {
            let text = format!(
                "import to `{}`: this engine keeps no versions: what it holds would be lost",
                parcel.to
            );
            let failure = Failure::new(Class::Ours, text);
            return Err(Error::Configuration(
                failure.hint("name a path of a KV engine of version 2"),
            ));
        }
        let kept = vault.kept(token, &place).await.map_err(Error::Failed)?;
        report.rows.extend(compare(parcel, &kept.fields, mode.replace, key));
        work.push((parcel, place, kept));
    }
    if mode.dry || report.count(State::Differs) > 0 {
        return Ok(report);
    }
    for (parcel, place, kept) in work {
        go_on(stop)?;
        write(vault, token, parcel, &place, kept).await.map_err(Error::Failed)?;
    }
    report.written = true;
    Ok(report)
}

fn compare(parcel: &Parcel, there: &Fields, replace: bool, key: &hmac::Key) -> Vec<Row> {
    let row = |(name, field): (&String, &Field)| Row {
        to: parcel.to.clone(),
        field: name.clone(),
        state: match there.get(name) {
            Some(found) if found == field => State::Same,
            Some(_) if replace => State::Replaced,
            Some(_) => State::Differs,
            None => State::New,
        },
        checksum: checksum(key, name, field),
    };
    parcel.fields.iter().map(row).collect()
}

/// Adds the parcel to what is there, and reads it again.
async fn write(
    vault: &Vault,
    token: &Secret,
    parcel: &Parcel,
    place: &Place,
    mut kept: Kept,
) -> Result<(), Failure> {
    if parcel.fields.iter().all(|(name, field)| kept.fields.get(name) == Some(field)) {
        return Ok(());
    }
    kept.fields.extend(parcel.fields.clone());
    vault.keep(token, place, &kept.fields, kept.version).await?;
    let there = vault.kept(token, place).await?.fields;
    let other = parcel.fields.iter().find(|(name, field)| there.get(*name) != Some(*field));
    if let Some((name, _)) = other {
        let text = format!("read `{}` again: `{name}` is not what was written", parcel.to);
        let failure = Failure::new(Class::Again { after: None }, text);
        return Err(failure.hint("run it again: somebody else may have written there"));
    }
    Ok(())
}

/// The same for the same value in one run, and for no other.
fn checksum(key: &hmac::Key, name: &str, field: &Field) -> String {
    fingerprint(key, &Fields::from([(name.to_owned(), field.clone())])).to_string()
}

/// A path that cannot be is a mistake of whoever wrote the command.
fn told(failure: Failure) -> Error {
    match failure.class {
        Class::Ours => Error::Configuration(failure),
        Class::Again { .. }
        | Class::Denied
        | Class::Missing
        | Class::Gone
        | Class::Conflict
        | Class::Unclear => Error::Failed(failure),
    }
}

/// What is wrong in a source, with no value in it.
fn wrong(text: impl Into<String>, hint: &str) -> Failure {
    Failure::new(Class::Ours, text).hint(hint)
}

/// A field of text.
fn text(value: &str) -> Field {
    Field::Text(Secret::new(value.to_owned()))
}

#[cfg(test)]
mod tests;
