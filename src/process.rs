//! Our own process: what it may do, what it hears, whom it reports to, and the processes around it.
//!
//! Receives SIGTERM, SIGINT and SIGHUP, gives them as a stream with the sender of each; the rest is
//! in the modules below. Never ends the process: that is for the caller to do.

mod confine;
mod harden;
pub mod others;
mod passing;
mod started;
mod supervisor;
mod swap;

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook_tokio::SignalsInfo;

use crate::error::{Class, Failure};

pub use confine::{Confined, Reach, confine};
pub use harden::{Given, harden, harden_beside_a_child};
pub use passing::{Heard, Passing};
pub use started::{Started, orphans};
pub use supervisor::Supervisor;
pub use swap::swap;

/// One signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Who sent it; nobody where it came from the kernel, as Ctrl-C does.
    pub sender: Option<Sender>,
}

/// A signal that means something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop.
    Terminate,
    /// SIGINT: stop.
    Interrupt,
    /// SIGHUP: load the configuration again.
    Hangup,
}

/// The process that sent a signal, when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its process id, as our pid namespace numbers it; 0 for one outside.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
}

impl Signal {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
        }
    }

    /// What a shell would show for a process that it ended: 128 and its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
            Self::Hangup => 129,
        }
    }

    fn of(number: i32) -> Option<Self> {
        match number {
            SIGTERM => Some(Self::Terminate),
            SIGINT => Some(Self::Interrupt),
            SIGHUP => Some(Self::Hangup),
            _ => None,
        }
    }
}

/// The stream of signals.
pub struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// Takes the signals over; until then they end the process.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> Result<Self, Failure> {
        SignalsInfo::new([SIGTERM, SIGINT, SIGHUP])
            .map(Self)
            .map_err(|error| Failure::new(Class::Ours, format!("install signal handlers: {error}")))
    }

    /// The next signal. Several of one kind that come at once may be one.
    pub async fn next(&mut self) -> Received {
        loop {
            let Some(origin) = poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await
            else {
                // The stream ends only when its handle is closed, and nobody has it.
                return std::future::pending().await;
            };
            let sender =
                origin.process.map(|process| Sender { pid: process.pid, uid: process.uid });
            if let Some(signal) = Signal::of(origin.signal) {
                return Received { signal, sender };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal as Number, kill};
    use nix::unistd::{Pid, getuid};

    use super::*;

    // One test: handlers belong to the whole process.
    #[tokio::test]
    async fn a_signal_comes_with_its_sender() {
        let mut signals = Signals::listen().unwrap();
        for (number, expected) in [
            (Number::SIGHUP, Signal::Hangup),
            (Number::SIGTERM, Signal::Terminate),
            (Number::SIGINT, Signal::Interrupt),
            (Number::SIGTERM, Signal::Terminate),
        ] {
            kill(Pid::this(), number).unwrap();
            let received =
                tokio::time::timeout(Duration::from_secs(5), signals.next()).await.unwrap();
            assert_eq!(received.signal, expected);
            let sender = received.sender.unwrap();
            assert_eq!((sender.pid, sender.uid), (Pid::this().as_raw(), getuid().as_raw()));
        }
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(Signal::Interrupt.exit_code(), 130);
        assert_eq!(Signal::Terminate.exit_code(), 143);
    }
}
