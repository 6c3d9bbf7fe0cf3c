//! The promises, checked against what Vault, readers and targets really have.
//!
//! Receives every command before it is performed and every answer before it is handed over. What
//! the agent believes is never asked for, but for what it would leave to a next process.

#[path = "promises/endings.rs"]
mod endings;
#[path = "promises/ends.rs"]
mod ends;
#[path = "promises/issues.rs"]
mod issues;
#[path = "promises/sets.rs"]
mod sets;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold::agent::SecretPolicy;
use leasehold::agent::command::Command;
use leasehold::agent::event::{Event, Op, Reading};
use leasehold::audit::event::Record;
use leasehold::lease::RoleId;
use leasehold::secret::Secret;
use leasehold::snapshot::{SecretName, Version};
use leasehold::time::Moment;

use super::{Lease, Life, World};

/// Requests about one thing that a minute may see, whatever happens.
const STORM: u32 = 300;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Login,
    Token,
    Create,
    Issue,
    Lease,
    Shorten,
    Read,
    Make,
    Probe,
    Count,
    Deliver,
}

/// What was seen so far.
#[derive(Default)]
pub struct Ledger {
    /// How often a login took the place of another, or of none.
    pub rotations: usize,
    pub commands: usize,
    /// The longest that an answer may have taken.
    pub slack: Duration,
    /// Whether what happens now is heard of by nobody.
    pub(super) ghost: bool,
    /// Whether it was sent by a process whose end was reported already.
    pub(super) late: bool,
    under_way: BTreeMap<Op, (Kind, String, Moment)>,
    busy: BTreeSet<(Kind, String)>,
    asked: BTreeMap<(Kind, String), (Moment, u32)>,
    buckets: BTreeMap<SecretName, (f64, Moment)>,
    /// Leases whose answer never reached an agent that could keep them.
    orphans: BTreeSet<String>,
    /// Those of them that nobody has been told of.
    unreported: BTreeMap<String, SecretName>,
    /// Those that are said to end before their time.
    undone: BTreeSet<String>,
    /// Tokens of which one is to end for that, until a successor was asked for.
    let_go: BTreeSet<String>,
    /// By the hash of a lease: where it was to come from.
    sources: BTreeMap<String, String>,
    shown: BTreeMap<SecretName, BTreeSet<Version>>,
    /// Logins that the agent gave up, as it said or did.
    settled: BTreeSet<String>,
    /// Logins that left the set because the policy gave them up.
    taken_out: BTreeSet<String>,
    /// Logins that are none, as the agent was told.
    pub(super) dead: BTreeSet<String>,
    moved_in: BTreeMap<SecretName, Duration>,
    /// The longest of them: what an agent goes by that could not write the last one down.
    longest_move: BTreeMap<SecretName, Duration>,
    counted: BTreeMap<SecretName, BTreeMap<RoleId, u64>>,
    read: BTreeMap<SecretName, Version>,
    stale: Option<SecretName>,
}

impl Ledger {
    /// What comes from elsewhere is asked anew, while the old question may be under way.
    pub(super) fn at_a_reload(&mut self) {
        let anew = [Kind::Create, Kind::Read, Kind::Probe, Kind::Count, Kind::Deliver];
        self.busy.retain(|(kind, _)| !anew.contains(kind));
    }
}

fn subject(command: &Command) -> Option<(Op, Kind, String)> {
    let text = |secret: &Secret| secret.expose().to_owned();
    Some(match command {
        Command::Login { op, .. } => (*op, Kind::Login, String::new()),
        Command::LookupToken { op, token }
        | Command::RenewToken { op, token, .. }
        | Command::RevokeToken { op, token } => (*op, Kind::Token, text(token)),
        Command::CreateToken { op, secret, .. } => (*op, Kind::Create, secret.to_string()),
        Command::Issue { op, secret, .. } => (*op, Kind::Issue, secret.to_string()),
        Command::ShortenLease { op, lease, .. } => (*op, Kind::Shorten, text(lease)),
        Command::RenewLease { op, lease, .. }
        | Command::LookupLease { op, lease, .. }
        | Command::RevokeLease { op, lease, .. } => (*op, Kind::Lease, text(lease)),
        Command::Read { op, secret, .. } => (*op, Kind::Read, secret.to_string()),
        Command::Make { op, secret, .. } => (*op, Kind::Make, secret.to_string()),
        Command::Probe { op, credential, .. } => (*op, Kind::Probe, credential.username.clone()),
        Command::Count { op, secret, .. } => (*op, Kind::Count, secret.to_string()),
        Command::Deliver { op, target, .. } => (*op, Kind::Deliver, target.to_string()),
        Command::Rehearse(_)
        | Command::Save
        | Command::Publish(_)
        | Command::Switch(_)
        | Command::Repair
        | Command::Record(_)
        | Command::Exit { .. } => return None,
    })
}

fn token_is_child(world: &World, lease: &Lease) -> bool {
    world.vault.parents.contains_key(&lease.token)
}

fn op(event: &Event) -> Option<Op> {
    match event {
        Event::LoggedIn { op, .. }
        | Event::TokenSeen { op, .. }
        | Event::TokenRevoked { op, .. }
        | Event::TokenCreated { op, .. }
        | Event::Issued { op, .. }
        | Event::LeaseSeen { op, .. }
        | Event::LeaseRevoked { op, .. }
        | Event::Read { op, .. }
        | Event::Probed { op, .. }
        | Event::Counted { op, .. }
        | Event::Delivered { op, .. } => Some(*op),
        Event::Wake
        | Event::Accepted { .. }
        | Event::FilesChanged
        | Event::Unwrapped { .. }
        | Event::Rehearsed { .. }
        | Event::Published { .. }
        | Event::Drifted { .. }
        | Event::Reload(_)
        | Event::Refresh { .. }
        | Event::Stop => None,
    }
}

impl World {
    /// Before `command` is performed.
    pub(super) fn commanded(&mut self, command: &Command) {
        self.ledger.commands += 1;
        self.subject = match command {
            Command::Issue { secret, .. }
            | Command::CreateToken { secret, .. }
            | Command::Read { secret, .. }
            | Command::Make { secret, .. }
            | Command::Probe { secret, .. } => Some(secret.clone()),
            _ => None,
        };
        if let Some((op, kind, key)) = subject(command) {
            self.check_alone(op, kind, key);
        }
        match command {
            // Should it fail, the old one has to do.
            Command::Login { .. } => self.ledger.let_go.clear(),
            Command::CreateToken { secret, token, .. } => self.check_need(secret, token),
            // The need for one under a child token was there when that was asked for.
            Command::Issue { secret, token, .. }
                if !self.vault.parents.contains_key(token.expose()) =>
            {
                self.check_need(secret, token);
            }
            Command::ShortenLease { lease, increment, .. } => {
                let until = self.now + *increment;
                self.check_grace(lease, until);
            }
            Command::RevokeToken { token, .. } => {
                let under = self.vault.leases.iter().filter(|(_, it)| it.token == token.expose());
                let under: Vec<_> = under.map(|(id, _)| Secret::new(id.clone())).collect();
                under.iter().for_each(|id| self.check_ending(id, true));
            }
            Command::RevokeLease { lease, .. } => {
                self.check_grace(lease, self.now);
                let hash = self.hash_of(lease);
                self.ledger.settled.insert(hash);
            }
            Command::Deliver { notice, .. } => self.check_notice(notice),
            Command::Record(record) => self.heard(record),
            _ => {}
        }
    }

    /// One request at a time about one thing, and never a storm of them.
    fn check_alone(&mut self, op: Op, kind: Kind, key: String) {
        let now = self.now;
        let about = if kind == Kind::Shorten { Kind::Lease } else { kind };
        // A probe whose login was replaced meanwhile leaves nothing behind.
        if !self.ledger.busy.insert((about, key.clone())) && about != Kind::Probe {
            self.broke(format!("two requests at once: {about:?} {key}"));
        }
        let (since, times) = self.ledger.asked.entry((about, key.clone())).or_insert((now, 0));
        if now.since(*since) > 60 * SECOND {
            (*since, *times) = (now, 0);
        }
        *times += 1;
        if *times == STORM {
            self.broke(format!("a storm: {about:?} {key}"));
        }
        self.ledger.under_way.insert(op, (kind, key, now));
    }

    /// Before `event` reaches the agent.
    pub(super) fn answered(&mut self, event: &Event) {
        if self.dead() {
            return;
        }
        let Some((kind, key, asked)) = op(event).and_then(|op| self.ledger.under_way.remove(&op))
        else {
            return;
        };
        let about = if kind == Kind::Shorten { Kind::Lease } else { kind };
        self.ledger.busy.remove(&(about, key.clone()));
        match event {
            Event::LoggedIn { .. } => self.ledger.let_go.clear(),
            Event::Issued { result: Ok(grant), .. } => {
                self.ledger.orphans.remove(grant.lease_id.expose());
                self.ledger.unreported.remove(grant.lease_id.expose());
            }
            Event::LeaseSeen { result: Ok(_), .. } => {
                if kind == Kind::Shorten {
                    self.check_shortened(&key, asked);
                }
                if let Some(lease) = self.vault.leases.get_mut(&key) {
                    lease.life.muddied = false;
                }
            }
            Event::TokenSeen { result: Ok(_), .. } => {
                if let Some(token) = self.vault.tokens.get_mut(&key) {
                    token.muddied = false;
                }
            }
            Event::Counted { result: Ok(hosts), .. } => {
                let sum = hosts.first().cloned().unwrap_or_default();
                self.ledger.counted.insert(key.into(), sum);
            }
            Event::Read { result, .. } => match result {
                Ok(Reading::New { version, .. }) => {
                    self.ledger.read.insert(key.into(), version.clone());
                }
                Ok(Reading::Same { .. } | Reading::Leased(_)) => {}
                Err(_) => self.ledger.stale = Some(key.into()),
            },
            _ => {}
        }
    }

    /// An answer that reaches nobody.
    pub(super) fn unheard(&mut self, event: &Event) {
        let Some((_, key, _)) = op(event).and_then(|op| self.ledger.under_way.get(&op)) else {
            return;
        };
        let token = self.vault.tokens.get_mut(key);
        let lease = self.vault.leases.get_mut(key).map(|lease| &mut lease.life);
        token.into_iter().chain(lease).for_each(|life| life.muddied = true);
    }

    /// What an agent was told last is in no state.
    pub(super) fn muddy_all(&mut self) {
        let leases = self.vault.leases.values_mut().map(|lease| &mut lease.life);
        let parents = &self.vault.parents;
        // Of a child token that lasts no other word will come.
        let lasts = |token: &str, life: &Life| {
            parents.contains_key(token) && life.end == Some(life.expires)
        };
        let tokens = self.vault.tokens.iter_mut().filter(|(token, life)| !lasts(token, life));
        tokens.map(|(_, life)| life).chain(leases).for_each(|life| life.muddied = true);
    }

    pub(super) fn heard(&mut self, record: &Record) {
        match record {
            Record::IssueUnanswered { secret, undone } => self.reported(secret, *undone),
            Record::LeaseLost { lease, .. } => {
                self.check_lost(lease);
                self.ledger.settled.insert(lease.clone());
                self.ledger.dead.insert(lease.clone());
            }
            Record::CredentialRefused { lease, .. } => {
                self.ledger.settled.insert(lease.clone());
                self.ledger.dead.insert(lease.clone());
            }
            Record::LeaseEnded { lease, .. } => {
                self.ledger.settled.insert(lease.clone());
            }
            Record::Confirmed { secret, after, .. } => {
                self.ledger.moved_in.insert(secret.clone(), *after);
                let longest = self.ledger.longest_move.entry(secret.clone()).or_default();
                *longest = (*longest).max(*after);
            }
            Record::Draining { secret, lease, grace } => {
                let wanted = match self.policy.secrets.get(secret) {
                    Some(SecretPolicy::Leased(policy)) => policy.grace,
                    _ => *grace,
                };
                if *grace != wanted {
                    self.broke(format!("{lease} gets {grace:?} of grace, not {wanted:?}"));
                }
            }
            _ => {}
        }
    }

    fn reported(&mut self, secret: &SecretName, undone: bool) {
        let told = self.ledger.unreported.extract_if(.., |_, of| of == secret);
        let told: Vec<_> = told.map(|(id, _)| id).filter(|_| undone).collect();
        let leases = told.iter().filter_map(|id| self.vault.leases.get(id));
        let tokens = leases.filter(|lease| !token_is_child(self, lease));
        let tokens: Vec<_> = tokens.map(|lease| lease.token.clone()).collect();
        self.ledger.let_go.extend(tokens);
        self.ledger.undone.extend(told);
    }

    /// The agent died: what it had not written down is lost.
    pub(super) fn mourn(&mut self) {
        self.ledger.busy.clear();
        self.ledger.under_way.clear();
        self.ledger.read.clear();
        self.ledger.stale = None;
        let saved = self.state();
        if self.unsaved.is_some() {
            self.muddy_all();
            self.deadlines.clear();
            self.ledger.moved_in = self.ledger.longest_move.clone();
        }
        for id in self.unknown(&saved, self.now) {
            let Lease { secret, hash, .. } = &self.vault.leases[&id];
            if self.ledger.settled.contains(hash) {
                continue;
            }
            let secret = secret.clone();
            self.ledger.unreported.insert(id.clone(), secret);
            self.ledger.orphans.insert(id);
        }
    }

    /// Leases that live beyond `soon`, were handed over, and do not stand in `state`.
    fn unknown(&self, state: &str, soon: Moment) -> Vec<String> {
        let alive = self.vault.leases.iter();
        let alive = alive.filter(|(_, lease)| lease.life.alive && lease.life.expires > soon);
        let known = |text: &str| state.contains(&format!("\"{text}\""));
        // Its child token is as good: who ends that ends it.
        let child = |lease: &Lease| token_is_child(self, lease) && known(&lease.token);
        alive
            .filter(|(id, it)| !self.ledger.orphans.contains(*id) && !known(id) && !child(it))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Promise 6: every lease is known to the agent, or was reported as unanswered.
    pub fn check_leaks(&mut self) {
        if let Some(agent) = &self.agent {
            let state = serde_json::to_string(&agent.kept()).expect("a state");
            self.check_reports();
            // The agent's count is a little ahead of Vault's.
            let soon = self.now + self.ledger.slack + 2 * SECOND;
            for id in self.unknown(&state, soon) {
                self.ledger.orphans.insert(id.clone());
                self.broke(format!("{id} is forgotten"));
            }
        }
    }

    /// Promise 6: no lease was lost without a word.
    fn check_reports(&mut self) {
        let waits =
            |secret: &SecretName| self.ledger.busy.contains(&(Kind::Issue, secret.to_string()));
        let lost = self.ledger.unreported.iter().find(|(_, secret)| !waits(secret));
        if let Some((id, _)) = lost {
            let id = id.clone();
            self.ledger.unreported.remove(&id);
            self.broke(format!("nobody knows {id}, and no word of it"));
        }
    }
}
