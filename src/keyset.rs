//! Key sets: which key of a service's tokens does what, and what may be done next.
//!
//! Receives a manifest, what is known of the agents, and the time; gives the manifest that follows,
//! or why there is none. Never holds a key that signs: there is a document for each of those, and
//! the manifest, written by check-and-set, is the only place where anything is decided.
//!
//! ```text
//!              initiate              promote                  complete             cleanup
//!  v1 signing ─────────► signing ──────────────► verify-only ─────────► deprecated ───────► retired
//!  v2    –    ─────────► prepared ─────────────► signing ─────────────► active
//!                           │ abort                 │ abort: v1 signs again, v2 verifies only
//!                           ▼                       ▼
//!                        retired                 deprecated
//! ```

mod agents;
mod guard;
mod manifest;
mod refused;
#[cfg(test)]
mod tests;
mod transition;

use std::time::Duration;

pub use agents::{Agent, AgentId, Agents};
pub use manifest::{Entry, Manifest, Mark, Phase, Rotation, Trigger};
pub use refused::{Missing, Refused};
pub use transition::{Done, NewKey, Who};

/// How a key set is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a key may be in use.
    pub lifetime: Duration,
    /// The age from which a key is replaced, whatever the schedule.
    pub rotate_at: Duration,
    /// A key younger than this is not replaced by the schedule.
    pub min_age: Duration,
    /// From initiate to complete, and from complete to cleanup.
    pub grace: Duration,
    /// The longest life of a token.
    pub max_token_ttl: Duration,
    /// How far the clocks of those who verify may be off.
    pub leeway: Duration,
    /// How long it takes at least until a new set is everywhere.
    pub min_propagation: Duration,
    /// How many agents must be known before a promotion.
    pub min_expected: usize,
    /// How long the schedule waits after an abort.
    pub hold: Duration,
}
