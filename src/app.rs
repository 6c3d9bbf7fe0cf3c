//! The wiring: the only place that knows every effect.
//!
//! Receives a configuration, opens what can fail at a start (state, directory, listeners), and
//! turns the loop. A start that cannot work ends here, with a hint, before anything is asked of
//! Vault.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;

use crate::agent::view::View;
use crate::agent::{Agent, SecretPolicy, Unmet};
use crate::config::Config;
use crate::driver::{self, Driver, Outside};
use crate::error::{Class, Failure};
use crate::metrics::Metrics;
use crate::notice;
use crate::postgres::Database;
use crate::publish::Publisher;
use crate::server::api::Call;
use crate::server::probes::Heartbeat;
use crate::server::{Listener, api, pages, probes, scrape};
use crate::state::{Found, OpenError, Store};
use crate::time::Clock;
use crate::vault::Vault;

/// How long a second process waits for the first to let go of the state; an image update starts
/// the new one while the old one drains.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_TRY: Duration = Duration::from_millis(100);

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

/// Runs the agent until `stop`, and then as long as its stop policy asks for.
///
/// # Errors
/// When it cannot start: the state, the publish directory, an address or a CA cannot be used. When
/// it was to publish once, and has not.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let (store, found) = open_state(&config).await?;
    let clock = Clock::resume(found.as_ref().map(|found| found.epoch.clone()));
    let kept = found.map(|Found { agent, .. }| agent).unwrap_or_default();
    let publisher = Publisher::open(config.publish.clone()).map_err(Error::Directory)?;
    let metrics = Arc::new(Metrics::new(&config.policy));
    let (view, shown) = channel::channel(View::default());
    let heartbeat = Heartbeat::default();
    let (caller, calls) = mpsc::channel(MOST_CALLS);
    let mut servers = listen(&config, &metrics, &shown, &heartbeat, &clock, caller)
        .await
        .map_err(Error::Configuration)?;

    let observed = metrics.clone();
    let vault = Vault::new(
        &config.vault,
        store.key(),
        Arc::new(move |operation, outcome, took| observed.vault_request(operation, outcome, took)),
    )
    .map_err(Error::Configuration)?;
    let outside = Arc::new(outside(&config, vault, clock.clone()));
    let seed = seed(&config.instance);
    let on_disk = publisher.generation();
    let watched = config.publish.directory.clone();
    let (agent, first) = Agent::adopt(config.policy, kept, on_disk, seed, clock.now());
    let files = config.files;
    let driver = Driver {
        agent,
        first,
        clock,
        store,
        publisher,
        files,
        watched,
        outside,
        metrics,
        view,
        heartbeat,
        calls,
    };
    let ended = driver::run(driver, stop).await;
    servers.shutdown().await;
    ended?.map_or(Ok(()), |unmet| Err(unmet.into()))
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

async fn listen(
    config: &Config,
    metrics: &Arc<Metrics>,
    view: &channel::Receiver<View>,
    heartbeat: &Heartbeat,
    clock: &Clock,
    caller: mpsc::Sender<Call>,
) -> Result<JoinSet<()>, Failure> {
    let mut servers = JoinSet::new();
    if let Some(address) = config.listen.probes {
        let listener = Listener::bind("probes", address).await?;
        let (heartbeat, clock) = (heartbeat.clone(), clock.clone());
        let answer = probes::answer(view.clone(), move || heartbeat.alive(clock.now()));
        servers.spawn(listener.serve(pages(answer), std::future::pending()));
    }
    if let Some(address) = config.listen.metrics {
        let listener = Listener::bind("metrics", address).await?;
        let answer = scrape::metrics(metrics.clone(), view.clone(), clock.clone());
        servers.spawn(listener.serve(pages(answer), std::future::pending()));
    }
    if let Some(settings) = &config.listen.api {
        let listener = Listener::bind_api(settings).await?;
        let handler = api::handler(&config.instance, clock.clone(), view.clone(), caller);
        servers.spawn(listener.serve(handler, std::future::pending()));
    }
    Ok(servers)
}

fn outside(config: &Config, vault: Vault, clock: Clock) -> Outside {
    let databases = config.policy.secrets.iter().filter_map(|(name, secret)| match secret {
        SecretPolicy::Leased(leased) => {
            Some((name.clone(), Database::new(leased.connection.clone()?)))
        }
        SecretPolicy::Polled(_) => None,
    });
    Outside {
        vault,
        sources: config.sources.clone(),
        databases: databases.collect(),
        files: config.files.clone(),
        targets: config.targets.clone(),
        notice: notice::Context {
            instance: config.instance.clone(),
            directory: config.publish.directory.join("current").display().to_string(),
            files: config.files.iter().map(|file| file.path.clone()).collect(),
        },
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
