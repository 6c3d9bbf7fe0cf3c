//! A configuration that changes while the agent runs.
//!
//! Receives the word of whoever sent SIGHUP, and sees for itself when the file is another. Gives the
//! loop what to go on with. Never changes anything by halves: a configuration that is wrong, needs a
//! restart or cannot be listened at leaves all as it was, and what is wrong with it is logged.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::time::{sleep, timeout};

use crate::agent::view::View;
use crate::app::confinement;
use crate::app::listeners::Listeners;
use crate::config::{Config, ConfigError, Loaded, Problem};
use crate::driver::{Change, Outside};
use crate::error::{Failure, chain};
use crate::logs;
use crate::metrics::Metrics;

/// A file is written in steps; a mount of Kubernetes changes in a few.
const QUIET: Duration = Duration::from_millis(150);

/// So often a change that goes on is waited for.
const PATIENCE: usize = 10;

/// Directories are watched from the first publish on; before it the file is looked at so often.
const BEFORE: Duration = Duration::from_secs(1);

/// Loads a configuration file.
pub type Load = Box<dyn FnMut() -> Result<Loaded, ConfigError>>;

/// Where a changed configuration comes from.
pub struct Source {
    /// The file, which is watched.
    pub path: PathBuf,
    /// Loads it.
    pub load: Load,
    /// Somebody asks for it to be loaded again.
    pub asked: mpsc::Receiver<()>,
    /// What is logged from then on.
    pub log: logs::Control,
}

/// What there is to change, and to change it by.
pub(super) struct Reload {
    /// `None` where nothing changes.
    pub(super) source: Option<Source>,
    pub(super) config: Config,
    /// Whether what the configuration did not name is out of reach.
    pub(super) confined: bool,
    pub(super) outside: Arc<Outside>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) view: channel::Receiver<View>,
    pub(super) changes: mpsc::Sender<Change>,
    /// Hears of changes in the directory of the file.
    pub(super) touched: Arc<Notify>,
}

/// What changes when a file is written or replaced.
#[derive(PartialEq, Eq)]
struct Look {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Reload {
    /// Goes on for as long as the agent does.
    pub(super) async fn run(mut self, listeners: &mut Listeners) -> Infallible {
        let Some(mut source) = self.source.take() else { return std::future::pending().await };
        let mut seen: Option<Look> = None;
        // Why the file as it is was refused; said once for as long as nobody asks.
        let mut refused = Vec::new();
        loop {
            let asked = tokio::select! {
                Some(()) = source.asked.recv() => true,
                () = settled(&self.touched) => false,
                () = sleep(BEFORE), if !self.view.borrow().started => false,
            };
            let look = Look::at(&source.path);
            if !asked && look == seen {
                continue;
            }
            // Looked at before it is read: a change meanwhile shows at the next look.
            seen = look;
            match self.reload(&mut source, listeners).await {
                Ok(true) => {
                    refused.clear();
                    self.metrics.reloaded(true);
                }
                Ok(false) => {
                    let was_refused = !std::mem::take(&mut refused).is_empty();
                    self.metrics.configured(true);
                    if asked || was_refused {
                        logs::configuration_unchanged();
                    }
                }
                Err(problems) if !asked && problems == refused => {}
                Err(problems) => {
                    self.metrics.reloaded(false);
                    for Problem { path, text, hint } in &problems {
                        logs::configuration_problem(path, text, hint);
                    }
                    logs::configuration_refused(&source.path, problems.len());
                    refused = problems;
                }
            }
        }
    }

    /// Loads the file and goes on with it, where it says anything new.
    async fn reload(
        &mut self,
        source: &mut Source,
        listeners: &mut Listeners,
    ) -> Result<bool, Vec<Problem>> {
        let Loaded { config, warnings } = (source.load)().map_err(problems)?;
        if config == self.config {
            return Ok(false);
        }
        let mut fixed = fixed(&self.config, &config);
        if self.confined {
            fixed.extend(confinement::beyond(&self.config, &config));
        }
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let elsewhere = || "name another address there".to_owned();
        let taken =
            listeners.take(&config.listen).await.map_err(|Failure { text, hint, .. }| {
                vec![Problem {
                    path: "listen".to_owned(),
                    text,
                    hint: hint.unwrap_or_else(elsewhere),
                }]
            })?;
        for warning in &warnings {
            logs::configuration_warning(warning);
        }
        let Outside { vault, key, databases, child, clock, .. } = &*self.outside;
        let (vault, key, child) = (vault.clone(), key.clone(), child.clone());
        let outside = super::outside(&config, vault, key, databases, child, clock.clone());
        self.outside = Arc::new(outside);
        let change = Change {
            policy: config.policy.clone(),
            files: config.files.clone(),
            keep: config.publish.keep,
            outside: self.outside.clone(),
            inputs: super::inputs(&config),
        };
        // Without a receiver the loop has ended, and so will this.
        let _ = self.changes.send(change).await;
        listeners.serve(&config.listen, taken);
        source.log.set(&config.log);
        self.config = config;
        Ok(true)
    }
}

/// Waits until something was changed and all has come to rest.
async fn settled(touched: &Notify) {
    touched.notified().await;
    for _ in 0..PATIENCE {
        if timeout(QUIET, touched.notified()).await.is_err() {
            break;
        }
    }
}

/// Where the configuration file is, and where it leads if it is a link.
pub(super) fn directories(path: &Path) -> Vec<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let here = parent.unwrap_or(Path::new(".")).to_owned();
    let there = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    [Some(here), there].into_iter().flatten().collect()
}

fn problems(error: ConfigError) -> Vec<Problem> {
    match error {
        ConfigError::Invalid { problems, .. } => problems,
        ConfigError::Read { .. } | ConfigError::Long { .. } | ConfigError::Syntax { .. } => {
            let hint = "`leasehold check` says whether it can be used".to_owned();
            vec![Problem { path: String::new(), text: chain(&error), hint }]
        }
    }
}

/// What differs and cannot be changed while the agent runs: what leases and files belong to, and
/// who we are.
fn fixed(old: &Config, new: &Config) -> Vec<Problem> {
    let (publish, publish_now) = (&old.publish, &new.publish);
    let (state, state_now) = (&old.state, &new.state);
    let mut parts = vec![("instance", old.instance == new.instance)];
    match (&old.vault, &new.vault) {
        (Some(vault), Some(vault_now)) => parts.extend([
            ("vault.address", vault.address == vault_now.address),
            ("vault.namespace", vault.namespace == vault_now.namespace),
            ("vault.ca_cert", vault.ca_cert == vault_now.ca_cert),
            ("vault.client_cert", vault.client == vault_now.client),
            ("vault.auth", vault.auth == vault_now.auth),
        ]),
        (vault, vault_now) => parts.push(("vault", vault.is_some() == vault_now.is_some())),
    }
    parts.extend([
        ("publish.directory", publish.directory == publish_now.directory),
        ("publish.allow_disk", publish.allow_disk == publish_now.allow_disk),
        ("publish.allow_writers", publish.allow_writers == publish_now.allow_writers),
        ("state.directory", state.directory == state_now.directory),
        ("state.allow_disk", state.allow_disk == state_now.allow_disk),
    ]);
    let differs = parts.into_iter().filter(|(_, same)| !same);
    let problem = |(path, _): (&str, bool)| Problem {
        path: path.to_owned(),
        text: "cannot be changed while the agent runs".to_owned(),
        hint: "restart it, which goes on with the leases, or change this back".to_owned(),
    };
    differs.map(problem).collect()
}
