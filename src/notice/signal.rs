//! A signal to the process whose id is in a file, or that has a name.
//!
//! Receives which process and the signal's number. Never signals a process group or itself, and
//! holds the process by a descriptor while it makes sure that it is the one that was meant.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::error::{Class, Failure};
use crate::notice::Process;
use crate::process::others;
use crate::time::Clock;

const AGAIN: Class = Class::Again { after: None };

/// A process id and a line or two more; nobody writes a longer pid file.
const LONGEST: u64 = 4096;

/// A process that began so much later than its pid file was written did not write it. The kernel's
/// stamps on files lag a little.
const TOLERANCE_MICROS: u64 = 2_000_000;

/// Sends `signal` to `process`.
pub(super) async fn send(process: &Process, signal: i32, clock: &Clock) -> Result<(), Failure> {
    let doing = match process {
        Process::PidFile(file) => format!("signal the process of `{}`", file.display()),
        Process::Name(name) => format!("signal the process `{name}`"),
    };
    let doing = Doing(doing);
    let Some(number) = Signal::from_named_raw(signal) else {
        return Err(doing.failed(Class::Ours, format!("there is no signal {signal}")));
    };
    let held = match process {
        Process::PidFile(file) => of_file(&doing, file, clock)?,
        Process::Name(name) => of_name(&doing, name).await?,
    };
    let (pid, held) = held;
    pidfd_send_signal(held, number).map_err(|error| doing.refused(pid, error))
}

/// The process whose id is in `file`, held.
fn of_file(doing: &Doing, file: &Path, clock: &Clock) -> Result<(Pid, OwnedFd), Failure> {
    let read = || read(file).map_err(|(class, why)| doing.failed(class, why));
    let pid = read()?.pid;
    let held = doing.hold(pid)?;
    let still = read()?;
    if still.pid != pid {
        return Err(doing.failed(AGAIN, "it was written anew just now"));
    }
    let began = others::see(pid).map(|seen| seen.began(clock));
    if began.is_some_and(|began| began > still.written.saturating_add(TOLERANCE_MICROS)) {
        return Err(doing
            .failed(AGAIN, format!("process {pid} began after the file was written"))
            .hint(
                "the file is a leftover: remove it and start the app anew; where the machine's \
                 clock was set forward and the file is right, `touch` it",
            ));
    }
    Ok((pid, held))
}

/// The only process called `name`, held.
async fn of_name(doing: &Doing, name: &str) -> Result<(Pid, OwnedFd), Failure> {
    let found = others::only(name).await?;
    let held = doing.hold(found.pid)?;
    // Between the look and the hold its id may have gone to another.
    if !others::named(found.pid, name).is_some_and(|seen| seen.is(&found)) {
        return Err(doing.failed(AGAIN, format!("process {} ended just now", found.pid)));
    }
    Ok((found.pid, held))
}

/// What is being done, for errors.
struct Doing(String);

impl Doing {
    fn failed(&self, class: Class, why: impl AsRef<str>) -> Failure {
        Failure::new(class, format!("{}: {}", self.0, why.as_ref()))
    }

    fn refused(&self, pid: Pid, error: Errno) -> Failure {
        match error {
            Errno::SRCH => self
                .failed(AGAIN, format!("process {pid} does not run"))
                .hint("the app has ended, or runs in another process namespace"),
            Errno::PERM => self
                .failed(Class::Denied, format!("process {pid} belongs to another user"))
                .hint("run both under one uid, or give this process CAP_KILL"),
            other => self.failed(AGAIN, format!("process {pid}: {}", io::Error::from(other))),
        }
    }

    fn hold(&self, pid: Pid) -> Result<OwnedFd, Failure> {
        pidfd_open(pid, PidfdFlags::empty()).map_err(|error| self.refused(pid, error))
    }
}

/// What a pid file says, and since when it says so.
struct Written {
    pid: Pid,
    /// By the wall clock, in microseconds since 1970.
    written: u64,
}

fn read(pid_file: &Path) -> Result<Written, (Class, String)> {
    let (text, written) = read_short(pid_file).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        (if missing { Class::Missing } else { Class::Ours }, error.to_string())
    })?;
    // PostgreSQL and others write more lines behind the first.
    let first = text.lines().next().unwrap_or_default().trim();
    let number: i32 = match first.parse() {
        Ok(number) => number,
        // A writer may have truncated the file and not filled it yet.
        Err(_) if first.is_empty() => return Err((AGAIN, "it is empty".to_owned())),
        Err(_) => return Err((Class::Ours, "its first line is no process id".to_owned())),
    };
    // The library takes a negative number, which would be a process group, for a broken promise.
    let pid = Some(number).filter(|number| *number > 1).and_then(Pid::from_raw);
    let pid = pid.filter(|pid| *pid != getpid());
    let pid = pid.ok_or_else(|| (Class::Ours, format!("process {number} is never signalled")))?;
    Ok(Written { pid, written })
}

/// The app owns the path: whatever it puts there, reading ends at once.
fn read_short(path: &Path) -> io::Result<(String, u64)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok((text, u64::try_from(written.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(pid_file: &Path, signal: i32) -> Failure {
        let process = Process::PidFile(pid_file.to_owned());
        send(&process, signal, &Clock::resume(None)).await.unwrap_err()
    }

    async fn refusal(content: &str) -> Failure {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        std::fs::write(&file, content).unwrap();
        sent(&file, 1).await
    }

    #[tokio::test]
    async fn some_processes_are_never_signalled() {
        let own = std::process::id().to_string();
        for content in ["0", "1\n", "-1", "-4321", own.as_str(), "nginx", "99999999999"] {
            assert_eq!(refusal(content).await.class, Class::Ours, "{content}");
        }
    }

    #[tokio::test]
    async fn a_pid_file_that_is_no_file_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("pid");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero"), dir.path()] {
            let failure = sent(path, 1).await;
            assert!(failure.text.contains("no regular file"), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_process_that_may_come_is_tried_again() {
        let again = Class::Again { after: None };
        assert_eq!(refusal("").await.class, again);
        let failure = refusal("2147483646").await;
        assert_eq!(failure.class, again);
        assert!(failure.text.ends_with("process 2147483646 does not run"), "{failure}");
        let absent = sent(Path::new("/nonexistent/pid"), 1).await;
        assert_eq!(absent.class, Class::Missing);
    }

    #[tokio::test]
    async fn a_signal_has_a_number_that_exists() {
        assert_eq!(sent(Path::new("/nonexistent/pid"), 0).await.class, Class::Ours);
        assert_eq!(sent(Path::new("/nonexistent/pid"), 4711).await.class, Class::Ours);
    }
}
