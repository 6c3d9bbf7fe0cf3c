//! The transitions. Each gives the manifest that follows, which counts once it is written.

use std::sync::Arc;

use crate::date::{Date, Now};
use crate::jwt::{Algorithm, PublicKey};
use crate::keyset::{
    AgentId, Agents, Entry, Manifest, Mark, Missing, Phase, Policy, Refused, Rotation, Trigger,
    guard,
};

/// A key that was made and is stored, and that no manifest names yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The number that it is stored under.
    pub version: u64,
    /// The name that tokens will call it by.
    pub kid: String,
    /// Its public half; a symmetric one has none.
    pub public: Option<PublicKey>,
}

/// Who asks, by what rules, knowing what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Who asks.
    pub by: Trigger,
    /// By what rules.
    pub policy: &'a Policy,
    /// What is known of the agents.
    pub agents: &'a Agents,
    /// When.
    pub now: Now,
}

/// A transition that was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What is to be written, behind the writing before it.
    pub manifest: Manifest,
    /// The keys that it is about.
    pub versions: Vec<u64>,
    /// The agents that it did not wait for any longer.
    pub passed_over: Vec<AgentId>,
}

impl Manifest {
    /// The first manifest of a set.
    pub fn first(
        set_id: Arc<str>,
        algorithm: Algorithm,
        key: NewKey,
        policy: &Policy,
        now: Now,
    ) -> Self {
        let next_version = key.version.saturating_add(1);
        let mark = Mark { set_id, epoch: 1, serial: 1 };
        let mut entry = entry(key, Phase::Signing, policy, now.latest());
        entry.signs_since = mark.serial;
        Self { mark, algorithm, keys: vec![entry], next_version, rotation: None, held_until: None }
    }

    /// Begins a rotation: the new key is shown to who verifies.
    ///
    /// # Errors
    /// `Open` where one is; what it waits for.
    pub fn initiate(&self, key: NewKey, who: Who<'_>) -> Result<Done, Refused> {
        self.may_initiate(who)?;
        if key.version != self.next_version {
            return Err(Refused::Outdated);
        }
        let from = self.signing().map(|key| key.version).ok_or(Refused::Outdated)?;
        let mut next = self.next();
        let (version, began) = (key.version, (who.now.latest(), next.mark.serial));
        next.next_version = version.saturating_add(1);
        next.keys.push(entry(key, Phase::Prepared, who.policy, who.now.latest()));
        next.held_until = None;
        next.rotation = Some(Rotation {
            from,
            to: version,
            by: who.by,
            initiated: began,
            promoted: None,
            awaited: who.agents.known.keys().cloned().collect(),
        });
        Ok(Done::one(next, version))
    }

    /// Whether a rotation may begin; asked before a key is made for it.
    ///
    /// # Errors
    /// As [`Manifest::initiate`].
    pub fn may_initiate(&self, who: Who<'_>) -> Result<(), Refused> {
        match &self.rotation {
            Some(open) => Err(Refused::Open(open.to)),
            None => unblocked(guard::initiate(self, who.by, who.policy, who.now)),
        }
    }

    /// Has the new key sign.
    ///
    /// # Errors
    /// `NotOpen` where no rotation is, or it signs already; what it waits for.
    pub fn promote(&self, who: Who<'_>) -> Result<Done, Refused> {
        let open = self.rotation.as_ref().filter(|open| open.promoted.is_none());
        let open = open.ok_or(Refused::NotOpen)?;
        let passed_over = guard::promote(self, open, who.policy, who.agents, who.now)
            .map_err(Refused::Blocked)?;
        let (from, to) = (open.from, open.to);
        let mut next = self.next();
        next.turn(from, Phase::VerifyOnly);
        next.turn(to, Phase::Signing);
        let promoted = Some((who.now.latest(), next.mark.serial));
        if let Some(open) = &mut next.rotation {
            open.promoted = promoted;
        }
        Ok(Done { passed_over, ..Done::one(next, to) })
    }

    /// Ends a rotation: from here on the tokens of the old key run out.
    ///
    /// # Errors
    /// `NotOpen` where none is; what it waits for.
    pub fn complete(&self, who: Who<'_>) -> Result<Done, Refused> {
        let open = self.rotation.as_ref().ok_or(Refused::NotOpen)?;
        unblocked(guard::complete(self, open, who.by, who.policy, who.agents, who.now))?;
        let (from, to) = (open.from, open.to);
        let mut next = self.next();
        next.rotation = None;
        next.runs_out(from, who.now.latest(), who);
        Ok(Done::one(next, to))
    }

    /// Takes away the keys whose tokens have run out: none where it is too early for each.
    pub fn cleanup(&self, who: Who<'_>) -> (Done, Vec<Missing>) {
        let (versions, missing) = guard::cleanup(self, who.agents, who.now);
        let mut next = self.next();
        for version in &versions {
            next.retire(*version, who.now.latest());
        }
        (Done { manifest: next, versions, passed_over: Vec::new() }, missing)
    }

    /// Forgets the keys that left, so that what signs with them may be destroyed.
    pub fn forget(&self, who: Who<'_>) -> (Done, Vec<Missing>) {
        let (versions, missing) = guard::destroy(self, who.policy, who.agents, who.now);
        let mut next = self.next();
        next.keys.retain(|key| !versions.contains(&key.version));
        (Done { manifest: next, versions, passed_over: Vec::new() }, missing)
    }

    /// Gives a rotation up. A key that signed already goes on to verify until its tokens have run
    /// out, and the one before it signs again.
    ///
    /// # Errors
    /// `NotOpen` where none is.
    pub fn abort(&self, who: Who<'_>) -> Result<Done, Refused> {
        let open = self.rotation.as_ref().ok_or(Refused::NotOpen)?;
        let (from, to, promoted) = (open.from, open.to, open.promoted.is_some());
        let now = who.now.latest();
        let mut next = self.next();
        next.rotation = None;
        next.held_until = Some(now + who.policy.hold);
        if promoted {
            next.turn(from, Phase::Signing);
            next.turn(to, Phase::VerifyOnly);
            // Who has not heard of this signs on with it.
            next.runs_out(to, now + guard::propagation(who.policy, who.agents), who);
        } else {
            next.retire(to, now);
        }
        Ok(Done::one(next, to))
    }

    /// Goes on behind the numbers of keys that were made and are not named here, so that whoever
    /// was about to name one of them cannot, and they may be destroyed.
    pub fn skip(&self, last: u64) -> Manifest {
        let mut next = self.next();
        next.next_version = next.next_version.max(last.saturating_add(1));
        next
    }

    /// Goes on behind a gap, by a person's word: `serial` is KV's number of the writing that is
    /// there, `last` the highest number that any key had as far as is known.
    pub fn resume(&self, serial: u64, epoch: u64, last: u64) -> Manifest {
        let mut next = self.skip(last);
        next.mark.serial = serial.saturating_add(1);
        next.mark.epoch = self.mark.epoch.max(epoch).saturating_add(1);
        // What was acknowledged counts no more, so each step waits anew.
        let serial = next.mark.serial;
        if let Some(open) = &mut next.rotation {
            open.initiated.1 = serial;
            open.promoted = open.promoted.map(|(date, _)| (date, serial));
        }
        for key in &mut next.keys {
            key.retired = key.retired.map(|(date, _)| (date, serial));
            key.signs_since = if key.phase == Phase::Signing { serial } else { key.signs_since };
        }
        next
    }

    fn next(&self) -> Self {
        let mut next = self.clone();
        next.mark.serial = next.mark.serial.saturating_add(1);
        next
    }

    fn turn(&mut self, version: u64, phase: Phase) {
        let serial = self.mark.serial;
        if let Some(key) = self.key_mut(version) {
            key.phase = phase;
            if phase == Phase::Signing {
                key.signs_since = serial;
                key.verify_until = None;
            }
        }
    }

    fn runs_out(&mut self, version: u64, last_token: Date, who: Who<'_>) {
        let Policy { max_token_ttl, leeway, grace, .. } = who.policy;
        let tokens = last_token + *max_token_ttl + *leeway;
        let until = tokens.max(who.now.latest() + *grace);
        if let Some(key) = self.key_mut(version) {
            key.verify_until = Some(until);
        }
    }

    fn retire(&mut self, version: u64, now: Date) {
        let serial = self.mark.serial;
        if let Some(key) = self.key_mut(version) {
            key.phase = Phase::Retired;
            key.retired = Some((now, serial));
        }
    }
}

impl Done {
    fn one(manifest: Manifest, version: u64) -> Self {
        Self { manifest, versions: vec![version], passed_over: Vec::new() }
    }
}

fn entry(key: NewKey, phase: Phase, policy: &Policy, now: Date) -> Entry {
    let NewKey { version, kid, public } = key;
    Entry {
        version,
        kid,
        public,
        phase,
        created_at: now,
        expires_at: now + policy.lifetime,
        signs_since: 0,
        verify_until: None,
        retired: None,
    }
}

fn unblocked(missing: Vec<Missing>) -> Result<(), Refused> {
    if missing.is_empty() { Ok(()) } else { Err(Refused::Blocked(missing)) }
}
