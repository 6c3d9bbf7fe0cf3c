//! Times of the calendar.
//!
//! What several machines must agree on, over months, is written as a [`Date`]. What one of them
//! knows of the present is an interval, [`Now`]: its own clock may be wrong, and Vault's too.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time of the calendar, to the millisecond; written as JavaScript's `toISOString` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

impl Date {
    /// The time that many milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// The same for others; the end of the calendar where it lies behind that.
    pub fn timestamp(self) -> Timestamp {
        let end = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_millisecond(self.0).unwrap_or(end)
    }
}

impl From<Timestamp> for Date {
    fn from(time: Timestamp) -> Self {
        Self(time.as_millisecond())
    }
}

impl Add<Duration> for Date {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for Date {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl FromStr for Date {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<Timestamp>().map(Self::from)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The present, as far as it is known: not before `earliest`, not after `latest`. Who waits for a
/// time asks the one, who writes a time down from which others count takes the other, so that a
/// clock that jumps makes us wait and never hurry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    earliest: Date,
    latest: Date,
}

impl Now {
    /// What two clocks say.
    pub fn of(one: Date, other: Date) -> Self {
        Self { earliest: one.min(other), latest: one.max(other) }
    }

    /// Whether `date` has passed for sure.
    pub fn is_past(self, date: Date) -> bool {
        date <= self.earliest
    }

    /// The present to count from.
    pub fn latest(self) -> Date {
        self.latest
    }

    /// The present to wait by.
    pub fn earliest(self) -> Date {
        self.earliest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_the_guide_has_it_and_read_again() {
        let date = Date::from_millis(1_767_225_600_007);
        let json = serde_json::to_string(&date).unwrap();
        assert_eq!(json, r#""2026-01-01T00:00:00.007Z""#);
        assert_eq!(serde_json::from_str::<Date>(&json).unwrap(), date);
        assert!(serde_json::from_str::<Date>(r#""tomorrow""#).is_err());
    }

    #[test]
    fn no_span_goes_beyond_the_calendar() {
        let date = Date::from_millis(0) + Duration::MAX;
        assert!(date > Date::from_millis(i64::MAX - 1));
        assert!(date.to_string().starts_with("9999"));
    }

    #[test]
    fn of_two_clocks_the_slower_is_waited_for_and_the_faster_counted_from() {
        let (slow, fast) = (Date::from_millis(1_000), Date::from_millis(9_000));
        for now in [Now::of(slow, fast), Now::of(fast, slow)] {
            assert!(now.is_past(slow) && !now.is_past(fast));
            assert_eq!(now.latest(), fast);
        }
    }
}
