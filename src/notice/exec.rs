//! One run of a command.
//!
//! Receives an absolute path with arguments and what the notice says, gives whether it exited with
//! 0 in time. Never goes through a shell, never hands our environment or our files on, and never
//! leaves the command unwaited for.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::agent::command::Notice;
use crate::error::{Class, Failure};
use crate::logs;
use crate::notice::Context;
use crate::process::Started;

/// What is kept of the output: its end.
const KEPT: usize = 4096;

/// What of it may stand in an error.
const SHOWN: usize = 200;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// How long a command that takes too long may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs `command` once.
pub(super) async fn run(
    command: &[String],
    environment: &BTreeMap<String, String>,
    context: &Context,
    notice: &Notice,
    limit: Duration,
) -> Result<(), Failure> {
    let program = command.first().map(String::as_str).unwrap_or_default();
    let failed = |class, why: &str| Failure::new(class, format!("run `{program}`: {why}"));
    let mut running = Running::start(command, environment, context, notice)
        .map_err(|error| unstarted(program, &error))?;
    let (in_time, status) = running
        .within(limit)
        .await
        .map_err(|error| failed(Class::Again { after: None }, &format!("wait for it: {error}")))?;
    let last = running.output.last_line();
    let how = match (in_time, status.code(), status.signal()) {
        (false, ..) => format!("not done within {} ms, and ended", limit.as_millis()),
        (true, Some(code), _) => format!("exit status {code}"),
        (true, None, signal) => format!("ended by signal {}", signal.unwrap_or_default()),
    };
    logs::command_ended(program, &how, &running.output.text());
    let class = match (in_time, status.success()) {
        (true, true) => return Ok(()),
        (true, false) => Class::Again { after: None },
        (false, _) => Class::Unclear,
    };
    Err(failed(class, &if last.is_empty() { how } else { format!("{how}: {last}") }))
}

fn unstarted(program: &str, error: &io::Error) -> Failure {
    let failed = |class, why: &str| Failure::new(class, format!("run `{program}`: {why}"));
    let kind = error.kind();
    if kind == ErrorKind::NotFound {
        return failed(Class::Missing, "it, or what its first line names, is not there")
            .hint("it must be in the file system of this process");
    }
    if kind == ErrorKind::PermissionDenied {
        return failed(Class::Denied, &error.to_string())
            .hint("it must be a file that the user of this process may execute");
    }
    if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) {
        return failed(Class::Ours, &error.to_string())
            .hint("begin a script with a line like `#!/bin/sh`");
    }
    failed(Class::Again { after: None }, &error.to_string())
}

/// A command that runs, and what it says.
struct Running {
    leader: Started,
    output: Output,
}

impl Running {
    fn start(
        command: &[String],
        environment: &BTreeMap<String, String>,
        context: &Context,
        notice: &Notice,
    ) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(ErrorKind::NotFound)?;
        let secrets: Vec<&str> = notice.secrets.iter().map(|secret| &*secret.name).collect();
        let (output, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment)
            .env("LEASEHOLD_GENERATION", notice.generation.to_string())
            .env("LEASEHOLD_SECRETS", secrets.join(" "))
            .env("LEASEHOLD_DIRECTORY", &context.directory)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let leader = Started::in_a_group(&mut command)?;
        // The command holds our end of the pipe too.
        drop(command);
        let pipe = pipe::Receiver::from_owned_fd(output.into())?;
        Ok(Self { leader, output: Output { pipe: Some(pipe), end: Vec::new() } })
    }

    /// Whether it ended by itself within `limit`, and how; after that it is ended.
    async fn within(&mut self, limit: Duration) -> io::Result<(bool, ExitStatus)> {
        let in_time = match timeout(limit, self.ended()).await {
            Ok(ended) => ended.map(|()| true)?,
            Err(_) => false,
        };
        if !in_time {
            self.leader.signal(Signal::TERM);
            let ended = timeout(PATIENCE, self.ended()).await;
            // What the command started may be there still, and goes with it.
            self.leader.signal(Signal::KILL);
            if ended.is_err() {
                self.ended().await?;
            }
        }
        self.output.rest();
        Ok((in_time, self.leader.wait()?))
    }

    /// Waits for its end, and for nothing else: what it started may hold the pipe open.
    async fn ended(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                ended = self.leader.ended() => return ended,
                () = self.output.read(), if self.output.pipe.is_some() => {}
            }
        }
    }
}

/// The end of what a command says; the rest is read and forgotten, so that it need not wait.
struct Output {
    pipe: Option<pipe::Receiver>,
    end: Vec<u8>,
}

impl Output {
    async fn read(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        if pipe.readable().await.is_err() || !self.take() {
            self.pipe = None;
        }
    }

    /// What is in the pipe when the command has ended. What it started may go on writing.
    fn rest(&mut self) {
        const PIPE: usize = 64 * 1024;
        let mut left = 1 + PIPE / CHUNK;
        while left > 0 && self.take() {
            left -= 1;
        }
    }

    /// Takes a piece; `false` when there can be none any more.
    fn take(&mut self) -> bool {
        let mut piece = [0; CHUNK];
        let Some(pipe) = &self.pipe else { return false };
        match pipe.try_read(&mut piece) {
            Ok(0) => return false,
            Ok(length) => self.end.extend_from_slice(&piece[..length]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        let surplus = self.end.len().saturating_sub(KEPT);
        self.end.drain(..surplus);
        true
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.end).trim_end().to_owned()
    }

    /// The last line with anything in it, as an error may show it.
    fn last_line(&self) -> String {
        let text = self.text();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let shown = last.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        shown.take(SHOWN).collect()
    }
}
