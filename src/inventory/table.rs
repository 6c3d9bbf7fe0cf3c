//! An inventory for a person.
//!
//! Receives an inventory, gives lines: a row for each secret, then how much of each tier is
//! automated. Never shows a name in which something could steer a terminal.

use crate::inventory::{Coverage, Entry, Inventory, Policy};
use crate::logs::visible;
use crate::timeline::span;

const HEADINGS: [&str; 6] = ["TIER", "SECRET", "OWNER", "DRIVER", "ROTATED", "AUTOMATED"];

/// The lines.
pub fn table(inventory: &Inventory) -> Vec<String> {
    let mut entries: Vec<&Entry> = inventory.entries.iter().collect();
    entries.sort_by(|left, right| (left.tier, &left.name).cmp(&(right.tier, &right.name)));
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| row(entry)));
    let mut lines = aligned(&rows);
    lines.push(String::new());
    lines.extend(inventory.coverage().into_iter().map(verdict));
    lines
}

fn row(entry: &Entry) -> [String; 6] {
    let none = || "-".to_owned();
    let gaps: Vec<&str> = entry.gaps().into_iter().map(|gap| gap.text()).collect();
    [
        entry.tier.to_string(),
        visible(&entry.name),
        entry.owner.as_deref().map_or_else(none, visible),
        entry.driver.map_or_else(none, |driver| driver.word().to_owned()),
        when(&entry.policy),
        if gaps.is_empty() { "yes".to_owned() } else { format!("no: {}", gaps.join(", ")) },
    ]
}

fn when(Policy { max_age, schedule }: &Policy) -> String {
    let age = max_age.map(|age| format!("within {}", span(age)));
    let date = schedule.as_deref().map(|schedule| format!("at {}", visible(schedule)));
    let both: Vec<String> = [age, date].into_iter().flatten().collect();
    if both.is_empty() { "-".to_owned() } else { both.join(", ") }
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn verdict(coverage: Coverage) -> String {
    let Coverage { tier, covered, all } = coverage;
    match coverage.percent() {
        Some(percent) => format!("tier {tier}: {covered} of {all} automated, {percent} %"),
        None => format!("tier {tier}: no secret is in it"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inventory::Driver;

    #[test]
    fn a_row_for_each_the_first_tier_first_and_then_the_verdicts() {
        let entry = |name: &str, tier, owner: Option<&str>, driver, days: Option<u64>| Entry {
            name: name.to_owned(),
            tier,
            owner: owner.map(str::to_owned),
            driver,
            policy: Policy {
                max_age: days.map(|days| Duration::from_secs(days * 86_400)),
                schedule: None,
            },
        };
        let mut jwt = entry("jwt", 1, Some("identity"), Some(Driver::Keyset), Some(90));
        jwt.policy.schedule = Some("0 0 1 */3 *".to_owned());
        let entries = vec![
            entry("a\u{1b}[2J", 2, None, Some(Driver::Manual), None),
            jwt,
            entry("database/app", 1, None, Some(Driver::Database), Some(3)),
        ];
        let lines = table(&Inventory { entries });
        let wanted = [
            "TIER  SECRET        OWNER     DRIVER    ROTATED                         AUTOMATED",
            "1     database/app  -         database  within 72h                      no: no owner",
            "1     jwt           identity  keyset    within 90d, at 0 0 1 */3 *      yes",
            "2     a\\u{1b}[2J    -         manual    -                               no: no owner, rotated by hand, no max_age and no schedule",
            "",
            "tier 1: 1 of 2 automated, 50 %",
            "tier 2: 0 of 1 automated, 0 %",
        ];
        // How wide a column is decides its longest cell.
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let found: Vec<String> = lines.iter().map(|line| squeezed(line)).collect();
        assert_eq!(found, wanted.map(squeezed));
        let start = |line: &str, word: &str| line.find(word).unwrap_or_default();
        assert_eq!(start(&lines[0], "OWNER"), start(&lines[2], "identity"));
        assert_eq!(table(&Inventory::default())[2], "tier 1: no secret is in it");
    }
}
