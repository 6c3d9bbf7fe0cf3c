//! Between us and the child: this program once more, which arranges what only the child itself can,
//! and then becomes it.
//!
//! Receives its arguments, gives only why it could not. Never has a secret in its arguments.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::error::{Class, Failure};
use crate::process::Given;

/// The command line's word for it.
pub const COMMAND: &str = "exec-child";

/// Why there is no child. The codes are those of a shell.
#[derive(Debug)]
pub enum Unstarted {
    /// The parent has ended meanwhile, or the kernel refuses: 70.
    Ours(Failure),
    /// There is no such program: 127.
    Missing(Failure),
    /// It cannot be run: 126.
    Forbidden(Failure),
}

/// What starts `command`.
pub(super) fn command(command: &[OsString], given: Given) -> Command {
    // By this name it is the program that runs, also when its file was replaced.
    let mut child = Command::new("/proc/self/exe");
    child.arg(COMMAND);
    child.arg(getpid().to_string());
    child.arg(given.umask.to_string());
    child.arg(given.core.to_string());
    child.args(command);
    child
}

/// Becomes `command`, which ends when the process `parent` does. Returns only where that fails.
pub fn become_child(parent: i32, given: Given, command: &[OsString]) -> Unstarted {
    if let Err(failure) = arrange(parent, given) {
        return Unstarted::Ours(failure);
    }
    let Some((program, arguments)) = command.split_first() else {
        return Unstarted::Missing(failed(OsStr::new(""), "no command is given"));
    };
    let error = Command::new(program).args(arguments).exec();
    if error.kind() == ErrorKind::NotFound {
        return Unstarted::Missing(failed(program, "it is not there"));
    }
    Unstarted::Forbidden(failed(program, &error.to_string()))
}

fn arrange(parent: i32, given: Given) -> Result<(), Failure> {
    let ours = |error: io::Error| {
        Failure::new(Class::Ours, format!("have the child end with its parent: {error}"))
    };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| ours(error.into()))?;
    // It may have ended before that was arranged. From outside of its namespace it has no number.
    if getppid() != Pid::from_raw(parent) {
        return Err(ours(io::Error::other("it has ended already")));
    }
    given.restore()
}

fn failed(program: &OsStr, why: &str) -> Failure {
    Failure::new(Class::Missing, format!("run `{}`: {why}", program.display()))
}
