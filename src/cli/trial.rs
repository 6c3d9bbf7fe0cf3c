//! What asks Vault once, or tries something out there and must end it again.
//!
//! Receives the work, gives the exit code. Never leaves the work in the middle at the first signal:
//! it hears of it and ends what it made; the second ends the process at once.

use std::cell::Cell;
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::Builder;

use crate::cli::{Exit, print};
use crate::error::{Class, Failure};
use crate::process::{Signals, harden};
use crate::timeline::{Error, Made};
use crate::vault::{Settings, Vault};

/// Does `work`, and prints why it did not go well.
pub(super) fn run(work: impl AsyncFnOnce(&Cell<bool>) -> Result<Exit, Error>) -> Exit {
    match started(work) {
        Ok(exit) => exit,
        Err(Error::Configuration(failure)) => {
            print(&failure.to_string());
            Exit::Configuration
        }
        Err(Error::Directory(failure)) => {
            print(&failure.to_string());
            Exit::CannotPublish
        }
        Err(Error::Failed(failure)) => {
            print(&failure.to_string());
            Exit::after(&failure)
        }
        // Only a signal asks for it, and has its own code.
        Err(Error::Stopped) => Exit::TryAgain,
    }
}

fn started(work: impl AsyncFnOnce(&Cell<bool>) -> Result<Exit, Error>) -> Result<Exit, Error> {
    harden().map_err(Error::Failed)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
        Error::Failed(Failure::new(Class::Ours, format!("start the runtime: {error}")))
    })?;
    runtime.block_on(until_signalled(work))
}

async fn until_signalled(
    work: impl AsyncFnOnce(&Cell<bool>) -> Result<Exit, Error>,
) -> Result<Exit, Error> {
    let mut signals = Signals::listen().map_err(Error::Failed)?;
    let stop = Cell::new(false);
    let mut work = pin!(work(&stop));
    let mut code = None;
    loop {
        tokio::select! {
            ended = &mut work => return match (ended, code) {
                (Err(Error::Stopped), Some(code)) => Ok(Exit::Signalled(code)),
                (ended, _) => ended,
            },
            received = signals.next() => {
                let now = received.signal.exit_code();
                if code.replace(now).is_some() {
                    return Ok(Exit::Signalled(now));
                }
                stop.set(true);
            }
        }
    }
}

/// Does `work` logged in to Vault; what was made for that ends with it.
pub(super) async fn logged_in(
    settings: &Settings,
    work: impl AsyncFnOnce(&Vault, &mut Made) -> Result<Exit, Error>,
) -> Result<Exit, Error> {
    let vault = Vault::new(settings, &[0; 32], Arc::new(|_, _, _| {}));
    let vault = vault.map_err(Error::Configuration)?;
    let mut made = Made::default();
    made.login(&vault).await.map_err(Error::Failed)?;
    let done = work(&vault, &mut made).await;
    let ended = made.end(&vault).await;
    let exit = done?;
    ended.map_err(Error::Failed)?;
    Ok(exit)
}

/// One line on the standard output; nobody is there to read it when that fails.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
