//! `leasehold run`.
//!
//! Receives the flags, gives how the agent ended. Never decides anything: it loads the
//! configuration, readies log, runtime and signals, and hands over to [`app`].

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::app::{self, Around, Load};
use crate::cli::{Exit, RunArguments, load, print};
use crate::config::environment::Environment;
use crate::config::{self, Config, Loaded};
use crate::error::{Class, Failure};
use crate::logs;
use crate::process::{Received, Sender, Signal, Signals, Supervisor, harden};

/// A thread that resolves a name may hang; the process ends all the same.
pub(super) const THREAD_TIMEOUT: Duration = Duration::from_millis(100);

/// Runs until SIGTERM.
pub(super) fn run(arguments: &RunArguments, environment: &Environment) -> Exit {
    let path = arguments.config(environment);
    let overrides = arguments.overrides();
    let loaded = match load(&path, environment, &overrides) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let again = {
        let (path, environment, overrides) = (path.clone(), environment.clone(), overrides);
        move || config::load(&path, &environment, &overrides)
    };
    keep(loaded, environment.get("NOTIFY_SOCKET"), Some((path, Box::new(again))))
}

/// Runs as `loaded` says; for [`init`](super::init) too. `supervisor` is the socket of a service
/// manager that wants to hear how far we are, `again` a configuration file that may change.
pub(super) fn keep(
    loaded: Loaded,
    supervisor: Option<&str>,
    again: Option<(PathBuf, Load)>,
) -> Exit {
    let started = harden().map_err(app::Error::from);
    match started.and_then(|()| start(loaded, supervisor, again)) {
        Ok(exit) => exit,
        Err(error) => ended_by(error),
    }
}

/// Prints why the agent could not start or go on, and gives the exit code for it.
pub(super) fn ended_by(error: app::Error) -> Exit {
    let (exit, failure) = match error {
        app::Error::Directory(failure) => (Exit::CannotPublish, failure),
        app::Error::Held(failure) => (Exit::TryAgain, failure),
        app::Error::Configuration(failure) => (Exit::Configuration, failure),
        app::Error::Other(failure) => (Exit::after(&failure), failure),
        // Only a signal asks for it, and has its own code.
        app::Error::Stopped => return Exit::TryAgain,
    };
    print(&failure.to_string());
    exit
}

fn start(
    loaded: Loaded,
    supervisor: Option<&str>,
    again: Option<(PathBuf, Load)>,
) -> Result<Exit, app::Error> {
    let (config, log, runtime) = ready(loaded)?;
    let supervisor = supervisor.map_or_else(|| Ok(Supervisor::default()), Supervisor::connect);
    let supervisor = supervisor.unwrap_or_else(|failure| {
        logs::supervisor_unreachable(&failure);
        Supervisor::default()
    });
    let (ask, asked) = mpsc::channel(1);
    let source = again.map(|(path, load)| app::Source { path, load, asked, log });
    let exit = runtime.block_on(until_signalled(config, supervisor, source, &ask));
    runtime.shutdown_timeout(THREAD_TIMEOUT);
    exit
}

/// Readies log and runtime.
pub(super) fn ready(loaded: Loaded) -> Result<(Config, logs::Control, Runtime), Failure> {
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
    Ok((config, log, runtime))
}

/// The first signal to stop is passed on, the second ends the process at once.
async fn until_signalled(
    config: Config,
    supervisor: Supervisor,
    source: Option<app::Source>,
    ask: &mpsc::Sender<()>,
) -> Result<Exit, app::Error> {
    let mut signals = Signals::listen()?;
    let (stop, stopped) = oneshot::channel();
    let mut stop = Some(stop);
    let mut code = None;
    let again = source.is_some();
    let around = Around { supervisor, source, child: None };
    let mut app = pin!(app::run(config, around, async {
        // Without a sender there is nobody left to say stop.
        let _ = stopped.await;
    }));
    loop {
        let received = tokio::select! {
            ended = &mut app => return match (ended, code) {
                (Err(app::Error::Stopped), Some(code)) => Ok(Exit::Signalled(code)),
                (ended, _) => ended.map(|()| Exit::Done),
            },
            received = signals.next() => received,
        };
        match (received.signal, stop.take()) {
            (Signal::Hangup, still) => {
                stop = still;
                let what = if again { "loading the configuration again" } else { "ignored" };
                tell(received, what);
                // One that is asked for already is as good.
                let _ = ask.try_send(());
            }
            (Signal::Terminate | Signal::Interrupt, Some(stop)) => {
                tell(received, "stopping");
                code = Some(received.signal.exit_code());
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
