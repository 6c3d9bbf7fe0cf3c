//! The agent's own decisions, run ahead in a time of their own.
//!
//! Receives a policy and what Vault grants, gives everything that the agent will do until each login
//! was replaced once. Never a second set of rules: it is the agent, before a Vault that answers as
//! the terms say, a database that takes every login and a service that moves as soon as it is told.

mod vault;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::agent::command::Command;
use crate::agent::event::{Event, LoginFailure, Reading, Visible};
use crate::agent::{Agent, Kept, Policy, SecretPolicy};
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::RoleId;
use crate::snapshot::{Fields, Generation, SecretName, Version};
use crate::time::Moment;

use vault::Servers;

/// A request and its answer.
const LATENCY: Duration = Duration::from_millis(10);

/// Vault is not asked how things are: it answers as it said it would.
const SELDOM: Duration = Duration::from_secs(10 * 365 * 86_400);

/// More turns than this show nothing that fewer do not.
const TURNS: usize = 500_000;

const BEGINNING: Moment = Moment::from_micros(1_000_000_000_000);

/// What a login to Vault gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// Its term; none for a token that never ends.
    pub ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How long renewals carry it; none for ever.
    pub longest: Option<Duration>,
    /// Whether each login makes one.
    pub ours: bool,
}

/// What a database role gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// A lease's term.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// How long renewals carry it; none where they are refused.
    pub longest: Option<Duration>,
}

/// What Vault grants.
#[derive(Clone, Debug)]
pub struct Terms {
    /// To whom logs in.
    pub token: TokenTerms,
    /// For each leased secret.
    pub leases: BTreeMap<SecretName, LeaseTerms>,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the agent's start.
    pub at: Duration,
    /// What.
    pub what: Happening,
}

/// What can be foreseen. Logins of a secret are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Logged in to Vault.
    TokenMade,
    /// The token was renewed.
    TokenRenewed,
    /// The token ends, and nothing can be done about it.
    TokenEnds,
    /// A login was made, and is published a moment later.
    Issued(SecretName, usize),
    /// A login was renewed.
    Renewed(SecretName, usize),
    /// The service has left a login, which has this much left.
    Drains(SecretName, usize, Duration),
    /// A login ends.
    Ends(SecretName, usize),
}

/// What was foreseen.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    /// In the order of their time.
    pub entries: Vec<Entry>,
    /// Secrets whose grace cannot be kept.
    pub broken: Vec<SecretName>,
}

/// What the agent of `policy` will do where Vault grants `terms`; `seed` spreads it.
pub fn forecast(policy: &Policy, terms: &Terms, seed: u64) -> Forecast {
    let mut policy = policy.clone();
    for secret in policy.secrets.values_mut() {
        match secret {
            SecretPolicy::Leased(leased) => leased.lookup = SELDOM,
            SecretPolicy::Polled(polled) => polled.poll = SELDOM,
        }
    }
    let leased = policy.secrets.iter().filter(|(name, _)| terms.leases.contains_key(*name));
    let waiting = leased.map(|(name, _)| name.clone()).collect();
    let (agent, first) = Agent::adopt(policy, Kept::default(), Generation(0), seed, BEGINNING);
    let mut ahead = Ahead {
        agent,
        servers: Servers::new(terms),
        now: BEGINNING,
        answers: BTreeMap::new(),
        order: 0,
        deadlines: BTreeMap::new(),
        waiting,
        forecast: Forecast::default(),
    };
    ahead.run(first);
    ahead.forecast.until_each_has_ended()
}

impl Forecast {
    /// In order, and of each secret no more than the life of its first login.
    fn until_each_has_ended(mut self) -> Self {
        self.entries.sort_by_key(|entry| entry.at);
        let mut over: Vec<SecretName> = Vec::new();
        self.entries.retain(|entry| match &entry.what {
            Happening::TokenMade | Happening::TokenRenewed | Happening::TokenEnds => true,
            Happening::Issued(secret, _)
            | Happening::Renewed(secret, _)
            | Happening::Drains(secret, ..) => !over.contains(secret),
            Happening::Ends(secret, _) => {
                over.push(secret.clone());
                true
            }
        });
        self
    }
}

struct Ahead {
    agent: Agent,
    servers: Servers,
    now: Moment,
    answers: BTreeMap<(Moment, u64), Event>,
    order: u64,
    /// Until when logins that drain should live, by their hashes.
    deadlines: BTreeMap<String, Moment>,
    /// Secrets of which no login has ended yet.
    waiting: Vec<SecretName>,
    forecast: Forecast,
}

impl Ahead {
    fn run(&mut self, first: Vec<Command>) {
        let mut events = self.perform(first);
        events.push_back(Event::Wake);
        for _ in 0..TURNS {
            while let Some(event) = events.pop_front() {
                let commands = self.agent.handle(self.now, event);
                events.extend(self.perform(commands));
            }
            if self.waiting.is_empty() {
                return;
            }
            let answer = self.answers.first_key_value().map(|(key, _)| key.0);
            let wakeup = self.agent.next_wakeup(self.now);
            let Some(next) = [answer, wakeup].into_iter().flatten().min() else { return };
            self.now = self.now.max(next);
            if self.servers.out_of_tokens(self.now) {
                return self.note(self.now, Happening::TokenEnds);
            }
            events.push_back(match self.answers.first_entry() {
                Some(entry) if entry.key().0 <= self.now => entry.remove(),
                Some(_) | None => Event::Wake,
            });
        }
    }

    fn note(&mut self, at: Moment, what: Happening) {
        self.forecast.entries.push(Entry { at: at.since(BEGINNING), what });
    }

    /// Gives what is answered at once; the rest comes later.
    fn perform(&mut self, commands: Vec<Command>) -> VecDeque<Event> {
        let mut at_once = VecDeque::new();
        for command in commands {
            let now = matches!(command, Command::Rehearse(_) | Command::Publish(_));
            let Some(event) = self.answer(command) else { continue };
            if now {
                at_once.push_back(event);
            } else {
                self.order += 1;
                self.answers.insert((self.now + LATENCY, self.order), event);
            }
        }
        at_once
    }

    fn answer(&mut self, command: Command) -> Option<Event> {
        let (now, sent, servers) = (self.now, self.now, &mut self.servers);
        Some(match command {
            Command::Login { op, .. } => {
                let result = servers.login(now).map_err(LoginFailure::from);
                Event::LoggedIn { op, sent, result }
            }
            Command::LookupToken { op, token } => {
                Event::TokenSeen { op, sent, result: servers.lookup_token(now, &token) }
            }
            Command::RenewToken { op, token, increment } => {
                Event::TokenSeen { op, sent, result: servers.renew_token(now, &token, increment) }
            }
            Command::RevokeToken { op, token } => {
                servers.revoke_token(now, &token);
                Event::TokenRevoked { op, result: Ok(()) }
            }
            Command::CreateToken { op, secret, .. } => {
                // A lease lives as long without a token of its own.
                let result = Err(Failure::new(Class::Denied, "no child tokens are made"));
                Event::TokenCreated { op, secret, sent, result }
            }
            Command::Issue { op, secret, token } => {
                let result = servers.issue(now, &secret, &token);
                Event::Issued { op, secret, sent, result }
            }
            Command::ShortenLease { op, lease, increment, .. }
            | Command::RenewLease { op, lease, increment, .. } => {
                Event::LeaseSeen { op, sent, result: servers.renew_lease(now, &lease, increment) }
            }
            Command::LookupLease { op, lease, .. } => {
                Event::LeaseSeen { op, sent, result: servers.lookup_lease(now, &lease) }
            }
            Command::RevokeLease { op, lease, .. } => {
                servers.revoke_lease(now, &lease);
                Event::LeaseRevoked { op, result: Ok(()) }
            }
            Command::Read { op, known, .. } => {
                let new = Reading::New { version: Version::from("1"), fields: Fields::default() };
                Event::Read { op, result: Ok(known.map_or(new, |_| Reading::Same)) }
            }
            Command::Probe { op, credential, .. } => {
                Event::Probed { op, result: servers.role(&credential) }
            }
            Command::Count { op, roles, .. } => {
                let newest = roles.iter().max().copied();
                let count = |role: RoleId| (role, u64::from(Some(role) == newest));
                Event::Counted { op, result: Ok(vec![roles.into_iter().map(count).collect()]) }
            }
            Command::Deliver { op, .. } => Event::Delivered { op, result: Ok(()) },
            Command::Rehearse(_) => Event::Rehearsed { result: Ok(()) },
            Command::Publish(snapshot) => {
                let visible = Visible { generation: snapshot.generation, changed: true };
                Event::Published { result: Ok(visible) }
            }
            Command::Record(record) => {
                self.record(&record);
                return None;
            }
            Command::Save | Command::Repair | Command::Exit { .. } => return None,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of the whole catalogue these are shown")]
    fn record(&mut self, record: &Record) {
        match record {
            Record::SessionOpened { .. } => self.note(self.now, Happening::TokenMade),
            Record::SessionRenewed { .. } => self.note(self.now, Happening::TokenRenewed),
            Record::LeaseIssued { secret, lease, .. } => {
                self.note_of(secret, lease, Happening::Issued);
            }
            Record::LeaseRenewed { secret, lease, .. } => {
                self.note_of(secret, lease, Happening::Renewed);
            }
            Record::Draining { secret, lease, grace } => {
                self.deadlines.insert(lease.clone(), self.now + *grace);
                let drains = |secret, number| Happening::Drains(secret, number, *grace);
                self.note_of(secret, lease, drains);
            }
            Record::LeaseEnded { secret, lease } | Record::LeaseLost { secret, lease, .. } => {
                self.ended(secret, lease);
            }
            Record::GraceCut { secret, .. } => self.broke(secret),
            _ => {}
        }
    }

    fn note_of(
        &mut self,
        secret: &SecretName,
        hash: &str,
        what: impl FnOnce(SecretName, usize) -> Happening,
    ) {
        if let Some((number, _)) = self.servers.of_hash(hash) {
            self.note(self.now, what(secret.clone(), number));
        }
    }

    fn ended(&mut self, secret: &SecretName, hash: &str) {
        let Some((number, end)) = self.servers.of_hash(hash) else { return };
        let at = end.map_or(self.now, |end| end.min(self.now));
        // Vault's whole seconds may take one.
        let least = at + Duration::from_secs(1);
        let kept = self.deadlines.get(hash).is_some_and(|deadline| least >= *deadline);
        if let Some(found) = self.waiting.iter().position(|one| one == secret) {
            self.waiting.remove(found);
            self.note(at, Happening::Ends(secret.clone(), number));
            if !kept {
                self.broke(secret);
            }
        }
    }

    fn broke(&mut self, secret: &SecretName) {
        if !self.forecast.broken.contains(secret) {
            self.forecast.broken.push(secret.clone());
        }
    }
}

#[cfg(test)]
mod tests;
