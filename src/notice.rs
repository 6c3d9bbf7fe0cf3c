//! Tells the app: one attempt at one target.
//!
//! Receives a [`Notice`], gives whether the target acknowledged. Never retries (the agent does) and
//! never sends a secret.

mod http;
mod message;
mod signal;

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::command::Notice;
use crate::error::Failure;
use crate::time::Clock;

/// One notify target.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach it.
    pub channel: Channel,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// How a target is reached.
#[derive(Clone, Debug)]
pub enum Channel {
    /// `POST` to a loopback URL.
    Http {
        /// `http://` URL.
        url: String,
        /// File with the key that signs the requests.
        signing_key_file: Option<PathBuf>,
    },
    /// A signal to the process whose id is in a file.
    Signal {
        /// The file.
        pid_file: PathBuf,
        /// Its number.
        signal: i32,
    },
}

/// What every notice of this agent says beside its own facts.
#[derive(Clone, Debug)]
pub struct Context {
    /// The instance's name.
    pub instance: String,
    /// `<publish directory>/current`.
    pub directory: String,
    /// Paths of all published files.
    pub files: Vec<String>,
}

/// One attempt; `clock` turns the notice's moments into RFC 3339.
///
/// # Errors
/// When the target did not acknowledge in time: `Again` or `Unclear` for what may pass by itself,
/// `Missing` while the pid file or the key is not there, `Denied` where the signal is forbidden,
/// `Ours` for a URL or a process that is never told anything.
pub async fn deliver(
    settings: &Settings,
    context: &Context,
    notice: &Notice,
    clock: &Clock,
) -> Result<(), Failure> {
    match &settings.channel {
        Channel::Http { url, signing_key_file } => {
            let message = message::compose(context, notice, clock, signing_key_file.as_deref())?;
            http::post(url, message, settings.timeout).await
        }
        Channel::Signal { pid_file, signal } => signal::send(pid_file, *signal),
    }
}
