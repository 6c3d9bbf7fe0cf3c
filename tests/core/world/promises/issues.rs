//! Promises 6 and 7: when logins are made, and how many.

use std::time::Duration;

use leasehold::agent::SecretPolicy;
use leasehold::secret::Secret;
use leasehold::snapshot::SecretName;
use leasehold::time::Moment;

use super::{Kind, SECOND, token_is_child};
use crate::world::{Lease, World};

impl World {
    /// Vault made a lease.
    pub(in crate::world) fn granted(&mut self, id: &str, lease: &Lease) {
        self.ledger.orphans.insert(id.to_owned());
        let secret = lease.secret.clone();
        if !self.ledger.late {
            self.ledger.unreported.insert(id.to_owned(), secret.clone());
        }
        if let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(&secret) {
            self.ledger.sources.insert(lease.hash.clone(), policy.source.clone());
        }
        let (ttl, _) = self.term_of(&secret);
        self.spend(&secret, ttl);
    }

    /// Vault made one more of `secret`, which lives for `term`. Promise 7: five at once, then one each
    /// quarter of a term.
    pub(in crate::world) fn spend(&mut self, secret: &SecretName, term: Duration) {
        let interval = (term / 4).clamp(SECOND, 600 * SECOND);
        // The agent counts from the answers, which come one by one.
        let full = 6.0;
        let now = self.now;
        let (left, counted) = self.ledger.buckets.entry(secret.clone()).or_insert((full, now));
        let back = (now.since(*counted) + self.ledger.slack).as_secs_f64() / interval.as_secs_f64();
        *left = (*left + back).min(full) - 1.0;
        *counted = now + self.ledger.slack;
        if *left < 0.0 {
            *left = full;
            self.broke(format!("{secret} makes more than its budget allows"));
        }
    }

    /// Promise 7: no certificate is made while the visible one has more than a third of its life left.
    pub(in crate::world) fn check_make(&mut self, secret: &SecretName) {
        let visible = self.visible.as_ref().and_then(|set| set.secrets.get(secret));
        let Some(it) = visible.and_then(|value| self.certificate_of(&value.version)) else {
            return;
        };
        let due = it.born + it.ends.since(it.born).mul_f64(2.0 / 3.0);
        let same = self.polled(secret).is_some_and(|policy| policy.source == it.source);
        if same && self.now < due - Duration::from_millis(1) {
            self.broke(format!("{secret} gets another certificate though the visible one is good"));
        }
    }

    /// Promises 6 and 7: a login is asked for when there is none, or its time has come, and one at
    /// a time.
    pub(in crate::world) fn check_need(&mut self, secret: &SecretName, token: &Secret) {
        let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(secret).cloned() else {
            return self.broke(format!("{secret} is not in the policy and gets a login"));
        };
        if self.ledger.let_go.contains(token.expose()) {
            return self.broke(format!("{secret} is asked for under a token that is to be let go"));
        }
        let known = |hash: &str| {
            let from = self.ledger.sources.get(hash);
            !self.ledger.settled.contains(hash) && from.is_some_and(|from| *from == policy.source)
        };
        let shown = self.ledger.shown.get(secret);
        let soon = self.now + self.ledger.slack + 2 * SECOND;
        let waiting = self.vault.leases.iter().find(|(id, lease)| {
            lease.secret == *secret
                && lease.life.alive
                && lease.life.expires > soon
                && !self.muddied(lease)
                && self.session_of(&lease.token) == self.session_of(token.expose())
                && !self.ledger.orphans.contains(*id)
                && known(&lease.hash)
                && !shown.is_some_and(|shown| shown.contains(&*lease.hash))
        });
        if let Some((id, _)) = waiting {
            let id = id.clone();
            return self.broke(format!("{secret} gets a second login while {id} waits"));
        }
        let visible = self.visible.as_ref().and_then(|set| set.secrets.get(secret));
        let Some((id, lease)) = visible.and_then(|value| self.lease_by(&value.version)) else {
            return;
        };
        let child = self.vault.tokens.get(&lease.token).filter(|_| token_is_child(self, lease));
        // A child token that could not be made to last takes its lease along.
        let fleeting = child.is_some_and(|child| Some(child.expires) < lease.life.end);
        // Whether it was made to last is not heard of yet.
        let uncertain = self.ledger.busy.contains(&(Kind::Token, lease.token.clone()));
        let good = lease.life.alive
            && !fleeting
            && !uncertain
            && !self.muddied(lease)
            && !self.ledger.busy.contains(&(Kind::Lease, id.clone()))
            && self.session_of(&lease.token) == self.session_of(token.expose())
            && known(&lease.hash);
        if good && self.now < self.wanted_at(secret, lease) {
            let id = id.clone();
            self.broke(format!("{secret} gets a new login though {id} is good"));
        }
    }

    /// The earliest moment that a good login may be replaced.
    pub(in crate::world) fn wanted_at(&self, secret: &SecretName, lease: &Lease) -> Moment {
        let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(secret) else {
            return self.now;
        };
        let (ttl, _) = self.term_of(secret);
        let born = lease.life.born;
        let token = self.vault.tokens.get(self.session_of(&lease.token));
        let token = token.and_then(|token| token.end);
        let end = [lease.life.end, token].into_iter().flatten().min().unwrap_or(lease.life.expires);
        let moved = self.ledger.moved_in.get(secret).copied().unwrap_or_default();
        let overlap = SECOND + (moved + moved / 2).max(8 * SECOND) + policy.grace;
        let ahead = overlap.max(ttl / 5) + ttl / 20;
        let due = (end - ahead).max(born + end.since(born) / 3);
        // One that was measured lives as long as it can, and a tenth of that is its last chance.
        let term = ttl.max(lease.life.expires.since(self.now));
        let late = lease.life.expires - (term / 10).max(SECOND);
        let aged = policy.rotate_every.map(|every| born + every - every / 20);
        let first = [Some(due), Some(late), aged].into_iter().flatten().min().unwrap_or(due);
        first - self.ledger.slack - 2 * SECOND
    }

    /// Promise 7: never more than five issues at once, and one for each quarter of a lease.
    pub(in crate::world) fn check_budget(&mut self) {
        if !self.vault.roles.is_empty() {
            // Terms differ; the ledger counts for each secret.
            return;
        }
        let interval = (self.vault.ttl / 4).clamp(Duration::from_secs(1), Duration::from_secs(600));
        let leased = self.policy.secrets.len().max(1);
        let recent = self.vault.issues.len().saturating_sub(40);
        for (i, first) in self.vault.issues.iter().enumerate().skip(recent) {
            for (n, last) in self.vault.issues.iter().enumerate().skip(i) {
                let back = last.since(*first).as_micros() / interval.as_micros();
                if (n - i + 1) > (5 + back as usize + 1) * leased {
                    self.broke(format!("{} issues in {:?}", n - i + 1, last.since(*first)));
                    return;
                }
            }
        }
    }
}
