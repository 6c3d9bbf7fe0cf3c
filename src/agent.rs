//! Every decision of the agent, with no I/O.
//!
//! Receives [`event::Event`]s and the time, gives [`command::Command`]s. Never reads a clock, a
//! file, the environment or true randomness, so tests give it any time that they like.
//!
//! Each part keeps its own state: [`session`], [`leased`] and [`polled`] secrets, the
//! [`publication`], one [`target`] for each notify entry. What one part learns and another needs
//! goes through `Agent`.

pub mod command;
pub mod context;
pub mod event;
pub mod leased;
mod policy;
pub mod polled;
mod polling;
pub mod publication;
pub mod session;
mod silence;
mod stop;
pub mod target;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::{Command, TargetName};
use crate::agent::context::Context;
use crate::agent::event::{Event, Op, Token};
use crate::agent::leased::Leased;
pub use crate::agent::policy::{
    Confirm, Gives, LeasedPolicy, OnStop, Policy, PolledPolicy, SecretPolicy,
};
use crate::agent::polled::Polled;
use crate::agent::publication::{Publication, Versions};
use crate::agent::session::{Session, Turn};
use crate::agent::silence::Silence;
use crate::agent::stop::Stop;
use crate::agent::target::Target;
use crate::agent::view::View;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::LeaseTerm;
use crate::snapshot::{Generation, SecretName, Value};
use crate::time::Moment;

/// How often Vault is asked whether the token lives where no secret says.
const LOOKUP: Duration = Duration::from_secs(30);

/// What one fact may set in motion within one call settles in fewer rounds than this.
const ROUNDS: usize = 8;

/// What the next process takes over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    generation: Generation,
    visible: Versions,
    /// What was about to become the generation after that; whether it did is on disk.
    #[serde(default)]
    publishing: Option<Versions>,
    session: session::Kept,
    leased: BTreeMap<SecretName, leased::Kept>,
    polled: BTreeMap<SecretName, polled::Kept>,
    acknowledged: BTreeMap<TargetName, Versions>,
}

/// The agent.
pub struct Agent {
    on_stop: OnStop,
    stop_timeout: Duration,
    session: Session,
    leased: BTreeMap<SecretName, Leased>,
    /// Leased secrets that the policy no longer has; their leases drain.
    retired: BTreeMap<SecretName, Leased>,
    polled: BTreeMap<SecretName, Polled>,
    silence: Silence,
    targets: BTreeMap<TargetName, Target>,
    publication: Publication,
    /// Whether what the polled secrets hold is what readers see.
    polled_shown: bool,
    /// Whether every required polled secret has a value.
    polled_there: bool,
    /// When the first of them is due; counted anew when one was asked or answered.
    polled_due: Option<Moment>,
    /// Whether the view may differ from the one before.
    stirred: bool,
    stop: Option<Stop>,
    rng: fastrand::Rng,
    next_op: u64,
}

impl Agent {
    /// The only way to an agent: first start, restart and reload go on from what was kept.
    /// `on_disk` is the generation that readers see, `seed` spreads the timing.
    pub fn adopt(
        policy: Policy,
        kept: Kept,
        on_disk: Generation,
        seed: u64,
        now: Moment,
    ) -> (Self, Vec<Command>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut next_op = 0;
        let mut cx = Context::new(now, &mut rng, &mut next_op);
        let Kept {
            generation,
            visible,
            publishing,
            session,
            leased: mut kept_leases,
            mut polled,
            mut acknowledged,
        } = kept;
        // What another hand put there is not what we remember.
        let remembered = match publishing {
            _ if on_disk == generation => visible,
            Some(published) if on_disk == generation.next() => published,
            Some(_) | None => Versions::new(),
        };
        let mut agent = Self {
            on_stop: policy.on_stop,
            stop_timeout: policy.stop_timeout,
            session: Session::adopt(session, now),
            leased: BTreeMap::new(),
            retired: BTreeMap::new(),
            polled: BTreeMap::new(),
            silence: Silence::default(),
            targets: BTreeMap::new(),
            publication: Publication::adopt(generation.max(on_disk), remembered),
            polled_shown: false,
            polled_there: false,
            polled_due: None,
            stirred: true,
            stop: None,
            rng: fastrand::Rng::with_seed(seed ^ now.as_micros()),
            next_op: 0,
        };
        for (name, secret) in policy.secrets {
            match secret {
                SecretPolicy::Leased(policy) => {
                    let kept = kept_leases.remove(&name);
                    let shown = agent.publication.shown().get(&name);
                    let leased = Leased::adopt(&mut cx, name.clone(), policy, kept, shown);
                    agent.leased.insert(name, leased);
                }
                SecretPolicy::Polled(policy) => {
                    let polled = Polled::adopt(name.clone(), policy, polled.remove(&name));
                    if polled.value().is_none() {
                        // Another source may count its versions from 1 again.
                        acknowledged.values_mut().for_each(|told| {
                            told.remove(&name);
                        });
                    }
                    agent.polled.insert(name, polled);
                }
            }
        }
        for (name, kept) in kept_leases {
            let policy = LeasedPolicy::retired(kept.grace());
            let shown = agent.publication.shown().get(&name);
            let retired = Leased::adopt(&mut cx, name.clone(), policy, Some(kept), shown);
            agent.retired.insert(name, retired);
        }
        for (name, secrets) in policy.targets {
            let told = acknowledged.remove(&name).unwrap_or_default();
            agent.targets.insert(name.clone(), Target::adopt(name, secrets, told));
        }
        let leases = agent.leased.values().map(Leased::leases).sum();
        if leases > 0 || generation > Generation(0) {
            cx.record(Record::Adopted { leases, generation });
        }
        let dead = agent.dead_sessions();
        for id in dead {
            agent.session_died(&mut cx, id);
        }
        agent.compare_polled();
        agent.count_due();
        let commands = cx.finish();
        agent.next_op = next_op;
        (agent, commands)
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Kept {
        let leased = self.leased.iter().chain(&self.retired);
        let polled = self.polled.iter();
        let targets = self.targets.iter();
        Kept {
            generation: self.publication.generation(),
            visible: self.publication.shown().clone(),
            publishing: self.publication.publishing().cloned(),
            session: self.session.kept(),
            leased: leased.map(|(name, secret)| (name.clone(), secret.kept())).collect(),
            polled: polled
                .filter_map(|(name, secret)| Some((name.clone(), secret.kept()?)))
                .collect(),
            acknowledged: targets.map(|(name, target)| (name.clone(), target.kept())).collect(),
        }
    }

    /// Takes one event and gives everything that is now to be done, in this order.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Command> {
        self.handle_all(now, [event])
    }

    /// The same for events that came together.
    pub fn handle_all(
        &mut self,
        now: Moment,
        events: impl IntoIterator<Item = Event>,
    ) -> Vec<Command> {
        let mut rng = self.rng.clone();
        let mut next_op = self.next_op;
        let mut cx = Context::new(now, &mut rng, &mut next_op);
        for event in events {
            self.take(&mut cx, event);
        }
        for _ in 0..ROUNDS {
            self.advance(&mut cx);
            if self.wakeup(now).is_none_or(|at| at > now) {
                break;
            }
        }
        let commands = cx.finish();
        (self.rng, self.next_op) = (rng, next_op);
        self.stirred |= commands.iter().any(|command| !matches!(command, Command::Read { .. }));
        commands
    }

    /// Whether [`Agent::view`] may give something new since this was last asked. Polls that find
    /// nothing new are most of what happens, and change nothing that shows.
    pub fn stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// When [`Event::Wake`] is due if nothing else happens.
    pub fn next_wakeup(&self, now: Moment) -> Option<Moment> {
        self.wakeup(now)
    }

    fn take(&mut self, cx: &mut Context, event: Event) {
        self.stirred |= !matches!(event, Event::Wake | Event::Read { .. });
        match event {
            Event::Wake => {}
            Event::LoggedIn { op, sent, result } => {
                let around = self.around_session(cx.now);
                self.session.logged_in(cx, op, sent, result, &around);
            }
            Event::Unwrapped { op, unwrapped } => self.session.unwrapped(cx, op, unwrapped),
            Event::TokenSeen { op, sent, result } => {
                if let Some(secret) = self.all_leased().find(|secret| secret.waits_for(op)) {
                    secret.lease_seen(cx, op, sent, result.map(LeaseTerm::from));
                } else if let Turn::Died(id) = self.session.seen(cx, op, sent, result) {
                    self.session_died(cx, id);
                }
            }
            Event::TokenRevoked { op, result } => {
                if let Some(secret) = self.all_leased().find(|secret| secret.ends_child(op)) {
                    secret.child_ended(cx, op, result);
                } else {
                    self.session.revoked(cx, op, result);
                }
            }
            Event::TokenCreated { op, secret, sent, result } => {
                self.token_created(cx, op, &secret, sent, result);
            }
            Event::Issued { op, secret, sent, result } => {
                self.issued(cx, op, &secret, sent, result)
            }
            Event::LeaseSeen { op, sent, result } => {
                let failed = result.as_ref().err().map(|failure| failure.class);
                // One that should live may be gone with its token.
                let gone = failed == Some(Class::Gone) && self.all_leased().any(|it| it.keeps(op));
                if gone || failed == Some(Class::Denied) {
                    self.session.doubt();
                }
                if let Some(secret) = self.all_leased().find(|secret| secret.waits_for(op)) {
                    secret.lease_seen(cx, op, sent, result);
                }
            }
            Event::LeaseRevoked { op, result } => {
                if let Some(secret) = self.all_leased().find(|secret| secret.waits_for(op)) {
                    secret.lease_revoked(cx, op, result);
                }
            }
            Event::Read { op, result } => self.read(cx, op, result),
            // A stop ends the logins that probes and counts are made with.
            Event::Probed { .. } | Event::Counted { .. } if self.stop.is_some() => {}
            Event::Probed { op, result } => {
                for secret in self.leased.values_mut() {
                    secret.probed(cx, op, result.clone());
                }
            }
            Event::Counted { op, result } => {
                for secret in self.leased.values_mut() {
                    secret.counted(cx, op, result.clone());
                }
            }
            Event::Rehearsed { result } => self.publication.rehearsal(cx, result),
            Event::Published { result } => {
                self.publication.published(cx, result);
                if let Some(visible) = self.publication.visible() {
                    for (name, secret) in &mut self.leased {
                        secret.visible(cx, visible.get(name));
                    }
                }
                self.compare_polled();
            }
            Event::Delivered { op, result } => {
                for target in self.targets.values_mut() {
                    target.delivered(cx, op, result.clone());
                }
            }
            Event::Drifted { file } => self.publication.drifted(cx.now, file),
            Event::Stop => self.begin_stop(cx),
        }
    }

    fn issued(
        &mut self,
        cx: &mut Context,
        op: Op,
        name: &SecretName,
        sent: Moment,
        result: Result<crate::lease::Grant, Failure>,
    ) {
        if result.as_ref().is_err_and(|failure| failure.class == Class::Denied) {
            self.session.doubt();
        }
        let (session, stopping) = (&self.session, self.stop.is_some());
        let on_stop = self.on_stop;
        if let Some(secret) = self.leased.get_mut(name).filter(|secret| secret.issues(op)) {
            let usable = |id| session.alive(id) && !(stopping && on_stop != OnStop::Keep);
            secret.issued(cx, sent, result, usable);
        }
    }

    fn token_created(
        &mut self,
        cx: &mut Context,
        op: Op,
        name: &SecretName,
        sent: Moment,
        result: Result<Token, Failure>,
    ) {
        let Some(secret) = self.leased.get_mut(name).filter(|secret| secret.issues(op)) else {
            return;
        };
        match result {
            Ok(token) => {
                let (session, stopping) = (&self.session, self.stop.is_some());
                secret.issue_under(cx, sent, token, |id| session.alive(id) && !stopping);
            }
            Err(failure) => match failure.class {
                Class::Again { .. } | Class::Unclear => secret.issue_failed(cx, failure),
                Class::Gone => {
                    self.session.doubt();
                    secret.issue_failed(cx, failure);
                }
                Class::Denied | Class::Missing | Class::Conflict | Class::Ours => {
                    self.session.no_children(cx, failure);
                    secret.issue_again();
                }
            },
        }
    }

    fn all_leased(&mut self) -> impl Iterator<Item = &mut Leased> {
        self.leased.values_mut().chain(self.retired.values_mut())
    }

    fn session_died(&mut self, cx: &mut Context, id: session::SessionId) {
        for secret in self.all_leased() {
            secret.session_died(cx, id);
        }
    }

    /// Sessions that leases name though their tokens are gone.
    fn dead_sessions(&self) -> BTreeSet<session::SessionId> {
        let all = self.leased.values().chain(self.retired.values());
        all.flat_map(Leased::sessions).filter(|id| !self.session.alive(*id)).collect()
    }

    fn around_session(&self, now: Moment) -> session::Surroundings {
        let leased = || self.leased.values();
        session::Surroundings {
            started: self.publication.visible().is_some(),
            lookup: leased().map(Leased::lookup).min().unwrap_or(LOOKUP),
            overlap: leased().map(Leased::overlap).max().unwrap_or_default(),
            in_use: leased().chain(self.retired.values()).flat_map(Leased::sessions).collect(),
            proved: leased().flat_map(Leased::looked_at).collect(),
            first_expiry: leased().filter_map(|secret| secret.expires(now)).min(),
        }
    }

    /// Whether leases may be made: every required polled secret is there, so that a missing one
    /// costs no database user.
    fn may_issue(&self) -> bool {
        self.stop.is_none() && self.polled_there
    }

    fn around_leased(&self, name: &SecretName) -> leased::Surroundings<'_> {
        let visible = self.publication.visible();
        leased::Surroundings {
            session: &self.session,
            may_issue: self.may_issue(),
            stopping: self.stop.is_some(),
            told: visible.is_some()
                && self.targets.values().all(|target| target.told(name, visible)),
        }
    }

    /// Every value that there is.
    fn values(&self, now: Moment) -> BTreeMap<SecretName, Value> {
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let leased = self.leased.iter().filter_map(|(name, secret)| {
            Some((name.clone(), secret.value(now, shown(name), &self.session)?))
        });
        let polled =
            self.polled.iter().filter_map(|(name, secret)| Some((name.clone(), secret.value()?)));
        leased.chain(polled).collect()
    }

    /// The version of every value that there is.
    fn versions(&self, now: Moment) -> Versions {
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let leased = self.leased.iter().filter_map(|(name, secret)| {
            Some((name.clone(), secret.version(now, shown(name))?.clone()))
        });
        let polled = self
            .polled
            .iter()
            .filter_map(|(name, secret)| Some((name.clone(), secret.version()?.clone())));
        leased.chain(polled).collect()
    }

    /// What to publish, where it is not what readers see: for the first generation every required
    /// secret must be there and every other have been tried.
    fn publishable(&self, now: Moment) -> Option<Versions> {
        let open = self.stop.is_none() && self.differs(now) && self.complete(now);
        open.then(|| self.versions(now))
    }

    fn complete(&self, now: Moment) -> bool {
        let first = self.publication.generation() == Generation(0);
        let may_lack = |required: bool, tried: bool| !required && (tried || !first);
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let mut leased = self.leased.iter();
        self.publication.visible().is_some()
            || (self.polled.values().all(|secret| {
                secret.version().is_some() || may_lack(secret.required(), secret.settled())
            }) && leased.all(|(name, secret)| {
                secret.version(now, shown(name)).is_some()
                    || may_lack(secret.required(), secret.tried())
            }))
    }

    /// Whether readers see anything else than what there is.
    fn differs(&self, now: Moment) -> bool {
        let Some(visible) = self.publication.visible() else { return true };
        let is_shown = |(name, secret): (&SecretName, &Leased)| {
            let shown = visible.get(name);
            secret.version(now, shown) == shown
        };
        !self.polled_shown || !self.leased.iter().all(is_shown)
    }

    fn advance(&mut self, cx: &mut Context) {
        let stopping = self.stop.is_some();
        let around = self.around_session(cx.now);
        for id in self.session.step(cx, &around, stopping) {
            self.session_died(cx, id);
        }
        let token = self.session.token().map(|(_, token)| token.clone());
        if let Some(token) = token.filter(|_| !stopping) {
            self.step_polled(cx, &token);
        }
        self.step_leased(cx);
        self.step_issues(cx);
        let (now, wanted) = (cx.now, self.publishable(cx.now));
        if self.publication.due(wanted.as_ref()).is_some_and(|at| at <= now) {
            let values = self.values(now);
            self.publication.step(cx, wanted, values);
        }
        let visible = self.publication.visible();
        let due = self.targets.values().filter_map(|target| target.due(visible)).min();
        // Nobody is told of a set that is about to be replaced.
        let telling = !stopping && self.publication.publishing().is_none();
        if telling && due.is_some_and(|at| at <= now) {
            let values = self.values(now);
            let (generation, visible) = (self.publication.generation(), self.publication.visible());
            for target in self.targets.values_mut() {
                target.step(cx, generation, visible, &values);
            }
        }
        self.step_stop(cx);
    }

    fn step_leased(&mut self, cx: &mut Context) {
        let names: Vec<SecretName> = self.leased.keys().cloned().collect();
        for name in names {
            let Some(mut secret) = self.leased.remove(&name) else { continue };
            secret.step(cx, &self.around_leased(&name));
            self.leased.insert(name, secret);
        }
        let around = leased::Surroundings {
            session: &self.session,
            may_issue: false,
            stopping: true,
            told: true,
        };
        // Only what is visible in their place lets the app do without them.
        let replaced = self.publication.visible().is_some() && self.stop.is_none();
        for secret in self.retired.values_mut() {
            if replaced {
                secret.drain_all(cx, false);
            }
            secret.step(cx, &around);
        }
        self.retired.retain(|_, secret| !secret.over());
    }

    fn wants_issue(&self, now: Moment) -> Option<Moment> {
        let all = self.leased.iter();
        all.filter_map(|(name, secret)| secret.issue_at(now, &self.around_leased(name))).min()
    }

    fn step_issues(&mut self, cx: &mut Context) {
        if self.wants_issue(cx.now).is_none_or(|at| at > cx.now) {
            return;
        }
        let mut rehearsal = self.values(cx.now);
        for (name, secret) in &self.leased {
            if let (false, Some(value)) = (rehearsal.contains_key(name), secret.stand_in()) {
                rehearsal.insert(name.clone(), value);
            }
        }
        if !self.publication.rehearsed(cx, rehearsal) {
            return;
        }
        let Some((session, token)) = self.session.token() else { return };
        let token = token.clone();
        let due: Vec<SecretName> = self
            .leased
            .iter()
            .filter(|(name, secret)| {
                secret.issue_at(cx.now, &self.around_leased(name)).is_some_and(|at| at <= cx.now)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            if let Some(secret) = self.leased.get_mut(&name) {
                secret.issue(cx, (session, &token), self.session.bears_children());
            }
        }
    }

    fn wakeup(&self, now: Moment) -> Option<Moment> {
        let online = self.session.token().is_some();
        let session = self.session.due(&self.around_session(now), self.stop.is_some());
        let leased = self
            .leased
            .iter()
            .filter_map(|(name, secret)| secret.due(&self.around_leased(name)))
            .min();
        let around = leased::Surroundings {
            session: &self.session,
            may_issue: false,
            stopping: true,
            told: true,
        };
        let retired = self.retired.values().filter_map(|secret| secret.due(&around)).min();
        if let Some(stop) = &self.stop {
            if stop.exited {
                return None;
            }
            let tokens = (stop.tokens_at > now).then_some(stop.tokens_at);
            let all = [session, leased, retired, tokens, Some(stop.deadline)];
            return all.into_iter().flatten().min();
        }
        let polled = self.read_at().filter(|_| online);
        let issue = self.wants_issue(now).filter(|_| !self.publication.rehearsing());
        let issue = issue.map(|at| at.max(self.publication.rehearsal_at()));
        let publication = self.publication.due(self.publishable(now).as_ref());
        let visible = self.publication.visible();
        let targets = self.targets.values().filter_map(|target| target.due(visible)).min();
        let targets = targets.filter(|_| self.publication.publishing().is_none());
        let all = [session, leased, retired, polled, issue, publication, targets];
        all.into_iter().flatten().min()
    }

    fn leases(&self) -> usize {
        self.leased.values().chain(self.retired.values()).map(Leased::leases).sum()
    }

    /// What the agent shows of itself.
    pub fn view(&self, now: Moment) -> View {
        let visible = self.publication.visible();
        let shown = |name: &SecretName| visible.and_then(|all| all.get(name));
        let leased =
            self.leased.iter().map(|(name, secret)| (name.clone(), secret.view(now, shown(name))));
        let polled =
            self.polled.iter().map(|(name, secret)| (name.clone(), secret.view(shown(name))));
        let targets = self.targets.iter();
        View {
            generation: self.publication.generation(),
            started: visible.is_some(),
            session: self.session.token().is_some(),
            session_expires: self.session.expires(),
            secrets: leased.chain(polled).collect(),
            targets: targets
                .map(|(name, target)| (name.clone(), target.pending(visible)))
                .collect(),
            stopping: self.stop.is_some(),
        }
    }
}
