//! What the agent shows of itself, for probes, metrics and `status.json`. Holds no secret.

use std::collections::BTreeMap;

use crate::agent::command::TargetName;
use crate::snapshot::{Generation, SecretName, Version};
use crate::time::Moment;

/// The agent at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The visible generation; zero before the first.
    pub generation: Generation,
    /// Whether a generation was published (by this process or adopted from an earlier one).
    pub started: bool,
    /// Whether anything comes from Vault.
    pub needs_vault: bool,
    /// Whether there is a Vault token that is not known to be dead.
    pub session: bool,
    /// When the Vault token ends unless it is renewed.
    pub session_expires: Option<Moment>,
    /// Every secret of the policy.
    pub secrets: BTreeMap<SecretName, SecretView>,
    /// Every target of the policy: whether it owes an acknowledgement.
    pub targets: BTreeMap<TargetName, bool>,
    /// Whether the agent is stopping.
    pub stopping: bool,
}

/// One secret at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretView {
    /// Whether readiness depends on it.
    pub required: bool,
    /// Whether what is visible works, as far as is known.
    pub valid: bool,
    /// Whether a refresh of it is failing, so that what is visible may be old.
    pub stale: bool,
    /// The visible version.
    pub version: Option<Version>,
    /// When the visible version was obtained: its lease issued, its value first read.
    pub obtained: Option<Moment>,
    /// When the visible version ends unless it is renewed.
    pub expires: Option<Moment>,
    /// The database user that is visible.
    pub username: Option<String>,
    /// Leases held, draining ones too; zero for a polled secret.
    pub leases: usize,
    /// Of those, the ones on their way out.
    pub leaving: usize,
    /// Issues that the budget still allows.
    pub budget: u32,
    /// Since when a rotation is under way.
    pub rotating_since: Option<Moment>,
}

impl View {
    /// Required secrets whose visible value does not work.
    pub fn unready(&self) -> usize {
        self.secrets.values().filter(|secret| secret.required && !secret.valid).count()
    }

    /// Whether a generation is visible and every required secret in it works.
    pub fn ready(&self) -> bool {
        self.started && self.unready() == 0
    }
}
