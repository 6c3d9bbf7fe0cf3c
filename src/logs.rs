//! Log lines out of records, as text or JSON.
//!
//! Receives records and our own few events besides, gives lines on the standard error stream.
//! Never shows what our dependencies say below a warning, and never lets a control character from
//! Vault reach a terminal.

mod format;

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::audit::event::{Level, Record};
use crate::audit::line::{Line, Value, line};
use crate::error::Failure;
use crate::logs::format::Lines;

pub use format::visible;

/// What to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// JSON lines or text.
    pub json: bool,
}

/// Changes what is logged.
pub struct Control {
    levels: Handle<Targets, Registry>,
    json: Arc<AtomicBool>,
}

impl Control {
    /// From now on, `log`.
    pub fn set(&self, log: &Log) {
        self.json.store(log.json, Ordering::Relaxed);
        // It fails only where nothing is logged any more.
        let _ = self.levels.reload(targets(log));
    }
}

/// Sends every line of this process to the standard error stream from now on.
///
/// # Errors
/// When logging was set up before.
pub fn init(log: &Log) -> Result<Control, tracing_subscriber::util::TryInitError> {
    let (subscriber, control) = subscriber(log, io::stderr);
    subscriber.try_init().map(|()| control)
}

/// What turns events into lines; tests give their own writer.
pub fn subscriber<W>(log: &Log, writer: W) -> (impl Subscriber + Send + Sync, Control)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let json = Arc::new(AtomicBool::new(log.json));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { json: json.clone() })
        .with_writer(writer)
        .with_ansi(false);
    let (levels, handle) = reload::Layer::new(targets(log));
    let subscriber = tracing_subscriber::registry().with(levels).with(lines);
    (subscriber, Control { levels: handle, json })
}

fn targets(log: &Log) -> Targets {
    let level = match log.level.as_str() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    // At debug and trace our dependencies print requests and answers, with tokens and passwords in
    // them; no level that an operator can choose may switch that on.
    let others = level.min(LevelFilter::WARN);
    Targets::new().with_default(others).with_target("leasehold", level)
}

/// Which kinds of fields a record may have; `tracing` wants all names ahead.
macro_rules! emit {
    ($level:expr, $line:expr) => {
        tracing::event!(
            target: "leasehold",
            $level,
            event = $line.event,
            secret = text($line, "secret"),
            target = text($line, "target"),
            lease = text($line, "lease"),
            username = text($line, "username"),
            version = text($line, "version"),
            generation = number($line, "generation"),
            secrets = text($line, "secrets"),
            added = text($line, "added"),
            removed = text($line, "removed"),
            leases = number($line, "leases"),
            file = text($line, "file"),
            times = number($line, "times"),
            ttl_seconds = number($line, "ttl_seconds"),
            renewable = flag($line, "renewable"),
            took_seconds = number($line, "took_seconds"),
            after_seconds = number($line, "after_seconds"),
            grace_seconds = number($line, "grace_seconds"),
            missing_seconds = number($line, "missing_seconds"),
            remaining_seconds = number($line, "remaining_seconds"),
            retry_in_seconds = number($line, "retry_in_seconds"),
            stale = flag($line, "stale"),
            undone = flag($line, "undone"),
            request_id = text($line, "request_id"),
            cause = text($line, "cause"),
            error = text($line, "error"),
            hint = text($line, "hint"),
            "{}",
            $line.message
        )
    };
}

/// One line for one record.
pub fn record(record: &Record) {
    let line = &line(record);
    match line.level {
        Level::Info => emit!(tracing::Level::INFO, line),
        Level::Warn => emit!(tracing::Level::WARN, line),
        Level::Error => emit!(tracing::Level::ERROR, line),
    }
}

fn field<'a>(line: &'a Line, name: &str) -> Option<&'a Value> {
    line.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn text<'a>(line: &'a Line, name: &str) -> Option<&'a str> {
    match field(line, name)? {
        Value::Text(text) => Some(text),
        Value::Number(_) | Value::Flag(_) => None,
    }
}

fn number(line: &Line, name: &str) -> Option<f64> {
    match field(line, name)? {
        Value::Number(number) => Some(*number),
        Value::Text(_) | Value::Flag(_) => None,
    }
}

fn flag(line: &Line, name: &str) -> Option<bool> {
    match field(line, name)? {
        Value::Flag(flag) => Some(*flag),
        Value::Text(_) | Value::Number(_) => None,
    }
}

/// A listener is there; port 0 has become a real one.
pub fn listening(listener: &str, address: &dyn Display) {
    tracing::info!(
        target: "leasehold",
        event = "listening",
        listener,
        address = %address,
        "listening for {listener}"
    );
}

/// The process starts.
pub fn starting(version: &str, instance: &str) {
    tracing::info!(target: "leasehold", event = "starting", version, instance, "starting");
}

/// Something in the configuration deserves a look.
pub fn configuration_warning(warning: &str) {
    tracing::warn!(target: "leasehold", event = "configuration_warning", "{warning}");
}

/// The kernel lets this process read and write nothing but this.
pub fn confined(whole: bool, reads: &str, writes: &str) {
    tracing::info!(
        target: "leasehold",
        event = "confined",
        landlock = if whole { "full" } else { "partial" },
        reads,
        writes,
        "confined by Landlock: nothing is executed, read or written but what is named here"
    );
}

/// This process reaches whatever its user may.
pub fn unconfined(why: &str) {
    tracing::info!(
        target: "leasehold",
        event = "unconfined",
        cause = why,
        "not confined by Landlock: {why}"
    );
}

/// What is in memory may be written to `device`.
pub fn swap_is_on(device: &str) {
    tracing::warn!(
        target: "leasehold",
        event = "swap_is_on",
        device,
        hint = "unless that is encrypted, let this process have no swap (systemd: \
                `MemorySwapMax=0`; Kubernetes: a memory limit that equals the request)",
        "what is in memory, published files among it, may be swapped to `{device}`"
    );
}

/// The service manager that started us cannot be told how far we are.
pub fn supervisor_unreachable(failure: &Failure) {
    tracing::warn!(
        target: "leasehold",
        event = "supervisor_unreachable",
        error = failure.text,
        hint = failure.hint,
        "the service manager will not hear that the service is ready"
    );
}

/// The configuration was loaded again, and says what it said before.
pub fn configuration_unchanged() {
    tracing::info!(
        target: "leasehold",
        event = "configuration_unchanged",
        "the configuration is as it was"
    );
}

/// One thing that is wrong with a changed configuration; an empty key where it is the file itself.
pub fn configuration_problem(key: &str, error: &str, hint: &str) {
    tracing::error!(
        target: "leasehold",
        event = "configuration_problem",
        key = Some(key).filter(|key| !key.is_empty()),
        error,
        hint,
        "the changed configuration cannot be used"
    );
}

/// A changed configuration is not used; each of its problems was told.
pub fn configuration_refused(file: &Path, problems: usize) {
    tracing::error!(
        target: "leasehold",
        event = "configuration_refused",
        file = %file.display(),
        problems,
        "nothing is changed; the agent goes on by the configuration that it has"
    );
}

/// A signal came, from a process with this pid and uid; `what` says what is done about it.
pub fn signalled(signal: &str, sender: Option<(i32, u32)>, what: &str) {
    tracing::info!(
        target: "leasehold",
        event = "signalled",
        signal,
        sender_pid = sender.map(|(pid, _)| pid),
        sender_uid = sender.map(|(_, uid)| uid),
        "{what}"
    );
}

/// The state cannot be written; until it can, no lease is made and nothing published.
pub fn state_unwritten(failure: &Failure) {
    tracing::error!(
        target: "leasehold",
        event = "state_unwritten",
        error = failure.text,
        hint = failure.hint,
        "the state cannot be written; no lease is made and nothing published until it can"
    );
}

/// `status.json` cannot be written.
pub fn status_unwritten(failure: &Failure) {
    tracing::warn!(
        target: "leasehold",
        event = "status_unwritten",
        error = failure.text,
        hint = failure.hint,
        "status.json is out of date"
    );
}

/// What a child of `exec` left behind goes on in spite of SIGKILL.
pub fn left_behind(pid: i32) {
    tracing::warn!(
        target: "leasehold",
        event = "left_behind",
        pid,
        hint = "it is of another user, or waits for a disk: end it yourself",
        "a process that the command left behind does not end"
    );
}

/// Changes in the publish directory are found by looking, not told by the kernel.
pub fn watch_degraded(failure: &Failure) {
    tracing::warn!(
        target: "leasehold",
        event = "watch_degraded",
        error = failure.text,
        hint = failure.hint,
        "the kernel does not tell of changed files; looking twice a second"
    );
}

/// TLS files of Vault changed; what became of that.
pub fn tls_files(result: &Result<(), Failure>) {
    match result {
        Ok(()) => tracing::info!(
            target: "leasehold",
            event = "tls_files_read",
            "Vault's TLS files changed; new connections use them"
        ),
        Err(failure) => tracing::warn!(
            target: "leasehold",
            event = "tls_files_unusable",
            error = failure.text,
            hint = failure.hint,
            "Vault's TLS files changed and cannot be used; new connections use those before"
        ),
    }
}

/// A command of a target has ended; `output` is the end of what it printed.
pub fn command_ended(command: &str, how: &str, output: &str) {
    tracing::debug!(
        target: "leasehold",
        event = "command_ended",
        command,
        output,
        "`{command}`: {how}"
    );
}

/// Somebody asked for something by the API, at `path`.
pub fn called(what: &str, path: &str, caller: &str) {
    tracing::info!(target: "leasehold", event = "called", path, caller, "asked to {what}");
}

/// A listener cannot take connections for now.
pub fn accept_failed(listener: &str, failure: &Failure) {
    tracing::warn!(
        target: "leasehold",
        event = "accept_failed",
        listener,
        error = failure.text,
        hint = failure.hint,
        "connections for {listener} are not accepted, trying again"
    );
}

#[cfg(test)]
mod tests;
