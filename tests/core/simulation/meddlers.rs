//! A hand between the agent and the world, made of the few things that it does.

use std::collections::{BTreeMap, BTreeSet};

use leasehold::agent::command::Command;
use leasehold::agent::event::{Event, Op};
use leasehold::secret::Secret;
use leasehold::snapshot::{SecretName, Snapshot, Value, Version};
use leasehold::time::Moment;

use crate::world::Meddler;

/// What a hand remembers.
#[derive(Default)]
pub struct Memory {
    pub failing: bool,
    pub sick: BTreeSet<SecretName>,
    pub count: usize,
    pub password: Option<Secret>,
    pub key: Option<Secret>,
    pub values: BTreeMap<SecretName, Value>,
    pub versions: BTreeMap<SecretName, Version>,
    pub leases: BTreeSet<String>,
    pub ops: BTreeSet<Op>,
    /// Completions that it makes up.
    pub answers: Vec<Event>,
}

/// Changes commands, events and the state as they pass.
#[derive(Default)]
pub struct Hand {
    pub memory: Memory,
    pub batch: Option<fn(&mut Vec<Command>)>,
    pub command: Option<fn(&mut Memory, &mut Command)>,
    pub publish: Option<fn(&mut Memory, &mut Snapshot)>,
    pub event: Option<fn(&mut Memory, Moment, Event) -> Event>,
    pub state: Option<fn(&mut serde_json::Value)>,
}

impl Hand {
    pub fn on_batch(batch: fn(&mut Vec<Command>)) -> Self {
        Self { batch: Some(batch), ..Self::default() }
    }

    pub fn on_publish(publish: fn(&mut Memory, &mut Snapshot)) -> Self {
        Self { publish: Some(publish), ..Self::default() }
    }

    pub fn on_command(command: fn(&mut Memory, &mut Command)) -> Self {
        Self { command: Some(command), ..Self::default() }
    }

    pub fn on_event(event: fn(&mut Memory, Moment, Event) -> Event) -> Self {
        Self { event: Some(event), ..Self::default() }
    }

    pub fn on_state(state: fn(&mut serde_json::Value)) -> Self {
        Self { state: Some(state), ..Self::default() }
    }
}

impl Meddler for Hand {
    fn commands(&mut self, mut commands: Vec<Command>) -> (Vec<Command>, Vec<Event>) {
        if let Some(batch) = self.batch {
            batch(&mut commands);
        }
        for command in &mut commands {
            if let (Some(publish), Command::Publish(snapshot) | Command::Switch(snapshot)) =
                (self.publish, &mut *command)
            {
                publish(&mut self.memory, snapshot);
            }
            if let Some(change) = self.command {
                change(&mut self.memory, command);
            }
        }
        (commands, std::mem::take(&mut self.memory.answers))
    }

    fn event(&mut self, now: Moment, event: Event) -> Event {
        match self.event {
            Some(change) => change(&mut self.memory, now, event),
            None => event,
        }
    }

    fn state(&mut self, mut state: serde_json::Value) -> serde_json::Value {
        if let Some(change) = self.state {
            change(&mut state);
        }
        state
    }
}
