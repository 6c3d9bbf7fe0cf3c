//! The promises, checked against what Vault, readers and targets really have.
//!
//! Receives every command before it is performed and every answer before it is handed over. What
//! the agent believes is never asked for, but for what it would leave to a next process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold::agent::SecretPolicy;
use leasehold::agent::command::{Command, Notice};
use leasehold::agent::event::{Event, Op, Reading};
use leasehold::audit::event::Record;
use leasehold::lease::RoleId;
use leasehold::secret::Secret;
use leasehold::snapshot::{Content, SecretName, Snapshot, Value, Version};
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
    /// By the hash of a lease: where it was to come from.
    sources: BTreeMap<String, String>,
    shown: BTreeMap<SecretName, BTreeSet<Version>>,
    /// Logins that the agent gave up, as it said or did.
    settled: BTreeSet<String>,
    /// Logins that are none, as the agent was told.
    pub(super) dead: BTreeSet<String>,
    moved_in: BTreeMap<SecretName, Duration>,
    counted: BTreeMap<SecretName, BTreeMap<RoleId, u64>>,
    read: BTreeMap<SecretName, Version>,
    stale: Option<SecretName>,
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
        Command::Probe { op, credential, .. } => (*op, Kind::Probe, credential.username.clone()),
        Command::Count { op, secret, .. } => (*op, Kind::Count, secret.to_string()),
        Command::Deliver { op, target, .. } => (*op, Kind::Deliver, target.to_string()),
        Command::Rehearse(_)
        | Command::Save
        | Command::Publish(_)
        | Command::Repair
        | Command::Record(_)
        | Command::Exit => return None,
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
        | Event::Unwrapped { .. }
        | Event::Rehearsed { .. }
        | Event::Published { .. }
        | Event::Drifted { .. }
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
            | Command::Probe { secret, .. } => Some(secret.clone()),
            _ => None,
        };
        if let Some((op, kind, key)) = subject(command) {
            self.check_alone(op, kind, key);
        }
        match command {
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
                Ok(Reading::Same | Reading::Leased(_)) => {}
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
        self.vault.tokens.values_mut().chain(leases).for_each(|life| life.muddied = true);
    }

    /// After an answer was dealt with: what could not be refreshed is shown as such.
    pub(super) fn check_stale(&mut self) {
        let Some(secret) = self.ledger.stale.take() else { return };
        let Some(agent) = self.agent.as_ref().filter(|_| !self.stopping) else { return };
        let view = agent.view(self.now);
        if view.secrets.get(&secret).is_some_and(|shown| !shown.stale) {
            self.broke(format!("{secret} could not be read and does not show as stale"));
        }
    }

    pub(super) fn heard(&mut self, record: &Record) {
        match record {
            Record::IssueUnanswered { secret, .. } => self.reported(secret),
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

    fn reported(&mut self, secret: &SecretName) {
        self.ledger.unreported.retain(|_, of| of != secret);
    }

    /// What Vault still knows is not lost, but for the moment that an answer may take.
    fn check_lost(&mut self, hash: &str) {
        let soon = self.now + self.ledger.slack + 2 * SECOND;
        let Some((id, lease)) = self.lease_by(hash) else { return };
        // It dies with its child token, and with that above it.
        let lives = self.tokens_of(lease).all(|token| token.expires > soon);
        if lease.life.alive && lease.life.expires > soon && lives && !self.muddied(lease) {
            let id = id.clone();
            self.broke(format!("{id} is taken for lost and lives"));
        }
    }

    /// Vault made a lease. Promise 7: five at once, then one each quarter of a lease.
    pub(super) fn granted(&mut self, id: &str, lease: &Lease) {
        self.ledger.orphans.insert(id.to_owned());
        let secret = lease.secret.clone();
        if !self.ledger.late {
            self.ledger.unreported.insert(id.to_owned(), secret.clone());
        }
        if let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(&secret) {
            self.ledger.sources.insert(lease.hash.clone(), policy.source.clone());
        }
        let (ttl, _) = self.term_of(&secret);
        let interval = (ttl / 4).clamp(SECOND, 600 * SECOND);
        // The agent counts from the answers, which come one by one.
        let full = 6.0;
        let now = self.now;
        let (left, counted) = self.ledger.buckets.entry(secret.clone()).or_insert((full, now));
        let back = (now.since(*counted) + self.ledger.slack).as_secs_f64() / interval.as_secs_f64();
        *left = (*left + back).min(full) - 1.0;
        *counted = now + self.ledger.slack;
        if *left < 0.0 {
            *left = full;
            self.broke(format!("{secret} makes more logins than its budget allows"));
        }
    }

    /// Promises 6 and 7: a login is asked for when there is none, or its time has come, and one at
    /// a time.
    fn check_need(&mut self, secret: &SecretName, token: &Secret) {
        let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(secret).cloned() else {
            return self.broke(format!("{secret} is not in the policy and gets a login"));
        };
        let known = |hash: &str| {
            let from = self.ledger.sources.get(hash);
            !self.ledger.settled.contains(hash) && from.is_some_and(|from| *from == policy.source)
        };
        let shown = self.ledger.shown.get(secret);
        let soon = self.now + self.ledger.slack + 2 * SECOND;
        let waiting = self.vault.leases.iter().find(|(id, lease)| {
            lease.secret == *secret
                && lease.life.alive
                && lease.life.expires > soon
                && !self.muddied(lease)
                && self.session_of(&lease.token) == self.session_of(token.expose())
                && !self.ledger.orphans.contains(*id)
                && known(&lease.hash)
                && !shown.is_some_and(|shown| shown.contains(&*lease.hash))
        });
        if let Some((id, _)) = waiting {
            let id = id.clone();
            return self.broke(format!("{secret} gets a second login while {id} waits"));
        }
        let visible = self.visible.as_ref().and_then(|set| set.secrets.get(secret));
        let Some((id, lease)) = visible.and_then(|value| self.lease_by(&value.version)) else {
            return;
        };
        let child = self.vault.tokens.get(&lease.token).filter(|_| token_is_child(self, lease));
        // A child token that could not be made to last takes its lease along.
        let fleeting = child.is_some_and(|child| Some(child.expires) < lease.life.end);
        let good = lease.life.alive
            && !fleeting
            && !self.muddied(lease)
            && !self.ledger.busy.contains(&(Kind::Lease, id.clone()))
            && self.session_of(&lease.token) == self.session_of(token.expose())
            && known(&lease.hash);
        if good && self.now < self.wanted_at(secret, lease) {
            let id = id.clone();
            self.broke(format!("{secret} gets a new login though {id} is good"));
        }
    }

    /// The earliest moment that a good login may be replaced.
    fn wanted_at(&self, secret: &SecretName, lease: &Lease) -> Moment {
        let Some(SecretPolicy::Leased(policy)) = self.policy.secrets.get(secret) else {
            return self.now;
        };
        let (ttl, _) = self.term_of(secret);
        let born = lease.life.born;
        let token = self.vault.tokens.get(self.session_of(&lease.token));
        let token = token.and_then(|token| token.end);
        let end = [lease.life.end, token].into_iter().flatten().min().unwrap_or(lease.life.expires);
        let moved = self.ledger.moved_in.get(secret).copied().unwrap_or_default();
        let overlap = SECOND + (moved + moved / 2).max(8 * SECOND) + policy.grace;
        let ahead = overlap.max(ttl / 5) + ttl / 20;
        let due = (end - ahead).max(born + end.since(born) / 3);
        // One that was measured lives as long as it can, and a tenth of that is its last chance.
        let term = ttl.max(lease.life.expires.since(self.now));
        let late = lease.life.expires - (term / 10).max(SECOND);
        let aged = policy.rotate_every.map(|every| born + every - every / 20);
        let first = [Some(due), Some(late), aged].into_iter().flatten().min().unwrap_or(due);
        first - self.ledger.slack - 2 * SECOND
    }

    /// The token that `lease` is under, and the one above that.
    fn tokens_of<'a>(&'a self, lease: &'a Lease) -> impl Iterator<Item = &'a Life> {
        let names = BTreeSet::from([&*lease.token, self.session_of(&lease.token)]);
        names.into_iter().filter_map(|name| self.vault.tokens.get(name))
    }

    /// Whether the agent cannot know when it ends.
    pub(super) fn muddied(&self, lease: &Lease) -> bool {
        lease.life.muddied || self.tokens_of(lease).any(|token| token.muddied)
    }

    /// The session's token that `token` is, or is a child of.
    pub(super) fn session_of<'a>(&'a self, token: &'a str) -> &'a str {
        self.vault.parents.get(token).map_or(token, |parent| parent)
    }

    /// Promise 5: a login that drains has its whole grace.
    fn check_grace(&mut self, id: &Secret, until: Moment) {
        let hash = self.hash_of(id);
        let lost = self.ledger.settled.contains(&hash);
        let deadline = self.deadlines.get(&hash).copied();
        if deadline.is_some_and(|deadline| until < deadline) && !self.stopping && !lost {
            self.broke(format!("{} ends before its grace", id.expose()));
        }
    }

    /// Promise 5: once Vault has answered the shortening it is Vault that ends the login.
    fn check_shortened(&mut self, id: &str, asked: Moment) {
        let Some(lease) = self.vault.leases.get(id) else { return };
        let Some(deadline) = self.deadlines.get(&lease.hash).copied() else { return };
        let latest = deadline.max(asked) + SECOND + self.now.since(asked);
        if lease.life.alive && !lease.life.muddied && lease.life.expires > latest {
            self.broke(format!("{id} is shortened and outlives its grace"));
        }
    }

    /// A notice speaks of what readers see.
    fn check_notice(&mut self, notice: &Notice) {
        let Some(visible) = &self.visible else {
            return self.broke("a notice of nothing");
        };
        let seen = notice.secrets.iter().all(|told| {
            visible.secrets.get(&told.name).is_some_and(|value| value.version == told.version)
        });
        if notice.generation != visible.generation || !seen {
            self.broke("a notice of what is not visible");
        }
    }

    /// What enters the set: whole, alive, and never something from before.
    pub(super) fn check_values(&mut self, snapshot: &Snapshot, before: Option<&Snapshot>) {
        for (name, value) in &snapshot.secrets {
            let old = before.and_then(|old| old.secrets.get(name));
            let changed = old.is_none_or(|old| old.version != value.version);
            match &value.content {
                Content::Database { .. } if changed => self.check_login(name, value),
                Content::Fields(_) => {
                    let read = self.ledger.read.get(name);
                    if read.is_some_and(|read| *read != value.version) {
                        self.broke(format!("{name} is published as it was before"));
                    }
                }
                Content::Database { .. } => {}
            }
        }
    }

    fn check_login(&mut self, name: &SecretName, value: &Value) {
        let Content::Database { credential, .. } = &value.content else { return };
        self.ledger.rotations += 1;
        if !self.ledger.shown.entry(name.clone()).or_default().insert(value.version.clone()) {
            self.broke(format!("{name} goes back to an earlier login"));
        }
        let Some((id, lease)) = self.lease_by(&value.version) else {
            return self.broke(format!("{name} is published with a login that never was"));
        };
        let number = id.trim_start_matches("lease-");
        let whole = credential.username == format!("user-{number}")
            && credential.password.expose() == format!("password-{number}");
        let token = self.vault.tokens.get(self.session_of(&lease.token));
        let ends = token.map_or(lease.life.expires, |token| token.expires.min(lease.life.expires));
        let claims = value.expires;
        if !whole {
            self.broke(format!("{name} is published with half of another login"));
        }
        if ends <= self.now {
            self.broke(format!("{name} is published past its real end"));
        }
        if claims.is_none_or(|claim| claim > ends) {
            self.broke(format!("{name} claims to live until {claims:?}, and ends at {ends:?}"));
        }
    }

    /// Promise 5: the sessions that were really counted last.
    pub(super) fn counted_moved(&self, secret: &SecretName, old: RoleId) -> bool {
        self.ledger.counted.get(secret).is_some_and(|sessions| {
            sessions.get(&old).copied() == Some(0)
                && sessions.iter().any(|(role, count)| *role != old && *count > 0)
        })
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

    /// Leases that nobody read of and that live all the same, though their child token could end
    /// them.
    pub fn haunting(&self) -> Vec<String> {
        let leases = self.vault.leases.iter().filter(|(id, lease)| {
            lease.life.alive && token_is_child(self, lease) && self.ledger.orphans.contains(*id)
        });
        leases.map(|(id, _)| id.clone()).collect()
    }

    /// Leases that live though nobody should have them any more.
    pub fn left_over(&self) -> Vec<String> {
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        alive.map(|(id, _)| id).filter(|id| !self.ledger.orphans.contains(*id)).cloned().collect()
    }

    /// Leases that live past the deadline of their drain by more than `slack`.
    pub fn overdue(&self, slack: Duration) -> Vec<String> {
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        let late = |lease: &Lease| {
            self.deadlines.get(&lease.hash).is_some_and(|deadline| *deadline + slack < self.now)
        };
        alive.filter(|(_, lease)| late(lease)).map(|(id, _)| id.clone()).collect()
    }

    /// Leases that drain.
    pub fn draining_now(&self) -> BTreeSet<String> {
        let drains = |lease: &Lease| {
            self.deadlines.get(&lease.hash).is_some_and(|deadline| *deadline > self.now)
        };
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        alive.filter(|(_, lease)| drains(lease)).map(|(id, _)| id.clone()).collect()
    }

    /// Leases that a stop at `stopped` let live longer than their grace.
    pub fn living_past(&self, stopped: Moment) -> Vec<String> {
        let late = |lease: &Lease| {
            let grace = match self.policy.secrets.get(&lease.secret) {
                Some(SecretPolicy::Leased(policy)) => policy.grace,
                // Only the agent's state still says.
                _ => Duration::from_secs(900),
            };
            lease.life.expires > stopped + grace + 3 * SECOND
        };
        let alive = self.vault.leases.iter().filter(|(_, lease)| lease.life.alive);
        let alive = alive.filter(|(id, lease)| !self.ledger.orphans.contains(*id) && late(lease));
        alive.map(|(id, _)| id.clone()).collect()
    }

    /// The app is down: none of its sessions is left.
    pub fn app_gone(&mut self) {
        self.app.uses.values_mut().for_each(BTreeSet::clear);
    }

    /// The app runs, with what is visible.
    pub fn app_back(&mut self) {
        let Some(visible) = self.visible.clone() else { return };
        for (name, value) in &visible.secrets {
            if let Some(role) = self.lease_by(&value.version).map(|(_, lease)| lease.role) {
                self.app.uses.insert(name.clone(), BTreeSet::from([role]));
            }
        }
    }

    /// Targets that do not know what is visible of their secrets.
    pub fn untold(&self) -> Vec<String> {
        let Some(visible) = &self.visible else { return Vec::new() };
        let pairs = self.policy.targets.iter().flat_map(|(target, secrets)| {
            secrets.iter().map(move |secret| (target.clone(), secret.clone()))
        });
        pairs
            .filter(|(target, secret)| {
                visible.secrets.get(secret).is_some_and(|value| {
                    self.told.get(&(target.clone(), secret.clone())) != Some(&value.version)
                })
            })
            .map(|(target, secret)| format!("{target}/{secret}"))
            .collect()
    }

    /// Secrets but `sick` whose visible login does not work.
    pub fn held_back(&self, sick: &SecretName) -> Vec<SecretName> {
        let Some(visible) = &self.visible else { return Vec::new() };
        let others = visible.secrets.iter().filter(|(name, _)| *name != sick);
        let dead = others.filter(|(_, value)| match &value.content {
            Content::Fields(_) => false,
            Content::Database { .. } => {
                !self.lease_by(&value.version).is_some_and(|(_, lease)| lease.life.alive)
            }
        });
        dead.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets what has long been over, so that long runs stay quick.
    pub fn prune(&mut self) {
        let now = self.now;
        let over = |alive: bool, expires: Moment| !alive && now.since(expires) > 600 * SECOND;
        self.vault.leases.retain(|_, lease| !over(lease.life.alive, lease.life.expires));
        let used: BTreeSet<String> =
            self.vault.leases.values().map(|lease| lease.token.clone()).collect();
        self.vault.tokens.retain(|name, token| token.alive || used.contains(name));
        let tokens = &self.vault.tokens;
        self.vault.parents.retain(|name, _| tokens.contains_key(name));
        self.records.clear();
        if self.vault.issues.len() > 100 {
            self.vault.issues.drain(..60);
        }
    }
}
