//! What becomes of a command: performed in order, sent on its way, cut off, or written down.

use leasehold::agent::command::Command;
use leasehold::agent::event::{Event, Visible};
use leasehold::audit::event::Record;
use leasehold::error::{Class, Failure};
use leasehold::snapshot::Generation;

use super::{Happening, World, again, failed};

impl World {
    pub(super) fn perform(&mut self, commands: Vec<Command>) {
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
                Command::Login { op, refused, .. } => self.login(op, &refused),
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
                Command::Issue { op, secret, token } => {
                    if std::mem::take(&mut self.dies_at_issue) {
                        self.dies_in = Some(0);
                    }
                    self.issue(op, secret, token);
                }
                Command::RenewLease { op, lease, increment, .. }
                | Command::ShortenLease { op, lease, increment, .. } => {
                    self.renew_lease(op, lease, increment);
                }
                Command::LookupLease { op, lease, .. } => self.lookup_lease(op, lease),
                Command::RevokeLease { op, lease, .. } => self.revoke_lease(op, lease),
                Command::Read { op, secret, known, .. } => self.read(op, secret, known),
                Command::Make { op, secret, token } => self.make(op, secret, token),
                Command::Probe { op, secret, credential } => self.probe(op, &secret, credential),
                Command::Count { op, roles, secret, .. } => self.count(op, secret, roles),
                Command::Rehearse(_) => {
                    let result = self.fault("rehearse").map_or(Ok(()), Err);
                    self.at_once.push_back(Event::Rehearsed { result });
                }
                Command::Save => self.save(),
                Command::Publish(snapshot) => self.publish(snapshot, false),
                Command::Switch(snapshot) => self.publish(snapshot, true),
                Command::Repair => {
                    self.say("repair");
                    let generation = self.visible.as_ref().map_or(Generation(0), |v| v.generation);
                    let result = Ok(Visible { generation, changed: true });
                    self.at_once.push_back(Event::Published { result });
                }
                Command::Deliver { op, target, notice } => self.deliver(op, target, &notice),
                Command::Record(record) => self.record(record),
                Command::Exit { unmet } => {
                    self.say(unmet.map_or("exit".to_owned(), |unmet| format!("exit: {unmet:?}")));
                    self.exited = true;
                }
            }
        }
    }

    pub(super) fn later(
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
                "lookup-lease" | "lookup-token" | "read" | "file" | "probe" | "count" | "deliver"
            ) {
                world.vault.quiet_until = world.now;
            }
            let elsewhere = matches!(kind, "file" | "probe" | "count" | "deliver");
            let failure = if world.vault.up || elsewhere {
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
                    failed::instead(world, event, failure)
                }
                failure => answer(world, failure),
            }
        };
        self.queue.insert(key, Happening::Request(Box::new(answer), back));
    }

    pub(super) fn save(&mut self) {
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

    /// A kill came between the writing of the state and what was to be said of it.
    pub(super) fn cut_off<'a>(&mut self, commands: impl Iterator<Item = &'a Command> + Clone) {
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

    pub(super) fn record(&mut self, record: Record) {
        self.noted(&record);
        if self.verbose {
            let line = self.named(&format!("  {record:?}"));
            self.say(line);
        }
        self.records.push(record);
    }

    pub(super) fn noted(&mut self, record: &Record) {
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
}
