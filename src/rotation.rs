//! What to do next with a key set.
//!
//! Receives what stands in Vault, what is known of the agents, rules and the time; gives one step,
//! or what is waited for. Never does it: the step is repeated by whoever finds it undone, and who
//! comes second finds the manifest changed.

mod cron;
mod plan;
#[cfg(test)]
mod tests;

pub use cron::Cron;
pub use plan::{Found, Memory, Plan, Schedule, Step, Trouble, View, plan, sound};
