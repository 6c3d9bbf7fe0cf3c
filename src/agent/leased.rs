//! A secret that Vault leases: each issue makes a new login, or whatever else the path gives.
//!
//! Receives grants, proofs, counts and what is visible, gives the value to publish and the
//! requests that keep, replace, drain and end its leases. Three places hold leases: `candidate`
//! (not yet visible), `current` (visible) and `leaving` (visible before, or never to be).

mod check;
mod evidence;
mod follow;
mod issue;
mod ledger;
mod outlook;
mod probe;
mod turns;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::agent::leased::ledger::Spent;
use crate::agent::session::{Session, SessionId};
use crate::agent::view::SecretView;
use crate::agent::{Confirm, Gives, LeasedPolicy};
use crate::audit::event::Record;
use crate::lease::machine::Lease;
use crate::lease::schedule::{self, Budget, Retry};
use crate::lease::{ChildToken, Granted};
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
    issuing: Option<Issuing>,
    issue_retry: Retry,
    probe: Option<Trial>,
    probe_retry: Retry,
    refusals: u32,
    count: Option<Op>,
    /// Whether the last try to refresh failed.
    failing: bool,
    told_spent: bool,
    /// Whether child tokens cannot be made to last.
    childless: bool,
}

/// What the next process takes over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    current: Option<Lease>,
    candidate: Option<Candidate>,
    leaving: Vec<Leaving>,
    /// When an issue was sent whose answer is not in the state.
    intent: Option<Intent>,
    /// Child tokens whose leases are over.
    #[serde(default)]
    spent: Vec<Spent>,
    budget: Budget,
    /// How long the app took to move, last time.
    moved_in: Option<Duration>,
    /// When the app's sessions are counted next; evidence goes on over a restart.
    count_at: Option<Moment>,
    asked_at: Option<Moment>,
    /// The policy's, for when the next policy no longer has the secret.
    grace: Duration,
}

/// A login that the database is asked to take.
struct Trial {
    op: Op,
    lease: Version,
    /// It has; what is under way still is its role.
    accepted: bool,
}

/// An issue under way.
struct Issuing {
    op: Op,
    /// Where the lease is to come from; the policy may change meanwhile.
    source: String,
    session: SessionId,
    child: Option<ChildToken>,
}

/// An issue that was sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Intent {
    /// Whether what it makes ends before its time where nobody takes it.
    undone: bool,
    /// The session that must end for that; else a child token ends by itself.
    #[serde(default)]
    session: Option<SessionId>,
}

/// What ends a login whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// The end of the session, under which there is nothing else.
    Session,
    /// A child token of its own.
    Child,
    /// Nothing but its own term.
    Nothing,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Candidate {
    lease: Lease,
    /// Whether the database took it.
    #[serde(skip)]
    accepted: bool,
    /// Whether it is given out without proof. Neither is kept: the next process tries it again, and
    /// says so where it has to do the same.
    #[serde(skip)]
    unproved: bool,
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

impl Candidate {
    fn new(lease: Lease) -> Self {
        Self { lease, accepted: false, unproved: false }
    }
}

impl Leased {
    /// Goes on from what an earlier process left; `shown` is what readers see.
    pub fn adopt(
        cx: &mut Context,
        name: SecretName,
        policy: LeasedPolicy,
        kept: Option<Kept>,
        shown: Option<&Version>,
    ) -> Self {
        let mut kept = kept.unwrap_or_else(|| Kept {
            current: None,
            candidate: None,
            leaving: Vec::new(),
            intent: None,
            spent: Vec::new(),
            budget: Budget::full(cx.now),
            moved_in: None,
            count_at: None,
            asked_at: None,
            grace: policy.grace,
        });
        kept.grace = policy.grace;
        if let Some(Intent { undone, .. }) = kept.intent.take() {
            kept.budget.spend(cx.now, None);
            cx.record(Record::IssueUnanswered { secret: name.clone(), undone });
            cx.dirty();
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
            childless: false,
        };
        // The last process may have died between the publish and the word of it.
        adopted.visible(cx, shown);
        if let Some(current) = &mut adopted.kept.current {
            current.revive(cx.now);
        }
        let in_use: Vec<String> = adopted.kept.in_use().map(Lease::hash).collect();
        for lease in adopted.kept.leases_mut() {
            if lease.adopt(cx.now) && in_use.contains(&lease.hash()) {
                let (secret, cause) = (adopted.name.clone(), "it ran out meanwhile".to_owned());
                cx.record(Record::LeaseLost { secret, lease: lease.hash(), cause });
            }
        }
        for old in adopted.kept.leaving.iter_mut().filter(|old| old.lease.lost) {
            old.lease.fade(cx);
        }
        adopted.drop_lost_candidate(cx);
        adopted.end_foreign_candidate(cx);
        adopted
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// Whether it is a login, whose fields every file can hold.
    pub fn gives_login(&self) -> bool {
        self.policy.gives == Gives::Login
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
        let issuing = self.issuing.as_ref().map(|issuing| issuing.session);
        self.kept.leases().map(|lease| lease.session).chain(issuing)
    }

    /// Sessions of the leases that Vault is asked about now and then.
    pub fn looked_at(&self) -> impl Iterator<Item = SessionId> + '_ {
        let kept = self.kept.leases().filter(|lease| lease.kept() && !lease.lost);
        kept.map(|lease| lease.session)
    }

    /// When the visible lease ends unless it is renewed. One that was taken for lost may live.
    pub fn expires(&self, now: Moment) -> Option<Moment> {
        self.kept.current.as_ref().map(|lease| lease.expires).filter(|end| now < *end)
    }

    /// Whether a first generation need not wait for it: it has a value, or failed to get one.
    pub fn tried(&self) -> bool {
        self.kept.current.is_some() || self.failing
    }

    /// Whether nothing of it is left in Vault.
    pub fn ended(&self) -> bool {
        self.leases() == 0 && self.kept.spent.is_empty() && self.issuing.is_none()
    }

    /// Whether it can be forgotten: one that comes back under its name would have a full budget.
    pub fn over(&self, now: Moment) -> bool {
        self.ended() && self.kept.budget.is_full(now)
    }

    /// The session that must end if the answer to what was asked for is lost.
    pub fn haunts(&self) -> Option<SessionId> {
        self.kept.haunts()
    }

    /// How many leases it has.
    pub fn leases(&self) -> usize {
        self.kept.leases().count()
    }

    /// The value to publish.
    pub fn value(
        &self,
        now: Moment,
        visible: Option<&Version>,
        session: &Session,
    ) -> Option<Value> {
        let best = self.to_show(now, visible, session)?;
        let before = self.kept.current.as_ref().filter(|lease| lease.version() != best.version());
        let mut value = self.as_value(best, before.filter(|lease| lease.works(now)), now);
        // It dies with the token that made it, which need not be the one in use.
        let token = session.expires_of(best.session);
        value.expires = value.expires.map(|end| token.map_or(end, |token| end.min(token)));
        Some(value)
    }

    /// The version of that value.
    pub fn version(
        &self,
        now: Moment,
        visible: Option<&Version>,
        session: &Session,
    ) -> Option<&Version> {
        self.to_show(now, visible, session).map(Lease::version)
    }

    fn to_show(&self, now: Moment, visible: Option<&Version>, session: &Session) -> Option<&Lease> {
        // Nor does anything enter whose token may have ended: its renewal is under way.
        let lives = |lease: &Lease| session.expires_of(lease.session).is_none_or(|end| now < end);
        let ready = |new: &&Candidate| self.ready(new) && new.lease.works(now) && lives(&new.lease);
        let fresh = self.kept.candidate.as_ref().filter(ready);
        // What is visible stays in the set though it ended; nothing that ended enters it.
        let stays = |lease: &&Lease| lease.works(now) || visible == Some(lease.version());
        fresh.map(|new| &new.lease).or_else(|| self.kept.current.as_ref().filter(stays))
    }

    /// Whether it may be shown: proved, where it can be.
    fn ready(&self, new: &Candidate) -> bool {
        let provable = self.policy.connection.is_some() && new.lease.grant.login().is_some();
        !provable || new.accepted || new.lease.role.is_some() || new.unproved
    }

    fn as_value(&self, lease: &Lease, before: Option<&Lease>, now: Moment) -> Value {
        let leaving = self.kept.leaving.iter().rev().map(|old| &old.lease);
        let previous = before.into_iter().chain(leaving.filter(|old| old.works(now)));
        Value {
            version: version(lease),
            expires: Some(lease.told_end()),
            previous_ends: before
                .and_then(Lease::end)
                .or_else(|| self.kept.leaving.last().map(|old| old.lease.expires)),
            content: match &lease.grant.content {
                Granted::Login(credential) => Content::Database {
                    credential: credential.clone(),
                    previous: previous.filter_map(|old| old.grant.login().cloned()).collect(),
                    connection: self.policy.connection.clone(),
                },
                Granted::Fields(fields) => Content::Fields(fields.clone()),
            },
        }
    }

    /// A value of full size, to rehearse with where there is none yet. Fields whose names nobody
    /// knows yet have none: the files that name them are left out of the rehearsal.
    pub fn stand_in(&self) -> Option<Value> {
        match self.policy.gives {
            Gives::Login => Some(Value::stand_in(self.policy.connection.clone())),
            Gives::Fields => None,
        }
    }

    fn leave(&mut self, cx: &mut Context, mut lease: Lease, end: bool) {
        if end {
            lease.terminate(cx);
        } else if lease.lost && cx.now < lease.expires {
            lease.doubt(cx);
        } else if lease.lost {
            lease.fade(cx);
        }
        let since = cx.now;
        self.kept.leaving.push(Leaving { lease, since, told_unconfirmed: false, streak: 0 });
        cx.dirty();
    }

    /// Whether a lease of this secret waits for `op`.
    pub fn waits_for(&self, op: Op) -> bool {
        self.kept.leases().any(|lease| lease.waits_for(op))
    }

    /// Whether that is a lease in use, or about to be.
    pub fn keeps(&self, op: Op) -> bool {
        self.kept.in_use().any(|lease| lease.kept() && lease.waits_for(op))
    }

    /// `shown` is what readers see: a candidate that is in it becomes current, and the one before
    /// it begins to leave.
    pub fn visible(&mut self, cx: &mut Context, shown: Option<&Version>) {
        let is_shown = |new: &mut Candidate| shown == Some(&version(&new.lease));
        let Some(new) = self.kept.candidate.take_if(is_shown) else { return };
        let asked = self.kept.asked_at.unwrap_or(new.lease.issued);
        let (lease, username) = (new.lease.hash(), new.lease.grant.username());
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

    /// Sends what is due and draws what the time decides.
    pub fn step(&mut self, cx: &mut Context, around: &Surroundings) {
        self.step_leases(cx, around);
        self.step_spent(cx);
        if around.stopping {
            return;
        }
        self.step_budget(cx, around);
        self.step_probe(cx, around);
        self.step_leaving(cx, around);
        self.step_count(cx);
    }

    /// When [`Leased::step`] has something to do; issuing apart.
    pub fn due(&self, around: &Surroundings) -> Option<Moment> {
        let online = around.session.token().is_some();
        let visible = self.kept.current.as_ref().map(Lease::version);
        let leases = self.kept.leases().filter_map(|lease| {
            let measure = visible == Some(lease.version()) && !around.stopping;
            lease.due(online, measure, self.policy.lookup)
        });
        let leases = leases.chain(self.spent_due()).min();
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
            username: current.and_then(|lease| Some(lease.grant.login()?.username.clone())),
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

    /// The session under which there may be a lease that nobody knows.
    pub fn haunts(&self) -> Option<SessionId> {
        self.intent.and_then(|intent| intent.session)
    }

    /// Its leases: the one in use, the next, those on their way out.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.in_use().chain(self.leaving.iter().map(|old| &old.lease))
    }

    /// Those in use, or about to be.
    fn in_use(&self) -> impl Iterator<Item = &Lease> {
        self.current.iter().chain(self.candidate.iter().map(|new| &new.lease))
    }

    fn leases_mut(&mut self) -> impl Iterator<Item = &mut Lease> {
        let new = self.candidate.iter_mut().map(|new| &mut new.lease);
        let old = self.leaving.iter_mut().map(|old| &mut old.lease);
        self.current.iter_mut().chain(new).chain(old)
    }
}

fn version(lease: &Lease) -> Version {
    lease.version().clone()
}
