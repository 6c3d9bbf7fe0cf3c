//! A model of Vault, PostgreSQL, the app and the disk, in virtual time, around the real agent.
//!
//! Whatever the agent commands is checked against the promises as it happens; a broken one is a
//! line in `broken`. Left alone it is a calm place where each answer takes as long as any other;
//! its `weather` can be drawn at random.

#[path = "world/failed.rs"]
mod failed;
#[path = "world/promises.rs"]
mod promises;
#[path = "world/weather.rs"]
mod weather;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::command::{Command, Notice, TargetName};
use leasehold::agent::event::{Event, LoginFailure, Op, Reading, Token, TokenTerm, Visible};
use leasehold::agent::{Agent, Confirm, Kept, Policy, SecretPolicy};
use leasehold::audit::event::Record;
use leasehold::error::{Class, Failure};
use leasehold::lease::{Grant, Granted, LeaseTerm, RoleId};
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{Content, Field, Generation, SecretName, Snapshot, Version};
use leasehold::time::Moment;

use promises::Ledger;
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
    unproved: BTreeSet<String>,
    proved: BTreeSet<String>,
    deadlines: BTreeMap<String, Moment>,
    unconfirmed: BTreeSet<String>,
    /// What each target acknowledged last.
    told: BTreeMap<(TargetName, SecretName), Version>,
    stopping: bool,
    pub exited: bool,
    /// The process dies instead of the command after so many.
    pub dies_in: Option<usize>,
    idle_turns: usize,
    pub vault: Vault,
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
    kv: BTreeMap<SecretName, Option<u64>>,
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

impl World {
    pub fn new(policy: Policy, seed: u64) -> Self {
        let seconds = Duration::from_secs;
        let kv = policy.secrets.iter().filter_map(|(name, secret)| match secret {
            SecretPolicy::Polled(_) => Some((name.clone(), Some(1))),
            SecretPolicy::Leased(_) => None,
        });
        Self {
            now: Moment::from_micros(1_000_000_000_000),
            vault: Vault {
                up: true,
                ttl: seconds(3600),
                max: seconds(86_400),
                token_ttl: seconds(3600 * 24),
                token_max: None,
                children: true,
                renewable: true,
                revokes: true,
                roles: BTreeMap::new(),
                tokens: BTreeMap::new(),
                parents: BTreeMap::new(),
                leases: BTreeMap::new(),
                issues: Vec::new(),
                kv: kv.collect(),
                next: 0,
                next_child: 0,
                quiet_until: Moment::from_micros(0),
            },
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
            unproved: BTreeSet::new(),
            proved: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            told: BTreeMap::new(),
            stopping: false,
            exited: false,
            dies_in: None,
            idle_turns: 0,
            database: Database { up: true, refuses: false },
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

    /// Kills it: what it sent takes effect, unless the weather has it otherwise, and no answer
    /// reaches anybody.
    pub fn kill(&mut self) {
        self.agent = None;
        self.at_once.clear();
        for (key, happening) in std::mem::take(&mut self.queue) {
            match happening {
                Happening::Request(effect, _) => match self.weather.fate() {
                    Fate::Done => self.ghost(effect, false),
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

    fn expire(&mut self) {
        let now = self.now;
        if now < self.vault.quiet_until {
            return;
        }
        for life in self.vault.tokens.values_mut() {
            life.alive &= now < life.expires;
        }
        for (child, parent) in &self.vault.parents {
            if !self.vault.tokens.get(child).is_some_and(|life| life.alive) {
                continue;
            }
            let alive = self.vault.tokens.get(parent).is_some_and(|token| token.alive);
            if let Some(life) = self.vault.tokens.get_mut(child) {
                life.alive &= alive;
            }
        }
        for lease in self.vault.leases.values_mut().filter(|lease| lease.life.alive) {
            let token = self.vault.tokens.get(&lease.token).is_some_and(|token| token.alive);
            lease.life.alive = token && now < lease.life.expires;
        }
        let tokens = self.vault.tokens.values();
        let all = tokens.chain(self.vault.leases.values().map(|lease| &lease.life));
        let ends = all.filter(|life| life.alive).map(|life| life.expires);
        self.vault.quiet_until = ends.min().unwrap_or(now);
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

    fn save(&mut self) {
        let Some(agent) = &self.agent else { return };
        if !self.writable {
            self.say("the state cannot be written");
            self.unsaved = Some(again("write the state: no room"));
            return;
        }
        self.unsaved = None;
        let mut kept = agent.kept();
        if self.strict {
            let text = serde_json::to_string(&kept).expect("a state");
            kept = serde_json::from_str(&text).expect("the state that we wrote");
        }
        self.saved = Some(kept);
    }

    fn say(&mut self, line: impl AsRef<str>) {
        if !self.verbose {
            return;
        }
        let since = self.now.as_micros() - 1_000_000_000_000;
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

    fn later(
        &mut self,
        kind: &'static str,
        answer: impl FnOnce(&mut World, Option<Failure>) -> Event + 'static,
    ) {
        self.order += 1;
        let subject = self.subject.clone();
        let (there, back) = self.weather.latency(kind);
        let key = (self.now + there, self.order);
        let answer = move |world: &mut World| {
            if !matches!(
                kind,
                "lookup-lease" | "lookup-token" | "read" | "probe" | "count" | "deliver"
            ) {
                world.vault.quiet_until = world.now;
            }
            let failure = if world.vault.up || matches!(kind, "probe" | "count" | "deliver") {
                world.fault(kind).or_else(|| world.weather.fault(kind, subject.as_ref()))
            } else {
                Some(again("connection refused"))
            };
            match failure {
                // It was heard, and the answer is lost.
                Some(failure) if failure.class == Class::Unclear && world.weather.heard() => {
                    world.ledger.ghost = true;
                    let event = answer(world, None);
                    world.ledger.ghost = false;
                    failed::instead(event, failure)
                }
                failure => answer(world, failure),
            }
        };
        self.queue.insert(key, Happening::Request(Box::new(answer), back));
    }

    fn perform(&mut self, commands: Vec<Command>) {
        let mut commands = commands.into_iter();
        while let Some(command) = commands.next() {
            match &mut self.dies_in {
                Some(0) => {
                    self.dies_in = None;
                    self.say("killed");
                    self.cut_off(std::iter::once(&command).chain(commands.as_slice()));
                    self.kill();
                }
                Some(left) => *left -= 1,
                None => {}
            }
            if self.dead() {
                return;
            }
            self.commanded(&command);
            if let (Some(failure), true) = (&self.unsaved, failed::waits_for_the_state(&command)) {
                self.at_once.extend(failed::held_back(&command, self.now, failure.clone()));
                continue;
            }
            match command {
                Command::Login { op, .. } => self.login(op),
                Command::LookupToken { op, token } => self.token(op, token, None),
                Command::RenewToken { op, token, increment } => {
                    self.token(op, token, Some(increment.unwrap_or(self.vault.token_ttl)));
                }
                Command::RevokeToken { op, token } => {
                    let child = self.vault.parents.contains_key(token.expose());
                    self.say(if child { "revoke child token" } else { "revoke token" });
                    self.later("revoke-token", move |world, failure| {
                        if failure.is_none() {
                            world.kill_token(token.expose());
                        }
                        Event::TokenRevoked { op, result: failure.map_or(Ok(()), Err) }
                    });
                }
                Command::CreateToken { op, secret, token, term } => {
                    self.create_token(op, secret, token, term);
                }
                Command::Issue { op, secret, token } => self.issue(op, secret, token),
                Command::RenewLease { op, lease, increment, .. }
                | Command::ShortenLease { op, lease, increment, .. } => {
                    self.renew_lease(op, lease, increment);
                }
                Command::LookupLease { op, lease, .. } => self.lookup_lease(op, lease),
                Command::RevokeLease { op, lease, .. } => self.revoke_lease(op, lease),
                Command::Read { op, secret, known, .. } => self.read(op, secret, known),
                Command::Probe { op, secret, credential } => self.probe(op, &secret, credential),
                Command::Count { op, roles, secret, .. } => self.count(op, secret, roles),
                Command::Rehearse(_) => {
                    let result = self.fault("rehearse").map_or(Ok(()), Err);
                    self.at_once.push_back(Event::Rehearsed { result });
                }
                Command::Save => self.save(),
                Command::Publish(snapshot) => self.publish(snapshot),
                Command::Repair => {
                    self.say("repair");
                    let generation = self.visible.as_ref().map_or(Generation(0), |v| v.generation);
                    let result = Ok(Visible { generation, changed: true });
                    self.at_once.push_back(Event::Published { result });
                }
                Command::Deliver { op, target, notice } => self.deliver(op, target, &notice),
                Command::Record(record) => self.record(record),
                Command::Exit => {
                    self.say("exit");
                    self.exited = true;
                }
            }
        }
    }

    fn login(&mut self, op: Op) {
        self.say("login");
        let sent = self.now;
        self.later("login", move |world, failure| {
            let result = match failure {
                Some(failure) => {
                    Err(LoginFailure { failure, credential: Some("secret-id-1".into()) })
                }
                None => {
                    world.vault.next += 1;
                    let name = format!("token-{}", world.vault.next);
                    let ttl = world.vault.token_ttl;
                    let end = world.vault.token_max.map(|max| world.now + max);
                    let born = world.now;
                    let mut life = Life { born, expires: born, end, alive: true, muddied: false };
                    life.renew(world.now, ttl);
                    world.vault.tokens.insert(name.clone(), life);
                    let term = TokenTerm { ttl: Some(ttl), renewable: true, periodic: None };
                    Ok(Token { secret: Secret::new(name), term, ours: true })
                }
            };
            Event::LoggedIn { op, sent, result }
        });
    }

    fn create_token(&mut self, op: Op, secret: SecretName, token: Secret, term: Duration) {
        self.say(format!("child token for {secret}"));
        let sent = self.now;
        self.later("create-token", move |world, failure| {
            let alive = world.vault.tokens.get(token.expose()).is_some_and(|life| life.alive);
            let result = match failure {
                Some(failure) => Err(failure),
                None if !alive => Err(Failure::new(Class::Gone, "bad token")),
                None if !world.vault.children => {
                    Err(Failure::new(Class::Denied, "permission denied"))
                }
                None => {
                    world.vault.next_child += 1;
                    let name = format!("child-{}", world.vault.next_child);
                    let born = world.now;
                    let (expires, end) = (born + term, Some(born + CHILD_MAX));
                    let life = Life { born, expires, end, alive: true, muddied: false };
                    world.vault.tokens.insert(name.clone(), life);
                    world.vault.parents.insert(name.clone(), token.expose().to_owned());
                    let term = TokenTerm { ttl: Some(term), renewable: true, periodic: None };
                    Ok(Token { secret: Secret::new(name), term, ours: true })
                }
            };
            Event::TokenCreated { op, secret, sent, result }
        });
    }

    fn token(&mut self, op: Op, token: Secret, increment: Option<Duration>) {
        let child = self.vault.parents.contains_key(token.expose());
        let whose = if child { "child token" } else { "token" };
        let what = increment.map_or(format!("lookup {whose}"), |span| {
            format!("renew {whose} for {}", span.as_secs())
        });
        self.say(what);
        let sent = self.now;
        let kind = if increment.is_some() { "renew-token" } else { "lookup-token" };
        self.later(kind, move |world, failure| {
            let now = world.now;
            let endless = world.vault.token_max.is_none() && !child;
            let (lag, ghost) = (world.weather.lag, world.ledger.ghost);
            let result = match (failure, world.vault.tokens.get_mut(token.expose())) {
                (Some(failure), life) => {
                    if let Some(life) = life.filter(|_| failure.class == Class::Gone) {
                        life.muddied = true;
                    }
                    Err(failure)
                }
                (None, Some(life)) if life.alive && life.born + lag <= now => {
                    let period = world.vault.token_ttl;
                    let ttl = match increment {
                        Some(increment) => {
                            life.muddied |= ghost;
                            life.renew(now, if endless { period } else { increment })
                        }
                        None => now.until(life.expires),
                    };
                    let periodic = increment.is_none().then_some(endless);
                    Ok(TokenTerm { ttl: Some(ttl), renewable: true, periodic })
                }
                (None, _) => Err(Failure::new(Class::Gone, "bad token")),
            };
            Event::TokenSeen { op, sent, result }
        });
    }

    pub fn kill_token(&mut self, name: &str) {
        if let Some(life) = self.vault.tokens.get_mut(name) {
            life.alive = false;
        }
        self.vault.quiet_until = self.now;
        self.expire();
    }

    /// Revokes every token behind the agent's back.
    pub fn kill_tokens(&mut self) {
        self.vault.tokens.values_mut().for_each(|life| life.alive = false);
        self.vault.quiet_until = self.now;
        self.expire();
    }

    /// Revokes every lease behind the agent's back.
    pub fn kill_leases(&mut self) {
        self.vault.leases.values_mut().for_each(|lease| lease.life.alive = false);
    }

    fn issue(&mut self, op: Op, secret: SecretName, token: Secret) {
        self.say(format!("issue {secret}"));
        let sent = self.now;
        self.later("issue", move |world, failure| {
            let (now, lag) = (world.now, world.weather.lag);
            let life = world.vault.tokens.get(token.expose());
            let child = world.vault.parents.contains_key(token.expose());
            let alive = life.is_some_and(|life| life.alive && (child || life.born + lag <= now));
            let unclear = failure.as_ref().is_some_and(|f| f.class == Class::Unclear);
            let result = match failure {
                Some(failure) if !unclear => Err(failure),
                _ if !alive => Err(Failure::new(Class::Denied, "permission denied")),
                failure => {
                    let grant = world.grant(&secret, &token);
                    failure.map_or(Ok(grant), Err)
                }
            };
            Event::Issued { op, secret, sent, result }
        });
    }

    fn grant(&mut self, secret: &SecretName, token: &Secret) -> Grant {
        self.vault.next += 1;
        let number = self.vault.next;
        let id = format!("lease-{number}");
        let now = self.now;
        let (ttl, max) = self.term_of(secret);
        let end = Some(now + max);
        let mut life = Life { born: now, expires: now, end, alive: true, muddied: false };
        let duration = life.renew(now, ttl);
        self.vault.issues.push(now);
        let role = 10_000 + number as RoleId;
        let (secret, token) = (secret.clone(), token.expose().to_owned());
        let hash = Secret::new(id.clone()).short_hash();
        let lease = Lease { life, token, role, secret, hash };
        self.granted(&id, &lease);
        self.vault.leases.insert(id.clone(), lease);
        Grant {
            lease_id: Secret::new(id),
            duration,
            renewable: self.vault.renewable,
            content: Granted::Login(Credential {
                username: format!("user-{number}"),
                password: Secret::new(format!("password-{number}")),
            }),
            request_id: format!("request-{number}"),
        }
    }

    fn renew_lease(&mut self, op: Op, lease: Secret, increment: Duration) {
        self.say(format!("renew {} for {}s", lease.expose(), increment.as_secs()));
        if increment.subsec_nanos() != 0 || increment.is_zero() {
            self.broke(format!("an increment of {increment:?} renews to the full default"));
        }
        let sent = self.now;
        let deadline = self.deadlines.get(&self.hash_of(&lease)).copied();
        let ttl = self
            .vault
            .leases
            .get(lease.expose())
            .map_or(self.vault.ttl, |lease| self.term_of(&lease.secret).0);
        if let Some(deadline) = deadline
            && sent + increment > deadline + Duration::from_secs(1)
            && !self.stopping
            && sent < deadline
        {
            self.broken
                .push(format!("{} drains until {deadline:?} and is lengthened", lease.expose()));
        }
        self.check_ending(&lease, increment < ttl && deadline.is_none());
        self.later("renew-lease", move |world, failure| {
            let result = failure.map_or_else(|| world.term(&lease, Some(increment)), Err);
            Event::LeaseSeen { op, sent, result }
        });
    }

    fn term(&mut self, lease: &Secret, increment: Option<Duration>) -> Result<LeaseTerm, Failure> {
        let (now, ghost, renewable) = (self.now, self.ledger.ghost, self.vault.renewable);
        match self.vault.leases.get_mut(lease.expose()) {
            Some(Lease { life, .. }) if life.alive => {
                let ttl = match increment {
                    Some(_) if !renewable => {
                        return Err(Failure::new(Class::Ours, "lease is not renewable"));
                    }
                    Some(increment) => {
                        life.muddied |= ghost;
                        life.renew(now, increment)
                    }
                    None => now.until(life.expires),
                };
                // Vault tells whole seconds.
                Ok(LeaseTerm { ttl: Duration::from_secs(ttl.as_secs()) })
            }
            _ => Err(Failure::new(Class::Gone, "invalid lease")),
        }
    }

    fn lookup_lease(&mut self, op: Op, lease: Secret) {
        self.say(format!("lookup {}", lease.expose()));
        let sent = self.now;
        self.later("lookup-lease", move |world, failure| {
            let born = world.vault.leases.get(lease.expose()).map(|lease| lease.life.born);
            let unknown = born.is_some_and(|born| world.now < born + world.weather.lag);
            // A standby answers, and has not heard of it.
            let failure = failure.or(unknown.then(|| Failure::new(Class::Gone, "invalid lease")));
            let result = failure.map_or_else(|| world.term(&lease, None), Err);
            Event::LeaseSeen { op, sent, result }
        });
    }

    fn revoke_lease(&mut self, op: Op, lease: Secret) {
        self.say(format!("revoke {}", lease.expose()));
        self.check_ending(&lease, true);
        self.later("revoke-lease", move |world, failure| {
            let result = match (failure, world.vault.leases.get_mut(lease.expose())) {
                (Some(failure), _) => Err(failure),
                (None, _) if !world.vault.revokes => {
                    Err(Failure::new(Class::Denied, "permission denied"))
                }
                (None, Some(lease)) if lease.life.alive => {
                    lease.life.alive = false;
                    Ok(())
                }
                (None, _) => Err(Failure::new(Class::Gone, "invalid lease")),
            };
            Event::LeaseRevoked { op, result }
        });
    }

    /// Promise 5: a login drains only when there is the evidence that the policy asks for.
    fn check_evidence(&mut self, secret: &SecretName, hash: &str) {
        let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(secret) else { return };
        let given_up = policy.unconfirmed_after.is_some();
        let Some((id, lease)) = self.lease_by(hash) else { return };
        let uses = self.app.uses.get(secret);
        let evidence = match policy.confirm {
            Confirm::None => true,
            Confirm::Told => {
                let visible = self.visible.as_ref().and_then(|set| set.secrets.get(secret));
                let mut wanting =
                    self.policy.targets.iter().filter(|(_, all)| all.contains(secret));
                wanting.all(|(target, _)| {
                    visible.is_some_and(|value| {
                        self.told.get(&(target.clone(), secret.clone())) == Some(&value.version)
                    })
                })
            }
            Confirm::Moved => {
                !uses.is_some_and(|uses| uses.contains(&lease.role))
                    && self.counted_moved(secret, lease.role)
            }
        };
        if !evidence && !given_up {
            let id = id.clone();
            self.broke(format!("{id} drains with no evidence that the app has left it"));
        }
    }

    /// Promise 5: nobody ends a login that the app still uses, or that readers see.
    fn check_ending(&mut self, id: &Secret, ending: bool) {
        let Some(lease) = self.vault.leases.get(id.expose()) else { return };
        let token = self.vault.tokens.get(self.session_of(&lease.token));
        let token = token.map(|token| token.expires);
        let ends = token.map_or(lease.life.expires, |end| end.min(lease.life.expires));
        // What is about to end by itself may be swept up; the agent counts from its request on.
        let over = ends <= self.now + 2 * LATENCY + self.ledger.slack;
        let retired = !self.policy.secrets.contains_key(&lease.secret);
        let dead = self.ledger.dead.contains(&lease.hash);
        // It lives on by a renewal that was never heard of, or was lost with its process.
        let excused = over || retired || dead || self.muddied(lease);
        if !ending || self.stopping || !lease.life.alive || excused {
            return;
        }
        let hash = lease.hash.clone();
        let given_up = self.unconfirmed.contains(&hash);
        let used = self.app.uses.get(&lease.secret).is_some_and(|uses| uses.contains(&lease.role));
        let seen = self.visible.as_ref().is_some_and(|set| {
            set.secrets.get(&lease.secret).is_some_and(|value| *value.version == *hash)
        });
        if (used && !given_up && !self.deadlines.contains_key(&hash)) || seen {
            self.broke(format!("{} is ended while it is in use", id.expose()));
        }
    }

    fn read(&mut self, op: Op, secret: SecretName, known: Option<Version>) {
        self.say(format!("read {secret}"));
        self.later("read", move |world, failure| {
            let result = match (failure, world.vault.kv.get(&secret).copied().flatten()) {
                (Some(failure), _) => Err(failure),
                (None, None) => Err(Failure::new(Class::Missing, "no such secret")),
                (None, Some(version)) if known.as_deref() == Some(&*version.to_string()) => {
                    Ok(Reading::Same)
                }
                (None, Some(version)) => {
                    let value = Field::Text(Secret::new(format!("value-{version}")));
                    let fields = BTreeMap::from([("value".to_owned(), value)]);
                    Ok(Reading::New { version: version.to_string().into(), fields })
                }
            };
            Event::Read { op, result }
        });
    }

    pub fn write_kv(&mut self, secret: &str, version: Option<u64>) {
        self.vault.kv.insert(secret.into(), version);
    }

    fn probe(&mut self, op: Op, secret: &SecretName, credential: Credential) {
        self.say(format!("probe {secret} as {}", credential.username));
        self.later("probe", move |world, failure| {
            let number = credential.username.trim_start_matches("user-").to_owned();
            let id = format!("lease-{number}");
            let lease = world.vault.leases.get(&id);
            let result = match (failure, lease) {
                (Some(failure), _) => Err(failure),
                _ if !world.database.up => Err(again("connection refused")),
                (None, Some(lease)) if lease.life.alive && !world.database.refuses => {
                    Ok(lease.role)
                }
                (None, _) => Err(Failure::new(Class::Denied, "28P01")),
            };
            if result.is_ok() {
                world.proved.insert(Secret::new(id).short_hash());
            }
            Event::Probed { op, result }
        });
    }

    fn count(&mut self, op: Op, secret: SecretName, roles: Vec<RoleId>) {
        self.say(format!("count {secret}"));
        self.later("count", move |world, failure| {
            let result = match failure {
                Some(failure) => Err(failure),
                None if !world.database.up => Err(again("connection refused")),
                None => {
                    let uses = world.app.uses.get(&secret);
                    let sessions = |role| u64::from(uses.is_some_and(|uses| uses.contains(&role)));
                    Ok(vec![roles.into_iter().map(|role| (role, sessions(role))).collect()])
                }
            };
            Event::Counted { op, result }
        });
    }

    fn publish(&mut self, snapshot: Snapshot) {
        let versions: Vec<String> = snapshot
            .secrets
            .iter()
            .map(|(name, value)| format!("{name}={}", value.version))
            .collect();
        let line = self.named(&format!("publish {}: {}", snapshot.generation, versions.join(" ")));
        self.say(line);
        if let Some(failure) = self.fault("publish") {
            self.at_once.push_back(Event::Published { result: Err(failure) });
            return;
        }
        let before = self.visible.clone();
        let same = before.as_ref().is_some_and(|old| {
            old.secrets.len() == snapshot.secrets.len()
                && old.secrets.iter().all(|(name, value)| {
                    snapshot.secrets.get(name).is_some_and(|new| new.version == value.version)
                })
        });
        if let (Some(old), true) = (&before, same) {
            let result = Ok(Visible { generation: old.generation, changed: false });
            self.at_once.push_back(Event::Published { result });
            return;
        }
        self.check_snapshot(&snapshot, before.as_ref());
        self.check_values(&snapshot, before.as_ref());
        let generation = snapshot.generation;
        for (name, value) in &snapshot.secrets {
            let role = self.lease_by(&value.version).map(|(_, lease)| lease.role);
            if let (Some(role), Some(delay)) = (role, self.app.moves_in) {
                self.app.uses.entry(name.clone()).or_default().insert(role);
                self.order += 1;
                let key = (self.now + delay, self.order);
                self.queue.insert(key, Happening::Moved(name.clone(), role));
            } else if let Some(role) = role {
                // Some sessions come, but the old ones stay.
                self.app.uses.entry(name.clone()).or_default().insert(role);
            }
        }
        self.visible = Some(snapshot);
        let result = Ok(Visible { generation, changed: true });
        self.at_once.push_back(Event::Published { result });
    }

    fn check_snapshot(&mut self, snapshot: &Snapshot, before: Option<&Snapshot>) {
        if before.is_some_and(|old| old.generation >= snapshot.generation) {
            self.broke("the generation does not grow");
        }
        for (name, value) in &snapshot.secrets {
            let Content::Database { .. } = &value.content else { continue };
            let old = before.and_then(|old| old.secrets.get(name));
            if old.is_some_and(|old| old.version == value.version) {
                continue;
            }
            let (now, version) = (self.now, value.version.to_string());
            if value.expires.is_some_and(|end| end <= now) {
                self.broke(format!("{name} is published past its expiry"));
            }
            let connected = match self.policy.secrets.get(name) {
                Some(SecretPolicy::Leased(policy)) => policy.connection.is_some(),
                _ => false,
            };
            let known = self.proved.contains(&version) || self.unproved.contains(&version);
            if connected && !known {
                self.broke(format!("{name} is published with no proof and no word of it"));
            }
        }
        for name in before.into_iter().flat_map(|old| old.secrets.keys()) {
            let wanted = self.policy.secrets.contains_key(name);
            if wanted && !snapshot.secrets.contains_key(name) {
                self.broke(format!("{name} was visible and is taken away"));
            }
        }
    }

    fn deliver(&mut self, op: Op, target: TargetName, notice: &Notice) {
        let names: Vec<&str> = notice.secrets.iter().map(|secret| &*secret.name).collect();
        self.say(format!("tell {target}: {}", names.join(" ")));
        let said: Vec<_> =
            notice.secrets.iter().map(|told| (told.name.clone(), told.version.clone())).collect();
        self.later("deliver", move |world, failure| {
            let deaf = world.app.deaf.contains(&target).then(|| again("connection refused"));
            let result = failure.or(deaf).map_or(Ok(()), Err);
            if result.is_ok() {
                let said =
                    said.into_iter().map(|(name, version)| ((target.clone(), name), version));
                world.told.extend(said);
            }
            Event::Delivered { op, result }
        });
    }

    /// A kill came between the writing of the state and what was to be said of it.
    fn cut_off<'a>(&mut self, commands: impl Iterator<Item = &'a Command> + Clone) {
        let unsaved = commands.clone().any(|command| matches!(command, Command::Save));
        if unsaved || self.unsaved.is_some() {
            self.muddy_all();
            return;
        }
        for command in commands {
            match command {
                // What is to be given out without proof is not in the state: the next process says
                // it anew.
                Command::Record(Record::PublishedUnproved { .. }) => {}
                Command::Record(record) => {
                    self.heard(record);
                    self.noted(record);
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, record: Record) {
        self.noted(&record);
        if self.verbose {
            let line = self.named(&format!("  {record:?}"));
            self.say(line);
        }
        self.records.push(record);
    }

    fn noted(&mut self, record: &Record) {
        if let Record::PublishedUnproved { lease, .. } = record {
            self.unproved.insert(lease.clone());
        }
        if let Record::Unconfirmed { lease, .. } = record {
            self.unconfirmed.insert(lease.clone());
        }
        if let Record::Draining { secret, lease, grace } = record {
            self.check_evidence(secret, lease);
            self.deadlines.insert(lease.clone(), self.now + *grace);
        }
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

    /// Promise 7: never more than five issues at once, and one for each quarter of a lease.
    fn check_budget(&mut self) {
        if !self.vault.roles.is_empty() {
            // Terms differ; the ledger counts for each secret.
            return;
        }
        let interval = (self.vault.ttl / 4).clamp(Duration::from_secs(1), Duration::from_secs(600));
        let leased = self.policy.secrets.len().max(1);
        let recent = self.vault.issues.len().saturating_sub(40);
        for (i, first) in self.vault.issues.iter().enumerate().skip(recent) {
            for (n, last) in self.vault.issues.iter().enumerate().skip(i) {
                let back = last.since(*first).as_micros() / interval.as_micros();
                if (n - i + 1) > (5 + back as usize + 1) * leased {
                    self.broke(format!("{} issues in {:?}", n - i + 1, last.since(*first)));
                    return;
                }
            }
        }
    }

    fn term_of(&self, secret: &SecretName) -> (Duration, Duration) {
        self.vault.roles.get(secret).copied().unwrap_or((self.vault.ttl, self.vault.max))
    }

    fn hash_of(&self, id: &Secret) -> String {
        self.vault.leases.get(id.expose()).map_or_else(|| id.short_hash(), |it| it.hash.clone())
    }

    fn lease_by(&self, hash: &str) -> Option<(&String, &Lease)> {
        self.vault.leases.iter().rev().find(|(_, lease)| lease.hash == hash)
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

    /// Whether what readers see works, for every leased secret in it.
    pub fn works(&self) -> bool {
        let Some(visible) = &self.visible else { return false };
        visible.secrets.values().all(|value| match &value.content {
            Content::Fields(_) => true,
            Content::Database { .. } => {
                self.lease_by(&value.version).is_some_and(|(_, lease)| lease.life.alive)
            }
        })
    }

    pub fn count_records(&self, wanted: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| wanted(record)).count()
    }

    /// Ends the visible login as no agent may.
    pub fn break_on_purpose(&mut self) {
        let visible = self.visible.as_ref().expect("something is visible");
        let version = visible.secrets["db"].version.clone();
        let (id, _) = self.lease_by(&version).expect("a lease");
        let id = Secret::new(id.clone());
        self.check_ending(&id, true);
    }
}

pub fn again(text: &str) -> Failure {
    Failure::new(Class::Again { after: None }, text)
}

pub fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}
