//! `leasehold run`.
//!
//! Receives the flags, gives how the agent ended. Never decides anything: it loads the
//! configuration, readies log, runtime and signals, and hands over to [`app`].

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::app::{self, Load};
use crate::cli::{Exit, RunArguments, load, print};
use crate::config::environment::Environment;
use crate::config::{self, Config, Loaded};
use crate::error::{Class, Failure};
use crate::logs;
use crate::process::{Received, Sender, Signal, Signals, keep_memory_private};

/// A thread that resolves a name may hang; the process ends all the same.
const THREAD_TIMEOUT: Duration = Duration::from_millis(100);

/// Runs until SIGTERM.
pub(super) fn run(arguments: &RunArguments, environment: &Environment) -> Exit {
    let path = arguments.config(environment);
    let overrides = arguments.overrides();
    let loaded = match load(&path, environment, &overrides) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let started = keep_memory_private().map_err(app::Error::from);
    let again = {
        let (path, environment, overrides) = (path.clone(), environment.clone(), overrides);
        move || config::load(&path, &environment, &overrides)
    };
    match started.and_then(|()| start(loaded, path, Box::new(again))) {
        Ok(exit) => exit,
        Err(error) => {
            let (exit, failure) = match error {
                app::Error::Directory(failure) => (Exit::CannotPublish, failure),
                app::Error::Held(failure) => (Exit::TryAgain, failure),
                app::Error::Configuration(failure) => (Exit::Configuration, failure),
                app::Error::Other(failure) => (Exit::after(&failure), failure),
            };
            print(&failure.to_string());
            exit
        }
    }
}

fn start(loaded: Loaded, path: PathBuf, load: Load) -> Result<Exit, app::Error> {
    let Loaded { config, warnings } = loaded;
    let ours = |doing: &str, error: &dyn std::error::Error| {
        Failure::new(Class::Ours, format!("{doing}: {error}"))
    };
    let log = logs::init(&config.log).map_err(|error| ours("set up the log", &error))?;
    logs::starting(env!("CARGO_PKG_VERSION"), &config.instance);
    for warning in &warnings {
        logs::configuration_warning(warning);
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ours("start the runtime", &error))?;
    let (ask, asked) = mpsc::channel(1);
    let source = app::Source { path, load, asked, log };
    let exit = runtime.block_on(until_signalled(config, source, &ask));
    runtime.shutdown_timeout(THREAD_TIMEOUT);
    exit
}

/// The first signal to stop is passed on, the second ends the process at once.
async fn until_signalled(
    config: Config,
    source: app::Source,
    ask: &mpsc::Sender<()>,
) -> Result<Exit, app::Error> {
    let mut signals = Signals::listen()?;
    let (stop, stopped) = oneshot::channel();
    let mut stop = Some(stop);
    let mut app = pin!(app::run(config, source, async {
        // Without a sender there is nobody left to say stop.
        let _ = stopped.await;
    }));
    loop {
        let received = tokio::select! {
            ended = &mut app => return ended.map(|()| Exit::Done),
            received = signals.next() => received,
        };
        match (received.signal, stop.take()) {
            (Signal::Hangup, still) => {
                stop = still;
                tell(received, "loading the configuration again");
                // One that is asked for already is as good.
                let _ = ask.try_send(());
            }
            (Signal::Terminate | Signal::Interrupt, Some(stop)) => {
                tell(received, "stopping");
                let _ = stop.send(());
            }
            (Signal::Terminate | Signal::Interrupt, None) => {
                tell(received, "leaving at once");
                return Ok(Exit::Signalled(received.signal.exit_code()));
            }
        }
    }
}

fn tell(Received { signal, sender }: Received, what: &str) {
    logs::signalled(signal.name(), sender.map(|Sender { pid, uid }| (pid, uid)), what);
}
