//! What a run may ask at its end, and how long runs stay quick.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold::agent::SecretPolicy;
use leasehold::snapshot::SecretName;
use leasehold::time::Moment;

use super::{SECOND, token_is_child};
use crate::world::{Lease, World};

impl World {
    /// Leases that nobody read of and that live all the same, though their child token could end
    /// them, or their session was to be let go: it is the newest, or has no other lease.
    pub fn haunting(&self) -> Vec<String> {
        let orphan = |id: &String| self.ledger.orphans.contains(id);
        let shared = |token: &str| {
            let mut known = self.vault.leases.iter().filter(|(id, _)| !orphan(id));
            known.any(|(_, lease)| lease.life.alive && self.session_of(&lease.token) == token)
        };
        let sessions = self.vault.tokens.iter();
        let sessions = sessions.filter(|(name, _)| !self.vault.parents.contains_key(*name));
        let newest = sessions.max_by_key(|(_, life)| life.born).map(|(name, _)| name);
        let leases = self.vault.leases.iter().filter(|(id, lease)| {
            let kept = newest == Some(&lease.token) || !shared(&lease.token);
            let undone = self.ledger.undone.contains(*id) && kept;
            lease.life.alive && orphan(id) && (token_is_child(self, lease) || undone)
        });
        leases.map(|(id, _)| id.clone()).collect()
    }

    /// Leases that live though nobody should have them any more.
    pub fn left_over(&self) -> Vec<String> {
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        alive.map(|(id, _)| id).filter(|id| !self.ledger.orphans.contains(*id)).cloned().collect()
    }

    /// Leases that live past the deadline of their drain by more than `slack`.
    pub fn overdue(&self, slack: Duration) -> Vec<String> {
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        let late = |lease: &Lease| {
            self.deadlines.get(&lease.hash).is_some_and(|deadline| *deadline + slack < self.now)
        };
        alive.filter(|(_, lease)| late(lease)).map(|(id, _)| id.clone()).collect()
    }

    /// Leases that drain.
    pub fn draining_now(&self) -> BTreeSet<String> {
        let drains = |lease: &Lease| {
            self.deadlines.get(&lease.hash).is_some_and(|deadline| *deadline > self.now)
        };
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        alive.filter(|(_, lease)| drains(lease)).map(|(id, _)| id.clone()).collect()
    }

    /// Leases that a stop at `stopped` let live longer than their grace.
    pub fn living_past(&self, stopped: Moment) -> Vec<String> {
        let late = |lease: &Lease| {
            let grace = match self.policy.secrets.get(&lease.secret) {
                Some(SecretPolicy::Leased(policy)) => policy.grace,
                // Only the agent's state still says.
                _ => Duration::from_secs(900),
            };
            lease.life.expires > stopped + grace + 3 * SECOND
        };
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        let alive = alive.filter(|(id, lease)| !self.ledger.orphans.contains(*id) && late(lease));
        alive.map(|(id, _)| id.clone()).collect()
    }

    /// Targets that do not know what is visible of their secrets.
    pub fn untold(&self) -> Vec<String> {
        let Some(visible) = &self.visible else { return Vec::new() };
        let pairs = self.policy.targets.iter().flat_map(|(target, secrets)| {
            secrets.iter().map(move |secret| (target.clone(), secret.clone()))
        });
        pairs
            .filter(|(target, secret)| {
                visible.secrets.get(secret).is_some_and(|value| {
                    self.told.get(&(target.clone(), secret.clone())) != Some(&value.version)
                })
            })
            .map(|(target, secret)| format!("{target}/{secret}"))
            .collect()
    }

    /// Secrets but `sick` whose visible login does not work.
    pub fn held_back(&self, sick: &SecretName) -> Vec<SecretName> {
        let Some(visible) = &self.visible else { return Vec::new() };
        let others = visible.secrets.iter().filter(|(name, _)| *name != sick);
        let dead = others.filter(|(name, value)| !self.is_alive(name, value));
        dead.map(|(name, _)| name.clone()).collect()
    }

    /// The app is down: none of its sessions is left.
    pub fn app_gone(&mut self) {
        self.app.uses.values_mut().for_each(BTreeSet::clear);
    }

    /// The app runs, with what is visible.
    pub fn app_back(&mut self) {
        let Some(visible) = self.visible.clone() else { return };
        for (name, value) in &visible.secrets {
            if let Some(role) = self.lease_by(&value.version).map(|(_, lease)| lease.role) {
                self.app.uses.insert(name.clone(), BTreeSet::from([role]));
            }
        }
    }

    /// Forgets what has long been over, so that long runs stay quick.
    pub fn prune(&mut self) {
        let now = self.now;
        let over = |alive: bool, expires: Moment| !alive && now.since(expires) > 600 * SECOND;
        self.vault.leases.retain(|_, lease| !over(lease.life.alive, lease.life.expires));
        let used: BTreeSet<String> =
            self.vault.leases.values().map(|lease| lease.token.clone()).collect();
        self.vault.tokens.retain(|name, token| token.alive || used.contains(name));
        let tokens = &self.vault.tokens;
        self.vault.parents.retain(|name, _| tokens.contains_key(name));
        self.records.clear();
        if self.vault.issues.len() > 100 {
            self.vault.issues.drain(..60);
        }
    }
}
