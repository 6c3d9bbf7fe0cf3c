//! One timer on `CLOCK_BOOTTIME`: the runtime's own stops in suspend, Vault's leases do not.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Class, Failure};

/// The timer.
pub(super) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::new(Class::Ours, format!("use a timer of the kernel: {error}"))
}

impl Alarm {
    pub(super) fn new() -> Result<Self, Failure> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags).map_err(failure)?;
        #[expect(deprecated, reason = "its like is unsafe; an `OwnedFd` is what makes it sound")]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE).map_err(failure)?;
        Ok(Self { timer })
    }

    /// Waits for `span`, for ever where there is none.
    pub(super) async fn ring(&mut self, span: Option<Duration>) -> Result<(), Failure> {
        let Some(span) = span else { return std::future::pending().await };
        // Zero would disarm it; decades are as good as for ever.
        let span = span.clamp(Duration::from_nanos(1), Duration::from_secs(1 << 30));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(span).map_err(failure)?,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map_err(failure)?;
        let read = |timer: &OwnedFd| Ok(rustix::io::read(timer, &mut [0_u8; 8])?);
        loop {
            let mut ready = self.timer.readable().await.map_err(failure)?;
            match ready.try_io(|timer| -> io::Result<usize> { read(timer.get_ref()) }) {
                Ok(result) => return result.map(|_expirations| ()).map_err(failure),
                Err(_would_block) => {}
            }
        }
    }
}
