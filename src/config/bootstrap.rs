//! The file that says what Vault and PostgreSQL are to be like.
//!
//! Receives its path and the environment, gives what is wanted and which Vault is meant, or
//! everything that is wrong with the file. Never reads a password: where one is, is all that stands
//! in the file.

mod database;
mod mounts;
mod policies;
mod postgres;
mod setting;

use std::path::Path;

use crate::bootstrap::wanted::Wanted;
use crate::config::environment::Environment;
use crate::config::keys::{Keys, Otherwise, Takes, VAULT, key, keys};
use crate::config::raw::Section;
use crate::config::{ConfigError, of_vault, resolve, value};
use crate::vault;

#[rustfmt::skip]
static TOP: Keys = keys(&[
    key("vault", Takes::Section(&VAULT), Otherwise::Needed, "which Vault, and who we are to it"),
    key("postgres", Takes::Section(&postgres::POSTGRES), Otherwise::Needed, "roles, grants and schemas"),
    key("database", Takes::Section(&database::DATABASE), Otherwise::Needed, "Vault's connection to the database, and its roles"),
    key("engines", Takes::Each("PATH", &mounts::ENGINE), Otherwise::None, "secrets engines"),
    key("policies", Takes::Names, Otherwise::None, "paths and what may be done there, by policy"),
    key("auth", Takes::Each("PATH", &mounts::METHOD), Otherwise::None, "ways to log in, and their roles"),
    key("identity", Takes::Section(&mounts::IDENTITY), Otherwise::None, "signed words of Vault for who somebody is"),
]);

/// The file.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Which Vault, and who we are to it.
    pub vault: vault::Settings,
    /// What is wanted there and in the database.
    pub wanted: Wanted,
    /// What deserves a look, a line each.
    pub warnings: Vec<String>,
}

/// Reads the file at `path`; Vault's own variables stand above what it says.
///
/// # Errors
/// When the file cannot be read or is no YAML, else with everything that is wrong in it.
pub fn load(path: &Path, environment: &Environment) -> Result<Bootstrap, ConfigError> {
    let ((vault, wanted), mut warnings) = of_vault(path, environment, &TOP, everything)?;
    // A person's token is what a person sets up with.
    warnings.retain(|warning| !warning.starts_with("vault.auth:"));
    Ok(Bootstrap { vault, wanted, warnings })
}

fn everything(top: &Section<'_>) -> Option<(vault::Settings, Wanted)> {
    let vault = resolve::vault::resolve(top);
    top.require("postgres");
    let postgres = postgres::resolve(&top.section("postgres", &postgres::POSTGRES));
    top.require("database");
    let database = database::resolve(&top.section("database", &database::DATABASE), &postgres);
    let policies = policies::resolve(&top.names("policies"));
    let mut mounts = vec![mounts::of_database(&database)];
    mounts.extend(mounts::engines(&top.names("engines"), &database));
    let (methods, mut objects) = mounts::methods(&top.names("auth"), &policies);
    mounts.extend(methods);
    objects.extend(mounts::identity(&top.section("identity", &mounts::IDENTITY)));
    Some((vault?, Wanted { postgres, database, mounts, policies, objects }))
}

/// A name that the user chose and that stands in a path of Vault or in SQL.
fn is_good(section: &Section<'_>, name: &str) -> bool {
    let good = value::is_name(name);
    if !good {
        let hint = "lower case letters, digits, `_` and `-`";
        section.problem(name, "cannot be a name here", hint);
    }
    good
}

#[cfg(test)]
mod tests;
