//! What a run is made of: secrets with their terms, targets, Vault's ways, all drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use leasehold::agent::{
    Confirm, Gives, LeasedPolicy, OnStop, Policy, PolledPolicy, SecretPolicy, Until,
};
use leasehold::snapshot::{Connection, SecretName, SslMode};

use crate::world::{Weather, World, name};

const LEASED: [&str; 3] = ["db", "reports", "audit"];
const POLLED: [&str; 2] = ["mail", "maps"];
const TARGETS: [&str; 3] = ["api", "worker", "pgbouncer"];

/// How rough a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Nothing goes wrong.
    Fair,
    /// Now and then something does.
    Mixed,
    /// Most of the time something does.
    Rough,
}

/// The terms of a run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub mood: Mood,
    /// Seconds of a lease of each secret, and how often it fits into its longest life.
    pub roles: BTreeMap<SecretName, (Duration, Duration)>,
    pub token_ttl: Duration,
    pub token_max: Option<Duration>,
    pub slow: Duration,
    pub lag: Duration,
    /// Whether every state is written down at once.
    pub strict: bool,
}

fn seconds(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_secs(rng.u64(range))
}

pub fn setting(rng: &mut Rng) -> Setting {
    let mood = match rng.u32(..8) {
        0 | 1 => Mood::Fair,
        2..=5 => Mood::Mixed,
        _ => Mood::Rough,
    };
    // The terms of one run are of one kind: a day's would let seconds' run ten thousand times.
    let scale = match rng.u32(..20) {
        0..=13 => 6..60,
        14..=17 => 60..1200,
        18 => 3600..20_000,
        _ => 43_200..260_000,
    };
    let count = 1 + rng.usize(..LEASED.len());
    let roles: BTreeMap<SecretName, (Duration, Duration)> = LEASED[..count]
        .iter()
        .map(|secret| {
            let ttl = seconds(rng, scale.clone());
            // Under the floor no login could be tried and taken up before it ends.
            let max = (ttl * rng.u32(1..8)).max(Duration::from_secs(20));
            (name(secret), (ttl, max))
        })
        .collect();
    let longest = roles.values().map(|(_, max)| *max).max().unwrap_or_default();
    let token_ttl = (longest / rng.u32(1..4)).max(Duration::from_secs(30));
    let token_max = rng.bool().then(|| token_ttl.max(longest) * rng.u32(1..6));
    let rough = mood != Mood::Fair;
    Setting {
        mood,
        roles,
        token_ttl,
        token_max,
        slow: if rough && rng.bool() { seconds(rng, 1..60) } else { Duration::ZERO },
        lag: if rough && rng.bool() {
            Duration::from_millis(rng.u64(20..400))
        } else {
            Duration::ZERO
        },
        strict: rng.u32(..20) == 0,
    }
}

pub fn world(setting: &Setting, seed: u64, rng: &mut Rng) -> World {
    let mut world = World::new(policy(setting, rng), seed);
    let (ttl, max) = setting.roles.values().next().copied().unwrap_or_default();
    (world.vault.ttl, world.vault.max) = (ttl, max);
    world.vault.roles = setting.roles.clone();
    (world.vault.token_ttl, world.vault.token_max) = (setting.token_ttl, setting.token_max);
    world.vault.children = rng.u32(..5) > 0;
    world.strict = setting.strict;
    world.weather = Weather::drawn(seed);
    (world.weather.slow, world.weather.lag) = (setting.slow, setting.lag);
    world.ledger.slack = setting.slow;
    world
}

fn policy(setting: &Setting, rng: &mut Rng) -> Policy {
    let mut secrets = BTreeMap::new();
    for (secret, (ttl, _)) in &setting.roles {
        secrets.insert(secret.clone(), SecretPolicy::Leased(leased(*ttl, rng)));
    }
    let pace = setting.roles.values().map(|(ttl, _)| *ttl / 4).min().unwrap_or_default();
    for secret in &POLLED[..rng.usize(..=POLLED.len())] {
        let polled = PolledPolicy {
            source: format!("secret/{secret}"),
            required: rng.bool(),
            poll: (2 * pace).max(Duration::from_secs(5)),
        };
        secrets.insert(name(secret), SecretPolicy::Polled(polled));
    }
    let names: Vec<SecretName> = secrets.keys().cloned().collect();
    let targets = TARGETS[..rng.usize(..=TARGETS.len())].iter().map(|target| {
        let mut wanted: BTreeSet<SecretName> =
            names.iter().filter(|_| rng.bool()).cloned().collect();
        wanted.insert(names[rng.usize(..names.len())].clone());
        (name(target), wanted)
    });
    let targets = targets.collect();
    let on_stop = [OnStop::Drain, OnStop::Revoke, OnStop::Keep][rng.usize(..3)];
    let stop_timeout = Duration::from_secs(10);
    Policy { secrets, targets, on_stop, stop_timeout, until: Until::Stopped }
}

fn leased(ttl: Duration, rng: &mut Rng) -> LeasedPolicy {
    let connection = Connection {
        hosts: vec!["postgres.internal".into()],
        port: 5432,
        dbname: "novacore".into(),
        sslmode: SslMode::Disable,
        sslrootcert: None,
    };
    let confirm = [Confirm::Moved, Confirm::Moved, Confirm::Told, Confirm::None][rng.usize(..4)];
    let connected = confirm == Confirm::Moved || rng.bool();
    let whole = |span: Duration| Duration::from_secs(span.as_secs().max(1));
    LeasedPolicy {
        source: "database/creds/app".into(),
        gives: Gives::Login,
        required: rng.bool(),
        connection: connected.then(|| Arc::new(connection)),
        confirm,
        grace: whole(ttl.mul_f64(0.02 + 0.5 * rng.f64())).min(Duration::from_secs(900)),
        unconfirmed_after: (rng.u32(..4) == 0).then(|| whole(ttl)),
        rotate_every: (rng.u32(..4) > 0).then(|| whole(ttl.mul_f64(0.5 + rng.f64()))),
        lookup: (ttl / 2).max(Duration::from_secs(5)),
    }
}

/// The policy as somebody changed it for the next process.
pub fn changed(policy: &Policy, setting: &Setting, rng: &mut Rng) -> Policy {
    let mut policy = policy.clone();
    let names: Vec<SecretName> = setting.roles.keys().cloned().collect();
    let secret = names[rng.usize(..names.len())].clone();
    let (ttl, _) = setting.roles[&secret];
    match rng.u32(..3) {
        // Taken away, or put back.
        0 if names.len() > 1 => {
            let there = policy.secrets.remove(&secret).is_some();
            let others = policy.secrets.values().any(|it| matches!(it, SecretPolicy::Leased(_)));
            if !there || !others {
                policy.secrets.insert(secret, SecretPolicy::Leased(leased(ttl, rng)));
            }
        }
        1 => {
            if let Some(SecretPolicy::Leased(old)) = policy.secrets.get_mut(&secret) {
                *old = LeasedPolicy { source: old.source.clone(), ..leased(ttl, rng) };
            }
        }
        _ => {
            if let Some(SecretPolicy::Leased(old)) = policy.secrets.get_mut(&secret) {
                old.source = format!("database/creds/app-{}", rng.u32(..3));
            }
        }
    }
    policy
}
