//! Services that sign and verify, by the manifest that their agents had when they looked.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use leasehold::date::Date;
use leasehold::keyset::{Agent, AgentId, Agents, Manifest};

use super::{DAY, HOUR, MINUTE, SECOND, START, Weather, millis, policy};

pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// One service and its agent.
#[derive(Clone)]
pub struct Service {
    pub name: AgentId,
    pub signs: bool,
    poll: Duration,
    cache: Duration,
    /// When its agent cannot read Vault.
    outages: Vec<(i64, i64)>,
    /// When it is not heard of.
    silences: Vec<(i64, i64)>,
}

/// Three that verify and two that sign as well.
pub fn draw(rng: &mut Rng, weather: &Weather) -> Vec<Service> {
    let spans = |rng: &mut Rng, many: usize, longest: i64| {
        let begins = (0..many).map(|_| START + rng.i64(DAY..365 * DAY));
        let begins: Vec<i64> = begins.collect();
        begins.into_iter().map(|at| (at, at + rng.i64(MINUTE..longest))).collect()
    };
    let draw = |(name, signs): (&str, bool)| {
        let (poll, cache) = (rng.u64(5..60), rng.u64(0..600));
        // Without acknowledgements nobody waits for who cannot read: the time that is allowed for
        // it must do.
        let outages = if weather.uplink { spans(rng, 4, DAY) } else { Vec::new() };
        let silences = if weather.uplink { spans(rng, 3, 2 * HOUR) } else { Vec::new() };
        Service {
            name: name.into(),
            signs,
            poll: Duration::from_secs(poll),
            cache: Duration::from_secs(cache),
            outages,
            silences,
        }
    };
    let names = [("v1", false), ("v2", false), ("v3", false), ("s1", true), ("s2", true)];
    names.into_iter().map(draw).collect()
}

fn within(spans: &[(i64, i64)], at: i64) -> Option<(i64, i64)> {
    spans.iter().find(|(from, until)| (*from..*until).contains(&at)).copied()
}

impl Service {
    /// When what is in use at `at` was read, with as much delay as may be.
    fn read_at(&self, at: i64) -> i64 {
        let mut read = at;
        while let Some((from, _)) = within(&self.outages, read) {
            read = from - 1;
        }
        read - millis(self.poll) - millis(self.cache)
    }

    fn published_at(&self, at: i64) -> i64 {
        self.read_at(at) + millis(self.cache)
    }

    fn heard_at(&self, at: i64) -> i64 {
        let mut heard = at;
        while let Some((from, _)) = within(&self.silences, heard) {
            heard = from - 1;
        }
        heard
    }
}

/// The manifest that was there at `at`.
pub fn at(history: &[(i64, Manifest)], at: i64) -> &Manifest {
    let place = history.partition_point(|(from, _)| *from <= at);
    &history[place.saturating_sub(1)].1
}

/// What a controller that began to listen at `since` knows at `now`.
pub fn known(
    services: &[Service],
    history: &[(i64, Manifest)],
    weather: &Weather,
    since: i64,
    now: i64,
) -> Agents {
    if !weather.uplink {
        return Agents::default();
    }
    let known = services.iter().filter(|service| service.heard_at(now) >= since);
    let known: BTreeMap<AgentId, Agent> = known
        .map(|service| {
            let heard = service.heard_at(now);
            let agent = Agent {
                signs: service.signs,
                published: Some(at(history, service.published_at(heard)).mark.clone()),
                rejected: None,
                seen: Date::from_millis(heard),
                poll: service.poll,
                cache: service.cache,
            };
            (service.name.clone(), agent)
        })
        .collect();
    Agents { since: Some(Date::from_millis(since)), heartbeat: HEARTBEAT, known }
}

/// Tokens that were signed around each change, and at any other time, hold wherever they are shown.
pub fn tokens_hold(history: &[(i64, Manifest)], services: &[Service], rng: &mut Rng) {
    let ttl = millis(policy().max_token_ttl);
    let mut times: Vec<i64> = (0..300).map(|_| START + rng.i64(0..365 * DAY)).collect();
    for (change, _) in history {
        times.extend((0..60).map(|_| change + rng.i64(-2 * HOUR..2 * HOUR)));
    }
    for signed in times {
        for signer in services.iter().filter(|service| service.signs) {
            // Who cannot read Vault and is not heard of either, is on its own.
            if within(&signer.silences, signed).is_some() {
                continue;
            }
            let kid = &at(history, signer.read_at(signed)).signing().unwrap().kid;
            for shown in [signed, signed + rng.i64(0..ttl), signed + ttl - SECOND] {
                for verifier in services {
                    if within(&verifier.outages, shown).is_some() {
                        continue;
                    }
                    let set = at(history, verifier.read_at(shown));
                    let holds = set.verifying().any(|key| key.kid == *kid);
                    assert!(
                        holds,
                        "{} refuses a token of {kid} that {} signed at {signed}, shown at {shown}: \
                         {set:?}",
                        verifier.name, signer.name
                    );
                }
            }
        }
    }
}
