//! `inventory check`: whether every secret has somebody and something that rotates it.
//!
//! Receives the list of all secrets, gives for each what it lacks and for each tier how much of it is
//! automated. Never looks at the secrets themselves, nor asks whether what it reads is so.

mod json;
mod table;

use std::time::Duration;

pub use json::json;
pub use table::table;

/// The tiers that there are; what is in the first may not be left to a person.
pub const TIERS: std::ops::RangeInclusive<u8> = 1..=3;

/// The tier that decides.
const FIRST: u8 = 1;

/// All secrets, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// One for each secret.
    pub entries: Vec<Entry>,
}

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What people and the audit call it.
    pub name: String,
    /// How much depends on it, from 1.
    pub tier: u8,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What rotates it.
    pub driver: Option<Driver>,
    /// When it is to be rotated.
    pub policy: Policy,
}

/// When a secret is to be rotated: by age, by date, or whichever is first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// It is never older.
    pub max_age: Option<Duration>,
    /// Five fields, as cron has them.
    pub schedule: Option<String>,
}

/// What rotates a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Leases of a database role.
    Database,
    /// A static database role, whose password Vault replaces.
    StaticRole,
    /// Certificates of the PKI engine.
    Pki,
    /// The signing keys of tokens.
    Keyset,
    /// API keys of SendGrid.
    Sendgrid,
    /// A program of one's own.
    Exec,
    /// A person. That is known, and no automation.
    Manual,
}

impl Driver {
    /// All of them, by the word that the file has.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("database", Self::Database),
        ("static-role", Self::StaticRole),
        ("pki", Self::Pki),
        ("keyset", Self::Keyset),
        ("sendgrid", Self::Sendgrid),
        ("exec", Self::Exec),
        ("manual", Self::Manual),
    ];

    /// The word that the file has.
    pub fn word(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::StaticRole => "static-role",
            Self::Pki => "pki",
            Self::Keyset => "keyset",
            Self::Sendgrid => "sendgrid",
            Self::Exec => "exec",
            Self::Manual => "manual",
        }
    }
}

/// What an entry lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Nobody answers for it.
    Owner,
    /// Nothing rotates it.
    Driver,
    /// A person rotates it.
    ByHand,
    /// Nothing says when.
    Policy,
}

impl Gap {
    /// What is wrong, for a table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Owner => "no owner",
            Self::Driver => "no driver",
            Self::ByHand => "rotated by hand",
            Self::Policy => "no max_age and no schedule",
        }
    }
}

impl Entry {
    /// Everything that it lacks; nothing where it is covered.
    pub fn gaps(&self) -> Vec<Gap> {
        let driver = match self.driver {
            None => Some(Gap::Driver),
            Some(Driver::Manual) => Some(Gap::ByHand),
            Some(
                Driver::Database
                | Driver::StaticRole
                | Driver::Pki
                | Driver::Keyset
                | Driver::Sendgrid
                | Driver::Exec,
            ) => None,
        };
        let Policy { max_age, schedule } = &self.policy;
        let policy = (max_age.is_none() && schedule.is_none()).then_some(Gap::Policy);
        let owner = self.owner.is_none().then_some(Gap::Owner);
        [owner, driver, policy].into_iter().flatten().collect()
    }

    /// Whether it is rotated without a person, and somebody answers for that.
    pub fn is_covered(&self) -> bool {
        self.gaps().is_empty()
    }
}

/// How much of a tier is automated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Which.
    pub tier: u8,
    /// How many of its secrets are covered.
    pub covered: usize,
    /// How many it has.
    pub all: usize,
}

impl Coverage {
    /// Rounded down, so that only all of them are 100; `None` where there is nothing to cover.
    pub fn percent(self) -> Option<usize> {
        (100 * self.covered).checked_div(self.all)
    }

    /// Whether all of it is covered, and there is something.
    pub fn is_whole(self) -> bool {
        self.all > 0 && self.covered == self.all
    }
}

impl Inventory {
    /// Each tier that has secrets, and the first in any case.
    pub fn coverage(&self) -> Vec<Coverage> {
        let tiers = TIERS.map(|tier| self.of_tier(tier));
        tiers.filter(|coverage| coverage.tier == FIRST || coverage.all > 0).collect()
    }

    /// Whether the whole first tier is automated. A first tier with nothing in it is more likely an
    /// inventory that nobody finished than a system without secrets that matter: it does not pass.
    pub fn passes(&self) -> bool {
        self.of_tier(FIRST).is_whole()
    }

    fn of_tier(&self, tier: u8) -> Coverage {
        let of_tier = || self.entries.iter().filter(|entry| entry.tier == tier);
        let covered = of_tier().filter(|entry| entry.is_covered()).count();
        Coverage { tier, covered, all: of_tier().count() }
    }
}

#[cfg(test)]
mod tests;
