//! Plans one by one; a year of them is in `tests/core/keysets.rs`.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;
use crate::date::{Date, Now};
use crate::jwt::Algorithm;
use crate::keyset::{Agents, Manifest, Mark, NewKey, Policy, Trigger, Who};

const DAY: i64 = 86_400;
/// 2026-01-15.
const START: i64 = 1_768_435_200;

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    lifetime: days(90),
    rotate_at: days(83),
    min_age: days(30),
    grace: days(1),
    max_token_ttl: Duration::from_secs(900),
    leeway: Duration::from_secs(60),
    min_propagation: Duration::from_secs(900),
    min_expected: 0,
    hold: days(1),
});

static AGENTS: LazyLock<Agents> = LazyLock::new(Agents::default);

fn at(second: i64) -> Date {
    Date::from_millis((START + second) * 1_000)
}

fn now(second: i64) -> Now {
    Now::of(at(second), at(second))
}

fn first() -> Manifest {
    let key = NewKey { version: 1, kid: "k1".to_owned(), public: None };
    Manifest::first("set".into(), Algorithm::HS256, key, &POLICY, now(0))
}

fn quarterly() -> Schedule {
    let cron = |text| Some(Cron::new(text, TimeZone::UTC).unwrap());
    Schedule {
        initiate: cron("0 0 1 */3 *"),
        complete: cron("0 0 2 */3 *"),
        cleanup: cron("0 0 3 */3 *"),
    }
}

fn found(manifest: &Manifest) -> Found {
    Found::There(manifest.mark.serial, Box::new(manifest.clone()))
}

fn look(
    found: &Found,
    stored: &[(u64, Option<Date>)],
    memory: Option<&Memory>,
    schedule: &Schedule,
    now: Now,
) -> Plan {
    let stored: BTreeMap<u64, Option<Date>> = stored.iter().copied().collect();
    let view = View { found, stored: &stored, agents: &AGENTS, memory };
    plan(&view, &POLICY, schedule, now)
}

/// What is planned where only the key of version 1 is stored.
fn looked(found: &Found, schedule: &Schedule, second: i64) -> Plan {
    look(found, &[(1, None)], None, schedule, now(second))
}

#[test]
fn a_key_is_replaced_by_the_calendar_or_by_its_age_whichever_comes_first() {
    let set = found(&first());
    let initiate = Some(Step::Initiate(2));
    // The first of April is its 76th day.
    for (schedule, day) in [(quarterly(), 76), (Schedule::default(), 83)] {
        let before = looked(&set, &schedule, day * DAY - 1);
        assert_eq!((before.step, before.wake), (None, Some(at(day * DAY))));
        assert_eq!(looked(&set, &schedule, day * DAY).step, initiate);
        // One that was missed is made up for.
        assert_eq!(looked(&set, &schedule, 200 * DAY).step, initiate);
    }
}

#[test]
fn the_calendar_leaves_a_young_key_alone() {
    let daily = Cron::new("0 0 * * *", TimeZone::UTC).ok();
    let schedule = Schedule { initiate: daily, ..Schedule::default() };
    let young = looked(&found(&first()), &schedule, 29 * DAY);
    assert_eq!((young.step, young.wake), (None, Some(at(30 * DAY))));
    assert_eq!(looked(&found(&first()), &schedule, 30 * DAY).step, Some(Step::Initiate(2)));
}

#[test]
fn a_rotation_that_age_began_waits_for_no_quarter() {
    let who =
        |second| Who { by: Trigger::Schedule, policy: &POLICY, agents: &AGENTS, now: now(second) };
    let began = 160 * DAY;
    let key = NewKey { version: 2, kid: "k2".to_owned(), public: None };
    let open = first().initiate(key, who(began)).unwrap().manifest;
    let open = open.promote(who(began + 900)).unwrap().manifest;
    let stored = [(1, None), (2, None)];
    let looked = |second| look(&found(&open), &stored, None, &quarterly(), now(second));
    assert_eq!(looked(began + DAY).step, None);
    assert_eq!(looked(began + DAY).wake, Some(at(began + 2 * DAY)));
    assert!(matches!(looked(began + 2 * DAY).step, Some(Step::Complete(_))));
}

#[test]
fn what_only_a_person_can_mend_stops_everything() {
    let set = first();
    let schedule = Schedule::default();
    let trouble = |found: &Found, memory: Option<&Memory>, now| {
        let plan = look(found, &[(1, None), (9, None)], memory, &schedule, now);
        assert_eq!(plan.step, None);
        plan.trouble
    };
    let due = now(100 * DAY);
    assert_eq!(trouble(&Found::Absent, None, due), Some(Trouble::Absent));
    assert_eq!(trouble(&Found::Deleted, None, due), Some(Trouble::Deleted));

    let restored = Found::There(4, Box::new(set.clone()));
    assert_eq!(trouble(&restored, None, due), Some(Trouble::Gap { found: 4, written: 1 }));

    let mut broken = set.clone();
    broken.keys.clear();
    assert!(matches!(trouble(&found(&broken), None, due), Some(Trouble::Broken(_))));

    let seen = |mark: Mark, next_version| Memory { mark, next_version };
    let newer = Mark { serial: 5, ..set.mark.clone() };
    let back = Some(Trouble::WentBack(newer.clone()));
    assert_eq!(trouble(&found(&set), Some(&seen(newer, 2)), due), back);
    let epoch = Mark { epoch: 2, serial: 0, ..set.mark.clone() };
    let back = Some(Trouble::WentBack(epoch.clone()));
    assert_eq!(trouble(&found(&set), Some(&seen(epoch, 2)), due), back);
    let other = seen(Mark { set_id: "other".into(), ..set.mark.clone() }, 2);
    let another = Some(Trouble::Another("other".into()));
    assert_eq!(trouble(&found(&set), Some(&other), due), another);

    let apart = Now::of(at(100 * DAY), at(100 * DAY + 61));
    let clocks = Some(Trouble::Clocks(Duration::from_secs(61)));
    assert_eq!(trouble(&found(&set), None, apart), clocks);
    assert_eq!(
        look(&found(&set), &[(1, None)], Some(&seen(set.mark.clone(), 2)), &schedule, due).step,
        Some(Step::Initiate(2))
    );
}

#[test]
fn keys_that_nobody_names_are_passed_over_then_destroyed() {
    let (set, schedule) = (first(), Schedule::default());
    let made = Some(at(DAY));
    let looked = |second| look(&found(&set), &[(1, None), (2, made)], None, &schedule, now(second));
    // Somebody may be about to name it.
    assert_eq!(looked(DAY + 599).step, None);
    assert_eq!(looked(DAY + 599).wake, Some(at(DAY + 600)));
    let Some(Step::Skip(next)) = looked(DAY + 600).step else { panic!("it is not passed over") };
    assert_eq!(next.next_version, 3);
    let stored = [(1, None), (2, made)];
    let after = look(&found(&next), &stored, None, &schedule, now(DAY + 601));
    assert_eq!(after.step, Some(Step::Destroy(vec![2])));
    // When a rotation is due, it is taken.
    assert_eq!(looked(83 * DAY).step, Some(Step::Initiate(2)));
}

#[test]
fn a_key_that_is_named_and_not_stored_is_told() {
    let plan = look(&found(&first()), &[], None, &Schedule::default(), now(DAY));
    assert_eq!((plan.lost, plan.step), (vec![1], None));
}
