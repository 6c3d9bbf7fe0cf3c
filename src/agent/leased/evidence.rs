//! Whether the app has left an old login, and what follows: it drains, or is kept to its own end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Leased, Leaving, SAMPLES, Surroundings};
use crate::agent::Confirm;
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::audit::event::Record;
use crate::error::Failure;
use crate::lease::RoleId;
use crate::lease::schedule;
use crate::time::Moment;

impl Leased {
    /// Takes a count of sessions.
    pub fn counted(
        &mut self,
        cx: &mut Context,
        op: Op,
        result: Result<Vec<BTreeMap<RoleId, u64>>, Failure>,
    ) {
        if self.count != Some(op) {
            return;
        }
        self.count = None;
        let new = self.kept.current.as_ref().and_then(|lease| lease.role);
        let hosts = match result {
            Ok(hosts) => hosts,
            Err(failure) => {
                cx.record(Record::CountFailed { secret: self.name.clone(), failure });
                Vec::new()
            }
        };
        // Nothing is known of a role that was not asked about on every host.
        let sessions = |role: Option<RoleId>| -> Option<u64> {
            role.and_then(|role| hosts.iter().map(|host| host.get(&role).copied()).sum())
        };
        let used = |role: Option<RoleId>| sessions(role).is_some_and(|count| count > 0);
        let mut arrived = used(new);
        let mut promising = false;
        let mut oldest = cx.now;
        // Newest first: an app that has moved to any login after an old one has left the old one.
        for old in self.kept.leaving.iter_mut().rev() {
            let moved = arrived && sessions(old.lease.role) == Some(0);
            let streak = if moved { old.streak + 1 } else { 0 };
            if streak != old.streak {
                old.streak = streak;
                cx.dirty();
            }
            promising |= moved && old.streak < SAMPLES;
            arrived |= used(old.lease.role);
            if old.lease.kept() {
                oldest = oldest.min(old.since);
            }
        }
        self.kept.count_at = Some(cx.now + schedule::count_after(cx.now.since(oldest), promising));
    }

    /// All have been told now: what was counted before that is no evidence.
    pub fn count_anew(&mut self, cx: &mut Context) {
        for old in self.kept.leaving.iter_mut().filter(|old| old.streak > 0) {
            old.streak = 0;
            self.kept.count_at = None;
            cx.dirty();
        }
    }

    pub(super) fn wants_count(&self) -> Option<Moment> {
        let wanted = self.policy.confirm == Confirm::Moved
            && self.count.is_none()
            && self.kept.current.as_ref().is_some_and(|lease| lease.role.is_some())
            && self.kept.leaving.iter().any(|old| old.lease.kept() && old.lease.role.is_some());
        wanted.then(|| self.kept.count_at.unwrap_or(Moment::from_micros(0)))
    }

    pub(super) fn evidence(&self, old: &Leaving, around: &Surroundings) -> bool {
        match self.policy.confirm {
            Confirm::None => true,
            Confirm::Told => around.told,
            // Several may share the login, and one that has no session just now be still to move.
            Confirm::Moved => around.told && old.streak >= SAMPLES,
        }
    }

    /// When the lack of evidence is reported: 30 s before the old login runs out; for a short one,
    /// a tenth of its life before.
    pub(super) fn unconfirmed_at(&self, old: &Leaving) -> Option<Moment> {
        let end = old.lease.end()?;
        let life = end.since(old.lease.issued);
        let margin = schedule::portion(life, 0.1).min(Duration::from_secs(30));
        (!old.told_unconfirmed && old.lease.kept()).then(|| end - margin)
    }

    pub(super) fn given_up_at(&self, old: &Leaving) -> Option<Moment> {
        let after = self.policy.unconfirmed_after?;
        old.lease.kept().then(|| old.since + after)
    }

    pub(super) fn step_leaving(&mut self, cx: &mut Context, around: &Surroundings) {
        let secret = self.name.clone();
        let mut leaving = std::mem::take(&mut self.kept.leaving);
        for old in leaving.iter_mut().filter(|old| old.lease.kept()) {
            let lease = old.lease.hash();
            let moved = self.evidence(old, around);
            let given_up = self.given_up_at(old).is_some_and(|at| at <= cx.now);
            let ending = self.unconfirmed_at(old).is_some_and(|at| at <= cx.now);
            if moved {
                let after = cx.now.since(old.since);
                self.kept.moved_in = Some(after);
                cx.record(Record::Confirmed {
                    secret: secret.clone(),
                    lease: lease.clone(),
                    after,
                });
            } else if (given_up || ending) && !old.told_unconfirmed {
                old.told_unconfirmed = true;
                cx.dirty();
                let remaining = cx.now.until(old.lease.end().unwrap_or(old.lease.expires));
                let record =
                    Record::Unconfirmed { secret: secret.clone(), lease: lease.clone(), remaining };
                cx.record(record);
            }
            if moved || given_up {
                let grace = self.policy.grace;
                old.lease.drain(cx, cx.now + grace, false);
                cx.record(Record::Draining { secret: secret.clone(), lease, grace });
            }
        }
        self.kept.leaving = leaving;
    }

    pub(super) fn step_count(&mut self, cx: &mut Context) {
        if self.wants_count().is_none_or(|at| at > cx.now) {
            return;
        }
        let Some(current) = &self.kept.current else { return };
        let Some(credential) = current.grant.login().cloned() else { return };
        let waiting = self.kept.leaving.iter().filter(|old| old.lease.kept());
        let roles = waiting.filter_map(|old| old.lease.role).chain(current.role).collect();
        let op = cx.op();
        self.count = Some(op);
        cx.push(Command::Count { op, secret: self.name.clone(), credential, roles });
    }
}
