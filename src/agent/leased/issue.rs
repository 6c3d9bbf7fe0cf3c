//! When a new lease is asked for, and what becomes of the answer.
//!
//! The issue is in the state before it is sent, within a budget that survives a crash loop.

use super::{Candidate, Intent, Issuing, Leased, RESERVE, Surroundings, Undoing};
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::{Op, Token};
use crate::agent::session::SessionId;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::machine::Lease;
use crate::lease::schedule::{self, Retry};
use crate::lease::{ChildToken, Grant};
use crate::secret::Secret;
use crate::time::Moment;

impl Leased {
    /// When the current lease must be replaced for the login to go on working.
    pub(super) fn must_replace_at(&self, session: SessionId) -> Moment {
        let at_once = Moment::from_micros(0);
        let Some(lease) = &self.kept.current else { return at_once };
        if lease.lost || lease.session != session || lease.source != self.policy.source {
            return at_once;
        }
        let term = lease.grant.duration;
        let last_chance = lease.last_chance();
        lease.end().map_or(last_chance, |end| {
            schedule::replace_at(lease.issued, end, term, self.overlap(), lease.spread)
                .min(last_chance)
        })
    }

    /// When the current lease is to be replaced for its age.
    pub(super) fn rotate_at(&self) -> Option<Moment> {
        let lease = self.kept.current.as_ref()?;
        let every = self.policy.rotate_every?;
        Some(schedule::rotate_at(lease.issued, every, lease.spread))
    }

    /// When a new lease should be asked for, where one may be.
    pub fn issue_at(&self, now: Moment, around: &Surroundings) -> Option<Moment> {
        let (session, _) = around.session.token()?;
        let idle = self.kept.candidate.is_none() && self.issuing.is_none();
        (around.may_issue && idle && !around.session.awaits_successor()).then(|| {
            let budget = &self.kept.budget;
            let must = self.must_replace_at(session).max(budget.next(now, 0));
            let rotate = self.rotate_at().map(|at| at.max(budget.next(now, RESERVE)));
            self.issue_retry.not_before(rotate.map_or(must, |at| at.min(must)))
        })
    }

    /// Asks for a new lease.
    pub fn issue(
        &mut self,
        cx: &mut Context,
        (session, token): (SessionId, &Secret),
        undoing: Undoing,
    ) {
        self.kept.asked_at = Some(cx.now);
        if undoing == Undoing::Child && !self.childless {
            let op = cx.op();
            let source = self.policy.source.clone();
            self.issuing = Some(Issuing { op, source, session, child: None });
            cx.push(Command::CreateToken {
                op,
                secret: self.name.clone(),
                token: token.clone(),
                term: schedule::CHILD_TERM,
            });
        } else {
            let ends_with = (undoing == Undoing::Session).then_some(session);
            self.send_issue(cx, session, None, ends_with, token.clone());
        }
    }

    /// Asks for the lease under `token`; `usable`: as for [`Leased::issued`].
    pub fn issue_under(
        &mut self,
        cx: &mut Context,
        sent: Moment,
        token: Token,
        usable: impl FnOnce(SessionId) -> bool,
    ) {
        let Some(Issuing { session, .. }) = self.issuing.take() else { return };
        if usable(session) {
            let expires = token.term.ttl.map(|ttl| sent + ttl);
            let lasting = expires.is_none();
            let child = ChildToken { token: token.secret.clone(), session, expires, lasting };
            self.send_issue(cx, session, Some(child), None, token.secret);
        }
    }

    /// There is no child token: the next step asks without.
    pub fn issue_again(&mut self) {
        self.issuing = None;
    }

    /// The issue is in the state before it is sent.
    fn send_issue(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        child: Option<ChildToken>,
        ends_with: Option<SessionId>,
        token: Secret,
    ) {
        let op = cx.op();
        let undone = child.is_some() || ends_with.is_some();
        self.kept.intent = Some(Intent { undone, session: ends_with });
        let source = self.policy.source.clone();
        self.issuing = Some(Issuing { op, source, session, child });
        cx.dirty();
        cx.record(Record::IssueRequested { secret: self.name.clone() });
        cx.push(Command::Issue { op, secret: self.name.clone(), token });
    }

    /// Takes the answer to an issue. `usable`: neither is the agent stopping, nor has the session
    /// died meanwhile.
    pub fn issued(
        &mut self,
        cx: &mut Context,
        sent: Moment,
        result: Result<Grant, Failure>,
        usable: impl FnOnce(SessionId) -> bool,
    ) {
        let Some(Issuing { source, session, child, .. }) = self.issuing.take() else { return };
        let intent = self.kept.intent.take();
        cx.dirty();
        match result {
            Ok(grant) => {
                self.kept.budget.spend(cx.now, Some(grant.duration));
                let mut lease = Lease::new(cx, grant, &source, session, sent);
                lease.live_under(child);
                cx.record(Record::LeaseIssued {
                    secret: self.name.clone(),
                    lease: lease.hash(),
                    username: lease.grant.username(),
                    ttl: lease.grant.duration,
                    request_id: lease.grant.request_id.clone(),
                });
                self.refusals = 0;
                // The role of one that is in use already is still wanted.
                self.probe.take_if(|trial| !trial.accepted);
                self.probe_retry = Retry::default();
                self.told_spent = false;
                if usable(session) && source == self.policy.source {
                    self.kept.candidate = Some(Candidate::new(lease));
                } else {
                    self.leave(cx, lease, true);
                }
            }
            Err(failure) => {
                if failure.class == Class::Unclear {
                    self.unanswered(cx, intent.is_some_and(|intent| intent.undone));
                }
                self.issue_failed(cx, failure);
            }
        }
    }

    /// Nothing was issued; tried again.
    pub fn issue_failed(&mut self, cx: &mut Context, failure: Failure) {
        self.issuing = None;
        self.failing = true;
        let left = self.expires(cx.now).map(|end| cx.now.until(end));
        let retry_in = cx.back_off(&mut self.issue_retry, left, &failure);
        cx.record(Record::IssueFailed { secret: self.name.clone(), failure, retry_in });
    }

    /// An issue was sent, and what it made is not known.
    fn unanswered(&mut self, cx: &mut Context, undone: bool) {
        self.kept.budget.spend(cx.now, None);
        cx.record(Record::IssueUnanswered { secret: self.name.clone(), undone });
    }

    /// Whether the issue `op` is this secret's.
    pub fn issues(&self, op: Op) -> bool {
        self.issuing.as_ref().is_some_and(|issuing| issuing.op == op)
    }

    /// The process ends and will not hear the answer to an issue that is under way.
    pub fn abandon(&mut self, cx: &mut Context) {
        self.issuing = None;
        if let Some(Intent { undone, .. }) = self.kept.intent.take() {
            self.unanswered(cx, undone);
        }
    }

    /// Whether an issue is under way.
    pub fn issuing(&self) -> bool {
        self.issuing.is_some()
    }

    /// Says once why a login that must be replaced is not.
    pub(super) fn step_budget(&mut self, cx: &mut Context, around: &Surroundings) {
        let Some((session, _)) = around.session.token() else { return };
        let must = self.must_replace_at(session) <= cx.now && around.may_issue;
        let idle = self.kept.candidate.is_none() && self.issuing.is_none();
        if must && idle && !self.told_spent && self.kept.budget.left(cx.now) == 0 {
            self.told_spent = true;
            let retry_in = cx.now.until(self.kept.budget.next(cx.now, 0));
            cx.record(Record::BudgetSpent { secret: self.name.clone(), retry_in });
        }
    }
}
