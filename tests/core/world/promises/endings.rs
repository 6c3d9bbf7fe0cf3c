//! Promise 5: how logins end.

use std::collections::BTreeSet;

use leasehold::agent::{Confirm, SecretPolicy};
use leasehold::lease::RoleId;
use leasehold::secret::Secret;
use leasehold::snapshot::SecretName;
use leasehold::time::Moment;

use super::SECOND;
use crate::world::{LATENCY, Lease, Life, World};

impl World {
    /// Promise 5: a login drains only when there is the evidence that the policy asks for.
    pub(in crate::world) fn check_evidence(&mut self, secret: &SecretName, hash: &str) {
        let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(secret) else { return };
        let given_up = policy.unconfirmed_after.is_some();
        let Some((id, lease)) = self.lease_by(hash) else { return };
        let uses = self.app.uses.get(secret);
        let told = || {
            let visible = self.visible.as_ref().and_then(|set| set.secrets.get(secret));
            let mut wanting = self.policy.targets.iter().filter(|(_, all)| all.contains(secret));
            wanting.all(|(target, _)| {
                visible.is_some_and(|value| {
                    self.told.get(&(target.clone(), secret.clone())) == Some(&value.version)
                })
            })
        };
        let evidence = match policy.confirm {
            Confirm::None => true,
            Confirm::Told => told(),
            Confirm::Moved => {
                told()
                    && !uses.is_some_and(|uses| uses.contains(&lease.role))
                    && self.counted_moved(secret, lease.role)
            }
        };
        if !evidence && !given_up {
            let id = id.clone();
            self.broke(format!("{id} drains with no evidence that the app has left it"));
        }
    }

    /// Promise 5: nobody ends a login that the app still uses, or that readers see.
    pub(in crate::world) fn check_ending(&mut self, id: &Secret, ending: bool) {
        let Some(lease) = self.vault.leases.get(id.expose()) else { return };
        let token = self.vault.tokens.get(self.session_of(&lease.token));
        let token = token.map(|token| token.expires);
        let ends = token.map_or(lease.life.expires, |end| end.min(lease.life.expires));
        // What is about to end by itself may be swept up; the agent counts from its request on.
        let over = ends <= self.now + 2 * LATENCY + self.ledger.slack;
        let retired = !self.policy.secrets.contains_key(&lease.secret);
        let dead = self.ledger.dead.contains(&lease.hash);
        // It lives on by a renewal that was never heard of, or was lost with its process.
        let taken_out = self.ledger.taken_out.contains(&lease.hash);
        let excused = over || retired || taken_out || dead || self.muddied(lease);
        if !ending || self.stopping || !lease.life.alive || excused {
            return;
        }
        let hash = lease.hash.clone();
        let given_up = self.unconfirmed.contains(&hash);
        let used = self.app.uses.get(&lease.secret).is_some_and(|uses| uses.contains(&lease.role));
        let seen = self.visible.as_ref().is_some_and(|set| {
            set.secrets.get(&lease.secret).is_some_and(|value| *value.version == *hash)
        });
        if (used && !given_up && !self.deadlines.contains_key(&hash)) || seen {
            self.broke(format!("{} is ended while it is in use", id.expose()));
        }
    }

    /// What Vault still knows is not lost, but for the moment that an answer may take.
    pub(in crate::world) fn check_lost(&mut self, hash: &str) {
        let soon = self.now + self.ledger.slack + 2 * SECOND;
        let Some((id, lease)) = self.lease_by(hash) else { return };
        // It dies with its child token, and with that above it.
        let lives = self.tokens_of(lease).all(|token| token.expires > soon);
        if lease.life.alive && lease.life.expires > soon && lives && !self.muddied(lease) {
            let id = id.clone();
            self.broke(format!("{id} is taken for lost and lives"));
        }
    }

    /// Promise 5: a login that drains has its whole grace.
    pub(in crate::world) fn check_grace(&mut self, id: &Secret, until: Moment) {
        let hash = self.hash_of(id);
        let lost = self.ledger.settled.contains(&hash);
        let deadline = self.deadlines.get(&hash).copied();
        if deadline.is_some_and(|deadline| until < deadline) && !self.stopping && !lost {
            self.broke(format!("{} ends before its grace", id.expose()));
        }
    }

    /// Promise 5: once Vault has answered the shortening it is Vault that ends the login.
    pub(in crate::world) fn check_shortened(&mut self, id: &str, asked: Moment) {
        let Some(lease) = self.vault.leases.get(id) else { return };
        let Some(deadline) = self.deadlines.get(&lease.hash).copied() else { return };
        let latest = deadline.max(asked) + SECOND + self.now.since(asked);
        if lease.life.alive && !lease.life.muddied && lease.life.expires > latest {
            self.broke(format!("{id} is shortened and outlives its grace"));
        }
    }

    /// Promise 5: the sessions that were really counted last.
    pub(in crate::world) fn counted_moved(&self, secret: &SecretName, old: RoleId) -> bool {
        self.ledger.counted.get(secret).is_some_and(|sessions| {
            sessions.get(&old).copied() == Some(0)
                && sessions.iter().any(|(role, count)| *role != old && *count > 0)
        })
    }

    /// The token that `lease` is under, and the one above that.
    pub(in crate::world) fn tokens_of<'a>(
        &'a self,
        lease: &'a Lease,
    ) -> impl Iterator<Item = &'a Life> {
        let names = BTreeSet::from([&*lease.token, self.session_of(&lease.token)]);
        names.into_iter().filter_map(|name| self.vault.tokens.get(name))
    }

    /// Whether the agent cannot know when it ends.
    pub(in crate::world) fn muddied(&self, lease: &Lease) -> bool {
        lease.life.muddied || self.tokens_of(lease).any(|token| token.muddied)
    }

    /// The session's token that `token` is, or is a child of.
    pub(in crate::world) fn session_of<'a>(&'a self, token: &'a str) -> &'a str {
        self.vault.parents.get(token).map_or(token, |parent| parent)
    }

    /// Ends the visible login as no agent may.
    pub fn break_on_purpose(&mut self) {
        let visible = self.visible.as_ref().expect("something is visible");
        let version = visible.secrets["db"].version.clone();
        let (id, _) = self.lease_by(&version).expect("a lease");
        let id = Secret::new(id.clone());
        self.check_ending(&id, true);
    }
}
