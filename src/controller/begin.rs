//! New keys, and new sets.

use std::sync::Arc;

use crate::controller::{Controller, Halt, Seen};
use crate::error::{Class, Failure};
use crate::jwt::{Key, Material, Status, generate};
use crate::keyset::{Manifest, NewKey};
use crate::rotation::{Found, Trouble};
use crate::secret::Secret;

impl Controller<'_> {
    /// Makes a set, whose first key is made of `secret` where there is one. What was cut off is gone on
    /// with.
    ///
    /// # Errors
    /// `Conflict` where there is one, or was; Vault's failure.
    pub async fn bootstrap(&self, secret: Option<Secret>) -> Result<Manifest, Halt> {
        match self.look().await?.found {
            Found::Absent => {}
            Found::Deleted => return Err(Trouble::Deleted.into()),
            Found::There(..) => return Err(self.there_is_one().into()),
        }
        let algorithm = self.set.algorithm;
        let given = secret.is_some();
        let key = match secret {
            Some(secret) => generate::imported(algorithm, secret)?,
            None => generate::key(algorithm)?,
        };
        let stored = self.store(1, key.clone(), Status::Active).await?;
        let Some(stored) = stored.filter(|stored| !given || stored.secret() == key.secret()) else {
            let set = &self.set.place;
            let text =
                format!("make a key set: `{}/{}/version-1` is another key", set.mount, set.path);
            return Err(Failure::new(Class::Conflict, text)
                .hint("see whose it is; where it is nobody's, delete its metadata and try again")
                .into());
        };
        let set_id = Arc::from(generate::set_id()?);
        let first =
            Manifest::first(set_id, algorithm, named(1, &stored), &self.set.policy, self.now());
        self.vault.guard_manifest(self.token, &self.set.place).await?;
        if !self.write_manifest(&first).await? {
            return Err(self.there_is_one().into());
        }
        Ok(first)
    }

    /// Begins a rotation; none where somebody else was first with another change.
    pub(super) async fn initiate_on(&self, seen: &Seen) -> Result<Option<Manifest>, Halt> {
        let manifest = self.sound(seen)?;
        manifest.may_initiate(self.who())?;
        let version = manifest.next_version;
        let key = generate::key(manifest.algorithm)?;
        let Some(stored) = self.store(version, key, Status::Rotating).await? else {
            // What is there is no key of this set: its number is passed over.
            self.write_manifest(&manifest.skip(version)).await?;
            return Ok(None);
        };
        let done = manifest.initiate(named(version, &stored), self.who())?;
        Ok(self.write(&done).await?.then_some(done.manifest))
    }

    /// Stores a key. One that is there already, from somebody who was cut off, is taken instead;
    /// none where it cannot be.
    async fn store(&self, version: u64, key: Key, status: Status) -> Result<Option<Key>, Failure> {
        let place = &self.set.place;
        let created = self.now().latest();
        let material = Material {
            version,
            created_at: created,
            expires_at: created + self.set.policy.lifetime,
            status,
            key,
        };
        match self.vault.write_material(self.token, place, &material).await {
            Ok(()) => Ok(Some(material.key)),
            Err(failure) if failure.class == Class::Conflict => {
                let there = self.vault.material(self.token, place, version).await;
                match there {
                    Ok(there) => Ok(there
                        .map(|there| there.key)
                        .filter(|key| key.algorithm() == material.key.algorithm())),
                    Err(failure) if failure.class == Class::Ours => Ok(None),
                    Err(failure) => Err(failure),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    fn there_is_one(&self) -> Failure {
        let set = &self.set.place;
        let text = format!("make a key set: there is one at `{}/{}`", set.mount, set.path);
        Failure::new(Class::Conflict, text).hint("`leasehold jwt status` shows it")
    }
}

fn named(version: u64, key: &Key) -> NewKey {
    NewKey { version, kid: key.kid().to_owned(), public: key.public().cloned() }
}
