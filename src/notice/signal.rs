//! A signal to the process whose id is in a file.
//!
//! Receives the file and the signal's number. Never signals process 1, a process group or itself,
//! and holds the process by a descriptor so that it cannot be mistaken for a later one.

use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::error::{Class, Failure};

/// A process id and a line or two more; nobody writes a longer pid file.
const LONGEST: u64 = 4096;

/// Sends `signal` to the process that `pid_file` names.
pub(super) fn send(pid_file: &Path, signal: i32) -> Result<(), Failure> {
    let refuse = |class, why: String| {
        Failure::new(class, format!("signal the process of `{}`: {why}", pid_file.display()))
    };
    let Some(number) = Signal::from_named_raw(signal) else {
        return Err(refuse(Class::Ours, format!("there is no signal {signal}")));
    };
    let pid = read(pid_file).map_err(|(class, why)| refuse(class, why))?;
    let again = Class::Again { after: None };
    let reached = pidfd_open(pid, PidfdFlags::empty());
    reached.and_then(|process| pidfd_send_signal(process, number)).map_err(|error| match error {
        Errno::SRCH => refuse(again, format!("process {pid} does not run"))
            .hint("the app has ended, or runs in another process namespace"),
        Errno::PERM => refuse(Class::Denied, format!("process {pid} belongs to another user"))
            .hint("run both under one uid, or give this process CAP_KILL"),
        other => refuse(again, format!("process {pid}: {}", io::Error::from(other))),
    })
}

fn read(pid_file: &Path) -> Result<Pid, (Class, String)> {
    let text = read_short(pid_file).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        (if missing { Class::Missing } else { Class::Ours }, error.to_string())
    })?;
    // PostgreSQL and others write more lines behind the first.
    let first = text.lines().next().unwrap_or_default().trim();
    let number: i32 = match first.parse() {
        Ok(number) => number,
        // A writer may have truncated the file and not filled it yet.
        Err(_) if first.is_empty() => {
            return Err((Class::Again { after: None }, "it is empty".to_owned()));
        }
        Err(_) => return Err((Class::Ours, "its first line is no process id".to_owned())),
    };
    // The library takes a negative number, which would be a process group, for a broken promise.
    let pid = Some(number).filter(|number| *number > 1).and_then(Pid::from_raw);
    pid.filter(|pid| *pid != getpid())
        .ok_or_else(|| (Class::Ours, format!("process {number} is never signalled")))
}

/// The app owns the path: whatever it puts there, reading ends at once.
fn read_short(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &str) -> Failure {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        std::fs::write(&file, content).unwrap();
        send(&file, 1).unwrap_err()
    }

    #[test]
    fn some_processes_are_never_signalled() {
        let own = std::process::id().to_string();
        for content in ["0", "1\n", "-1", "-4321", own.as_str(), "nginx", "99999999999"] {
            assert_eq!(refusal(content).class, Class::Ours, "{content}");
        }
    }

    #[test]
    fn a_pid_file_that_is_no_file_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("pid");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero"), dir.path()] {
            let failure = send(path, 1).unwrap_err();
            assert!(failure.text.contains("no regular file"), "{failure}");
        }
    }

    #[test]
    fn a_process_that_may_come_is_tried_again() {
        let again = Class::Again { after: None };
        assert_eq!(refusal("").class, again);
        let failure = refusal("2147483646");
        assert_eq!(failure.class, again);
        assert!(failure.text.ends_with("process 2147483646 does not run"), "{failure}");
        let absent = send(Path::new("/nonexistent/pid"), 1).unwrap_err();
        assert_eq!(absent.class, Class::Missing);
    }

    #[test]
    fn a_signal_has_a_number_that_exists() {
        assert_eq!(send(Path::new("/nonexistent/pid"), 0).unwrap_err().class, Class::Ours);
        assert_eq!(send(Path::new("/nonexistent/pid"), 4711).unwrap_err().class, Class::Ours);
    }
}
