//! A new login is proved before it is published: it logs in to its database. Its role is learned by
//! the way, for the count of its sessions.

use std::time::Duration;

use super::{Candidate, Leased, REFUSALS, Surroundings, Trial};
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::RoleId;
use crate::lease::machine::Lease;
use crate::lease::schedule;
use crate::snapshot::Version;
use crate::time::Moment;

impl Leased {
    /// The database took the login, which is all that a publish waits for. What its role is comes
    /// later, by [`Leased::probed`].
    pub fn accepted(&mut self, cx: &mut Context, op: Op) {
        let Some(trial) = self.probe.as_mut().filter(|it| it.op == op && !it.accepted) else {
            return;
        };
        trial.accepted = true;
        let tried = trial.lease.clone();
        self.proved(cx, &tried);
    }

    /// Takes the answer to a probe.
    pub fn probed(&mut self, cx: &mut Context, op: Op, result: Result<RoleId, Failure>) {
        let Some(Trial { lease: tried, accepted, .. }) = self.probe.take_if(|it| it.op == op)
        else {
            return;
        };
        match result {
            Ok(role) => {
                let is_tried = |lease: &&mut Lease| *lease.version() == tried;
                if let Some(lease) = self.kept.leases_mut().find(is_tried) {
                    lease.role = Some(role);
                    cx.dirty();
                }
                if accepted {
                    self.failing &= !self.is_current(&tried);
                } else {
                    self.proved(cx, &tried);
                }
            }
            // It has been replaced, and says nothing of the one that is to be tried now.
            Err(failure) if self.to_probe().is_none_or(|lease| *lease.version() != tried) => {
                cx.record(Record::ProbeFailed { secret: self.name.clone(), failure });
            }
            Err(failure) if failure.class == Class::Denied => self.refused(cx, &tried, failure),
            Err(failure) => {
                self.refusals = 0;
                let left = self.expires(cx.now).map(|end| cx.now.until(end));
                cx.back_off(&mut self.probe_retry, left, &failure);
                self.failing = true;
                cx.record(Record::ProbeFailed { secret: self.name.clone(), failure });
            }
        }
    }

    fn proved(&mut self, cx: &mut Context, tried: &Version) {
        self.failing &= !self.is_current(tried);
        if let Some(new) = &mut self.kept.candidate {
            new.accepted |= new.lease.version() == tried;
        }
        let (secret, lease) = (self.name.clone(), tried.to_string());
        cx.record(Record::CredentialProved { secret, lease });
    }

    /// The database says that it is no login of its.
    fn refused(&mut self, cx: &mut Context, tried: &Version, failure: Failure) {
        let secret = self.name.clone();
        self.refusals += 1;
        self.probe_retry.failed(cx.now, Duration::from_secs(1));
        if self.refusals < REFUSALS {
            return;
        }
        let lease = tried.to_string();
        let denied = |new: &mut Candidate| new.lease.version() == tried && !new.unproved;
        if let Some(new) = self.kept.candidate.take_if(denied) {
            let left = self.expires(cx.now).map(|end| cx.now.until(end));
            cx.back_off(&mut self.issue_retry, left, &failure);
            cx.record(Record::CredentialRefused { secret, lease, failure });
            self.failing = true;
            self.leave(cx, new.lease, true);
        } else if let Some(current) = &mut self.kept.current
            && current.version() == tried
        {
            // It was published unproved.
            current.lost = true;
            self.failing = true;
            cx.dirty();
            cx.record(Record::CredentialRefused { secret, lease, failure });
        }
    }

    fn is_current(&self, tried: &Version) -> bool {
        self.kept.current.as_ref().is_some_and(|current| current.version() == tried)
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
            && let Some(tried) = self.to_probe()
            && let Some(credential) = tried.grant.login().cloned()
        {
            let lease = tried.version().clone();
            let op = cx.op();
            self.probe = Some(Trial { op, lease, accepted: false });
            cx.push(Command::Probe { op, secret: self.name.clone(), credential });
        }
    }
}
