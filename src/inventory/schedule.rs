//! Whether a text is a schedule as cron has it.
//!
//! Receives five fields, gives which of them is wrong. Never says when it is due: that is for what
//! rotates by it.

/// A field: its name, its first and last number, and words for numbers from the first on.
type Field = (&'static str, u8, u8, &'static [&'static str]);

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, MONTHS),
    // Sunday is 0 and 7.
    ("day of the week", 0, 7, DAYS),
];

/// What is wrong with `text`; nothing where it is a schedule.
pub fn problem(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Some(format!("has {} fields, not {}", parts.len(), FIELDS.len()));
    }
    let wrong = FIELDS.iter().zip(parts).find(|(field, part)| !fits(field, part));
    wrong.map(|((name, least, most, _), _)| {
        format!("the {name} must be `*`, or numbers from {least} to {most}")
    })
}

fn fits(field: &Field, text: &str) -> bool {
    text.split(',').all(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let step_fits = step.is_none_or(|step| number(step).is_some_and(|step| step > 0));
        step_fits && range_fits(field, range)
    })
}

fn range_fits(field: &Field, range: &str) -> bool {
    match range.split_once('-') {
        None if range == "*" => true,
        None => value(field, range).is_some(),
        Some((from, to)) => match (value(field, from), value(field, to)) {
            (Some(from), Some(to)) => from <= to,
            _ => false,
        },
    }
}

fn value((_, least, most, words): &Field, text: &str) -> Option<u8> {
    let lower = text.to_ascii_lowercase();
    let word = || {
        let place = words.iter().position(|word| *word == lower)?;
        Some(least + u8::try_from(place).ok()?)
    };
    number(text).or_else(word).filter(|value| (*least..=*most).contains(value))
}

/// `parse` takes a sign too.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_five_fields_within_their_bounds() {
        for good in [
            "0 0 1 */3 *",
            "*/15 * * * *",
            "0 3 * * mon-fri",
            "5,35 0-6/2 1,15 JAN,jul 7",
            "  0  0  1  1  0 ",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for (bad, word) in [
            ("", "0 fields"),
            ("0 0 1 *", "4 fields"),
            ("0 0 0 1 */3 *", "6 fields"),
            ("60 0 1 1 *", "minute"),
            ("0 24 1 1 *", "hour"),
            ("0 0 0 1 *", "day of the month"),
            ("0 0 1 13 *", "month"),
            ("0 0 1 foo *", "month"),
            ("0 0 1 1 8", "day of the week"),
            ("5-1 0 1 1 *", "minute"),
            ("*/0 0 1 1 *", "minute"),
            ("+5 0 1 1 *", "minute"),
            ("1- 0 1 1 *", "minute"),
            (", 0 1 1 *", "minute"),
        ] {
            let found = problem(bad).unwrap_or_default();
            assert!(found.contains(word), "{bad:?}: {found:?}");
        }
    }
}
