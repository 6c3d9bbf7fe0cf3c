//! `leasehold import`.
//!
//! Receives the flags, reads the source, brings it to Vault and prints what came of each field. Never
//! prints a value, nor touches what it read.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::trial::{logged_in, run, say};
use crate::cli::{Exit, ImportArguments, ImportSource, print};
use crate::config;
use crate::config::environment::Environment;
use crate::error::{Class, Failure};
use crate::import::{self, Mode, Parcel};
use crate::local;
use crate::process::harden;
use crate::secret::Secret;
use crate::snapshot::Fields;
use crate::timeline::Error;
use crate::vault::Vault;

/// Stands for the standard input.
const STANDARD_INPUT: &str = "-";

/// A longer one is no manifest.
const LONGEST: u64 = 16 << 20;

/// Imports.
pub(super) fn import(arguments: &ImportArguments, environment: &Environment) -> Exit {
    // What waits for its input ends at the first signal.
    let read = match harden().and_then(|()| of_file(arguments)) {
        Ok(read) => read,
        Err(failure) => {
            print(&failure.to_string());
            return Exit::Configuration;
        }
    };
    run(async |stop| {
        let settings = config::vault(environment, arguments.token_file.as_deref());
        let settings = settings.map_err(Error::Configuration)?;
        logged_in(&settings, async |vault, made| {
            bring(arguments, read, vault, &made.token(), stop).await
        })
        .await
    })
}

async fn bring(
    arguments: &ImportArguments,
    read: Vec<(String, Fields)>,
    vault: &Vault,
    token: &Secret,
    stop: &Cell<bool>,
) -> Result<Exit, Error> {
    let read = match &arguments.source.kv {
        Some(path) => import::folder(vault, token, path, stop).await?,
        None => read,
    };
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

/// What there is in the file, each with the name that it has there, if any; nothing where another
/// source is named.
fn of_file(arguments: &ImportArguments) -> Result<Vec<(String, Fields)>, Failure> {
    let ImportSource { env, manifest, .. } = &arguments.source;
    let Some(path) = env.as_ref().or(manifest.as_ref()) else { return Ok(Vec::new()) };
    let text = whole(path)?;
    let only = &arguments.only;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let reader = if arguments.literal { import::literal } else { import::env };
    let read = match env {
        Some(_) => reader(&text, &wanted).map(|fields| vec![(String::new(), fields)]),
        None => import::manifest(&text, &wanted),
    };
    read.map_err(|failure| {
        let text = format!("import `{}`: {}", path.display(), failure.text);
        Failure { text, ..failure }
    })
}

fn whole(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let read = if path == Path::new(STANDARD_INPUT) {
        let mut text = Zeroizing::new(String::new());
        let read = std::io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text);
        read.and_then(|length| match length as u64 > LONGEST {
            true => Err(io::Error::other(format!("it is longer than {LONGEST} bytes"))),
            false => Ok(text),
        })
    } else {
        local::whole(path)
    };
    read.map_err(|error| Failure::new(Class::Ours, format!("read `{}`: {error}", path.display())))
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
    let mut names = BTreeSet::new();
    if let Some((name, _)) = read.iter().find(|(name, _)| !names.insert(name)) {
        let why = format!("there are two secrets called `{name}`");
        return refuse(&why, "take those of one namespace at a time");
    }
    let parcel = |(name, fields): (String, Fields)| Parcel {
        to: if below { format!("{to}{name}") } else { to.to_owned() },
        fields,
    };
    Ok(read.into_iter().map(parcel).collect())
}
