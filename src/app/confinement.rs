//! What the agent may reach once it has started.
//!
//! Receives the configuration, closes the process in, and says in the log how far. Never fails: an
//! old kernel is no reason not to run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::agent::command::TargetName;
use crate::config::{Config, Problem};
use crate::logs;
use crate::notice::Channel;
use crate::process::{Confined, Reach, confine};
use crate::server::api;

/// Closes the process in, where no command of the configuration needs more than the agent does.
/// Gives whether anything is out of reach now.
pub(super) fn close(config: &Config) -> bool {
    if let Some(name) = command(config) {
        logs::unconfined(&format!("the command of `{name}` may need what the agent does not"));
        return false;
    }
    let reach = reach(config);
    let shown = |paths: &BTreeSet<PathBuf>| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    let (reads, writes) = (shown(&reach.reads), shown(&reach.writes));
    match confine(&reach) {
        Confined::Fully => logs::confined(true, &reads, &writes),
        Confined::Partly => logs::confined(false, &reads, &writes),
        Confined::Not(why) => {
            logs::unconfined(&why);
            return false;
        }
    }
    true
}

/// What `new` needs that is out of reach of a process that was closed in for `old`.
pub(super) fn beyond(old: &Config, new: &Config) -> Vec<Problem> {
    let problem = |path: &str, text: String| Problem {
        path: path.to_owned(),
        text,
        hint: "restart the agent, which goes on with the leases".to_owned(),
    };
    let mut all = Vec::new();
    if let Some(name) = command(new) {
        let text = format!("the command of `{name}`: a confined agent starts none");
        all.push(problem("notify", text));
    }
    let (had, wanted) = (reach(old), reach(new));
    if wanted.signals && !had.signals {
        let text = "an agent that was confined without signals sends none".to_owned();
        all.push(problem("notify", text));
    }
    let known = |path: &PathBuf| {
        had.reads.iter().chain(&had.writes).any(|reachable| path.starts_with(reachable))
    };
    for path in wanted.reads.iter().filter(|path| !known(path)) {
        let text = format!("`{}` is out of reach of an agent that was confined", path.display());
        all.push(problem("", text));
    }
    all
}

/// A target that is told by a command.
fn command(config: &Config) -> Option<&TargetName> {
    let mut targets = config.targets.iter();
    let found = targets.find(|(_, target)| matches!(target.channel, Channel::Exec { .. }));
    found.map(|(name, _)| name)
}

/// All that `config` needs: its files, the two directories, and what every program needs.
fn reach(config: &Config) -> Reach {
    let signals =
        config.targets.values().any(|target| matches!(target.channel, Channel::Signal { .. }));
    let directories = [&config.publish.directory, &config.state.directory];
    let mut writes: BTreeSet<PathBuf> = directories.into_iter().cloned().collect();
    if let Some(api::Settings::Unix { path, .. }) = &config.listen.api {
        writes.extend(path.parent().map(Path::to_owned));
    }
    let mut reach = Reach { writes, signals, ..Reach::default() };
    reach.read_system();
    for path in &config.reads {
        reach.read(path);
    }
    reach
}
