//! An inventory for a script.
//!
//! Receives an inventory, gives one JSON document. Never changes what a field means: scripts depend
//! on it.

use serde::Serialize;

use crate::inventory::{Coverage, Entry, Gap, Inventory};

#[derive(Serialize)]
struct Document<'a> {
    passes: bool,
    tiers: Vec<Tier>,
    secrets: Vec<Secret<'a>>,
}

#[derive(Serialize)]
struct Tier {
    tier: u8,
    automated: usize,
    secrets: usize,
    /// Rounded down; null where there is no secret.
    percent: Option<usize>,
}

#[derive(Serialize)]
struct Secret<'a> {
    name: &'a str,
    tier: u8,
    owner: Option<&'a str>,
    driver: Option<&'static str>,
    max_age_seconds: Option<u64>,
    schedule: Option<&'a str>,
    automated: bool,
    lacks: Vec<&'static str>,
}

/// The document.
pub fn json(inventory: &Inventory) -> String {
    let document = Document {
        passes: inventory.passes(),
        tiers: inventory.coverage().into_iter().map(tier).collect(),
        secrets: inventory.entries.iter().map(secret).collect(),
    };
    // Texts and numbers only: there is nothing that it could refuse.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn tier(coverage: Coverage) -> Tier {
    let Coverage { tier, covered, all } = coverage;
    Tier { tier, automated: covered, secrets: all, percent: coverage.percent() }
}

fn secret(entry: &Entry) -> Secret<'_> {
    Secret {
        name: &entry.name,
        tier: entry.tier,
        owner: entry.owner.as_deref(),
        driver: entry.driver.map(|driver| driver.word()),
        max_age_seconds: entry.policy.max_age.map(|age| age.as_secs()),
        schedule: entry.policy.schedule.as_deref(),
        automated: entry.is_covered(),
        lacks: entry.gaps().into_iter().map(Gap::text).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Driver, Policy};

    #[test]
    fn a_script_finds_what_is_lacking() {
        let entry = Entry {
            name: "sendgrid".to_owned(),
            tier: 1,
            owner: None,
            driver: Some(Driver::Sendgrid),
            policy: Policy::default(),
        };
        let text = json(&Inventory { entries: vec![entry] });
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["passes"], false);
        assert_eq!(found["tiers"][0]["percent"], 0);
        assert_eq!(found["secrets"][0]["driver"], "sendgrid");
        assert_eq!(found["secrets"][0]["lacks"][1], "no max_age and no schedule");
    }
}
