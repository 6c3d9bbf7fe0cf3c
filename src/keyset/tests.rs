//! The transitions one by one.

use std::time::Duration;

use super::*;
use crate::date::{Date, Now};
use crate::jwt::{Algorithm, Status};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn policy() -> Policy {
    Policy {
        lifetime: secs(900),
        rotate_at: secs(800),
        min_age: secs(300),
        grace: secs(100),
        max_token_ttl: secs(30),
        leeway: secs(5),
        min_propagation: secs(10),
        min_expected: 0,
        hold: secs(50),
    }
}

fn at(second: i64) -> Date {
    Date::from_millis(1_800_000_000_000 + second * 1_000)
}

fn key(version: u64) -> NewKey {
    NewKey { version, kid: format!("k{version}"), public: None }
}

fn first() -> Manifest {
    Manifest::first("set".into(), Algorithm::HS256, key(1), &policy(), Now::of(at(0), at(0)))
}

/// Somebody who asks `second` seconds after the first key was made.
fn who<'a>(by: Trigger, policy: &'a Policy, agents: &'a Agents, second: i64) -> Who<'a> {
    Who { by, policy, agents, now: Now::of(at(second), at(second)) }
}

/// A person, where no agent is known.
fn person(second: i64) -> Who<'static> {
    static NONE: Agents =
        Agents { since: None, heartbeat: Duration::ZERO, known: std::collections::BTreeMap::new() };
    static POLICY: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(policy);
    who(Trigger::Operator, &POLICY, &NONE, second)
}

fn statuses(manifest: &Manifest) -> Vec<(u64, Status)> {
    let keys = manifest.keys.iter();
    keys.filter_map(|key| Some((key.version, manifest.status(key)?))).collect()
}

fn blocked(missing: Missing) -> Refused {
    Refused::Blocked(vec![missing])
}

/// Agents `a`, which verifies, and `s`, which signs as well, both heard of at `second` and with
/// `serial` published.
fn agents(second: i64, a: u64, s: u64) -> Agents {
    let agent = |signs, serial| Agent {
        signs,
        published: Some(Mark { set_id: "set".into(), epoch: 1, serial }),
        rejected: None,
        seen: at(second),
        poll: secs(2),
        cache: secs(3),
    };
    Agents {
        since: Some(at(-100)),
        heartbeat: secs(1),
        known: [("a".into(), agent(false, a)), ("s".into(), agent(true, s))].into(),
    }
}

#[test]
fn a_rotation_goes_as_the_guide_has_it() {
    use Status::{Active, Deprecated, Rotating};
    let set = first();
    assert_eq!(statuses(&set), [(1, Active)]);

    let set = set.initiate(key(2), person(100)).unwrap().manifest;
    assert_eq!(statuses(&set), [(1, Rotating), (2, Rotating)]);
    assert_eq!(set.signing().unwrap().version, 1);

    let set = set.promote(person(110)).unwrap().manifest;
    assert_eq!(statuses(&set), [(1, Rotating), (2, Rotating)]);
    assert_eq!(set.signing().unwrap().version, 2);

    let set = set.complete(person(120)).unwrap().manifest;
    assert_eq!(statuses(&set), [(1, Deprecated), (2, Active)]);
    // The grace is longer than any token lives.
    assert_eq!(set.key(1).unwrap().verify_until, Some(at(220)));

    let (early, missing) = set.cleanup(person(219));
    assert_eq!((early.versions, missing), (vec![], vec![Missing::Grace(at(220))]));
    let (left, missing) = set.cleanup(person(220));
    assert_eq!((left.versions, missing), (vec![1], vec![]));
    assert_eq!(statuses(&left.manifest), [(2, Active)]);

    let (early, _) = left.manifest.forget(person(229));
    assert!(early.versions.is_empty());
    let (gone, _) = left.manifest.forget(person(230));
    assert_eq!(gone.versions, [1]);
    assert_eq!(gone.manifest.keys.len(), 1);
    assert_eq!(gone.manifest.mark.serial, 6);
    assert_eq!(gone.manifest.problem(), None);
}

#[test]
fn what_is_out_of_order_is_refused() {
    let set = first();
    assert_eq!(set.complete(person(1)), Err(Refused::NotOpen));
    assert_eq!(set.promote(person(1)), Err(Refused::NotOpen));
    assert_eq!(set.abort(person(1)), Err(Refused::NotOpen));
    assert_eq!(Refused::NotOpen.to_string(), "No rotating key found");
    assert_eq!(set.initiate(key(3), person(1)), Err(Refused::Outdated));

    let set = set.initiate(key(2), person(100)).unwrap().manifest;
    assert_eq!(set.initiate(key(3), person(101)), Err(Refused::Open(2)));
    assert_eq!(set.complete(person(101)), Err(blocked(Missing::Promotion)));
    assert_eq!(set.promote(person(109)), Err(blocked(Missing::Propagation(at(110)))));

    let set = set.promote(person(110)).unwrap().manifest;
    assert_eq!(set.promote(person(130)), Err(Refused::NotOpen));
    let early = set.complete(person(119)).unwrap_err();
    assert_eq!(early, blocked(Missing::Propagation(at(120))));
    assert_eq!(early.until(), Some(at(120)));
}

#[test]
fn the_schedule_waits_where_a_person_need_not() {
    let (policy, none) = (policy(), Agents::default());
    let clock = |second| who(Trigger::Schedule, &policy, &none, second);
    let set = first();
    assert_eq!(set.initiate(key(2), clock(299)), Err(blocked(Missing::Age(at(300)))));
    let set = set.initiate(key(2), clock(300)).unwrap().manifest;
    let set = set.promote(clock(310)).unwrap().manifest;
    assert_eq!(set.complete(clock(399)), Err(blocked(Missing::Grace(at(400)))));
    assert!(set.complete(clock(400)).is_ok());

    let set = set.abort(clock(320)).unwrap().manifest;
    assert_eq!(set.initiate(key(3), clock(369)), Err(blocked(Missing::Hold(at(370)))));
    assert!(set.initiate(key(3), person(330)).is_ok());
}

#[test]
fn no_agent_that_is_known_is_passed_over_while_it_lives() {
    let policy = policy();
    let open = first().initiate(key(2), who(Trigger::Operator, &policy, &agents(100, 1, 1), 100));
    let open = open.unwrap().manifest;
    let promote = |agents: &Agents, second| {
        let asked = who(Trigger::Schedule, &policy, agents, second);
        open.promote(asked).map(|done| done.passed_over)
    };
    assert_eq!(promote(&agents(111, 2, 2), 111), Ok(vec![]));
    let without = Missing::Published(vec!["a".into()]);
    assert_eq!(promote(&agents(111, 1, 2), 111), Err(blocked(without)));

    // What it has is in use for its poll and its service's cache, and three heartbeats tell that it
    // is silent.
    assert!(promote(&agents(104, 1, 2), 111).is_err());
    assert_eq!(promote(&agents(103, 1, 2), 111), Ok(vec!["a".into()]));

    let mut rejecting = agents(111, 1, 2);
    let a = rejecting.known.get_mut("a").unwrap();
    a.rejected = Some(Mark { serial: 2, ..a.published.clone().unwrap() });
    assert_eq!(promote(&rejecting, 111), Err(blocked(Missing::Rejected(vec!["a".into()]))));

    // One that came since counts, one that left is named.
    let mut came = agents(111, 2, 2);
    let late = Agent { published: None, ..came.known["a"].clone() };
    came.known.insert("late".into(), late);
    came.known.remove("s");
    let without = Missing::Published(vec!["late".into()]);
    assert_eq!(promote(&came, 111), Err(blocked(without)));
    came.known.remove("late");
    assert_eq!(promote(&came, 111), Ok(vec!["s".into()]));
}

#[test]
fn agents_that_are_expected_are_waited_for() {
    let policy = Policy { min_expected: 3, ..policy() };
    let mut two = agents(111, 2, 2);
    two.since = Some(at(109));
    let open = first().initiate(key(2), who(Trigger::Operator, &policy, &two, 100)).unwrap();
    let refused = open.manifest.promote(who(Trigger::Operator, &policy, &two, 111)).unwrap_err();
    let missing = [Missing::Settled(at(112)), Missing::Agents(2, 3)];
    assert_eq!(refused.blocked_by(), missing);
    // The clock alone does not do.
    assert_eq!(refused.until(), None);
}

#[test]
fn a_silent_signer_holds_up_the_end_of_its_key() {
    let policy = policy();
    let ask = |agents, second| who(Trigger::Operator, &policy, agents, second);
    let all = agents(111, 2, 2);
    let set = first().initiate(key(2), ask(&all, 100)).unwrap().manifest;
    let set = set.promote(ask(&all, 111)).unwrap().manifest;
    let silent = agents(111, 3, 2);
    let without = Missing::Published(vec!["s".into()]);
    assert_eq!(set.complete(ask(&silent, 600)), Err(blocked(without.clone())));
    let (then, later) = (agents(130, 3, 3), agents(600, 3, 3));
    let set = set.complete(ask(&then, 130)).unwrap().manifest;
    let (left, missing) = set.cleanup(ask(&silent, 600));
    assert_eq!((left.versions, missing), (vec![], vec![without]));
    assert_eq!(set.cleanup(ask(&later, 600)).0.versions, [1]);
}

#[test]
fn a_rotation_that_is_given_up_leaves_no_token_behind() {
    let open = first().initiate(key(2), person(100)).unwrap().manifest;
    let given_up = open.abort(person(105)).unwrap().manifest;
    assert_eq!(statuses(&given_up), [(1, Status::Active)]);
    assert_eq!(given_up.initiate(key(2), person(200)), Err(Refused::Outdated));

    let back = open.promote(person(110)).unwrap().manifest.abort(person(115)).unwrap().manifest;
    assert_eq!(statuses(&back), [(1, Status::Active), (2, Status::Deprecated)]);
    // Who has not heard of it signs on for the propagation; then the token's life and the leeway;
    // the grace is longer.
    assert_eq!(back.key(2).unwrap().verify_until, Some(at(215)));
    assert_eq!(back.cleanup(person(215)).0.versions, [2]);
    assert_eq!(back.problem(), None);
}

#[test]
fn a_fourth_key_waits_until_the_first_has_left() {
    let second = |set: Manifest, version: u64, began: i64| {
        let set = set.initiate(key(version), person(began)).unwrap().manifest;
        let set = set.promote(person(began + 10)).unwrap().manifest;
        set.complete(person(began + 20)).unwrap().manifest
    };
    let set = second(second(first(), 2, 100), 3, 130);
    assert_eq!(set.verifying().count(), 3);
    let room = blocked(Missing::Room(Some(at(220))));
    assert_eq!(set.initiate(key(4), person(160)), Err(room));
    let set = set.cleanup(person(220)).0.manifest;
    assert!(set.initiate(key(4), person(221)).is_ok());
}

#[test]
fn what_was_acknowledged_before_a_gap_counts_no_more() {
    let policy = policy();
    let all = agents(111, 2, 2);
    let open = first().initiate(key(2), who(Trigger::Operator, &policy, &all, 100)).unwrap();
    let resumed = open.manifest.resume(7, 3, 9);
    assert_eq!((resumed.mark.serial, resumed.mark.epoch, resumed.next_version), (8, 4, 10));
    let asked = who(Trigger::Operator, &policy, &all, 111);
    let without = Missing::Published(vec!["a".into(), "s".into()]);
    assert_eq!(resumed.promote(asked), Err(blocked(without)));
    assert_eq!(resumed.problem(), None);
}

#[test]
fn a_manifest_is_written_and_read_again() {
    let set = first().initiate(key(2), person(100)).unwrap().manifest;
    let json = serde_json::to_value(&set).unwrap();
    assert_eq!(json["set_id"], "set");
    assert_eq!(json["serial"], 2);
    assert_eq!(json["keys"][1]["phase"], "prepared");
    assert_eq!(json["keys"][0]["created_at"], "2027-01-15T08:00:00.000Z");
    assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), set);
}

#[test]
fn a_manifest_that_contradicts_itself_is_told() {
    let open = first().initiate(key(2), person(100)).unwrap().manifest;
    let broken = |change: fn(&mut Manifest)| {
        let mut set = open.clone();
        change(&mut set);
        set.problem().unwrap_or("none")
    };
    assert_eq!(broken(|_| ()), "none");
    let signs = "not exactly one of its keys signs";
    assert_eq!(broken(|set| set.keys[0].phase = Phase::VerifyOnly), signs);
    assert_eq!(broken(|set| set.keys[1].phase = Phase::Signing), signs);
    let numbers = "its keys are not numbered one after the other";
    assert_eq!(broken(|set| set.keys[1].version = 1), numbers);
    assert_eq!(broken(|set| set.next_version = 2), numbers);
    let public = "a key has no public half, or another's";
    assert_eq!(broken(|set| set.algorithm = Algorithm::EdDSA), public);
    let rotation = "its rotation and its keys disagree";
    assert_eq!(broken(|set| set.rotation = None), rotation);
    assert_eq!(broken(|set| set.keys[1].phase = Phase::VerifyOnly), rotation);
    let date = "a key lacks the date of its end";
    let retired = |set: &mut Manifest| {
        set.rotation = None;
        set.keys[1].phase = Phase::Retired;
    };
    assert_eq!(broken(retired), date);
}

#[test]
fn each_reason_is_told_in_words() {
    let all = [
        (Missing::Age(at(0)), "the key that signs is too young until 2027-01-15T08:00:00.000Z"),
        (Missing::Room(None), "three keys are in use"),
        (Missing::Agents(1, 2), "1 agents are known, 2 are expected"),
        (Missing::Published(vec!["a".into(), "b".into()]), "not published yet by a, b"),
        (Missing::Rejected(vec!["a".into()]), "rejected by a"),
    ];
    for (missing, text) in all {
        assert_eq!(missing.to_string(), text);
    }
    let both = Refused::Blocked(vec![Missing::Promotion, Missing::Room(None)]);
    assert_eq!(
        both.to_string(),
        "the new key does not sign yet: it has to be promoted; three keys are in use"
    );
}
