//! Tells the app: one attempt at one target.
//!
//! Receives a [`Notice`], gives whether the target acknowledged. Never retries (the agent does) and
//! never sends a secret.

mod exec;
mod http;
mod message;
mod signal;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::command::Notice;
use crate::error::{Class, Failure};
use crate::time::Clock;

/// One notify target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How to reach it.
    pub channel: Channel,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `POST` to a loopback URL.
    Http {
        /// `http://` URL.
        url: String,
        /// File with the key that signs the requests.
        signing_key_file: Option<PathBuf>,
    },
    /// A signal to a process.
    Signal {
        /// Which.
        process: Process,
        /// The signal's number.
        signal: i32,
    },
    /// A command that acknowledges by its exit status.
    Exec {
        /// An absolute path and arguments.
        command: Vec<String>,
        /// All that it finds in its environment, but for what the notice says.
        environment: BTreeMap<String, String>,
    },
    /// PgBouncer, by its admin console; not told from here.
    Pgbouncer(Console),
    /// The child of `exec`; not told from here.
    Child,
}

/// PgBouncer's admin console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// A host of this machine, or the directory of a socket.
    pub host: String,
    /// The port that clients use too.
    pub port: u16,
    /// One of PgBouncer's `admin_users`.
    pub user: String,
    /// File with its password; read at each attempt.
    pub password_file: Option<PathBuf>,
}

/// How a process is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// Its id is in a file.
    PidFile(PathBuf),
    /// Its program, its script or its own word for itself is called so.
    Name(String),
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
/// `Missing` while the pid file, the key or the command is not there, `Denied` where the signal or
/// the command is forbidden, `Ours` for a URL or a process that is never told anything.
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
        Channel::Signal { process, signal } => signal::send(process, *signal, clock).await,
        Channel::Exec { command, environment } => {
            exec::run(command, environment, context, notice, settings.timeout).await
        }
        Channel::Pgbouncer(_) | Channel::Child => {
            Err(Failure::new(Class::Ours, "tell a target that is told otherwise"))
        }
    }
}
