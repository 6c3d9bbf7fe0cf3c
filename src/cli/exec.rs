//! `leasehold exec`.
//!
//! Receives the flags and a command, gives how the command ended. Never goes on without it: the
//! agent ends with its child, and the child with the agent.

mod place;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::pin::pin;

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::app::{self, Around};
use crate::cli::{ExecArguments, Exit, failed, print, run};
use crate::config::environment::Environment;
use crate::config::{self, Config, ConfigError, ForChild, Loaded};
use crate::error::Failure;
use crate::process::{Given, Heard, Passing, harden_beside_a_child};
use crate::supervise::{self, Child, Ended, OnRotate, Settings, Supervision, Unstarted};

use place::Place;

/// Runs the command with the secrets until it ends.
pub(super) fn exec(arguments: &ExecArguments, environment: &Environment) -> Exit {
    let prepared = harden_beside_a_child().and_then(|given| Ok((given, Place::make(environment)?)));
    let (given, place) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            print(&failure.to_string());
            return Exit::CannotPublish;
        }
    };
    let path = arguments.run.config(environment);
    let load = {
        let (path, environment) = (path.clone(), environment.clone());
        let (overrides, private) = (arguments.overrides(), place.path().to_owned());
        let told = arguments.on_rotate != OnRotate::Leave;
        move || load(&path, &environment, &overrides, ForChild { private: &private, told })
    };
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error),
    };
    let settings = Settings {
        command: arguments.command.clone(),
        on_rotate: arguments.on_rotate,
        stop_signal: arguments.stop_signal,
        patience: arguments.kill_after,
        given,
    };
    match start(loaded, path, Box::new(load), settings) {
        Ok(exit) => exit,
        Err(failure) => {
            print(&failure.to_string());
            Exit::after(&failure)
        }
    }
}

/// One that is not there in time is not waited for; that goes for a changed configuration too, which
/// would differ otherwise.
fn load(
    path: &Path,
    environment: &Environment,
    overrides: &[config::Override],
    child: ForChild<'_>,
) -> Result<Loaded, ConfigError> {
    let Loaded { mut config, warnings } =
        config::load_for_child(path, environment, overrides, child)?;
    config.policy = config.policy.publish_first(config.init_timeout);
    Ok(Loaded { config, warnings })
}

fn start(
    loaded: Loaded,
    path: PathBuf,
    load: app::Load,
    settings: Settings,
) -> Result<Exit, Failure> {
    supervise::adopt_orphans()?;
    let (config, log, runtime) = run::ready(loaded)?;
    // Nobody asks: SIGHUP is the child's.
    let (_ask, asked) = mpsc::channel(1);
    let source = app::Source { path, load, asked, log };
    let exit = runtime.block_on(async {
        let (child, supervision) = supervise::supervise(settings, Passing::listen()?);
        Ok(both(config, source, child, supervision).await)
    });
    runtime.shutdown_timeout(run::THREAD_TIMEOUT);
    exit
}

/// The agent and its child, until both have ended.
async fn both(config: Config, source: app::Source, child: Child, supervision: Supervision) -> Exit {
    let (stop, stopped) = oneshot::channel();
    let around = Around { source: Some(source), child: Some(child.clone()), ..Around::default() };
    let mut agent = pin!(app::run(config, around, async {
        // Without a sender there is nobody left to say stop.
        let _ = stopped.await;
    }));
    let mut supervised = pin!(supervision.run());
    let (ended, mut signals) = tokio::select! {
        ended = &mut supervised => ended,
        ended = &mut agent => {
            child.stop();
            let (last, _) = supervised.await;
            return match (ended, last) {
                (Err(error), _) => run::ended_by(error),
                (Ok(()), Ok(Ended::Child(code) | Ended::Unstarted(code))) => Exit::AsChild(code),
                (Ok(()), Err(failure)) => ours(&failure),
            };
        }
    };
    // The agent may have ended by itself.
    let _ = stop.send(());
    let agent = tokio::select! {
        ended = &mut agent => ended,
        signal = another(&mut signals) => return Exit::Signalled(supervise::shell_code(signal)),
    };
    match (ended, agent) {
        (Err(failure), _) => ours(&failure),
        (Ok(Ended::Child(code)), agent) => {
            // What became of the child is what was asked.
            if let Err(error) = agent {
                let _said = run::ended_by(error);
            }
            Exit::AsChild(code)
        }
        (Ok(Ended::Unstarted(code)), Ok(()) | Err(app::Error::Stopped)) => Exit::AsChild(code),
        (Ok(Ended::Unstarted(_)), Err(error)) => run::ended_by(error),
    }
}

/// A signal that asks for the end, once more.
async fn another(signals: &mut Passing) -> Signal {
    loop {
        if let Heard::Signal { signal: signal @ (Signal::TERM | Signal::INT), .. } =
            signals.next().await
        {
            return signal;
        }
    }
}

fn ours(failure: &Failure) -> Exit {
    print(&failure.to_string());
    Exit::after(failure)
}

/// `exec-child PARENT UMASK CORE COMMAND…`: becomes the command.
pub(super) fn become_child(arguments: &[OsString]) -> Exit {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    let [parent, umask, core, command @ ..] = arguments else { return Exit::Usage };
    let parsed = (|| {
        let parent = i32::try_from(number(parent)?).ok()?;
        let umask = u32::try_from(number(umask)?).ok()?;
        Some((parent, Given { umask, core: number(core)? }))
    })();
    let Some((parent, given)) = parsed else { return Exit::Usage };
    let (code, failure) = match supervise::become_child(parent, given, command) {
        Unstarted::Ours(failure) => (Exit::Fault.code(), failure),
        Unstarted::Missing(failure) => (127, failure),
        Unstarted::Forbidden(failure) => (126, failure),
    };
    print(&failure.to_string());
    Exit::AsChild(code)
}

/// `restart`, `none`, or `signal:NAME`.
pub(super) fn on_rotate(text: &str) -> Result<OnRotate, String> {
    match (text, text.strip_prefix("signal:")) {
        ("restart", _) => Ok(OnRotate::Restart),
        ("none", _) => Ok(OnRotate::Leave),
        (_, Some(name)) => signal(name).map(OnRotate::Signal),
        _ => Err("write `restart`, `none`, or `signal:HUP`".to_owned()),
    }
}

/// A signal by its name.
pub(super) fn signal(name: &str) -> Result<Signal, String> {
    let number = config::signal(name).and_then(Signal::from_named_raw);
    number
        .ok_or_else(|| "write `HUP`, `USR1`, `USR2`, `INT`, `QUIT`, `TERM` or the like".to_owned())
}
