//! The manifest: what stands in Vault of a key set, without the keys that sign.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::jwt::{Algorithm, PublicKey, Status};
use crate::keyset::AgentId;

/// One writing of a manifest. Agents tell by it which they have published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Random, and another for each set that was ever made.
    pub set_id: Arc<str>,
    /// Raised by whoever goes on behind a gap: what was acknowledged before counts no more.
    pub epoch: u64,
    /// KV's number of the writing.
    pub serial: u64,
}

impl Mark {
    /// Whether who has this one has everything that `other` says.
    pub fn covers(&self, other: &Self) -> bool {
        self.set_id == other.set_id && (self.epoch, self.serial) >= (other.epoch, other.serial)
    }
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is shown to who verifies, and does not sign yet.
    Prepared,
    /// It signs, the only one.
    Signing,
    /// Its tokens are still accepted.
    VerifyOnly,
    /// It left; nothing of it is shown.
    Retired,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, which none before it had and none after it will have.
    pub version: u64,
    /// The name that tokens call it by.
    pub kid: String,
    /// Its public half; a symmetric one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicKey>,
    /// What it does.
    pub phase: Phase,
    /// When it was named here first.
    pub created_at: Date,
    /// When it is to be out of use.
    pub expires_at: Date,
    /// The serial from which on it signs, last; 0 while it never did.
    #[serde(default)]
    pub signs_since: u64,
    /// Until when tokens of it may be around; known once another signs for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_until: Option<Date>,
    /// When it left, and the serial without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<(Date, u64)>,
}

/// Who asked for a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The clock.
    Schedule,
    /// A person.
    Operator,
}

/// A rotation that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The key that signed before.
    pub from: u64,
    /// The one that signs after.
    pub to: u64,
    /// Who asked for it.
    pub by: Trigger,
    /// When, and the serial with the new key.
    pub initiated: (Date, u64),
    /// When the new key began to sign, and the serial that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<(Date, u64)>,
    /// The agents that were known when it began.
    pub awaited: BTreeSet<AgentId>,
}

/// A key set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which writing this is.
    #[serde(flatten)]
    pub mark: Mark,
    /// How keys that are made from now on sign.
    pub algorithm: Algorithm,
    /// Oldest first.
    pub keys: Vec<Entry>,
    /// The number of the next key. None is used twice, also not one that came to nothing.
    pub next_version: u64,
    /// The rotation that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Until when the schedule begins none, after one was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Date>,
}

impl Manifest {
    /// The key that signs. There is one in every manifest that was read or made.
    pub fn signing(&self) -> Option<&Entry> {
        self.keys.iter().find(|key| key.phase == Phase::Signing)
    }

    /// The keys whose tokens hold, newest first.
    pub fn verifying(&self) -> impl Iterator<Item = &Entry> {
        self.keys.iter().rev().filter(|key| key.phase != Phase::Retired)
    }

    /// The key of this number.
    pub fn key(&self, version: u64) -> Option<&Entry> {
        self.keys.iter().find(|key| key.version == version)
    }

    pub(super) fn key_mut(&mut self, version: u64) -> Option<&mut Entry> {
        self.keys.iter_mut().find(|key| key.version == version)
    }

    /// The writing of this set and epoch that has this number.
    pub(super) fn at(&self, serial: u64) -> Mark {
        Mark { serial, ..self.mark.clone() }
    }

    /// What people are told that a key is; nothing of one that left.
    pub fn status(&self, key: &Entry) -> Option<Status> {
        let open = self.rotation.as_ref();
        let turns = open.is_some_and(|open| [open.from, open.to].contains(&key.version));
        match key.phase {
            Phase::Retired => None,
            Phase::Prepared | Phase::Signing | Phase::VerifyOnly if turns => Some(Status::Rotating),
            Phase::Signing => Some(Status::Active),
            Phase::Prepared | Phase::VerifyOnly => Some(Status::Deprecated),
        }
    }

    /// What is wrong in it: a manifest is also read that somebody wrote by hand.
    pub fn problem(&self) -> Option<&'static str> {
        let signing = self.keys.iter().filter(|key| key.phase == Phase::Signing).count();
        let ascending = self.keys.windows(2).all(|pair| match pair {
            [older, newer] => older.version < newer.version,
            _ => true,
        });
        let last = self.keys.last().map_or(0, |key| key.version);
        let public = |key: &Entry| match &key.public {
            Some(public) => public.kid() == key.kid && public.algorithm() == self.algorithm,
            None => self.algorithm.is_symmetric(),
        };
        let prepared = self.keys.iter().find(|key| key.phase == Phase::Prepared);
        let awaited = match &self.rotation {
            None => prepared.is_none(),
            Some(open) => {
                let phases = [open.from, open.to].map(|version| self.key(version).map(|k| k.phase));
                let expected = match open.promoted {
                    None => [Phase::Signing, Phase::Prepared],
                    Some(_) => [Phase::VerifyOnly, Phase::Signing],
                };
                phases == expected.map(Some)
                    && prepared.is_none_or(|prepared| prepared.version == open.to)
            }
        };
        let dated = |key: &Entry| match key.phase {
            Phase::Retired => key.retired.is_some(),
            Phase::VerifyOnly => {
                key.verify_until.is_some()
                    || self.rotation.as_ref().is_some_and(|open| open.from == key.version)
            }
            Phase::Prepared | Phase::Signing => true,
        };
        if signing != 1 {
            Some("not exactly one of its keys signs")
        } else if !ascending || self.next_version <= last {
            Some("its keys are not numbered one after the other")
        } else if !self.keys.iter().all(public) {
            Some("a key has no public half, or another's")
        } else if !awaited {
            Some("its rotation and its keys disagree")
        } else if !self.keys.iter().all(dated) {
            Some("a key lacks the date of its end")
        } else {
            None
        }
    }
}
