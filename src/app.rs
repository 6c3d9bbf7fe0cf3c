//! The wiring: the only place that knows every effect.
//!
//! Receives a configuration, opens what can fail at a start (state, directory, listeners), and
//! turns the loop. A start that cannot work ends here, with a hint, before anything is asked of
//! Vault.

mod confinement;
mod listeners;
mod reload;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::time::timeout;

use crate::agent::view::View;
use crate::agent::{Agent, SecretPolicy, Unmet};
use crate::app::listeners::Listeners;
use crate::app::reload::Reload;
use crate::config::Config;
use crate::driver::{self, Driver, Outside};
use crate::error::{Class, Failure};
use crate::logs;
use crate::metrics::Metrics;
use crate::notice;
use crate::postgres::Database;
use crate::process::{Supervisor, swap};
use crate::publish::Publisher;
use crate::server::probes::Heartbeat;
use crate::server::{api, pages, probes, scrape};
use crate::snapshot::{Connection, SecretName};
use crate::state::{Found, OpenError, Store};
use crate::supervise::Child;
use crate::time::Clock;
use crate::vault::{Observer, Vault};
use crate::watch::Watch;

pub use reload::{Load, Source};

/// How long a second process waits for the first to let go of the state; an image update starts
/// the new one while the old one drains.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_TRY: Duration = Duration::from_millis(100);

/// How long the look for swap waits for the first publish.
const SWAP_AFTER: Duration = Duration::from_millis(250);

/// What the API is asked for between two turns of the loop; more is refused.
const MOST_CALLS: usize = 16;

/// Why the agent cannot start, or cannot go on.
#[derive(Debug)]
pub enum Error {
    /// The publish or the state directory cannot be used.
    Directory(Failure),
    /// Another process holds the state.
    Held(Failure),
    /// The configuration names something that cannot be used: a CA, an address to listen at.
    Configuration(Failure),
    /// It was told to stop before everything was published that it was to publish once.
    Stopped,
    /// Anything else.
    Other(Failure),
}

impl From<Unmet> for Error {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Stopped => Self::Stopped,
            Unmet::Unpublishable(failure) => Self::Directory(failure),
            Unmet::Unobtainable(failure) => match failure.class {
                Class::Missing | Class::Ours => Self::Configuration(failure),
                Class::Again { .. }
                | Class::Denied
                | Class::Gone
                | Class::Conflict
                | Class::Unclear => Self::Other(failure),
            },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Who is around an agent.
#[derive(Default)]
pub struct Around {
    /// Hears when something is published for the first time, and when the agent stops.
    pub supervisor: Supervisor,
    /// Where a changed configuration comes from.
    pub source: Option<Source>,
    /// The child of `exec`.
    pub child: Option<Child>,
}

/// Runs the agent until `stop`, and then as long as its stop policy asks for.
///
/// # Errors
/// When it cannot start: the state, the publish directory, an address or a CA cannot be used. When
/// it was to publish once, and has not.
pub async fn run(
    config: Config,
    around: Around,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Around { supervisor, source, child } = around;
    let (store, found) = open_state(&config).await?;
    let clock = Clock::resume(found.as_ref().map(|found| found.epoch.clone()));
    let kept = found.map(|Found { agent, .. }| agent).unwrap_or_default();
    let publisher = Publisher::open(config.publish.clone()).map_err(Error::Directory)?;
    let metrics = Arc::new(Metrics::new(&config.policy));
    let (view, shown) = channel::channel(View::default());
    let heartbeat = Heartbeat::default();
    let (caller, calls) = mpsc::channel(MOST_CALLS);
    let (alive, at) = (heartbeat.clone(), clock.clone());
    let probes = probes::answer(shown.clone(), move || alive.alive(at.now()));
    let metrics_page = scrape::metrics(metrics.clone(), shown.clone(), clock.clone());
    let api = api::handler(&config.instance, clock.clone(), shown.clone(), caller);
    let mut listeners =
        Listeners::new([("probes", pages(probes)), ("metrics", pages(metrics_page)), ("api", api)]);
    let taken = listeners.take(&config.listen).await.map_err(Error::Configuration)?;
    listeners.serve(&config.listen, taken);

    let observed = metrics.clone();
    let observer: Observer =
        Arc::new(move |operation, outcome, took| observed.vault_request(operation, outcome, took));
    let vault = config.vault.as_ref().map(|settings| Vault::new(settings, store.key(), observer));
    let vault = vault.transpose().map_err(Error::Configuration)?.map(Arc::new);
    let key = hmac::Key::new(hmac::HMAC_SHA256, store.key());
    // All that is needed is open or made, and no thread has been started. A child would be closed in
    // with us.
    let confined = child.is_none() && confinement::close(&config);
    let outside = Arc::new(outside(&config, vault, key, &BTreeMap::new(), child, clock.clone()));
    let told = tell_supervisor(supervisor, shown.clone());
    let warned = warn_of_swap(shown.clone());
    let inputs = inputs(&config);
    let (sender, changes) = mpsc::channel(1);
    let seed = seed(&config.instance);
    let on_disk = publisher.generation();
    let watched = config.publish.directory.clone();
    let (agent, first) = Agent::adopt(config.policy.clone(), kept, on_disk, seed, clock.now());
    let files = config.files.clone();
    let beside = source.iter().flat_map(|source| reload::directories(&source.path)).collect();
    let touched = Arc::new(Notify::new());
    let reload = Reload {
        source,
        touched: touched.clone(),
        config,
        confined,
        outside: outside.clone(),
        metrics: metrics.clone(),
        view: shown,
        changes: sender,
    };
    let driver = Driver {
        agent,
        first,
        clock,
        store,
        publisher,
        files,
        watched,
        beside,
        touched,
        inputs,
        outside,
        changes,
        metrics,
        view,
        heartbeat,
        calls,
    };
    let reload = async { tokio::join!(reload.run(&mut listeners), told, warned).0 };
    let ended = tokio::select! {
        ended = driver::run(driver, stop) => ended,
        never = reload => match never {},
    };
    listeners.shutdown().await;
    ended?.map_or(Ok(()), |unmet| Err(unmet.into()))
}

async fn tell_supervisor(supervisor: Supervisor, mut view: channel::Receiver<View>) {
    let started = view.wait_for(|view| view.started || view.stopping).await;
    if started.is_ok_and(|view| view.started) {
        supervisor.ready();
    }
    if view.wait_for(|view| view.stopping).await.is_ok() {
        supervisor.stopping();
    }
}

/// Soon, or once something is published: a start does not wait for that.
async fn warn_of_swap(mut view: channel::Receiver<View>) {
    let _ = timeout(SWAP_AFTER, view.wait_for(|view| view.started)).await;
    if let Some(device) = swap() {
        logs::swap_is_on(&device);
    }
}

/// Notices changes of the files that secrets come from.
fn inputs(config: &Config) -> Option<Watch> {
    (!config.local.is_empty()).then(|| Watch::around(config.local.values()))
}

async fn open_state(config: &Config) -> Result<(Store, Option<Found>), Error> {
    let mut waited = Duration::ZERO;
    loop {
        match Store::open(&config.state) {
            Ok(opened) => return Ok(opened),
            Err(OpenError::Locked(failure)) if waited >= LOCK_WAIT => {
                return Err(Error::Held(failure));
            }
            Err(OpenError::Locked(_)) => {
                tokio::time::sleep(LOCK_TRY).await;
                waited += LOCK_TRY;
            }
            Err(OpenError::Unusable(failure)) => return Err(Error::Directory(failure)),
        }
    }
}

/// What `config` needs; of the `databases` those that it names stay as they are, with what is under
/// way there.
fn outside(
    config: &Config,
    vault: Option<Arc<Vault>>,
    key: hmac::Key,
    databases: &BTreeMap<SecretName, Arc<Database>>,
    child: Option<Child>,
    clock: Clock,
) -> Outside {
    let database = |name: &SecretName, connection: &Arc<Connection>| {
        let known = databases.get(name).filter(|known| known.connection() == connection);
        known.cloned().unwrap_or_else(|| Arc::new(Database::new(connection.clone())))
    };
    let databases = config.policy.secrets.iter().filter_map(|(name, secret)| {
        let connection = match secret {
            SecretPolicy::Leased(leased) => &leased.connection,
            SecretPolicy::Polled(polled) => &polled.connection,
        };
        Some((name.clone(), database(name, connection.as_ref()?)))
    });
    Outside {
        vault,
        sources: config.sources.clone(),
        local: config.local.clone(),
        key,
        databases: databases.collect(),
        files: config.files.clone(),
        targets: config.targets.clone(),
        notice: notice::Context {
            instance: config.instance.clone(),
            directory: config.publish.directory.join("current").display().to_string(),
            files: config.files.iter().map(|file| file.path.clone()).collect(),
        },
        child,
        clock,
    }
}

/// Spreads the timing of a fleet: by name, and by chance where names repeat.
fn seed(instance: &str) -> u64 {
    let mut random = [0_u8; 8];
    // With no randomness the name alone has to do.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let name = instance.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    name ^ u64::from_le_bytes(random)
}
