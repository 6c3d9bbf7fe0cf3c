//! The inventory's file.
//!
//! Receives its path, gives every secret in it or everything that is wrong with it. Never puts a
//! variable in: what is checked is what stands in the file, and is reviewed there.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::config::environment::Environment;
use crate::config::keys::{Keys, Otherwise, Takes, key, keys};
use crate::config::raw::{Reading, Section, shown};
use crate::config::{ConfigError, tree_of};
use crate::inventory::{Driver, Entry, Inventory, Policy, TIERS};
use crate::rotation::Cron;

/// A longer name is a mistake.
const LONGEST_NAME: usize = 128;

static TOP: Keys =
    keys(&[key("secrets", Takes::Each("NAME", &ENTRY), Otherwise::Needed, "every secret")]);

const DRIVERS: [&str; 7] =
    ["database", "static-role", "pki", "keyset", "sendgrid", "exec", "manual"];

#[rustfmt::skip]
static ENTRY: Keys = keys(&[
    key("tier", Takes::Number(1, 3), Otherwise::Needed, "how much depends on it; 1 is the most"),
    key("owner", Takes::Text, Otherwise::None, "who answers for it"),
    key("driver", Takes::Word(&DRIVERS), Otherwise::None, "what rotates it; `manual` is a person"),
    key("policy", Takes::Section(&POLICY), Otherwise::None, ""),
]);

#[rustfmt::skip]
static POLICY: Keys = keys(&[
    key("max_age", Takes::Duration, Otherwise::None, "it is never older"),
    key("schedule", Takes::Text, Otherwise::None, "when it is rotated, in the five fields of cron"),
]);

/// Reads the inventory at `path`.
///
/// # Errors
/// When the file cannot be read or is no YAML, else with everything that is wrong in it.
pub fn load(path: &Path) -> Result<Inventory, ConfigError> {
    let tree = tree_of(path)?;
    let environment = Environment::default();
    let reading = Reading {
        problems: RefCell::default(),
        environment: &environment,
        files: RefCell::default(),
    };
    let entries = entries(&Section::open(&reading, "", Some(&tree), &TOP));
    let (problems, _) = reading.problems.into_inner().finish();
    if problems.is_empty() {
        return Ok(Inventory { entries });
    }
    Err(ConfigError::Invalid { path: path.to_owned(), problems })
}

fn entries(top: &Section<'_>) -> Vec<Entry> {
    top.require("secrets");
    let secrets = top.names("secrets");
    let mut entries = Vec::new();
    for (name, node) in secrets.entries() {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(is_odd) {
            let text = format!("cannot be a secret's name: `{}`", shown(name));
            let hint = "letters, digits and signs, no blanks, such as `database/app`";
            secrets.problem(&shown(name), text, hint);
            continue;
        }
        entries.extend(entry(name, &secrets.below(name, node, &ENTRY)));
    }
    entries
}

fn is_odd(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

fn entry(name: &str, section: &Section<'_>) -> Option<Entry> {
    section.require("tier");
    let words = Driver::WORDS;
    let (owner, driver) = (section.text("owner"), section.choice("driver", &words, &[]));
    let policy = policy(&section.section("policy", &POLICY));
    Some(Entry { name: name.to_owned(), tier: tier(section)?, owner, driver, policy })
}

fn tier(section: &Section<'_>) -> Option<u8> {
    let number = section.number("tier")?;
    let tier = u8::try_from(number).ok().filter(|tier| TIERS.contains(tier));
    if tier.is_none() {
        let text = format!("must be from {} to {}", TIERS.start(), TIERS.end());
        section.problem("tier", text, "1 is what most depends on");
    }
    tier
}

fn policy(section: &Section<'_>) -> Policy {
    let max_age = section.duration("max_age", Duration::from_secs(1));
    let schedule = section.text("schedule");
    let cron = schedule.as_deref().map(|text| Cron::new(text, TimeZone::UTC));
    if let Some(Err(problem)) = cron {
        let hint = "minute, hour, day of the month, month, day of the week, as `0 0 1 */3 *`";
        section.problem("schedule", problem, hint);
    }
    Policy { max_age, schedule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn loaded(text: &str) -> Result<Inventory, ConfigError> {
        load(written(text).path())
    }

    #[test]
    fn an_entry_is_what_stands_there() {
        let text = "secrets:
  database/app: { tier: 1, owner: platform, driver: database, policy: { max_age: 24h } }
  jwt: { tier: 2, policy: { schedule: '0 0 1 */3 *' } }
";
        let entries = loaded(text).unwrap().entries;
        let app = Entry {
            name: "database/app".to_owned(),
            tier: 1,
            owner: Some("platform".to_owned()),
            driver: Some(Driver::Database),
            policy: Policy { max_age: Some(Duration::from_secs(86_400)), schedule: None },
        };
        let jwt = Entry {
            name: "jwt".to_owned(),
            tier: 2,
            owner: None,
            driver: None,
            policy: Policy { max_age: None, schedule: Some("0 0 1 */3 *".to_owned()) },
        };
        assert_eq!(entries, [app, jwt]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = "secrets:
  a: { owner: x, driver: databse }
  b: { tier: 4, policy: { schedule: hourly, max_age: soon } }
  c d: { tier: 1 }
  e: { tier: 1, ower: x }
";
        let error = chain(&loaded(text).unwrap_err());
        for wanted in [
            "7 problems:",
            "secrets.a.driver: unknown word: `databse`\n    hint: did you mean `database`?",
            "secrets.a.tier: missing",
            "secrets.b.tier: must be from 1 to 3",
            "secrets.b.policy.schedule: it must have five fields",
            "secrets.b.policy.max_age: not a duration: `soon`",
            "secrets.c d: cannot be a secret's name: `c d`",
            "secrets.e.ower: unknown key\n    hint: did you mean `owner`?",
        ] {
            assert!(error.contains(wanted), "{wanted}\n{error}");
        }
        assert!(chain(&loaded("").unwrap_err()).contains("secrets: missing"));
    }

    #[test]
    fn the_list_of_keys_has_every_driver() {
        assert_eq!(DRIVERS, Driver::WORDS.map(|(word, _)| word));
    }
}
