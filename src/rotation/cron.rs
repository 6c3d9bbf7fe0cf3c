//! When a schedule is due.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use crate::date::Date;

/// Five fields, as cron has them, in the time of a place.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    fields: croner::Cron,
    zone: TimeZone,
}

impl Cron {
    /// The schedule that `text` says, in the time of `zone`. A time that a clock leaves out in
    /// spring comes when the clock goes on, and one that it has twice in autumn comes once.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn new(text: &str, zone: TimeZone) -> Result<Self, String> {
        if text.split_ascii_whitespace().count() != 5 {
            return Err("it must have five fields: minute, hour, day, month, weekday".to_owned());
        }
        let fields = croner::Cron::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), fields, zone })
    }

    /// The first time after `date`; none where there is none in the calendar.
    pub fn next(&self, date: Date) -> Option<Date> {
        let after = date.timestamp().to_zoned(self.zone.clone());
        let next = self.fields.find_next_occurrence(&after, false).ok()?;
        Some(Date::from(next.timestamp()))
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.zone) == (&other.text, &other.zone)
    }
}

impl Eq for Cron {}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn the_guides_lines_fall_on_the_first_days_of_a_quarter() {
        for (text, next) in [
            ("0 0 1 */3 *", "2026-04-01T00:00:00Z"),
            ("0 0 2 */3 *", "2026-04-02T00:00:00Z"),
            ("0 0 3 */3 *", "2026-04-03T00:00:00Z"),
        ] {
            let cron = Cron::new(text, TimeZone::UTC).unwrap();
            assert_eq!(cron.next(date("2026-01-03T00:00:00Z")), Some(date(next)), "{text}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        for text in ["", "* * * *", "0 0 0 1 */3 *", "@daily", "0 24 * * *", "x * * * *"] {
            assert!(Cron::new(text, TimeZone::UTC).is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_that_never_comes_is_no_time() {
        let cron = Cron::new("0 0 30 2 *", TimeZone::UTC);
        assert!(cron.is_err() || cron.unwrap().next(date("2026-01-01T00:00:00Z")).is_none());
    }
}
