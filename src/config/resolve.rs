//! The file's sections turned into the settings of each part.
//!
//! Receives the tree of the file, gives a [`Config`] that is valid as a whole. Never gives up at
//! the first problem: all are found, then nothing is given.

mod auth;
pub(super) mod connection;
mod listen;
mod notify;
mod publish;
mod secrets;
pub(super) mod sources;
pub(super) mod vault;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::{OnStop, Policy, SecretPolicy, Until};
use crate::config::environment::Environment;
use crate::config::keys;
use crate::config::problem::{Problem, Problems};
use crate::config::raw::{Reading, Section};
use crate::config::tree::Node;
use crate::config::{Config, Loaded, Log};
use crate::state;

pub(super) use secrets::LEASED_ONLY;

/// The state's place where the file names none.
const STATE_DIRECTORY: &str = "/run/leasehold-state";

/// Turns `tree` into a configuration; `problems` holds what is known to be wrong already. With
/// `child` there is one more target, the child of `exec`.
///
/// # Errors
/// Everything that is wrong, sorted by path.
pub(super) fn resolve(
    tree: &Node,
    environment: &Environment,
    problems: Problems,
    child: bool,
) -> Result<Loaded, Vec<Problem>> {
    let (problems, files) = (RefCell::new(problems), RefCell::default());
    let reading = Reading { problems, environment, files };
    let config = everything(&Section::open(&reading, "", Some(tree), &keys::TOP), child);
    let mut reads = reading.files.into_inner();
    // Where the system's CAs are instead, if somebody says so.
    let authorities = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| environment.get(name));
    let authorities = authorities.into_iter().flatten().flat_map(|paths| paths.split(':'));
    reads.extend(authorities.map(PathBuf::from));
    let (problems, warnings) = reading.problems.into_inner().finish();
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Loaded { config: Config { reads, ..config }, warnings })
        }
        _ => Err(problems),
    }
}

fn everything(top: &Section<'_>, child: bool) -> Option<Config> {
    let secrets = secrets::resolve(top);
    let vault = vault::resolve_needed(top, secrets.need_vault());
    let targets = notify::resolve(top, &secrets, child);
    let policies = secrets.policies(top, &targets.wants);
    let files = publish::files(top, &secrets);
    let publish = publish::settings(top, keep(&policies));
    let state = state(top, publish.as_ref().map(|publish| &publish.directory));
    let policy = Policy {
        secrets: policies,
        targets: targets.wants,
        on_stop: top
            .choice(
                "on_stop",
                &[("drain", OnStop::Drain), ("revoke", OnStop::Revoke), ("keep", OnStop::Keep)],
                &[],
            )
            .unwrap_or(OnStop::Drain),
        stop_timeout: top
            .duration("stop_timeout", Duration::from_secs(1))
            .unwrap_or(Duration::from_secs(10)),
        until: Until::Stopped,
    };
    Some(Config {
        instance: instance(top),
        policy,
        sources: secrets.sources(),
        local: secrets.local(),
        files,
        targets: targets.settings,
        listen: listen::resolve(top, state.as_ref(), publish.as_ref()),
        init_timeout: top
            .duration("init_timeout", Duration::from_secs(1))
            .unwrap_or(Duration::from_secs(120)),
        log: log(top),
        vault: vault?,
        publish: publish?,
        state: state?,
        reads: BTreeSet::new(),
    })
}

fn instance(top: &Section<'_>) -> String {
    if let Some(name) = top.text("instance") {
        if name.len() > 128 {
            top.problem("instance", "longer than 128 bytes", "give it a shorter name");
        }
        return name;
    }
    let environment = top.environment();
    let names = [environment.get("POD_NAME"), Some(environment.host_name())];
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("leasehold").to_owned()
}

/// A reader that opened the directory of a generation may need it for as long as an old login
/// works.
fn keep(policies: &BTreeMap<crate::snapshot::SecretName, SecretPolicy>) -> Duration {
    let graces = policies.values().filter_map(|policy| match policy {
        SecretPolicy::Leased(leased) => Some(leased.grace),
        SecretPolicy::Polled(_) => None,
    });
    graces.fold(Duration::from_secs(60), Duration::max)
}

fn state(top: &Section<'_>, publish: Option<&PathBuf>) -> Option<state::Settings> {
    let section = top.section("state", &keys::STATE);
    let directory = match section.has("directory") {
        true => section.directory("directory")?,
        false => PathBuf::from(STATE_DIRECTORY),
    };
    let hint = "every secret is in the state: keep it where the app cannot look";
    match publish {
        Some(publish) if directory.starts_with(publish) => {
            section.problem("directory", "must not be inside `publish.directory`", hint);
        }
        Some(publish) if publish.starts_with(&directory) => {
            let text = "must not be inside `state.directory`";
            top.problem("publish.directory", text, hint);
        }
        Some(_) | None => {}
    }
    Some(state::Settings { directory, allow_disk: section.boolean("allow_disk", false) })
}

fn log(top: &Section<'_>) -> Log {
    let section = top.section("log", &keys::LOG);
    let words = ["error", "warn", "info", "debug", "trace"].map(|word| (word, word));
    let level = section.choice("level", &words, &[]).unwrap_or("info").to_owned();
    let json = section.choice("format", &[("json", true), ("text", false)], &[]).unwrap_or(true);
    Log { level, json }
}
