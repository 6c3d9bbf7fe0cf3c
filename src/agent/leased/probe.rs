//! A new login is proved before it is published: it logs in to its database.

use std::time::Duration;

use super::{Leased, REFUSALS, Surroundings};
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::RoleId;
use crate::lease::machine::Lease;
use crate::lease::schedule;
use crate::time::Moment;

impl Leased {
    /// Takes the answer to a probe.
    pub fn probed(&mut self, cx: &mut Context, op: Op, result: Result<RoleId, Failure>) {
        if self.probe != Some(op) {
            return;
        }
        self.probe = None;
        let secret = self.name.clone();
        match (result, &mut self.kept.candidate, &mut self.kept.current) {
            (Ok(role), Some(new), _) => {
                let lease = new.lease.hash();
                new.lease.role = Some(role);
                cx.dirty();
                cx.record(Record::CredentialProved { secret, lease });
            }
            (Ok(role), None, Some(current)) => {
                current.role = Some(role);
                self.failing = false;
                let lease = current.hash();
                cx.dirty();
                cx.record(Record::CredentialProved { secret, lease });
            }
            (Ok(_), None, None) => {}
            (Err(failure), Some(new), _) if failure.class == Class::Denied => {
                self.refusals += 1;
                self.probe_retry.failed(cx.now, Duration::from_secs(1));
                if self.refusals >= REFUSALS && !new.unproved {
                    let lease = new.lease.hash();
                    let left = self.expires(cx.now).map(|end| cx.now.until(end));
                    cx.back_off(&mut self.issue_retry, left, &failure);
                    cx.record(Record::CredentialRefused { secret, lease, failure });
                    self.failing = true;
                    if let Some(new) = self.kept.candidate.take() {
                        self.leave(cx, new.lease, true);
                    }
                }
            }
            (Err(failure), None, Some(current)) if failure.class == Class::Denied => {
                // It was published unproved, and is no login.
                self.refusals += 1;
                self.probe_retry.failed(cx.now, Duration::from_secs(1));
                if self.refusals >= REFUSALS {
                    current.lost = true;
                    self.failing = true;
                    let lease = current.hash();
                    cx.dirty();
                    cx.record(Record::CredentialRefused { secret, lease, failure });
                }
            }
            (Err(failure), ..) => {
                self.refusals = 0;
                let left = self.expires(cx.now).map(|end| cx.now.until(end));
                cx.back_off(&mut self.probe_retry, left, &failure);
                self.failing = true;
                cx.record(Record::ProbeFailed { secret, failure });
            }
        }
    }

    /// The login to probe: the candidate's, or that of a current lease published unproved.
    pub(super) fn to_probe(&self) -> Option<&Lease> {
        self.policy.connection.as_ref()?;
        let lease = match (&self.kept.candidate, &self.kept.current) {
            (Some(new), _) => (!self.ready(new)).then_some(&new.lease),
            (None, Some(current)) => (current.role.is_none() && !current.lost).then_some(current),
            (None, None) => None,
        };
        // One of a source that gave no logins is replaced, not proved.
        lease.filter(|lease| lease.grant.login().is_some())
    }

    pub(super) fn probe_at(&self) -> Option<Moment> {
        let due = self.probe_retry.not_before(Moment::from_micros(0));
        (self.probe.is_none() && self.to_probe().is_some()).then_some(due)
    }

    /// When an unproved candidate is published all the same, since the visible login is about to
    /// end.
    pub(super) fn unproved_at(&self, around: &Surroundings) -> Option<Moment> {
        let waiting = self.kept.candidate.as_ref().is_some_and(|new| !self.ready(new));
        let current = self.kept.current.as_ref()?;
        let unreachable = self.refusals == 0 && self.probe_retry.attempt > 0;
        let with_token = around.session.end_of(current.session).unwrap_or(current.expires);
        let late = schedule::give_up_at(current.expires.min(with_token), current.term);
        (waiting && unreachable).then_some(if current.lost { Moment::from_micros(0) } else { late })
    }

    pub(super) fn step_probe(&mut self, cx: &mut Context, around: &Surroundings) {
        if self.unproved_at(around).is_some_and(|at| at <= cx.now)
            && let Some(new) = &mut self.kept.candidate
        {
            new.unproved = true;
            let lease = new.lease.hash();
            cx.record(Record::PublishedUnproved { secret: self.name.clone(), lease });
            cx.dirty();
        }
        if self.probe_at().is_some_and(|at| at <= cx.now)
            && let Some(credential) = self.to_probe().and_then(|lease| lease.grant.login()).cloned()
        {
            let op = cx.op();
            self.probe = Some(op);
            cx.push(Command::Probe { op, secret: self.name.clone(), credential });
        }
    }
}
