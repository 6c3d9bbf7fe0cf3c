//! What this process gives up before it does anything.
//!
//! Receives nothing, gives up what the kernel lets every process give up. Never takes any of it
//! back, but in a child that had nothing to do with it.

use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};

use crate::error::{Class, Failure};

/// What this process gave up that a child of it is to have again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which bits new files do not get.
    pub umask: u32,
    /// How large a core file may be, in bytes.
    pub core: rlim_t,
}

/// Keeps what is in our memory to ourselves (no core file, and no other process of this user may
/// look into it), what is made without a mode of its own too, and lets neither this process nor one
/// that it starts gain a right from a file.
///
/// # Errors
/// When the kernel refuses.
pub fn harden() -> Result<(), Failure> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
        .and_then(|()| set_dumpable(false))
        .map_err(|errno| refused("forbid core files", errno))?;
    set_no_new_privs().map_err(|errno| refused("forbid new privileges", errno))
}

/// As [`harden`], but a child may do what it could do without us; gives what it has to be told for
/// that. What cannot be given back, the right to gain rights, is not given up.
///
/// # Errors
/// When the kernel refuses.
pub fn harden_beside_a_child() -> Result<Given, Failure> {
    let umask = umask(Mode::S_IRWXG | Mode::S_IRWXO).bits();
    let no_core = || {
        let (core, most) = getrlimit(Resource::RLIMIT_CORE)?;
        setrlimit(Resource::RLIMIT_CORE, 0, most)?;
        set_dumpable(false)?;
        Ok(core)
    };
    let core = no_core().map_err(|errno| refused("forbid core files", errno))?;
    Ok(Given { umask, core })
}

impl Given {
    /// Takes it back, in the child.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restore(self) -> Result<(), Failure> {
        umask(Mode::from_bits_truncate(self.umask));
        let restore = || {
            let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
            setrlimit(Resource::RLIMIT_CORE, self.core.min(most), most)
        };
        restore().map_err(|errno| refused("allow core files again", errno))
    }
}

fn refused(what: &str, errno: nix::Error) -> Failure {
    Failure::new(Class::Ours, format!("{what} for this process: {errno}"))
}
