//! How long answers take and which fail, drawn at random from a seed.
//!
//! The default is calm: every answer after the same few milliseconds, no failure that a test did
//! not ask for, and what was sent before a kill takes effect.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold::error::{Class, Failure};
use leasehold::snapshot::SecretName;

use super::LATENCY;

#[derive(Default)]
pub struct Weather {
    rng: Option<fastrand::Rng>,
    /// The share of requests that fail, of 1.
    pub trouble: f64,
    /// How long some answers take; most take a hundredth of it.
    pub slow: Duration,
    /// How long after its making a standby does not know a token or a lease.
    pub lag: Duration,
    /// How long every answer takes, where that is not drawn.
    pub takes: Option<Duration>,
    /// Whether requests are heard whose answers are lost.
    pub hears: bool,
    /// Secrets that Vault has no answer for but this.
    pub sick: BTreeMap<SecretName, Class>,
}

/// What becomes of a request that was sent before a kill.
pub(super) enum Fate {
    Done,
    Lost,
    Late,
}

impl Weather {
    pub fn drawn(seed: u64) -> Self {
        Self { rng: Some(fastrand::Rng::with_seed(seed)), ..Self::default() }
    }

    /// No failures and quick answers from now on.
    pub fn calm(&mut self) {
        (self.trouble, self.slow, self.lag) = (0.0, Duration::ZERO, Duration::ZERO);
        self.sick.clear();
    }

    /// How long a request takes to arrive, and its answer to come back.
    pub(super) fn latency(&mut self, kind: &str) -> (Duration, Duration) {
        if let Some(takes) = self.takes {
            return (takes / 2, takes / 2);
        }
        let Some(rng) = self.rng.as_mut().filter(|_| !self.slow.is_zero()) else {
            return (LATENCY, Duration::ZERO);
        };
        // Requests are given up after ten seconds, what makes something after ninety.
        let ceiling = self.slow.min(Duration::from_secs(if matches!(kind, "issue" | "make") {
            90
        } else {
            10
        }));
        let mut draw = || {
            let share = if rng.u32(..12) == 0 { 0.5 } else { 0.005 };
            LATENCY / 2 + ceiling.mul_f64(share * rng.f64())
        };
        (draw(), draw())
    }

    /// How long after a login is taken its role is known, where that is told apart.
    pub(super) fn role_after(&mut self) -> Option<Duration> {
        let slow = self.slow.min(Duration::from_secs(5));
        let rng = self.rng.as_mut()?;
        rng.bool().then(|| slow.mul_f64(rng.f64()))
    }

    pub(super) fn fate(&mut self) -> Fate {
        match self.rng.as_mut().map(|rng| rng.u32(..4)) {
            None | Some(0 | 1) => Fate::Done,
            Some(2) => Fate::Lost,
            Some(_) => Fate::Late,
        }
    }

    /// Whether a request whose answer is lost was heard.
    pub(super) fn heard(&mut self) -> bool {
        self.hears || self.rng.as_mut().is_some_and(fastrand::Rng::bool)
    }

    pub(super) fn fault(&mut self, kind: &str, subject: Option<&SecretName>) -> Option<Failure> {
        let rng = self.rng.as_mut()?;
        if matches!(kind, "issue" | "make" | "read")
            && let Some(class) = subject.and_then(|secret| self.sick.get(secret))
        {
            return Some(Failure::new(*class, "this secret is sick"));
        }
        if self.trouble == 0.0 || rng.f64() >= self.trouble {
            return None;
        }
        let all = classes(kind);
        let class = all[rng.usize(..all.len())];
        Some(Failure::new(class, "the weather is bad"))
    }
}

const AGAIN: Class = Class::Again { after: None };
const LATER: Class = Class::Again { after: Some(Duration::from_secs(3)) };

/// The ways in which each request really fails. `Gone` is none of them: Vault says it only of what
/// is gone.
fn classes(kind: &str) -> &'static [Class] {
    use Class::{Denied, Missing, Ours, Unclear};
    match kind {
        "login" => &[AGAIN, LATER, Unclear, Ours],
        "lookup-token" => &[AGAIN, LATER],
        "renew-token" => &[AGAIN, LATER, Unclear, Denied],
        "create-token" => &[AGAIN, LATER, Unclear, Denied],
        "revoke-token" => &[AGAIN, LATER, Unclear],
        "renew-lease" | "revoke-lease" => &[AGAIN, LATER, Unclear, Denied],
        "issue" | "make" => &[AGAIN, LATER, Unclear, Denied, Missing, Ours],
        "lookup-lease" => &[AGAIN, LATER, Denied],
        "read" => &[AGAIN, LATER, Denied, Missing, Ours],
        "file" => &[Missing, Ours],
        "probe" => &[AGAIN, AGAIN, AGAIN, Denied],
        "count" => &[AGAIN, Denied, Ours],
        "deliver" => &[AGAIN, LATER, Unclear, Denied, Missing, Ours],
        _ => &[AGAIN],
    }
}
