//! One timer on `CLOCK_BOOTTIME`: the runtime's own stops in suspend, Vault's leases do not.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Class, Failure};

/// The timer.
pub(super) struct Alarm {
    timer: AsyncFd<TimerFd>,
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::new(Class::Ours, format!("use a timer of the kernel: {error}"))
}

impl Alarm {
    pub(super) fn new() -> Result<Self, Failure> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).map_err(failure)?;
        let timer = AsyncFd::with_interest(timer, Interest::READABLE).map_err(failure)?;
        Ok(Self { timer })
    }

    /// Waits for `span`, for ever where there is none.
    pub(super) async fn ring(&mut self, span: Option<Duration>) -> Result<(), Failure> {
        let Some(span) = span else { return std::future::pending().await };
        // Zero would disarm it.
        let span = TimeSpec::from_duration(span.max(Duration::from_nanos(1)));
        let timer = self.timer.get_ref();
        timer.set(Expiration::OneShot(span), TimerSetTimeFlags::empty()).map_err(failure)?;
        loop {
            let mut ready = self.timer.readable().await.map_err(failure)?;
            let rang = ready.try_io(|timer| timer.get_ref().wait().map_err(std::io::Error::from));
            match rang {
                Ok(result) => return result.map_err(failure),
                Err(_would_block) => {}
            }
        }
    }
}
