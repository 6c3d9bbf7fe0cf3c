//! What the agent may reach once it has started.
//!
//! Receives the configuration, closes the process in, and says in the log how far. Never fails: an
//! old kernel is no reason not to run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::Config;
use crate::logs;
use crate::notice::Channel;
use crate::process::{Confined, Reach, confine};

/// Closes the process in, where no command of the configuration needs more than the agent does.
pub(super) fn close(config: &Config) {
    let mut targets = config.targets.iter();
    if let Some((name, _)) =
        targets.find(|(_, target)| matches!(target.channel, Channel::Exec { .. }))
    {
        logs::unconfined(&format!("the command of `{name}` may need what the agent does not"));
        return;
    }
    let reach = reach(config);
    let shown = |paths: &BTreeSet<PathBuf>| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    let (reads, writes) = (shown(&reach.reads), shown(&reach.writes));
    match confine(&reach) {
        Confined::Fully => logs::confined(true, &reads, &writes),
        Confined::Partly => logs::confined(false, &reads, &writes),
        Confined::Not(why) => logs::unconfined(&why),
    }
}

/// All that `config` needs: its files, the two directories, and what every program needs.
fn reach(config: &Config) -> Reach {
    let signals =
        config.targets.values().any(|target| matches!(target.channel, Channel::Signal { .. }));
    let directories = [&config.publish.directory, &config.state.directory];
    let writes = directories.into_iter().cloned().collect();
    let mut reach = Reach { writes, signals, ..Reach::default() };
    reach.read_system();
    for path in &config.reads {
        reach.read(path);
    }
    reach
}
