//! Every decision of the agent, with no I/O.
//!
//! Receives [`event::Event`]s and the time, gives [`command::Command`]s. Never reads a clock, a
//! file, the environment or true randomness, so tests give it any time that they like.
//!
//! Each part keeps its own state: [`session`], [`leased`] and [`polled`] secrets, the
//! [`publication`], one [`target`] for each notify entry. What one part learns and another needs
//! goes through `Agent`.

mod advance;
pub mod command;
pub mod context;
pub mod event;
pub mod leased;
mod once;
pub mod outlook;
mod policy;
pub mod polled;
mod polling;
pub mod publication;
mod refresh;
mod reload;
pub mod session;
mod set;
mod silence;
mod stop;
mod take;
pub mod target;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::{Command, TargetName};
use crate::agent::context::Context;
use crate::agent::event::Event;
use crate::agent::leased::Leased;
use crate::agent::once::Once;
pub use crate::agent::once::Unmet;
pub use crate::agent::policy::{
    Confirm, Gives, LeasedPolicy, OnStop, Policy, PolledPolicy, Refresh, SecretPolicy, Until,
};
use crate::agent::polled::Polled;
use crate::agent::polling::Due;
use crate::agent::publication::{Publication, Versions};
use crate::agent::refresh::Refreshing;
use crate::agent::reload::Switch;
use crate::agent::session::Session;
use crate::agent::silence::Silence;
use crate::agent::stop::Stop;
use crate::agent::target::Target;
use crate::agent::view::View;
use crate::audit::event::Record;
use crate::lease::machine::Lease;
use crate::snapshot::{Generation, SecretName};
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

impl Kept {
    /// Every lease that the agent has, the one in use before those on their way in and out.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leased.values().flat_map(leased::Kept::leases)
    }
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
    /// Until readers have the files of the policy.
    switch: Option<Switch>,
    /// Whether what the polled secrets hold is what readers see.
    polled_shown: bool,
    /// Whether every required polled secret has a value.
    polled_there: bool,
    /// When the first of them is due; counted anew when one was asked or answered.
    polled_due: Due,
    /// Whether the view may differ from the one before.
    stirred: bool,
    /// Where it is to publish once.
    once: Option<Once>,
    refresh: Refreshing,
    stop: Option<Stop>,
    rng: fastrand::Rng,
    next_op: u64,
}

impl Agent {
    /// The only way to an agent: a first start and a restart go on from what was kept.
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
            switch: None,
            polled_shown: false,
            polled_there: false,
            polled_due: Due::default(),
            stirred: true,
            once: Once::new(policy.until, now),
            refresh: Refreshing::default(),
            stop: None,
            rng: fastrand::Rng::with_seed(seed ^ now.as_micros()),
            next_op: 0,
        };
        for id in kept_leases.values().filter_map(leased::Kept::haunts) {
            agent.session.haunt(&mut cx, id);
        }
        for (name, secret) in policy.secrets {
            match secret {
                SecretPolicy::Leased(policy) => {
                    let kept = kept_leases.remove(&name);
                    let shown = agent.publication.shown().get(&name);
                    let leased = Leased::adopt(&mut cx, name.clone(), policy, kept, shown);
                    agent.leased.insert(name, leased);
                }
                SecretPolicy::Polled(policy) => {
                    let kept = polled.remove(&name);
                    let shown = agent.publication.shown().get(&name);
                    let polled = Polled::adopt(&mut cx, name.clone(), policy, kept);
                    if polled.version(now, shown).is_none() {
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
            let target = Target::adopt(name.clone(), secrets, told, agent.publication.shown());
            agent.targets.insert(name, target);
        }
        let leases = agent.leased.values().map(Leased::leases).sum();
        if leases > 0 || generation > Generation(0) {
            cx.record(Record::Adopted { leases, generation });
        }
        let dead = agent.dead_sessions();
        for id in dead {
            agent.session_died(&mut cx, id);
        }
        if agent.once.is_some() {
            agent.leased.values_mut().for_each(Leased::check);
        }
        agent.compare_polled(now);
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

    fn all_leased(&mut self) -> impl Iterator<Item = &mut Leased> {
        self.leased.values_mut().chain(self.retired.values_mut())
    }

    /// Sessions that leases name though their tokens are gone.
    fn dead_sessions(&self) -> BTreeSet<session::SessionId> {
        let all = self.leased.values().chain(self.retired.values());
        all.flat_map(Leased::sessions).filter(|id| !self.session.alive(*id)).collect()
    }

    /// Whether there is something to do in Vault.
    fn needs_vault(&self) -> bool {
        self.uses_vault() || self.session.leaves()
    }

    /// Whether anything comes from Vault; else nobody logs in there.
    fn uses_vault(&self) -> bool {
        let retired = self.retired.values().any(|secret| !secret.ended());
        let leases = !self.leased.is_empty() || retired;
        leases || self.polled.values().any(|secret| !secret.is_local())
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
            self.polled.iter().map(|(name, secret)| (name.clone(), secret.view(now, shown(name))));
        let mut secrets: BTreeMap<_, _> = leased.chain(polled).collect();
        if self.switch.is_some() && visible.is_some() {
            // What was never there is missed by nobody yet.
            secrets.values_mut().for_each(|secret| secret.required &= secret.version.is_some());
        }
        let targets = self.targets.iter();
        View {
            generation: self.publication.generation(),
            started: visible.is_some(),
            needs_vault: self.uses_vault(),
            session: self.session.token().is_some(),
            session_expires: self.session.expires(),
            secrets,
            targets: targets
                .map(|(name, target)| (name.clone(), target.pending(visible)))
                .collect(),
            stopping: self.stop.is_some(),
        }
    }
}
