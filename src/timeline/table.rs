//! A forecast as lines for a person.
//!
//! Receives entries, gives one line for each, with a row of renewals on one line. Never changes
//! their order.

use std::time::Duration;

use crate::timeline::{Forecast, Happening};

/// Fewer renewals of one thing are shown one by one.
const ROW: usize = 5;

/// The forecast, a line for each entry.
pub(super) fn lines(forecast: &Forecast) -> Vec<String> {
    let mut rows: Vec<Row> = Vec::new();
    for entry in &forecast.entries {
        let same = rows.iter_mut().rev().find(|row| row.what == entry.what);
        match same {
            Some(row) if renewal(&entry.what) => row.times.push(entry.at),
            Some(_) | None => rows.push(Row { what: entry.what.clone(), times: vec![entry.at] }),
        }
    }
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for row in &rows {
        let (of, text) = words(&row.what);
        let subject = format!("{of:<8}  {text}");
        match (row.times.first(), row.times.last()) {
            (Some(first), Some(last)) if row.times.len() >= ROW => {
                let times = row.times.len();
                let every = span(*last / u32::try_from(times).unwrap_or(u32::MAX));
                let text = format!("{subject}, and about every {every} until +{}", span(*last));
                lines.push((*first, text));
            }
            _ => lines.extend(row.times.iter().map(|at| (*at, subject.clone()))),
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(at, text)| format!("{:>9}  {text}", format!("+{}", span(at)))).collect()
}

struct Row {
    what: Happening,
    times: Vec<Duration>,
}

fn renewal(what: &Happening) -> bool {
    match what {
        Happening::TokenRenewed | Happening::Renewed(..) => true,
        Happening::TokenMade
        | Happening::TokenEnds
        | Happening::Issued(..)
        | Happening::Drains(..)
        | Happening::Ends(..) => false,
    }
}

fn words(what: &Happening) -> (&str, String) {
    match what {
        Happening::TokenMade => ("(token)", "login to vault".to_owned()),
        Happening::TokenRenewed => ("(token)", "renewed".to_owned()),
        Happening::TokenEnds => {
            ("(token)", "ends, and all logins with it, unless somebody renews it".to_owned())
        }
        Happening::Issued(secret, 1) => (secret, "login 1 is made, tried and published".to_owned()),
        Happening::Issued(secret, number) => (
            secret,
            format!(
                "login {number} is made, tried and published: it replaces login {}",
                number - 1
            ),
        ),
        Happening::Renewed(secret, number) => (secret, format!("login {number} renewed")),
        Happening::Drains(secret, number, grace) => {
            (secret, format!("login {number} is left: it gets its grace of {}", span(*grace)))
        }
        Happening::Ends(secret, number) => (secret, format!("login {number} ends")),
    }
}

/// A span as a person says it, to about a percent.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |large: u64, name: &str, small: u64, of: &str| match small {
        0 => format!("{large}{name}"),
        small => format!("{large}{name}{small:02}{of}"),
    };
    match seconds {
        0..60 if span.subsec_millis() / 100 == 0 => format!("{seconds}s"),
        0..60 => format!("{seconds}.{}s", span.subsec_millis() / 100),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..360_000 => two(seconds / 3600, "h", seconds / 60 % 60, "m"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (millis, text) in [
            (0, "0s"),
            (4_510, "4.5s"),
            (59_020, "59s"),
            (300_000, "5m"),
            (303_000, "5m03s"),
            (86_400_000, "24h"),
            (63_360_000, "17h36m"),
            (239_400_000, "66h30m"),
            (2_764_800_000, "32d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }
}
