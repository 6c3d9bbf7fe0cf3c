//! The configuration file, resolved into the settings of each part.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::agent::Policy;
use crate::agent::command::TargetName;
use crate::snapshot::SecretName;
use crate::{notice, publish, render, vault};

/// Everything that a process needs, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names this agent to people and spreads its timing.
    pub instance: String,
    /// The decisions' part.
    pub policy: Policy,
    /// Which Vault.
    pub vault: vault::Settings,
    /// Where each secret comes from.
    pub sources: BTreeMap<SecretName, vault::Source>,
    /// What to render.
    pub files: Vec<render::File>,
    /// Where to publish.
    pub publish: publish::Settings,
    /// Whom to tell.
    pub targets: BTreeMap<TargetName, notice::Settings>,
    /// Where the state lives.
    pub state: StateSettings,
    /// Where to listen.
    pub listen: Listen,
    /// What to log.
    pub log: Log,
}

/// Where the state lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// Memory-backed, ours alone.
    pub directory: PathBuf,
    /// Allow a directory that is not memory-backed.
    pub allow_disk: bool,
}

/// Where to listen; port 0 picks one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// For the kubelet.
    pub probes: Option<SocketAddr>,
    /// For Prometheus.
    pub metrics: Option<SocketAddr>,
}

/// What to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// JSON lines or text.
    pub json: bool,
}
