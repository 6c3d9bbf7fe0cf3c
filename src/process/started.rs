//! A process that we started.
//!
//! Receives a command, gives its end. Never lets go of it before it was waited for, so that its
//! number is nobody else's, and never lets it live on without its [`Started`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::process::others;

/// How often one that is killed as we exit is looked at, 10 ms apart.
const LAST_LOOKS: u32 = 50;

thread_local! {
    /// Those that somebody here waits for. One thread starts them all.
    static OURS: RefCell<HashSet<Pid>> = RefCell::default();
}

/// A process that ends with this.
pub struct Started {
    leader: Child,
    id: Pid,
    /// Readable once it has ended, before it is waited for.
    held: AsyncFd<OwnedFd>,
    /// Whether all that it started, and that did not leave its group, ends with it.
    grouped: bool,
    waited: bool,
}

impl Started {
    /// Starts `command` in a process group of its own.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn in_a_group(command: &mut Command) -> io::Result<Self> {
        Self::start(command.process_group(0), true)
    }

    /// Starts `command` in our process group, where the terminal's signals reach it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn beside_us(command: &mut Command) -> io::Result<Self> {
        Self::start(command, false)
    }

    fn start(command: &mut Command, grouped: bool) -> io::Result<Self> {
        let mut leader = command.spawn()?;
        let held = || {
            let id = i32::try_from(leader.id()).ok().and_then(Pid::from_raw);
            let id = id.ok_or_else(|| io::Error::other("it has no process id"))?;
            let held = pidfd_open(id, PidfdFlags::empty())?;
            #[expect(
                deprecated,
                reason = "its like is unsafe; an `OwnedFd` is what makes it sound"
            )]
            let held = AsyncFd::with_interest(held, Interest::READABLE)?;
            Ok((id, held))
        };
        let (id, held) = held().inspect_err(|_: &io::Error| {
            // It is ours and not waited for: the number is its own.
            let _ = leader.kill().and_then(|()| leader.wait());
        })?;
        OURS.with_borrow_mut(|ours| ours.insert(id));
        Ok(Self { leader, id, held, grouped, waited: false })
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        self.id
    }

    /// Waits for its end; [`Started::wait`] gives how.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub async fn ended(&self) -> io::Result<()> {
        self.held.readable().await.map(drop)
    }

    /// How it ended; waits for that.
    ///
    /// # Errors
    /// When somebody else has waited for it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.leader.wait()?;
        self.waited = true;
        Ok(status)
    }

    /// Sends it `signal`, and its group where it has one of its own.
    pub fn signal(&self, signal: Signal) {
        if self.waited {
            return;
        }
        // One that is gone needs no signal.
        let _ = match self.grouped {
            true => kill_process_group(self.id, signal),
            false => pidfd_send_signal(&self.held, signal),
        };
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        for _ in 0..LAST_LOOKS {
            if self.waited || !matches!(self.leader.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        OURS.with_borrow_mut(|ours| ours.remove(&self.id));
    }
}

/// Our children that nobody here started: they lost their parent and came to us.
///
/// # Errors
/// When there is no `/proc`.
pub fn orphans() -> io::Result<Vec<Pid>> {
    let children = others::children()?;
    Ok(OURS.with_borrow(|ours| children.into_iter().filter(|pid| !ours.contains(pid)).collect()))
}
