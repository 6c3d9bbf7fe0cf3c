//! A model of Vault, PostgreSQL, the app and the disk, in virtual time, around the real agent.
//!
//! Whatever the agent commands is checked against the promises as it happens; a broken one is a
//! line in `broken`. Left alone it is a calm place where each answer takes as long as any other;
//! its `weather` can be drawn at random.

#[path = "world/failed.rs"]
mod failed;
#[path = "world/perform.rs"]
mod perform;
#[path = "world/promises.rs"]
mod promises;
#[path = "world/service.rs"]
mod service;
#[path = "world/values.rs"]
mod values;
#[path = "world/vault.rs"]
mod vault;
#[path = "world/weather.rs"]
mod weather;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::command::{Command, TargetName};
use leasehold::agent::event::Event;
use leasehold::agent::{Agent, Kept, Policy};
use leasehold::audit::event::Record;
use leasehold::error::{Class, Failure};
use leasehold::lease::RoleId;
use leasehold::secret::Secret;
use leasehold::snapshot::{Content, Generation, SecretName, Snapshot, Value, Version};
use leasehold::time::Moment;

use promises::Ledger;
use values::Values;
use weather::Fate;
pub use weather::Weather;

const LATENCY: Duration = Duration::from_millis(5);

/// How long renewals can carry a child token: the usual longest life.
const CHILD_MAX: Duration = Duration::from_secs(768 * 3600);

/// More commands than this without time passing mean a livelock.
const LIVELOCK: usize = 2000;

pub struct World {
    pub now: Moment,
    pub policy: Policy,
    pub out: String,
    /// Whether `out` is written; a property writes it only for the run that failed.
    pub verbose: bool,
    pub broken: Vec<String>,
    agent: Option<Agent>,
    seed: u64,
    queue: BTreeMap<(Moment, u64), Happening>,
    order: u64,
    saved: Option<Kept>,
    /// Whether each state is written down and read back at once, not only when it is needed.
    pub strict: bool,
    /// Whether the state directory takes a new state; the driver holds back while it does not.
    pub writable: bool,
    unsaved: Option<Failure>,
    /// Completions of what the driver performs in order; it hands them over after the batch.
    at_once: VecDeque<Event>,
    /// Whose command is being performed.
    subject: Option<SecretName>,
    /// When the agent wants to be woken.
    wakeup: Option<Moment>,
    pub weather: Weather,
    pub meddler: Option<Box<dyn Meddler>>,
    pub ledger: Ledger,
    visible: Option<Snapshot>,
    /// Whether the policy that was loaded last has other files.
    new_files: bool,
    unproved: BTreeSet<String>,
    proved: BTreeSet<String>,
    deadlines: BTreeMap<String, Moment>,
    unconfirmed: BTreeSet<String>,
    /// What each target acknowledged last.
    told: BTreeMap<(TargetName, SecretName), Version>,
    /// The newest set that each target has heard of.
    heard: BTreeMap<TargetName, Generation>,
    stopping: bool,
    pub exited: bool,
    /// The process dies instead of the command after so many.
    pub dies_in: Option<usize>,
    /// The process dies before it does anything with the answer to its next issue.
    pub dies_at_issue: bool,
    idle_turns: usize,
    pub vault: Vault,
    pub values: Values,
    pub database: Database,
    pub app: App,
    pub faults: BTreeMap<String, VecDeque<Failure>>,
    pub records: Vec<Record>,
}

/// What Vault knows.
pub struct Vault {
    pub up: bool,
    pub ttl: Duration,
    pub max: Duration,
    pub token_ttl: Duration,
    pub token_max: Option<Duration>,
    /// Whether the policy gives the right to make child tokens.
    pub children: bool,
    /// What the login is made with.
    pub credential: String,
    /// Whether it locks a role that is refused too often.
    pub locks: bool,
    /// Whether its leases can be renewed.
    pub renewable: bool,
    /// Whether the policy gives the right to revoke a lease.
    pub revokes: bool,
    /// Term and longest life where a secret has its own.
    pub roles: BTreeMap<SecretName, (Duration, Duration)>,
    tokens: BTreeMap<String, Life>,
    /// The token above, for each child token.
    parents: BTreeMap<String, String>,
    leases: BTreeMap<String, Lease>,
    pub issues: Vec<Moment>,
    next: u64,
    next_child: u64,
    /// Until then nothing ends by itself.
    quiet_until: Moment,
}

#[derive(Clone, Copy)]
struct Life {
    born: Moment,
    expires: Moment,
    end: Option<Moment>,
    alive: bool,
    /// What became of it is not what the agent was told, until it is told of it again.
    muddied: bool,
}

struct Lease {
    life: Life,
    token: String,
    role: RoleId,
    secret: SecretName,
    hash: String,
}

pub struct Database {
    pub up: bool,
    pub refuses: bool,
    /// How long after a login is taken its role is known.
    pub role_after: Option<Duration>,
}

/// Programs that use what is visible.
pub struct App {
    /// How long after a publish its sessions are all of the new login; `None`: it stays.
    pub moves_in: Option<Duration>,
    pub deaf: BTreeSet<TargetName>,
    /// The role that its sessions are of, by secret.
    uses: BTreeMap<SecretName, BTreeSet<RoleId>>,
}

type Effect = Box<dyn FnOnce(&mut World) -> Event>;

enum Happening {
    /// A request arrives; its answer needs so long for the way back.
    Request(Effect, Duration),
    /// The same of a process that died meanwhile.
    Ghost(Effect),
    Answer(Event),
    Moved(SecretName, RoleId),
}

/// Comes between the agent and everything else, to break a promise on purpose.
pub trait Meddler {
    /// What is done instead, and completions of what is not done at all.
    fn commands(&mut self, commands: Vec<Command>) -> (Vec<Command>, Vec<Event>);

    fn event(&mut self, now: Moment, event: Event) -> Event;

    /// What a new process finds.
    fn state(&mut self, state: serde_json::Value) -> serde_json::Value;
}

impl Life {
    fn renew(&mut self, now: Moment, increment: Duration) -> Duration {
        let wanted = now + increment;
        self.expires = self.end.map_or(wanted, |end| wanted.min(end));
        now.until(self.expires)
    }
}

/// When a world begins, in microseconds.
const BEGIN: u64 = 1_000_000_000_000;

impl World {
    pub fn new(policy: Policy, seed: u64) -> Self {
        let seconds = Duration::from_secs;
        Self {
            now: Moment::from_micros(BEGIN),
            vault: Vault {
                up: true,
                ttl: seconds(3600),
                max: seconds(86_400),
                token_ttl: seconds(3600 * 24),
                token_max: None,
                children: true,
                credential: "credential-1".into(),
                locks: true,
                renewable: true,
                revokes: true,
                roles: BTreeMap::new(),
                tokens: BTreeMap::new(),
                parents: BTreeMap::new(),
                leases: BTreeMap::new(),
                issues: Vec::new(),
                next: 0,
                next_child: 0,
                quiet_until: Moment::from_micros(0),
            },
            values: Values::new(&policy, Moment::from_micros(BEGIN)),
            policy,
            out: String::new(),
            verbose: true,
            broken: Vec::new(),
            agent: None,
            seed,
            queue: BTreeMap::new(),
            order: 0,
            saved: None,
            strict: true,
            writable: true,
            unsaved: None,
            at_once: VecDeque::new(),
            subject: None,
            wakeup: None,
            weather: Weather::default(),
            meddler: None,
            ledger: Ledger::default(),
            visible: None,
            new_files: false,
            unproved: BTreeSet::new(),
            proved: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            told: BTreeMap::new(),
            heard: BTreeMap::new(),
            stopping: false,
            exited: false,
            dies_in: None,
            dies_at_issue: false,
            idle_turns: 0,
            database: Database { up: true, refuses: false, role_after: None },
            app: App { moves_in: Some(seconds(2)), deaf: BTreeSet::new(), uses: BTreeMap::new() },
            faults: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    /// Starts the agent on what an earlier one saved.
    pub fn start(&mut self) {
        let kept: Kept = match &self.saved {
            Some(kept) => {
                let mut state = serde_json::to_value(kept).expect("a state");
                if let Some(meddler) = &mut self.meddler {
                    state = meddler.state(state);
                }
                let text = serde_json::to_string(&state).expect("a state");
                serde_json::from_str(&text).expect("the state that we wrote")
            }
            None => Kept::default(),
        };
        self.unsaved = None;
        let on_disk = self.visible.as_ref().map_or(Generation(0), |set| set.generation);
        let (agent, commands) =
            Agent::adopt(self.policy.clone(), kept, on_disk, self.seed, self.now);
        self.agent = Some(agent);
        (self.stopping, self.exited) = (false, false);
        self.perform(commands);
        // The driver drops these: an adoption completes nothing.
        self.at_once.clear();
        self.send(Event::Wake);
    }

    /// A process that publishes once comes and goes.
    pub fn init(&mut self, within: Duration) {
        let policy = self.policy.clone();
        self.policy = policy.clone().publish_once(within);
        self.start();
        if self.exited {
            self.kill();
        } else {
            self.run(within + policy.stop_timeout + Duration::from_secs(1));
        }
        if !self.dead() {
            self.broke("init does not end");
            self.kill();
        }
        self.policy = policy;
    }

    /// The next process finds everything in the state so much longer ago, as after a jump of the
    /// clock.
    pub fn jump(&mut self, span: Duration) {
        let mut state = serde_json::to_value(&self.saved).expect("a state");
        earlier(&mut state, u64::try_from(span.as_micros()).expect("less than an age"));
        self.saved = serde_json::from_value(state).expect("a state");
        self.muddy_all();
    }

    /// Kills it: what it sent takes effect, unless the weather has it otherwise, and no answer
    /// reaches anybody.
    pub fn kill(&mut self) {
        self.agent = None;
        self.at_once.clear();
        for (key, happening) in std::mem::take(&mut self.queue) {
            match happening {
                Happening::Request(effect, _) => match self.weather.fate() {
                    // One that exits has reported what it does not wait for.
                    Fate::Done => self.ghost(effect, self.exited),
                    Fate::Lost => {}
                    Fate::Late => {
                        self.queue.insert(key, Happening::Ghost(effect));
                    }
                },
                Happening::Answer(event) => self.unheard(&event),
                other @ (Happening::Ghost(_) | Happening::Moved(..)) => {
                    self.queue.insert(key, other);
                }
            }
        }
        self.wakeup = None;
        self.mourn();
    }

    fn ghost(&mut self, effect: Effect, late: bool) {
        self.ledger.late = late;
        self.vault.quiet_until = self.now;
        self.ledger.ghost = true;
        effect(self);
        (self.ledger.ghost, self.ledger.late) = (false, false);
    }

    pub fn dead(&self) -> bool {
        self.agent.is_none()
    }

    pub fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("the agent runs")
    }

    pub fn stop(&mut self) {
        self.stopping = true;
        self.send(Event::Stop);
    }

    /// The configuration changed; `files`: what is rendered changed too.
    pub fn reload(&mut self, policy: Policy, files: bool) {
        self.policy = policy;
        self.new_files |= files;
        // Of what is no longer asked the answers are nobody's.
        self.ledger.at_a_reload();
        self.send(Event::Reload(self.policy.clone()));
    }

    pub fn refresh(&mut self, secret: Option<&str>) {
        self.send(Event::Refresh { secret: secret.map(name) });
    }

    pub fn drift(&mut self) {
        self.send(Event::Drifted { file: "app.env".into() });
    }

    /// Lets `span` pass.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            let answer = self.queue.first_key_value().map(|(key, _)| key.0);
            let wakeup = self.wakeup;
            let Some(next) = [answer, wakeup].into_iter().flatten().min() else { break };
            if next > until {
                break;
            }
            if next > self.now {
                self.idle_turns = 0;
            }
            self.idle_turns += 1;
            if self.idle_turns > LIVELOCK {
                self.broke("the agent turns without time passing");
                break;
            }
            self.now = self.now.max(next);
            self.expire();
            if answer == Some(next) {
                let (_, happening) = self.queue.pop_first().expect("just seen");
                if let Some(event) = self.happens(happening) {
                    self.send(event);
                }
            } else {
                self.send(Event::Wake);
            }
            if self.exited {
                self.kill();
                break;
            }
        }
        self.now = until;
        self.expire();
        self.check_budget();
    }

    fn happens(&mut self, happening: Happening) -> Option<Event> {
        match happening {
            Happening::Answer(event) => return Some(event),
            Happening::Request(effect, back) => {
                let event = effect(self);
                if back.is_zero() {
                    return Some(event);
                }
                self.order += 1;
                self.queue.insert((self.now + back, self.order), Happening::Answer(event));
            }
            Happening::Ghost(effect) => self.ghost(effect, true),
            Happening::Moved(secret, role) => {
                self.app.uses.insert(secret, BTreeSet::from([role]));
            }
        }
        None
    }

    /// The machine sleeps: Vault's time goes on, the agent's does not.
    pub fn suspend(&mut self, span: Duration) {
        self.say(format!("asleep for {span:?}"));
        let until = self.now + span;
        for (key, happening) in std::mem::take(&mut self.queue) {
            if key.0 > until || matches!(happening, Happening::Answer(_)) {
                self.queue.insert(key, happening);
                continue;
            }
            self.now = self.now.max(key.0);
            self.expire();
            if let Some(event) = self.happens(happening) {
                self.order += 1;
                self.queue.insert((key.0, self.order), Happening::Answer(event));
            }
        }
        self.now = until;
        self.expire();
    }

    fn send(&mut self, event: Event) {
        self.at_once.push_back(event);
        while let Some(event) = self.at_once.pop_front() {
            self.answered(&event);
            let event = match &mut self.meddler {
                Some(meddler) => meddler.event(self.now, event),
                None => event,
            };
            let Some(agent) = &mut self.agent else { continue };
            let mut commands = agent.handle(self.now, event);
            if let Some(meddler) = &mut self.meddler {
                let (instead, answers) = meddler.commands(commands);
                commands = instead;
                self.at_once.extend(answers);
            }
            // The driver tries again at each turn.
            if self.unsaved.is_some() && !commands.iter().any(|c| matches!(c, Command::Save)) {
                self.save();
            }
            self.perform(commands);
            self.check_stale();
        }
        self.wakeup = self.agent.as_ref().and_then(|agent| agent.next_wakeup(self.now));
    }

    fn say(&mut self, line: impl AsRef<str>) {
        if !self.verbose {
            return;
        }
        let since = self.now.as_micros() - BEGIN;
        let _ = writeln!(
            self.out,
            "{:>9}.{:03} {}",
            since / 1_000_000,
            since / 1000 % 1000,
            line.as_ref()
        );
    }

    fn broke(&mut self, promise: impl Into<String>) {
        let promise = promise.into();
        self.say(format!("BROKEN {promise}"));
        self.broken.push(promise);
    }

    fn fault(&mut self, kind: &str) -> Option<Failure> {
        let queue = self.faults.get_mut(kind)?;
        queue.pop_front()
    }

    /// `text` with lease hashes replaced by the leases' names.
    fn named(&self, text: &str) -> String {
        if !self.verbose {
            return String::new();
        }
        let mut text = text.to_owned();
        for id in self.vault.leases.keys() {
            text = text.replace(&Secret::new(id.clone()).short_hash(), id);
        }
        text
    }

    /// What the next process would find.
    pub fn state(&self) -> String {
        serde_json::to_string(&self.saved).expect("a state")
    }

    /// Leases that Vault has, as name and whether the agent's state knows them.
    pub fn leases(&self) -> Vec<(String, bool)> {
        let saved = self.state();
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        alive.map(|(id, _)| (id.clone(), saved.contains(&format!("\"{id}\"")))).collect()
    }

    /// Whether readers see anything.
    pub fn published(&self) -> bool {
        self.visible.is_some()
    }

    /// Whether what readers see works, every secret in it.
    pub fn works(&self) -> bool {
        let Some(visible) = &self.visible else { return false };
        visible.secrets.iter().all(|(name, value)| self.is_alive(name, value))
    }

    /// Whether what readers see of a secret works.
    fn is_alive(&self, name: &SecretName, value: &Value) -> bool {
        match (&value.content, self.polled(name)) {
            (_, Some(policy)) => self.is_good(name, &policy, &value.version),
            (Content::Fields(_), None) => true,
            (Content::Database { .. }, None) => {
                self.lease_by(&value.version).is_some_and(|(_, lease)| lease.life.alive)
            }
        }
    }

    pub fn count_records(&self, wanted: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| wanted(record)).count()
    }
}

/// Moves every moment in `state`; no other number there is as large.
fn earlier(state: &mut serde_json::Value, micros: u64) {
    use serde_json::Value;
    match state {
        Value::Number(number) => {
            if let Some(moment) = number.as_u64().filter(|number| *number >= BEGIN) {
                *state = Value::from(moment - micros);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|each| earlier(each, micros)),
        Value::Object(all) => all.values_mut().for_each(|each| earlier(each, micros)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

pub fn again(text: &str) -> Failure {
    Failure::new(Class::Again { after: None }, text)
}

pub fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}
