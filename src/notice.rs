//! Tells the app: one attempt at one target.
//!
//! Receives a [`Notice`], gives whether the target acknowledged. Never retries (the agent does) and
//! never sends a secret.

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::command::Notice;
use crate::error::{Class, Failure};

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

/// One attempt; `wall` turns the notice's moments into RFC 3339.
///
/// # Errors
/// When the target did not acknowledge in time.
#[expect(clippy::unused_async, reason = "stub")]
pub async fn deliver(
    _settings: &Settings,
    _context: &Context,
    _notice: &Notice,
    _clock: &crate::time::Clock,
) -> Result<(), Failure> {
    Err(Failure::new(Class::Ours, "not built yet"))
}
