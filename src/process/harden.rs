//! What this process gives up before it does anything.
//!
//! Receives nothing, gives up what the kernel lets every process give up. Never takes any of it
//! back.

use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

use crate::error::{Class, Failure};

/// Keeps what is in our memory to ourselves (no core file, and no other process of this user may
/// look into it), what is made without a mode of its own too, and lets neither this process nor one
/// that it starts gain a right from a file.
///
/// # Errors
/// When the kernel refuses.
pub fn harden() -> Result<(), Failure> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let refused =
        |what: &str, errno| Failure::new(Class::Ours, format!("{what} for this process: {errno}"));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
        .and_then(|()| set_dumpable(false))
        .map_err(|errno| refused("forbid core files", errno))?;
    set_no_new_privs().map_err(|errno| refused("forbid new privileges", errno))
}
