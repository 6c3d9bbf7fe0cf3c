//! The configuration file, resolved into the settings of each part.
//!
//! Receives a file, the environment and flags, gives a [`Config`] that is valid as a whole or
//! everything that is wrong with it. Never sets or reads a variable of the process itself: the
//! environment is handed in.

pub mod bootstrap;
pub mod controller;
pub mod environment;
mod expand;
pub mod inventory;
mod keys;
mod overlay;
mod print;
mod problem;
mod raw;
mod reference;
mod resolve;
mod schema;
mod tree;
mod value;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::Policy;
use crate::agent::command::TargetName;
use crate::config::environment::Environment;
use crate::error::{Class, Failure};
use crate::server::api;
use crate::snapshot::SecretName;
use crate::{notice, publish, render, state, vault};

pub use crate::logs::Log;
pub use overlay::Override;
pub use problem::Problem;
pub use reference::reference;
pub use schema::schema;
pub use tree::SyntaxError;
pub use value::{duration, signal};

/// Everything that a process needs, valid as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Names this agent to people and spreads its timing.
    pub instance: String,
    /// The decisions' part.
    pub policy: Policy,
    /// Which Vault; there may be none where no secret comes from there.
    pub vault: Option<vault::Settings>,
    /// Where in Vault each secret comes from that comes from there.
    pub sources: BTreeMap<SecretName, vault::Source>,
    /// The file of each secret that comes from one.
    pub local: BTreeMap<SecretName, PathBuf>,
    /// What to render.
    pub files: Vec<render::File>,
    /// Where to publish.
    pub publish: publish::Settings,
    /// Whom to tell.
    pub targets: BTreeMap<TargetName, notice::Settings>,
    /// Where the state lives.
    pub state: state::Settings,
    /// Where to listen.
    pub listen: Listen,
    /// How long `init` may take.
    pub init_timeout: Duration,
    /// What to log.
    pub log: Log,
    /// The file that it was read from, every file that it names, and where the environment says
    /// that the system's CAs are.
    pub reads: BTreeSet<PathBuf>,
}

impl Config {
    /// Which Vault, for those who have something to ask it.
    ///
    /// # Errors
    /// `Missing` where there is none.
    pub fn vault(&self) -> Result<&vault::Settings, Failure> {
        self.vault.as_ref().ok_or_else(|| {
            Failure::new(Class::Missing, "ask vault: the configuration has no `vault`")
                .hint("every secret in it is a `file`: there is nothing to ask for")
        })
    }
}

/// Where to listen; port 0 picks one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// For the kubelet.
    pub probes: Option<SocketAddr>,
    /// For Prometheus.
    pub metrics: Option<SocketAddr>,
    /// For people and scripts of this machine.
    pub api: Option<api::Settings>,
}

/// A configuration, and what deserves a look in it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line each, with the key that it speaks of.
    pub warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too long.
    #[error("configuration `{}` is longer than {LONGEST} bytes", path.display())]
    Long {
        /// Which.
        path: PathBuf,
    },
    /// The file is no YAML.
    #[error("configuration `{}` is not YAML", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: SyntaxError,
    },
    /// The file says things that cannot be.
    #[error("configuration `{}` has {}:{}", path.display(), count(problems), problem::report(problems))]
    Invalid {
        /// Which.
        path: PathBuf,
        /// All that is wrong, sorted by key.
        problems: Vec<Problem>,
    },
}

/// A longer file is not a configuration.
const LONGEST: u64 = 1 << 20;

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "a problem".to_owned(),
        many => format!("{many} problems"),
    }
}

/// Reads the file at `path`; above it the environment, above that `overrides`.
///
/// # Errors
/// When the file cannot be read or is no YAML, else with everything that is wrong in it.
pub fn load(
    path: &Path,
    environment: &Environment,
    overrides: &[Override],
) -> Result<Loaded, ConfigError> {
    read(path, environment, overrides, None).map(|(_, loaded)| loaded)
}

/// What a configuration has beside what the file says, for `exec`.
#[derive(Clone, Copy, Debug)]
pub struct ForChild<'a> {
    /// Where files and state are that the file gives no place.
    pub private: &'a Path,
    /// Whether the child is told of a rotation; then it is a target.
    pub told: bool,
}

/// As [`load`], for `exec`: most of it need not be said.
///
/// # Errors
/// As [`load`].
pub fn load_for_child(
    path: &Path,
    environment: &Environment,
    overrides: &[Override],
    child: ForChild<'_>,
) -> Result<Loaded, ConfigError> {
    read(path, environment, overrides, Some(child)).map(|(_, loaded)| loaded)
}

/// The same as text: the configuration as it is once all of that is in it. What may be confidential
/// is masked.
///
/// # Errors
/// As [`load`].
pub fn print(
    path: &Path,
    environment: &Environment,
    overrides: &[Override],
) -> Result<String, ConfigError> {
    let (tree, Loaded { config, .. }) = read(path, environment, overrides, None)?;
    Ok(print::print(&tree, &config, environment))
}

fn read(
    path: &Path,
    environment: &Environment,
    overrides: &[Override],
    child: Option<ForChild<'_>>,
) -> Result<(tree::Node, Loaded), ConfigError> {
    let mut tree = tree_of(path)?;
    let mut problems = problem::Problems::default();
    overlay::apply(&mut tree, environment, overrides, &mut problems);
    if let Some(ForChild { private, .. }) = child {
        overlay::add_for_child(&mut tree, private);
    }
    let told = child.is_some_and(|child| child.told);
    let mut loaded = resolve::resolve(&tree, environment, problems, told)
        .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })?;
    loaded.config.reads.insert(path.to_owned());
    Ok((tree, loaded))
}

/// Which Vault the environment means, and who we are to it: the bearer of the token in `token_file`,
/// or else of the one in the environment.
///
/// # Errors
/// With everything that is missing or wrong there.
pub fn vault(
    environment: &Environment,
    token_file: Option<&Path>,
) -> Result<vault::Settings, Failure> {
    let mut problems = problem::Problems::default();
    let mut tree = tree::Node::Map(BTreeMap::new());
    overlay::vault(&mut tree, environment, &mut problems);
    overlay::token_file(&mut tree, token_file, &mut problems);
    let reading =
        raw::Reading { problems: RefCell::new(problems), environment, files: RefCell::default() };
    let found = resolve::vault::resolve(&raw::Section::open(&reading, "", Some(&tree), &keys::TOP));
    let (problems, _) = reading.problems.into_inner().finish();
    match found {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => {
            let (count, list) = (count(&problems), problem::report(&problems));
            Err(Failure::new(Class::Ours, format!("Vault's variables have {count}:{list}")))
        }
    }
}

/// What stands in the file at `path`.
fn tree_of(path: &Path) -> Result<tree::Node, ConfigError> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    if text.len() as u64 > LONGEST {
        return Err(ConfigError::Long { path: path.to_owned() });
    }
    tree::parse(&text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })
}

/// What `read` makes of the file at `path`, which says which Vault is meant, and what deserves a look;
/// Vault's own variables stand above the file.
fn of_vault<T>(
    path: &Path,
    environment: &Environment,
    keys: &'static keys::Keys,
    read: impl FnOnce(&raw::Section<'_>) -> Option<T>,
) -> Result<(T, Vec<String>), ConfigError> {
    let mut tree = tree_of(path)?;
    let mut problems = problem::Problems::default();
    overlay::vault(&mut tree, environment, &mut problems);
    let reading =
        raw::Reading { problems: RefCell::new(problems), environment, files: RefCell::default() };
    let found = read(&raw::Section::open(&reading, "", Some(&tree), keys));
    let (problems, warnings) = reading.problems.into_inner().finish();
    match found {
        Some(found) if problems.is_empty() => Ok((found, warnings)),
        _ => Err(ConfigError::Invalid { path: path.to_owned(), problems }),
    }
}

#[cfg(test)]
mod tests;
