//! Years of key rotation in virtual time: controllers that crash, stall and misjudge the time, and
//! services that sign and verify all the while.

#[path = "keysets/controllers.rs"]
mod controllers;
#[path = "keysets/services.rs"]
mod services;
#[path = "keysets/vault.rs"]
mod vault;

use std::time::Duration;

use fastrand::Rng;
use leasehold::date::Date;
use leasehold::keyset::Policy;

use controllers::Site;
use services::Service;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 2026-01-15, noon.
const START: i64 = 1_768_478_400_000;

fn policy() -> Policy {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    Policy {
        lifetime: days(90),
        rotate_at: days(83),
        min_age: days(30),
        grace: days(1),
        max_token_ttl: Duration::from_secs(900),
        leeway: Duration::from_secs(60),
        min_propagation: Duration::from_secs(900),
        min_expected: 0,
        hold: days(1),
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap()
}

/// How a year goes.
struct Weather {
    /// Whether controllers hear of agents.
    uplink: bool,
    /// Whether people rotate by hand, and give rotations up.
    people: bool,
    /// Whether clocks jump and Vault is restored.
    rough: bool,
}

/// The year of `seed`.
fn year(seed: u64, policy: Policy) {
    let mut rng = Rng::with_seed(seed);
    let weather = Weather {
        uplink: rng.bool(),
        people: seed.is_multiple_of(3),
        rough: seed.is_multiple_of(2),
    };
    let services = services::draw(&mut rng, &weather);
    let mut site = Site::new(&mut rng, &weather, &services, policy);
    site.run(START + 365 * DAY);
    check(&site, &services, &weather, &mut rng);
}

fn check(site: &Site, services: &[Service], weather: &Weather, rng: &mut Rng) {
    let policy = policy();
    let history = &site.vault.history;
    let last = history.last().unwrap();
    let end = START + 365 * DAY;
    for (at, manifest) in history {
        let made = manifest.signing().unwrap().created_at;
        assert!(made <= Date::from_millis(*at + MINUTE), "a key of the future signs");
        assert!(manifest.verifying().count() <= 3, "{manifest:?}");
    }
    // Its age when it stops to sign, and at the end.
    let until = history.iter().skip(1).map(|(at, _)| *at).chain([end]);
    for ((_, manifest), until) in history.iter().zip(until) {
        let age = until - manifest.signing().unwrap().created_at.as_millis();
        // Who gives a rotation up keeps the old key on purpose.
        let kept = weather.people || age < millis(policy.lifetime);
        assert!(kept, "a key signed for {} days", age / DAY);
    }
    if !weather.people {
        let rotations = site.done.iter().filter(|(_, step)| *step == "deployed").count();
        assert_eq!(rotations, 4, "{:?}", site.done);
    }
    let lives = last.1.verifying().count();
    assert!(lives <= 2 || last.1.rotation.is_some(), "old keys stay: {:?}", last.1);
    for (at, next) in history.iter().zip(history.iter().skip(1).map(|(at, _)| at)) {
        let open = at.1.rotation.as_ref().map_or(0, |open| next - open.initiated.0.as_millis());
        assert!(weather.people || open < 12 * DAY, "a rotation stays open for {} days", open / DAY);
    }
    services::tokens_hold(history, services, rng);
}

/// A thousand years; `LEASEHOLD_TEST_SEED` names one.
#[test]
fn a_year_of_rotations_refuses_no_live_token() {
    if let Ok(seed) = std::env::var("LEASEHOLD_TEST_SEED") {
        return year(seed.parse().unwrap(), policy());
    }
    for seed in 0..1_000 {
        let failed = std::panic::catch_unwind(|| year(seed, policy())).is_err();
        assert!(!failed, "LEASEHOLD_TEST_SEED={seed}");
    }
}

/// A rule that is too weak shows in one of a few years.
#[test]
fn a_year_by_wrong_rules_is_noticed() {
    let hasty = Policy { min_propagation: Duration::ZERO, ..policy() };
    let forgetful = Policy { max_token_ttl: Duration::ZERO, grace: Duration::ZERO, ..policy() };
    let idle = Policy { rotate_at: policy().lifetime, min_age: policy().lifetime, ..policy() };
    for (name, wrong) in [("hasty", hasty), ("forgetful", forgetful), ("idle", idle)] {
        let refused = |seed| {
            let wrong = wrong.clone();
            std::panic::catch_unwind(|| year(seed, wrong)).is_err()
        };
        assert!((0..20).any(refused), "{name}");
    }
}
