//! Signals that are for a child as much as for us.
//!
//! Receives every signal that a person or a manager sends to a program, gives each with whether the
//! terminal sent it. Never touches one that we were started to ignore: the child, too, ignores it
//! then.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;
use rustix::process::Signal;
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use signal_hook_tokio::SignalsInfo;
use tokio::task::yield_now;

use crate::error::{Class, Failure};

/// What is passed on. A signal that stops or continues a process is meant for that process alone.
const PASSED: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::WINCH,
];

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A signal to pass on.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether the kernel sent it, as for a key of the terminal; it sends that to every process
        /// of the group.
        by_terminal: bool,
    },
    /// A child has ended, ours or an orphan.
    ChildEnded,
}

/// The stream of them.
pub struct Passing(SignalsInfo<WithOrigin>);

impl Passing {
    /// Takes them over; until then they do to us what they do to any process.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new(Class::Ours, format!("install signal handlers: {error}"));
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").map_err(failed)?);
        let wanted = PASSED.map(Signal::as_raw).into_iter().chain([SIGCHLD]);
        let wanted = wanted.filter(|number| ignored >> (number - 1) & 1 == 0 || *number == SIGCHLD);
        SignalsInfo::new(wanted).map(Self).map_err(failed)
    }

    /// Those that have come by now.
    pub async fn pending(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        // What came while the last answer of the kernel was looked at is in the next one.
        for _ in 0..2 {
            yield_now().await;
            while let Some(next) = poll_fn(|context| self.poll(context)).await {
                heard.push(next);
            }
        }
        heard
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        let mut next = pin!(self.next());
        match next.as_mut().poll(context) {
            Poll::Ready(heard) => Poll::Ready(Some(heard)),
            Poll::Pending => Poll::Ready(None),
        }
    }

    /// The next one. Several of one kind that come at once may be one.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Some(origin) = poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await
            else {
                // The stream ends only when its handle is closed, and nobody has it.
                return std::future::pending().await;
            };
            if origin.signal == SIGCHLD {
                return Heard::ChildEnded;
            }
            if let Some(signal) = Signal::from_named_raw(origin.signal) {
                return Heard::Signal { signal, by_terminal: origin.cause == Cause::Kernel };
            }
        }
    }
}

/// The mask of ignored signals in the text of `/proc/PID/status`, the first signal lowest.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_a_bit_for_each_signal() {
        assert_eq!(ignored("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\tff\n"), 0x1001);
        assert_eq!(ignored("Name:\tx\n"), 0);
    }
}
