//! `leasehold import`.
//!
//! Receives the flags, reads the source, brings it to Vault and prints what came of each field. Never
//! prints a value, nor touches what it read.

use std::cell::Cell;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cli::trial::{run, say};
use crate::cli::{Exit, ImportArguments, ImportSource};
use crate::config;
use crate::config::environment::Environment;
use crate::error::{Class, Failure};
use crate::import::{self, Mode, Parcel, Wrong};
use crate::local;
use crate::secret::Secret;
use crate::snapshot::Fields;
use crate::timeline::{Error, Made};
use crate::vault::Vault;

/// Stands for the standard input.
const STANDARD_INPUT: &str = "-";

/// A longer one is no manifest.
const LONGEST: u64 = 16 << 20;

/// Imports.
pub(super) fn import(arguments: &ImportArguments, environment: &Environment) -> Exit {
    run(async |stop| {
        let settings = config::vault(environment, arguments.token_file.as_deref());
        let settings = settings.map_err(Error::Configuration)?;
        let vault = Vault::new(&settings, &[0; 32], Arc::new(|_, _, _| {}));
        let vault = vault.map_err(Error::Configuration)?;
        let mut made = Made::default();
        made.login(&vault).await.map_err(Error::Failed)?;
        let done = bring(arguments, &vault, &made.token(), stop).await;
        let ended = made.end(&vault).await;
        let exit = done?;
        ended.map_err(Error::Failed)?;
        Ok(exit)
    })
}

async fn bring(
    arguments: &ImportArguments,
    vault: &Vault,
    token: &Secret,
    stop: &Cell<bool>,
) -> Result<Exit, Error> {
    let read = read(arguments, vault, token, stop).await?;
    let parcels = addressed(&arguments.to, read).map_err(Error::Configuration)?;
    let parcels = import::only(parcels, &arguments.only).map_err(Error::Configuration)?;
    let mode = Mode { dry: arguments.dry_run, replace: arguments.replace };
    let key = import::key().map_err(Error::Failed)?;
    let report = import::import(vault, token, &parcels, mode, &key, stop).await?;
    if arguments.json {
        say(&import::json(&report));
    } else {
        import::table(&report, mode).iter().for_each(|line| say(line));
    }
    Ok(if report.is_done() { Exit::Done } else { Exit::Found })
}

/// What there is in the source, each with the name that it has there, if any.
async fn read(
    arguments: &ImportArguments,
    vault: &Vault,
    token: &Secret,
    stop: &Cell<bool>,
) -> Result<Vec<(String, Fields)>, Error> {
    let ImportSource { env, manifest, kv } = &arguments.source;
    if let Some(path) = kv {
        return import::folder(vault, token, path, stop).await;
    }
    let of_file = |path: &Path, wrong: Wrong| {
        let text = format!("import `{}`: {}", path.display(), wrong.text);
        Error::Configuration(Failure::new(Class::Ours, text).hint(wrong.hint))
    };
    if let Some(path) = env {
        let text = whole(path)?;
        let reader = if arguments.literal { import::literal } else { import::env };
        let fields = reader(&text).map_err(|wrong| of_file(path, wrong))?;
        return Ok(vec![(String::new(), fields)]);
    }
    let Some(path) = manifest else { return Ok(Vec::new()) };
    let text = whole(path)?;
    import::manifest(&text).map_err(|wrong| of_file(path, wrong))
}

fn whole(path: &Path) -> Result<Zeroizing<String>, Error> {
    let read = if path == Path::new(STANDARD_INPUT) {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).map(|_| text)
    } else {
        local::whole(path)
    };
    read.map_err(|error| {
        let text = format!("read `{}`: {error}", path.display());
        Error::Configuration(Failure::new(Class::Ours, text))
    })
}

/// Each with its path in Vault: `to` itself, or below it where that ends with a slash.
fn addressed(to: &str, read: Vec<(String, Fields)>) -> Result<Vec<Parcel>, Failure> {
    let below = to.ends_with('/');
    let several = read.len() > 1;
    let unnamed = read.iter().any(|(name, _)| name.is_empty());
    let refuse = |why: &str, hint: &str| {
        let text = format!("import to `{to}`: {why}");
        Err(Failure::new(Class::Ours, text).hint(hint))
    };
    if several && !below {
        return refuse("there are several secrets for one path", "end it with a slash");
    }
    if unnamed && below {
        return refuse("what was read has no name of its own", "name the path without a slash");
    }
    let parcel = |(name, fields): (String, Fields)| Parcel {
        to: if below { format!("{to}{name}") } else { to.to_owned() },
        fields,
    };
    Ok(read.into_iter().map(parcel).collect())
}
