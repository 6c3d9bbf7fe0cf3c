//! KV as key sets see it: check-and-set, and a history of what was there.

use std::collections::{BTreeMap, BTreeSet};

use leasehold::date::Date;
use leasehold::keyset::{Manifest, Phase};

/// A key that is stored: its name, and when it was made.
pub type Stored = (String, Date);

#[derive(Default)]
pub struct Vault {
    pub serial: u64,
    pub stored: BTreeMap<u64, Stored>,
    /// Each manifest, with the true time from which on it was there.
    pub history: Vec<(i64, Manifest)>,
    /// The name that each number ever had.
    names: BTreeMap<u64, String>,
}

impl Vault {
    pub fn manifest(&self) -> &Manifest {
        &self.history.last().unwrap().1
    }

    /// Whether it was written.
    pub fn write(&mut self, at: i64, manifest: Manifest) -> bool {
        if manifest.mark.serial != self.serial + 1 {
            return false;
        }
        assert_eq!(manifest.problem(), None, "{manifest:?}");
        for key in &manifest.keys {
            let name = self.names.entry(key.version).or_insert_with(|| key.kid.clone());
            assert_eq!(*name, key.kid, "a number is used twice");
            let stored = self.stored.get(&key.version).map(|(kid, _)| kid);
            let shown = key.phase != Phase::Retired;
            assert!(!shown || stored == Some(&key.kid), "{} is named, not stored", key.version);
        }
        let numbers: BTreeSet<u64> = manifest.keys.iter().map(|key| key.version).collect();
        assert!(numbers.iter().all(|version| *version < manifest.next_version));
        self.serial += 1;
        self.history.push((at, manifest));
        true
    }

    /// Whether there was none of this number.
    pub fn store(&mut self, version: u64, key: Stored) -> bool {
        let free = !self.stored.contains_key(&version);
        if free {
            self.stored.insert(version, key);
        }
        free
    }

    pub fn destroy(&mut self, version: u64) {
        let shown = self.manifest().verifying().any(|key| key.version == version);
        assert!(!shown, "{version} is destroyed while it is in use");
        self.stored.remove(&version);
    }
}
