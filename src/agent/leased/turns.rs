//! What answers and the time mean for the leases: records for the operator, and leases that go.

use std::time::Duration;

use super::ledger::Spent;
use super::{Leased, Surroundings};
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::agent::session::SessionId;
use crate::audit::event::Record;
use crate::error::Failure;
use crate::lease::LeaseTerm;
use crate::lease::machine::{Lease, Turn};
use crate::lease::schedule;
use crate::time::Moment;

impl Leased {
    /// Sends what is due for each lease.
    pub(super) fn step_leases(&mut self, cx: &mut Context, around: &Surroundings) {
        let token = around.session.token().map(|(_, token)| token);
        let lookup = self.policy.lookup;
        let visible = self.kept.current.as_ref().map(|lease| lease.version().clone());
        let mut turns = Vec::new();
        for lease in self.kept.leases_mut() {
            let measure = visible.as_ref() == Some(lease.version()) && !around.stopping;
            let turn = lease.step(cx, token, measure, lookup);
            if turn != Turn::Quiet {
                turns.push((turn, Facts::of(lease, cx.now)));
            }
        }
        for (turn, facts) in turns {
            self.took(cx, turn, facts);
        }
    }

    /// Takes the answer to a renewal or lookup.
    pub fn lease_seen(
        &mut self,
        cx: &mut Context,
        op: Op,
        sent: Moment,
        result: Result<LeaseTerm, Failure>,
    ) {
        let Some(lease) = self.kept.leases_mut().find(|lease| lease.waits_for(op)) else { return };
        let turn = lease.seen(cx, sent, result, self.policy.lookup);
        let facts = Facts::of(lease, cx.now);
        self.took(cx, turn, facts);
    }

    /// Takes the answer to a revocation.
    pub fn lease_revoked(&mut self, cx: &mut Context, op: Op, result: Result<(), Failure>) {
        let Some(lease) = self.kept.leases_mut().find(|lease| lease.waits_for(op)) else { return };
        let turn = lease.revoked(cx, result);
        let facts = Facts::of(lease, cx.now);
        self.took(cx, turn, facts);
    }

    /// Draws the consequences of a turn and tells the operator.
    fn took(&mut self, cx: &mut Context, turn: Turn, facts: Facts) {
        let (secret, lease) = (self.name.clone(), facts.hash);
        let visible = self.kept.current.as_ref().is_some_and(|current| current.hash() == lease);
        match turn {
            Turn::Quiet => {}
            Turn::Renewed(ttl) => {
                self.failing &= !visible;
                cx.record(Record::LeaseRenewed { secret, lease, ttl });
            }
            Turn::RenewalFailed(failure) => {
                self.failing |= visible;
                let remaining = facts.remaining;
                cx.record(Record::RenewalFailed { secret, lease, failure, remaining });
            }
            Turn::LookFailed(failure) => {
                cx.record(Record::LookupFailed { secret, lease, failure });
            }
            Turn::Learned(remaining) => {
                cx.record(Record::MaximumLearned { secret, lease, remaining });
                let fits =
                    schedule::grace_within(remaining, self.confirm_allowance(), self.policy.grace);
                self.check_grace(cx, fits);
            }
            Turn::Unlearnable(failure) => {
                cx.record(Record::MaximumUnknown { secret, lease, failure });
                let fits =
                    schedule::grace_blind(facts.term, self.confirm_allowance(), self.policy.grace);
                self.check_grace(cx, fits);
            }
            Turn::Lost(cause) => {
                let leaving = !visible && !self.is_candidate(&lease);
                if !leaving {
                    self.failing |= visible;
                    cx.record(Record::LeaseLost { secret, lease, cause });
                } else if !self.ask_once_more(cx, &lease, facts.remaining) {
                    cx.record(Record::LeaseEnded { secret, lease: lease.clone() });
                    self.forget(cx, &lease);
                }
                self.drop_lost_candidate(cx);
            }
            Turn::Short(missing) => cx.record(Record::GraceViolated { secret, lease, missing }),
            Turn::DrainFailed(failure) => {
                cx.record(Record::DrainFailed { secret, lease, failure });
            }
            Turn::Ended => {
                self.forget(cx, &lease);
                cx.record(Record::LeaseEnded { secret, lease });
            }
            Turn::EndFailed(failure) => cx.record(Record::EndFailed { secret, lease, failure }),
            Turn::ChildEnds(failure) => {
                self.childless = true;
                cx.record(Record::NoChildTokens { failure });
            }
            Turn::RevokeDenied(failure) => {
                cx.record(Record::RevokeDenied { secret, lease, failure });
            }
        }
    }

    /// A lease that leaves ran out by our count: a renewal whose answer was lost may have carried
    /// it further, so Vault is asked before it is forgotten and its child token is ended.
    fn ask_once_more(&mut self, cx: &mut Context, hash: &str, remaining: Duration) -> bool {
        let mut leaving = self.kept.leaving.iter_mut().map(|old| &mut old.lease);
        let found = leaving.find(|lease| lease.hash() == hash);
        let Some(lease) = found.filter(|_| remaining.is_zero()) else { return false };
        lease.fade(cx);
        true
    }

    /// A lease is over, and so is the child token that it lived under.
    fn forget(&mut self, cx: &mut Context, hash: &str) {
        let current = self.kept.current.take_if(|current| current.hash() == hash);
        let leaving = self.kept.leaving.extract_if(.., |old| old.lease.hash() == hash);
        let over: Vec<Lease> = current.into_iter().chain(leaving.map(|old| old.lease)).collect();
        let children = over.into_iter().filter_map(|lease| lease.child);
        self.kept.spent.extend(children.filter(|child| child.lasting).map(Spent::new));
        cx.dirty();
    }

    fn check_grace(&self, cx: &mut Context, fits: Duration) {
        if fits < self.policy.grace {
            cx.record(Record::GraceCut { secret: self.name.clone(), grace: fits });
        }
    }

    fn is_candidate(&self, hash: &str) -> bool {
        self.kept.candidate.as_ref().is_some_and(|new| new.lease.hash() == hash)
    }

    pub(super) fn drop_lost_candidate(&mut self, cx: &mut Context) {
        if let Some(new) = self.kept.candidate.take_if(|new| new.lease.lost) {
            self.probe = None;
            self.leave(cx, new.lease, true);
        }
    }

    /// Every lease under session `id` died with it.
    pub fn session_died(&mut self, cx: &mut Context, id: SessionId) {
        let secret = self.name.clone();
        for lease in self.kept.leases_mut().filter(|lease| lease.session == id && !lease.lost) {
            lease.lost = true;
            lease.child = None;
            let cause = "its token is no longer one".to_owned();
            cx.record(Record::LeaseLost { secret: secret.clone(), lease: lease.hash(), cause });
            cx.dirty();
        }
        self.children_died(id);
        for old in self.kept.leaving.iter_mut().filter(|old| old.lease.lost) {
            if old.lease.kept() && cx.now < old.lease.expires {
                old.lease.doubt(cx);
            } else {
                old.lease.fade(cx);
            }
        }
        self.drop_lost_candidate(cx);
    }
}

/// What a record needs of a lease.
struct Facts {
    hash: String,
    remaining: Duration,
    term: Duration,
}

impl Facts {
    fn of(lease: &Lease, now: Moment) -> Self {
        Self { hash: lease.hash(), remaining: now.until(lease.expires), term: lease.grant.duration }
    }
}
