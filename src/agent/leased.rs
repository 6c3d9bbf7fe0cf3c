//! A secret that Vault leases: each issue makes a new database login.
//!
//! Receives grants, proofs, counts and what is visible, gives the value to publish and the
//! requests that keep, replace, drain and end its leases. Three places hold leases: `candidate`
//! (not yet visible), `current` (visible) and `leaving` (visible before, or never to be).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::agent::session::{Session, SessionId};
use crate::agent::view::SecretView;
use crate::agent::{Confirm, LeasedPolicy};
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::machine::{Lease, Turn};
use crate::lease::schedule::{self, Budget, Retry};
use crate::lease::{Grant, LeaseTerm, RoleId};
use crate::secret::Secret;
use crate::snapshot::{Content, SecretName, Value, Version};
use crate::time::Moment;

/// Samples in a row, a second apart, that make evidence of a move.
const SAMPLES: u32 = 3;

/// A new login may be refused for a moment where a replica lags; so many refusals, a second apart,
/// mean it.
const REFUSALS: u32 = 3;

/// Issues that a rotation for age leaves in the budget, for when a login must be replaced.
const RESERVE: u32 = 2;

/// How long the app is allowed for moving before the first move was seen.
const FIRST_MOVE: Duration = Duration::from_secs(8);

/// A leased secret.
pub struct Leased {
    name: SecretName,
    policy: LeasedPolicy,
    kept: Kept,
    issuing: Option<(Op, SessionId)>,
    issue_retry: Retry,
    probe: Option<Op>,
    probe_retry: Retry,
    refusals: u32,
    count: Option<Op>,
    /// Whether the last try to refresh failed.
    failing: bool,
    told_spent: bool,
}

/// What the next process takes over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    current: Option<Lease>,
    candidate: Option<Candidate>,
    leaving: Vec<Leaving>,
    /// When an issue was sent whose answer is not in the state.
    intent: Option<Moment>,
    budget: Budget,
    /// How long the app took to move, last time.
    moved_in: Option<Duration>,
    /// When the app's sessions are counted next; evidence goes on over a restart.
    count_at: Option<Moment>,
    asked_at: Option<Moment>,
    /// The policy's, for when the next policy no longer has the secret.
    grace: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Candidate {
    lease: Lease,
    ready: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Leaving {
    lease: Lease,
    /// When the one after it became visible.
    since: Moment,
    told_unconfirmed: bool,
    /// Samples in a row that showed no session of it.
    streak: u32,
}

/// What a leased secret needs to know of the rest.
pub struct Surroundings<'a> {
    /// The sessions.
    pub session: &'a Session,
    /// Whether new leases may be made: the polled secrets are there, nobody is stopping.
    pub may_issue: bool,
    /// Whether the agent is stopping.
    pub stopping: bool,
    /// Whether every target of the secret acknowledged its visible version.
    pub told: bool,
}

impl Leased {
    /// Goes on from what an earlier process left.
    pub fn adopt(
        cx: &mut Context,
        name: SecretName,
        policy: LeasedPolicy,
        kept: Option<Kept>,
    ) -> Self {
        let mut kept = kept.unwrap_or_else(|| Kept {
            current: None,
            candidate: None,
            leaving: Vec::new(),
            intent: None,
            budget: Budget::full(cx.now),
            moved_in: None,
            count_at: None,
            asked_at: None,
            grace: policy.grace,
        });
        kept.grace = policy.grace;
        if kept.intent.take().is_some() {
            kept.budget.spend(cx.now, None);
            cx.record(Record::IssueUnanswered { secret: name.clone() });
            cx.dirty();
        }
        if let Some(current) = &mut kept.current {
            current.revive(cx.now);
        }
        if let Some(new) = &mut kept.candidate {
            new.ready |= policy.connection.is_none();
        }
        kept.leases_mut().for_each(|lease| lease.adopt(cx.now));
        for old in kept.leaving.iter_mut().filter(|old| old.lease.lost) {
            old.lease.fade(cx);
        }
        let mut adopted = Self {
            name,
            policy,
            kept,
            issuing: None,
            issue_retry: Retry::default(),
            probe: None,
            probe_retry: Retry::default(),
            refusals: 0,
            count: None,
            failing: false,
            told_spent: false,
        };
        adopted.drop_lost_candidate(cx);
        let elsewhere = |new: &mut Candidate| new.lease.source != adopted.policy.source;
        if let Some(new) = adopted.kept.candidate.take_if(elsewhere) {
            adopted.leave(cx, new.lease, true);
        }
        adopted
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// Whether nothing is published without it.
    pub fn required(&self) -> bool {
        self.policy.required
    }

    /// How often Vault is asked whether its leases live.
    pub fn lookup(&self) -> Duration {
        self.policy.lookup
    }

    /// How long a new login and the old one must both live for a rotation with its whole grace.
    pub fn overlap(&self) -> Duration {
        schedule::PROBE_ALLOWANCE + self.confirm_allowance() + self.policy.grace
    }

    fn confirm_allowance(&self) -> Duration {
        let moved = self.kept.moved_in.map_or(FIRST_MOVE, |last| (last + last / 2).max(FIRST_MOVE));
        match self.policy.confirm {
            Confirm::None => Duration::ZERO,
            Confirm::Told => Duration::from_secs(1),
            Confirm::Moved => moved,
        }
    }

    /// Sessions that its leases live under.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        let issuing = self.issuing.map(|(_, session)| session);
        self.kept.leases().map(|lease| lease.session).chain(issuing)
    }

    /// When the visible lease ends unless it is renewed.
    pub fn expires(&self) -> Option<Moment> {
        self.kept.current.as_ref().filter(|lease| !lease.lost).map(|lease| lease.expires)
    }

    /// Whether a first generation need not wait for it: it has a value, or failed to get one.
    pub fn tried(&self) -> bool {
        self.kept.current.is_some() || self.failing
    }

    /// How many leases it has.
    pub fn leases(&self) -> usize {
        self.kept.leases().count()
    }

    /// The value to publish; `visible` is the version that readers see.
    pub fn value(&self, now: Moment, visible: Option<&Version>) -> Option<Value> {
        let fresh = self.kept.candidate.as_ref().filter(|new| new.ready && new.lease.works(now));
        let current = self.kept.current.as_ref();
        if let Some(new) = fresh {
            return Some(self.as_value(&new.lease, current.filter(|lease| lease.works(now)), now));
        }
        // What is visible stays in the set though it ended; nothing that ended enters it.
        let stays = |lease: &&Lease| lease.works(now) || visible == Some(&version(lease));
        current.filter(stays).map(|lease| self.as_value(lease, None, now))
    }

    fn as_value(&self, lease: &Lease, before: Option<&Lease>, now: Moment) -> Value {
        let leaving = self.kept.leaving.iter().rev().map(|old| &old.lease);
        let previous = before.into_iter().chain(leaving.filter(|old| old.works(now)));
        Value {
            version: version(lease),
            expires: Some(lease.expires),
            previous_ends: before
                .and_then(Lease::end)
                .or_else(|| self.kept.leaving.last().map(|old| old.lease.expires)),
            content: Content::Database {
                credential: lease.grant.credential.clone(),
                previous: previous.map(|old| old.grant.credential.clone()).collect(),
                connection: self.policy.connection.clone(),
            },
        }
    }

    /// A value of full size, to rehearse with where there is none yet.
    pub fn stand_in(&self) -> Value {
        Value::stand_in(self.policy.connection.clone())
    }

    /// When the current lease must be replaced for the login to go on working.
    fn must_replace_at(&self, session: SessionId) -> Moment {
        let at_once = Moment::from_micros(0);
        let Some(lease) = &self.kept.current else { return at_once };
        if lease.lost || lease.session != session || lease.source != self.policy.source {
            return at_once;
        }
        let term = lease.grant.duration;
        let last_chance = schedule::give_up_at(lease.expires, lease.term);
        lease.end().map_or(last_chance, |end| {
            schedule::replace_at(lease.issued, end, term, self.overlap(), lease.spread)
                .min(last_chance)
        })
    }

    /// When the current lease is to be replaced for its age.
    fn rotate_at(&self) -> Option<Moment> {
        let lease = self.kept.current.as_ref()?;
        let every = self.policy.rotate_every?;
        Some(schedule::rotate_at(lease.issued, every, lease.spread))
    }

    /// When a new lease should be asked for, where one may be.
    pub fn issue_at(&self, now: Moment, around: &Surroundings) -> Option<Moment> {
        let (session, _) = around.session.token()?;
        let idle = self.kept.candidate.is_none() && self.issuing.is_none();
        (around.may_issue && idle).then(|| {
            let budget = &self.kept.budget;
            let must = self.must_replace_at(session).max(budget.next(now, 0));
            let rotate = self.rotate_at().map(|at| at.max(budget.next(now, RESERVE)));
            self.issue_retry.not_before(rotate.map_or(must, |at| at.min(must)))
        })
    }

    /// Asks for a new lease; it is in the state before it is sent.
    pub fn issue(&mut self, cx: &mut Context, (session, token): (SessionId, &Secret)) {
        let op = cx.op();
        self.issuing = Some((op, session));
        self.kept.intent = Some(cx.now);
        self.kept.asked_at = Some(cx.now);
        cx.dirty();
        cx.record(Record::IssueRequested { secret: self.name.clone() });
        cx.push(Command::Issue { op, secret: self.name.clone(), token: token.clone() });
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
        let Some((_, session)) = self.issuing.take() else { return };
        self.kept.intent = None;
        cx.dirty();
        match result {
            Ok(grant) => {
                self.kept.budget.spend(cx.now, Some(grant.duration));
                let lease = Lease::new(cx, grant, &self.policy.source, session, sent);
                cx.record(Record::LeaseIssued {
                    secret: self.name.clone(),
                    lease: lease.hash(),
                    username: lease.grant.credential.username.clone(),
                    ttl: lease.grant.duration,
                    request_id: lease.grant.request_id.clone(),
                });
                self.refusals = 0;
                self.probe = None;
                self.probe_retry = Retry::default();
                self.told_spent = false;
                if usable(session) {
                    let ready = self.policy.connection.is_none();
                    self.kept.candidate = Some(Candidate { lease, ready });
                } else {
                    self.leave(cx, lease, true);
                }
            }
            Err(failure) => {
                self.failing = true;
                let secret = self.name.clone();
                if failure.class == Class::Unclear {
                    self.kept.budget.spend(cx.now, None);
                    cx.record(Record::IssueUnanswered { secret: secret.clone() });
                }
                let left = self.expires().map(|end| cx.now.until(end));
                let retry_in = cx.back_off(&mut self.issue_retry, left, &failure);
                cx.record(Record::IssueFailed { secret, failure, retry_in });
            }
        }
    }

    fn leave(&mut self, cx: &mut Context, mut lease: Lease, end: bool) {
        if lease.lost {
            lease.fade(cx);
        } else if end {
            lease.terminate(cx);
        }
        let since = cx.now;
        self.kept.leaving.push(Leaving { lease, since, told_unconfirmed: false, streak: 0 });
        cx.dirty();
    }

    /// Whether a lease of this secret waits for `op`.
    pub fn waits_for(&self, op: Op) -> bool {
        self.kept.leases().any(|lease| lease.waits_for(op))
    }

    /// Whether the issue `op` is this secret's.
    pub fn issues(&self, op: Op) -> bool {
        self.issuing.is_some_and(|(issuing, _)| issuing == op)
    }

    /// The process ends and will not hear the answer to an issue that is under way.
    pub fn abandon(&mut self, cx: &mut Context) {
        if self.issuing.take().is_some() {
            self.kept.intent = None;
            self.kept.budget.spend(cx.now, None);
            cx.record(Record::IssueUnanswered { secret: self.name.clone() });
        }
    }

    /// Whether an issue is under way.
    pub fn issuing(&self) -> bool {
        self.issuing.is_some()
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
        let turn = lease.seen(cx, sent, result);
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
                } else {
                    cx.record(Record::LeaseEnded { secret, lease: lease.clone() });
                    self.kept.leaving.retain(|old| old.lease.hash() != lease);
                }
                self.drop_lost_candidate(cx);
            }
            Turn::Short(missing) => cx.record(Record::GraceViolated { secret, lease, missing }),
            Turn::DrainFailed(failure) => {
                cx.record(Record::DrainFailed { secret, lease, failure });
            }
            Turn::Ended => {
                self.kept.current.take_if(|current| current.hash() == lease);
                self.kept.leaving.retain(|old| old.lease.hash() != lease);
                cx.dirty();
                cx.record(Record::LeaseEnded { secret, lease });
            }
            Turn::EndFailed(failure) => cx.record(Record::EndFailed { secret, lease, failure }),
            Turn::RevokeDenied(failure) => {
                cx.record(Record::RevokeDenied { secret, lease, failure });
            }
        }
    }

    fn check_grace(&self, cx: &mut Context, fits: Duration) {
        if fits < self.policy.grace {
            cx.record(Record::GraceCut { secret: self.name.clone(), grace: fits });
        }
    }

    fn is_candidate(&self, hash: &str) -> bool {
        self.kept.candidate.as_ref().is_some_and(|new| new.lease.hash() == hash)
    }

    fn drop_lost_candidate(&mut self, cx: &mut Context) {
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
            let cause = "its token is no longer one".to_owned();
            cx.record(Record::LeaseLost { secret: secret.clone(), lease: lease.hash(), cause });
            cx.dirty();
        }
        for old in &mut self.kept.leaving {
            if old.lease.lost {
                old.lease.fade(cx);
            }
        }
        self.drop_lost_candidate(cx);
    }

    /// `shown` is what readers see: a candidate that is in it becomes current, and the one before
    /// it begins to leave.
    pub fn visible(&mut self, cx: &mut Context, shown: Option<&Version>) {
        let is_shown = |new: &mut Candidate| shown == Some(&version(&new.lease));
        let Some(new) = self.kept.candidate.take_if(is_shown) else { return };
        let asked = self.kept.asked_at.unwrap_or(new.lease.issued);
        let (lease, username) = (new.lease.hash(), new.lease.grant.credential.username.clone());
        if let Some(old) = self.kept.current.replace(new.lease) {
            let (secret, took) = (self.name.clone(), cx.now.since(asked));
            cx.record(Record::Rotated { secret, lease, username, took });
            self.leave(cx, old, false);
        }
        self.issue_retry = Retry::default();
        self.failing = false;
        self.kept.count_at = Some(cx.now);
        cx.dirty();
    }

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
                (new.lease.role, new.ready) = (Some(role), true);
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
                if self.refusals >= REFUSALS && !new.ready {
                    let lease = new.lease.hash();
                    let left = self.expires().map(|end| cx.now.until(end));
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
                let left = self.expires().map(|end| cx.now.until(end));
                cx.back_off(&mut self.probe_retry, left, &failure);
                self.failing = true;
                cx.record(Record::ProbeFailed { secret, failure });
            }
        }
    }

    /// The login to probe: the candidate's, or that of a current lease published unproved.
    fn to_probe(&self) -> Option<&Lease> {
        self.policy.connection.as_ref()?;
        match (&self.kept.candidate, &self.kept.current) {
            (Some(new), _) => (!new.ready).then_some(&new.lease),
            (None, Some(current)) => (current.role.is_none() && !current.lost).then_some(current),
            (None, None) => None,
        }
    }

    fn probe_at(&self) -> Option<Moment> {
        let due = self.probe_retry.not_before(Moment::from_micros(0));
        (self.probe.is_none() && self.to_probe().is_some()).then_some(due)
    }

    /// When an unproved candidate is published all the same, since the visible login is about to
    /// end.
    fn unproved_at(&self, around: &Surroundings) -> Option<Moment> {
        let waiting = self.kept.candidate.as_ref().is_some_and(|new| !new.ready);
        let current = self.kept.current.as_ref()?;
        let unreachable = self.refusals == 0 && self.probe_retry.attempt > 0;
        let with_token = around.session.end_of(current.session).unwrap_or(current.expires);
        let late = schedule::give_up_at(current.expires.min(with_token), current.term);
        (waiting && unreachable).then_some(if current.lost { Moment::from_micros(0) } else { late })
    }

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
        let sessions = |host: &BTreeMap<RoleId, u64>, role: Option<RoleId>| {
            role.and_then(|role| host.get(&role)).copied().unwrap_or(0)
        };
        let used = |role: Option<RoleId>| hosts.iter().any(|host| sessions(host, role) > 0);
        let mut arrived = used(new);
        let mut promising = false;
        let mut oldest = cx.now;
        // Newest first: an app that has moved to any login after an old one has left the old one.
        for old in self.kept.leaving.iter_mut().rev() {
            let gone = hosts.iter().all(|host| sessions(host, old.lease.role) == 0);
            let moved = arrived && gone && old.lease.role.is_some();
            let streak = if moved { old.streak + 1 } else { 0 };
            if streak != old.streak {
                old.streak = streak;
                cx.dirty();
            }
            promising |= moved;
            arrived |= !gone;
            if old.lease.kept() {
                oldest = oldest.min(old.since);
            }
        }
        self.kept.count_at = Some(cx.now + schedule::count_after(cx.now.since(oldest), promising));
    }

    fn wants_count(&self) -> Option<Moment> {
        let wanted = self.policy.confirm == Confirm::Moved
            && self.count.is_none()
            && self.kept.current.as_ref().is_some_and(|lease| lease.role.is_some())
            && self.kept.leaving.iter().any(|old| old.lease.kept() && old.lease.role.is_some());
        wanted.then(|| self.kept.count_at.unwrap_or(Moment::from_micros(0)))
    }

    fn evidence(&self, old: &Leaving, around: &Surroundings) -> bool {
        match self.policy.confirm {
            Confirm::None => true,
            Confirm::Told => around.told,
            Confirm::Moved => old.streak >= SAMPLES,
        }
    }

    /// When the lack of evidence is reported: 30 s before the old login's own end, or a tenth of
    /// its life where that is less.
    fn unconfirmed_at(&self, old: &Leaving) -> Option<Moment> {
        let end = old.lease.end()?;
        let life = end.since(old.lease.issued);
        let margin = schedule::portion(life, 0.1).min(Duration::from_secs(30));
        (!old.told_unconfirmed && old.lease.kept()).then(|| end - margin)
    }

    fn given_up_at(&self, old: &Leaving) -> Option<Moment> {
        let after = self.policy.unconfirmed_after?;
        old.lease.kept().then(|| old.since + after)
    }

    /// Sends what is due and draws what the time decides.
    pub fn step(&mut self, cx: &mut Context, around: &Surroundings) {
        self.step_leases(cx, around);
        if around.stopping {
            return;
        }
        self.step_budget(cx, around);
        self.step_probe(cx, around);
        self.step_leaving(cx, around);
        self.step_count(cx);
    }

    fn step_leases(&mut self, cx: &mut Context, around: &Surroundings) {
        let token = around.session.token().map(|(_, token)| token);
        let lookup = self.policy.lookup;
        let visible = self.kept.current.as_ref().map(Lease::hash);
        let mut turns = Vec::new();
        for lease in self.kept.leases_mut() {
            let measure = visible.as_deref() == Some(&lease.hash()) && !around.stopping;
            let turn = lease.step(cx, token, measure, lookup);
            if turn != Turn::Quiet {
                turns.push((turn, Facts::of(lease, cx.now)));
            }
        }
        for (turn, facts) in turns {
            self.took(cx, turn, facts);
        }
    }

    /// Says once why a login that must be replaced is not.
    fn step_budget(&mut self, cx: &mut Context, around: &Surroundings) {
        let Some((session, _)) = around.session.token() else { return };
        let must = self.must_replace_at(session) <= cx.now && around.may_issue;
        let idle = self.kept.candidate.is_none() && self.issuing.is_none();
        if must && idle && !self.told_spent && self.kept.budget.left(cx.now) == 0 {
            self.told_spent = true;
            let retry_in = cx.now.until(self.kept.budget.next(cx.now, 0));
            cx.record(Record::BudgetSpent { secret: self.name.clone(), retry_in });
        }
    }

    fn step_probe(&mut self, cx: &mut Context, around: &Surroundings) {
        if self.unproved_at(around).is_some_and(|at| at <= cx.now)
            && let Some(new) = &mut self.kept.candidate
        {
            new.ready = true;
            let lease = new.lease.hash();
            cx.record(Record::PublishedUnproved { secret: self.name.clone(), lease });
            cx.dirty();
        }
        if self.probe_at().is_some_and(|at| at <= cx.now)
            && let Some(lease) = self.to_probe()
        {
            let credential = lease.grant.credential.clone();
            let op = cx.op();
            self.probe = Some(op);
            cx.push(Command::Probe { op, secret: self.name.clone(), credential });
        }
    }

    fn step_leaving(&mut self, cx: &mut Context, around: &Surroundings) {
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

    fn step_count(&mut self, cx: &mut Context) {
        if self.wants_count().is_none_or(|at| at > cx.now) {
            return;
        }
        let Some(current) = &self.kept.current else { return };
        let credential = current.grant.credential.clone();
        let waiting = self.kept.leaving.iter().filter(|old| old.lease.kept());
        let roles = waiting.filter_map(|old| old.lease.role).chain(current.role).collect();
        let op = cx.op();
        self.count = Some(op);
        cx.push(Command::Count { op, secret: self.name.clone(), credential, roles });
    }

    /// When [`Leased::step`] has something to do; issuing apart.
    pub fn due(&self, around: &Surroundings) -> Option<Moment> {
        let online = around.session.token().is_some();
        let visible = self.kept.current.as_ref().map(Lease::hash);
        let leases = self.kept.leases().filter_map(|lease| {
            let measure = visible.as_deref() == Some(&lease.hash()) && !around.stopping;
            lease.due(online, measure, self.policy.lookup)
        });
        let leases = leases.min();
        if around.stopping {
            return leases;
        }
        let leaving = self.kept.leaving.iter().filter(|old| old.lease.kept()).flat_map(|old| {
            let proven = self.evidence(old, around).then_some(Moment::from_micros(0));
            [proven, self.given_up_at(old), self.unconfirmed_at(old)]
        });
        let others = [self.probe_at(), self.unproved_at(around), self.wants_count()];
        leases.into_iter().chain(leaving.chain(others).flatten()).min()
    }

    /// Every lease works for the grace more and then ends; `for_stop`: unless a next process takes
    /// it over.
    pub fn drain_all(&mut self, cx: &mut Context, for_stop: bool) {
        let deadline = cx.now + self.policy.grace;
        self.end_candidate(cx);
        for lease in self.kept.leases_mut() {
            lease.drain(cx, deadline, for_stop);
        }
    }

    /// Ends every lease.
    pub fn end_all(&mut self, cx: &mut Context) {
        self.end_candidate(cx);
        for lease in self.kept.leases_mut() {
            lease.terminate(cx);
        }
    }

    fn end_candidate(&mut self, cx: &mut Context) {
        if let Some(new) = self.kept.candidate.take() {
            self.leave(cx, new.lease, true);
        }
    }

    /// Whether every lease will end by itself, or has ended.
    pub fn settled(&self) -> bool {
        self.issuing.is_none() && self.kept.leases().all(|lease| lease.settled() || lease.lost)
    }

    /// How it shows.
    pub fn view(&self, now: Moment, shown: Option<&Version>) -> SecretView {
        let current = self.kept.current.as_ref().filter(|lease| shown == Some(&version(lease)));
        let rotating = self.kept.candidate.is_some() || self.issuing.is_some();
        SecretView {
            required: self.policy.required,
            valid: current.is_some_and(|lease| lease.works(now)),
            stale: self.failing,
            version: shown.cloned(),
            obtained: current.map(|lease| lease.issued),
            expires: current.map(|lease| lease.expires),
            username: current.map(|lease| lease.grant.credential.username.clone()),
            leases: self.leases(),
            leaving: self.kept.leaving.len(),
            budget: self.kept.budget.left(now),
            rotating_since: self.kept.asked_at.filter(|_| rotating),
        }
    }
}

impl Kept {
    /// How long its logins work once they are replaced.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    fn leases(&self) -> impl Iterator<Item = &Lease> {
        let new = self.candidate.iter().map(|new| &new.lease);
        self.current.iter().chain(new).chain(self.leaving.iter().map(|old| &old.lease))
    }

    fn leases_mut(&mut self) -> impl Iterator<Item = &mut Lease> {
        let new = self.candidate.iter_mut().map(|new| &mut new.lease);
        let old = self.leaving.iter_mut().map(|old| &mut old.lease);
        self.current.iter_mut().chain(new).chain(old)
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

fn version(lease: &Lease) -> Version {
    Version::from(lease.hash())
}
