//! What one call of `handle` gives to the parts: the time, a seeded generator for spreading, the
//! numbers of operations, and the list that the parts push their commands on.

use std::time::Duration;

use crate::agent::command::Command;
use crate::agent::event::Op;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::schedule::{self, Retry};
use crate::time::Moment;

/// Lives for one call of `handle`.
pub struct Context<'a> {
    /// The time of the event.
    pub now: Moment,
    rng: &'a mut fastrand::Rng,
    next_op: &'a mut u64,
    commands: Vec<Command>,
    dirty: bool,
}

impl<'a> Context<'a> {
    /// A context at `now`.
    pub fn new(now: Moment, rng: &'a mut fastrand::Rng, next_op: &'a mut u64) -> Self {
        Self { now, rng, next_op, commands: Vec::new(), dirty: false }
    }

    /// A number between 0 and 1, for spreading.
    pub fn jitter(&mut self) -> f64 {
        self.rng.f64()
    }

    /// A name for a new operation.
    pub fn op(&mut self) -> Op {
        *self.next_op += 1;
        Op(*self.next_op)
    }

    /// Something that the next process must know has changed.
    pub fn dirty(&mut self) {
        self.dirty = true;
    }

    /// Wants `command` performed.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Wants the operator told.
    pub fn record(&mut self, record: Record) {
        self.commands.push(Command::Record(record));
    }

    /// What the operator was told so far.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.commands.iter().filter_map(|command| {
            if let Command::Record(record) = command { Some(record) } else { None }
        })
    }

    /// Notes `failure` in `retry` and gives the wait before the next try, at least what the other
    /// side asked for, within `remaining` where something ends.
    pub fn back_off(
        &mut self,
        retry: &mut Retry,
        remaining: Option<Duration>,
        failure: &Failure,
    ) -> Duration {
        let jitter = self.jitter();
        let mut wait = schedule::retry_after(retry.attempt, remaining, jitter);
        if let Class::Again { after: Some(after) } = failure.class {
            let room = remaining.map_or(after, |left| left / 4);
            wait = wait.max(after.min(room));
        }
        retry.failed(self.now, wait);
        wait
    }

    /// The commands, the state's writing first: whatever they do is saved before it is done.
    pub fn finish(mut self) -> Vec<Command> {
        if self.dirty {
            self.commands.insert(0, Command::Save);
        }
        self.commands
    }
}
