//! What is known of the agents that publish a key set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::date::{Date, Now};
use crate::keyset::{Manifest, Mark};

/// An agent's name.
pub type AgentId = Arc<str>;

/// How many heartbeats may stay out before an agent counts as silent.
const MISSED: u32 = 3;

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Whether its service signs, beside verifying.
    pub signs: bool,
    /// The newest manifest that is published there.
    pub published: Option<Mark>,
    /// One that its service could not take.
    pub rejected: Option<Mark>,
    /// When it was heard of last.
    pub seen: Date,
    /// How often it looks for a new manifest.
    pub poll: Duration,
    /// How long its service keeps what it read of it.
    pub cache: Duration,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agents {
    /// Since when they are listened to; nothing where nobody listens.
    pub since: Option<Date>,
    /// How often each lets itself be heard.
    pub heartbeat: Duration,
    /// Who is known.
    pub known: BTreeMap<AgentId, Agent>,
}

impl Agents {
    /// How long it takes at most until each has a new manifest in use.
    pub(super) fn slowest(&self) -> Duration {
        let spans = self.known.values().map(|agent| agent.poll.saturating_add(agent.cache));
        spans.max().unwrap_or_default()
    }

    /// From when on who was not heard of is not there.
    pub(super) fn settled(&self) -> Option<Date> {
        Some(self.since? + self.heartbeat * MISSED)
    }

    /// Whether `agent` was silent for so long that what it had has run out of its caches.
    pub(super) fn waited_out(&self, agent: &Agent, now: Now) -> bool {
        let wait = (self.heartbeat * MISSED).saturating_add(agent.poll).saturating_add(agent.cache);
        now.is_past(agent.seen + wait)
    }

    /// Those whose services sign and of whom it is not known that they have what `serial` says.
    pub(super) fn signers_without(&self, manifest: &Manifest, serial: u64) -> Vec<AgentId> {
        let mark = manifest.at(serial);
        let without = self.known.iter().filter(|(_, agent)| agent.signs && !agent.has(&mark));
        without.map(|(id, _)| id.clone()).collect()
    }
}

impl Agent {
    pub(super) fn has(&self, mark: &Mark) -> bool {
        self.published.as_ref().is_some_and(|published| published.covers(mark))
    }

    pub(super) fn rejects(&self, mark: &Mark) -> bool {
        let rejected = self.rejected.as_ref().is_some_and(|rejected| rejected.covers(mark));
        rejected && !self.has(mark)
    }
}
