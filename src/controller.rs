//! Key sets, looked at and moved on, one step at a time.
//!
//! Receives a set's place and rules, asks Vault what is there, and writes what a transition gives.
//! Never decides what is right: that is for [`crate::keyset`] and [`crate::rotation`]. Who was
//! second with a write has done nothing, and looks again.

mod answers;
mod begin;

use std::collections::BTreeMap;

use crate::date::{Date, Now};
use crate::error::{Class, Failure};
use crate::jwt::Algorithm;
use crate::keyset::{Agents, Done, Manifest, Missing, Policy, Refused, Trigger, Who};
use crate::rotation::{self, Found, Plan, Schedule, Trouble, View};
use crate::secret::Secret;
use crate::vault::{KeysetPlace, Vault};

pub use answers::{advice, cleaned, completed, initiated, problem, status, waits};

/// A key set of the configuration.
#[derive(Clone, Debug)]
pub struct Keyset {
    /// Its name there.
    pub name: String,
    /// Where it is in Vault.
    pub place: KeysetPlace,
    /// How its keys sign that are made from now on.
    pub algorithm: Algorithm,
    /// How it is treated.
    pub policy: Policy,
    /// When its rotations are due.
    pub schedule: Schedule,
}

/// Who moves a set on.
pub struct Controller<'a> {
    /// Where it is.
    pub vault: &'a Vault,
    /// Who may.
    pub token: &'a Secret,
    /// Which.
    pub set: &'a Keyset,
    /// Those who publish it.
    pub agents: &'a Agents,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The manifest.
    pub found: Found,
    /// The keys, with when those were made that no manifest names.
    pub stored: BTreeMap<u64, Option<Date>>,
}

/// Why nothing was done.
#[derive(Debug)]
pub enum Halt {
    /// Vault did not do it.
    Failed(Failure),
    /// The set does not allow it now.
    Refused(Refused),
    /// A person has to look first.
    Trouble(Trouble),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// How often who was second looks again.
const LOOKS: u32 = 5;

impl Controller<'_> {
    /// What is there.
    ///
    /// # Errors
    /// As Vault's requests.
    pub async fn look(&self) -> Result<Seen, Failure> {
        let Self { vault, token, set, .. } = self;
        let manifest = vault.manifest(token, &set.place).await?;
        let found = match (manifest.content, manifest.version) {
            (Some(content), version) => Found::There(version, Box::new(content)),
            (None, 0) => Found::Absent,
            (None, _) => Found::Deleted,
        };
        let mut stored = BTreeMap::new();
        for version in vault.materials(token, &set.place).await? {
            let named = match &found {
                Found::There(_, manifest) => manifest.key(version).is_some(),
                Found::Absent | Found::Deleted => true,
            };
            // What cannot be read was made at no time that counts.
            let made = match named {
                true => None,
                false => vault.material(token, &set.place, version).await.ok().flatten(),
            };
            stored.insert(version, made.map(|material| material.created_at));
        }
        Ok(Seen { found, stored })
    }

    /// The step that is due by the schedule.
    pub fn plan(&self, seen: &Seen) -> Plan {
        rotation::plan(&self.view(seen), &self.set.policy, &self.set.schedule, self.now())
    }

    /// Begins a rotation by hand.
    ///
    /// # Errors
    /// What the set waits for, or Vault's failure.
    pub async fn initiate(&self) -> Result<Manifest, Halt> {
        for _ in 0..LOOKS {
            let seen = self.look().await?;
            if let Some(manifest) = self.initiate_on(&seen).await? {
                return Ok(manifest);
            }
        }
        Err(self.busy().into())
    }

    /// Has the new key sign.
    ///
    /// # Errors
    /// What the set waits for, or Vault's failure.
    pub async fn promote(&self) -> Result<Manifest, Halt> {
        self.by_hand(Manifest::promote).await
    }

    /// Ends a rotation.
    ///
    /// # Errors
    /// What the set waits for, or Vault's failure.
    pub async fn complete(&self) -> Result<Manifest, Halt> {
        self.by_hand(Manifest::complete).await
    }

    /// Gives a rotation up.
    ///
    /// # Errors
    /// Where none is open, or Vault's failure.
    pub async fn abort(&self) -> Result<Manifest, Halt> {
        self.by_hand(Manifest::abort).await
    }

    /// Goes on with a manifest that was written by hand or restored, by a person's word.
    ///
    /// # Errors
    /// Where there is none that could be gone on with, or Vault's failure.
    pub async fn resume(&self) -> Result<Manifest, Halt> {
        let seen = self.look().await?;
        let (found, manifest) = match (self.sound(&seen), &seen.found) {
            (Err(Trouble::Gap { found, .. }), Found::There(_, manifest)) => (found, manifest),
            (sound, _) => return Ok(sound?.clone()),
        };
        let last = seen.stored.keys().max().copied().unwrap_or_default();
        let next = manifest.resume(found, manifest.mark.epoch, last);
        if self.write_manifest(&next).await? { Ok(next) } else { Err(self.busy().into()) }
    }

    /// Takes away the keys whose tokens have run out, and gives their numbers and what the others
    /// wait for.
    ///
    /// # Errors
    /// Where there is trouble, or Vault's failure.
    pub async fn cleanup(&self) -> Result<(Manifest, Vec<u64>, Option<Date>), Halt> {
        for _ in 0..LOOKS {
            let seen = self.look().await?;
            let manifest = self.sound(&seen)?;
            let (done, missing) = manifest.cleanup(self.who());
            let until = missing.iter().filter_map(Missing::until).max();
            if done.versions.is_empty() {
                return Ok((manifest.clone(), Vec::new(), until));
            }
            if self.write(&done).await? {
                return Ok((done.manifest, done.versions, until));
            }
        }
        Err(self.busy().into())
    }

    /// The manifest, where one may be built upon.
    ///
    /// # Errors
    /// Why not.
    pub fn sound<'a>(&'a self, seen: &'a Seen) -> Result<&'a Manifest, Trouble> {
        rotation::sound(&self.view(seen), &self.set.policy, self.now())
    }

    fn view<'a>(&'a self, seen: &'a Seen) -> View<'a> {
        let Seen { found, stored } = seen;
        View { found, stored, agents: self.agents, memory: None }
    }

    /// Writes what `transition` gives; who was second looks again.
    async fn by_hand(
        &self,
        transition: impl Fn(&Manifest, Who<'_>) -> Result<Done, Refused>,
    ) -> Result<Manifest, Halt> {
        for _ in 0..LOOKS {
            let seen = self.look().await?;
            let done = transition(self.sound(&seen)?, self.who())?;
            if self.write(&done).await? {
                return Ok(done.manifest);
            }
        }
        Err(self.busy().into())
    }

    fn who(&self) -> Who<'_> {
        Who {
            by: Trigger::Operator,
            policy: &self.set.policy,
            agents: self.agents,
            now: self.now(),
        }
    }

    fn now(&self) -> Now {
        self.vault.present()
    }

    fn busy(&self) -> Failure {
        let text = format!("change the key set `{}`: others change it all the time", self.set.name);
        Failure::new(Class::Conflict, text).hint("try again")
    }

    /// Writes a transition, and the status of each key that it is about beside it.
    async fn write(&self, done: &Done) -> Result<bool, Failure> {
        if !self.write_manifest(&done.manifest).await? {
            return Ok(false);
        }
        for key in &done.manifest.keys {
            let Some(status) = done.manifest.status(key) else { continue };
            self.vault.note_status(self.token, &self.set.place, key.version, status).await?;
        }
        Ok(true)
    }

    /// Whether it was written, and not another before it.
    async fn write_manifest(&self, manifest: &Manifest) -> Result<bool, Failure> {
        let before = manifest.mark.serial.saturating_sub(1);
        let written =
            self.vault.write_manifest(self.token, &self.set.place, manifest, before).await;
        match written {
            Ok(()) => Ok(true),
            Err(failure) if failure.class == Class::Conflict => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}
