//! One type for time.
//!
//! A [`Moment`] is what decisions compare; they get it as an argument. Only [`Clock`] reads the
//! machine's clocks, and only the edges (driver, effects) hold one.

use std::ops::{Add, Sub};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point in time, in microseconds on a scale that never jumps.
///
/// The scale starts at the wall clock's reading when a state directory was first used and then
/// follows `CLOCK_BOOTTIME`: it goes on in suspend, as Vault's leases do, and a step of the wall
/// clock leaves it alone. A restarted agent goes on with the same scale, so moments can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// The moment `micros` microseconds after the scale's zero.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the scale's zero.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Self) -> Duration {
        later.since(self)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

/// What ties the scale of [`Moment`] to this boot, so that a restarted agent goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The kernel's boot id; another one means that `CLOCK_BOOTTIME` began again.
    pub boot_id: String,
    /// Microseconds to add to `CLOCK_BOOTTIME`.
    pub offset: u64,
    /// The moment at which this was stored: after another boot the scale goes on from there, or
    /// from the wall clock where that is further.
    #[serde(default)]
    pub stored: u64,
}

/// Reads the machine's clocks.
#[derive(Clone, Debug)]
pub struct Clock {
    epoch: Epoch,
}

impl Clock {
    /// A clock that goes on with the scale of `saved` where that was this boot's, else starts one
    /// at the wall clock's reading, and never before the moment at which `saved` was stored: a
    /// wall clock that was set back makes no old moment a future one.
    pub fn resume(saved: Option<Epoch>) -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default();
        let stored = saved.as_ref().map_or(0, |epoch| epoch.stored);
        let epoch = saved.filter(|epoch| epoch.boot_id == boot_id).unwrap_or_else(|| {
            let start = read(ClockId::CLOCK_REALTIME).max(stored);
            let offset = start.saturating_sub(read(ClockId::CLOCK_BOOTTIME));
            Epoch { boot_id, offset, stored }
        });
        Self { epoch }
    }

    /// The scale of this clock, to be stored beside the moments that it measured.
    pub fn epoch(&self) -> Epoch {
        Epoch { stored: self.now().as_micros(), ..self.epoch.clone() }
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        Moment(read(ClockId::CLOCK_BOOTTIME).saturating_add(self.epoch.offset))
    }

    /// What the wall clock, as it is set today, shows at `moment`, in microseconds since 1970.
    pub fn wall_micros(&self, moment: Moment) -> u64 {
        let (now, wall) = (self.now(), read(ClockId::CLOCK_REALTIME));
        let ahead = u64::try_from(now.until(moment).as_micros()).unwrap_or(u64::MAX);
        let behind = u64::try_from(now.since(moment).as_micros()).unwrap_or(u64::MAX);
        wall.saturating_add(ahead).saturating_sub(behind)
    }

    /// [`Clock::wall_micros`] as RFC 3339 text in UTC, to the millisecond.
    pub fn rfc3339(&self, moment: Moment) -> String {
        let millis = i64::try_from(self.wall_micros(moment) / 1000).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis)
            .map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.3}"))
    }
}

fn read(clock: ClockId) -> u64 {
    // Both clocks exist on every Linux since 2.6.39; a failure can only mean "no time passed".
    clock_gettime(clock)
        .map(|spec| Duration::from(spec).as_micros())
        .map_or(0, |micros| u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_another_boot_the_scale_goes_on_and_never_back() {
        let hour = 3_600_000_000;
        let wall = Clock::resume(None).now().as_micros();
        for (stored, least) in [(wall - hour, wall), (wall + hour, wall + hour), (0, wall)] {
            let saved = Epoch { boot_id: "another".to_owned(), offset: 7, stored };
            let now = Clock::resume(Some(saved)).now().as_micros();
            assert!((least..least + hour / 2).contains(&now), "{stored}: {now}");
        }
        let same = Epoch { offset: 7, ..Clock::resume(None).epoch() };
        assert_eq!(Clock::resume(Some(same)).epoch().offset, 7);
    }
}
