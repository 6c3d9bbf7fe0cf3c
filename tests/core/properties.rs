//! Random events, and promises that hold after each of them.
//!
//! The world checks promises 2 to 7 as commands are performed; here the runs are made up, with
//! faults, kills and restarts, and what must be true at the end is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::{
    Confirm, Gives, LeasedPolicy, OnStop, Policy, PolledPolicy, Refresh, SecretPolicy, Until,
};
use leasehold::audit::event::Record;
use leasehold::error::{Class, Failure};
use leasehold::snapshot::{Connection, SslMode};
use proptest::prelude::*;

use crate::world::{World, again, name};

/// What may happen in a run.
#[derive(Clone, Debug)]
enum Act {
    Run(u64),
    Kill,
    Fail(&'static str, Class, usize),
    Vault(bool),
    Database(bool),
    Refuses(bool),
    RevokeTokens,
    RevokeLeases,
    WriteKv(Option<u64>),
    Deaf(bool),
    Moves(Option<u64>),
    Drift,
}

const KINDS: [&str; 14] = [
    "login",
    "lookup-token",
    "renew-token",
    "revoke-token",
    "create-token",
    "issue",
    "renew-lease",
    "lookup-lease",
    "revoke-lease",
    "read",
    "make",
    "probe",
    "count",
    "deliver",
];

fn act() -> impl Strategy<Value = Act> {
    let class = prop_oneof![
        4 => Just(Class::Again { after: None }),
        1 => Just(Class::Again { after: Some(Duration::from_secs(3)) }),
        1 => Just(Class::Unclear),
        1 => Just(Class::Ours),
    ];
    prop_oneof![
        12 => (1..20_000u64).prop_map(Act::Run),
        3 => (1..40u64).prop_map(Act::Run),
        3 => Just(Act::Kill),
        4 => (0..KINDS.len(), class, 1..6usize).prop_map(|(kind, class, n)| Act::Fail(KINDS[kind], class, n)),
        1 => any::<bool>().prop_map(Act::Vault),
        1 => any::<bool>().prop_map(Act::Database),
        1 => any::<bool>().prop_map(Act::Refuses),
        1 => Just(Act::RevokeTokens),
        1 => Just(Act::RevokeLeases),
        1 => proptest::option::of(1..9u64).prop_map(Act::WriteKv),
        1 => any::<bool>().prop_map(Act::Deaf),
        1 => proptest::option::of(0..8u64).prop_map(Act::Moves),
        1 => Just(Act::Drift),
    ]
}

#[derive(Clone, Debug)]
struct Setting {
    ttl: u64,
    max: u64,
    token_max: Option<u64>,
    rotate_every: Option<u64>,
    grace: u64,
    confirm: Confirm,
    seed: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let confirm = prop_oneof![Just(Confirm::None), Just(Confirm::Told), Just(Confirm::Moved)];
    (
        6..120u64,
        1..8u64,
        proptest::option::of(40..200u64),
        proptest::option::of(10..60u64),
        1..20u64,
        confirm,
        any::<u64>(),
    )
        .prop_map(|(ttl, times, token_max, rotate_every, grace, confirm, seed)| Setting {
            ttl,
            max: ttl * times,
            // Logins that end with tokens of a fraction of their term are replaced faster than
            // their budget, a quarter of that term each, can refill.
            token_max: token_max.map(|max| max.max(ttl)),
            rotate_every,
            grace,
            confirm,
            seed,
        })
}

fn policy(setting: &Setting) -> Policy {
    let connection = Connection {
        hosts: vec!["postgres.internal".into()],
        port: 5432,
        dbname: "novacore".into(),
        sslmode: SslMode::Disable,
        sslrootcert: None,
    };
    let db = LeasedPolicy {
        source: "database/creds/app".into(),
        gives: Gives::Login,
        required: true,
        connection: Some(Arc::new(connection)),
        confirm: setting.confirm,
        grace: Duration::from_secs(setting.grace),
        unconfirmed_after: None,
        rotate_every: setting.rotate_every.map(Duration::from_secs),
        lookup: Duration::from_secs(5),
    };
    let polled = |source: &str, refresh| {
        let (source, gives) = (source.into(), Gives::Fields);
        let connection = None;
        SecretPolicy::Polled(PolledPolicy { source, required: false, gives, connection, refresh })
    };
    let mail = polled("secret/mail", Refresh::Asked(Duration::from_secs(15)));
    let tls = polled("pki/issue/app", Refresh::Made);
    Policy {
        secrets: BTreeMap::from([
            (name("db"), SecretPolicy::Leased(db)),
            (name("mail"), mail),
            (name("tls"), tls),
        ]),
        targets: BTreeMap::from([(name("api"), BTreeSet::from([name("db"), name("mail")]))]),
        on_stop: OnStop::Revoke,
        stop_timeout: Duration::from_secs(10),
        until: Until::Stopped,
    }
}

fn world(setting: &Setting) -> World {
    let mut world = World::new(policy(setting), setting.seed);
    world.vault.children = !setting.seed.is_multiple_of(4);
    world.vault.ttl = Duration::from_secs(setting.ttl);
    world.vault.max = Duration::from_secs(setting.max);
    world.values.life = Duration::from_secs(setting.ttl);
    if let Some(max) = setting.token_max {
        world.vault.token_ttl = Duration::from_secs(30);
        world.vault.token_max = Some(Duration::from_secs(max));
    }
    world
}

fn apply(world: &mut World, act: Act) {
    match act {
        Act::Run(millis) => world.run(Duration::from_millis(millis)),
        Act::Kill => {
            world.kill();
            world.start();
        }
        Act::Fail(kind, class, times) => {
            let failure = Failure::new(class, "made up");
            world
                .faults
                .entry(kind.to_owned())
                .or_default()
                .extend(std::iter::repeat_n(failure, times));
        }
        Act::Vault(up) => world.vault.up = up,
        Act::Database(up) => world.database.up = up,
        Act::Refuses(yes) => world.database.refuses = yes,
        Act::RevokeTokens => world.kill_tokens(),
        Act::RevokeLeases => world.kill_leases(),
        Act::WriteKv(version) => world.write_kv("mail", version),
        Act::Deaf(true) => {
            world.app.deaf.insert(name("api"));
        }
        Act::Deaf(false) => world.app.deaf.clear(),
        Act::Moves(delay) => world.app.moves_in = delay.map(Duration::from_secs),
        Act::Drift => world.drift(),
    }
}

fn calm(world: &mut World) {
    world.vault.up = true;
    world.database.up = true;
    world.database.refuses = false;
    world.faults.clear();
    world.app.deaf.clear();
    world.app.moves_in = Some(Duration::from_secs(1));
}

/// `PROPTEST_CASES` asks for more.
fn effort() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(100),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(effort())]

    /// Whatever happens, no promise breaks; and once the faults are over the app has a login that
    /// works, and a stop leaves no lease that was not reported.
    #[test]
    fn promises_hold_through_faults_kills_and_restarts(
        setting in setting(),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        hold(&setting, |world| {
            world.start();
            for act in acts.clone() {
                apply(world, act);
                sound(world)?;
            }
            calm(world);
            // A budget that was spent before any term was known gives one back in ten minutes.
            world.run(Duration::from_secs(650));
            sound(world)?;
            ensure(world.works(), || "no working login after the faults".into())?;
            world.stop();
            world.run(Duration::from_secs(11));
            sound(world)?;
            no_leak(world)
        })?;
    }

    /// With no fault nothing is issued that the schedule does not ask for, and a restart changes
    /// no decision: the same login goes on.
    #[test]
    fn a_restart_issues_nothing(setting in setting(), at in 1..3000u64, times in 1..5usize) {
        let mut setting = setting;
        (setting.ttl, setting.max, setting.token_max) = (3600, 86_400, None);
        setting.rotate_every = None;
        hold(&setting, |world| {
            world.start();
            world.run(Duration::from_millis(at + 50));
            for _ in 0..times {
                world.kill();
                world.start();
                world.run(Duration::from_millis(at));
            }
            let issues = world.vault.issues.len();
            ensure(issues == 1, || format!("{issues} issues"))?;
            ensure(world.works(), || "the login does not work".into())
        })?;
    }

    /// In calm weather each login that was replaced keeps its whole grace after the evidence, and
    /// at most one live lease is beside those that leave.
    #[test]
    fn the_grace_is_kept_whole(setting in setting()) {
        let mut setting = setting;
        setting.ttl = setting.ttl.min(40);
        setting.max = (setting.ttl * 3).max(setting.ttl + 2 * setting.grace + 30);
        setting.token_max = None;
        hold(&setting, |world| {
            world.start();
            world.run(Duration::from_secs(setting.max * 3));
            let cut = world.count_records(|record| {
                matches!(record, Record::GraceViolated { .. } | Record::LeaseLost { .. })
            });
            ensure(cut == 0, || format!("{cut} cut short"))?;
            let confirmed =
                world.count_records(|record| matches!(record, Record::Confirmed { .. }));
            ensure(confirmed > 0, || "nothing was replaced".into())?;
            let db = &world.agent().view(world.now).secrets[&name("db")];
            ensure(db.leases - db.leaving <= 2, || format!("{db:?}"))
        })?;
    }
}

/// Plays a run; one that fails is played again with its log, to show where.
fn hold(
    setting: &Setting,
    run: impl Fn(&mut World) -> Result<(), String>,
) -> Result<(), TestCaseError> {
    let mut quiet = world(setting);
    quiet.verbose = false;
    if let Err(reason) = run(&mut quiet) {
        let mut again = world(setting);
        let _ = run(&mut again);
        let lines: Vec<&str> = again.out.lines().collect();
        let end =
            lines.iter().position(|line| line.contains("BROKEN")).map_or(lines.len(), |at| at + 1);
        let tail = lines[end.saturating_sub(100)..end].join("\n");
        return Err(TestCaseError::fail(format!("{reason}\n{tail}")));
    }
    Ok(())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn sound(world: &World) -> Result<(), String> {
    ensure(world.broken.is_empty(), || format!("{:?}", world.broken))
}

/// The budget bounds what a login that is always refused can cost, also over a crash loop.
#[test]
fn a_crash_loop_gets_no_fresh_budget() {
    let setting = Setting {
        ttl: 3600,
        max: 86_400,
        token_max: None,
        rotate_every: None,
        grace: 5,
        confirm: Confirm::Moved,
        seed: 1,
    };
    let mut world = world(&setting);
    world.database.refuses = true;
    world.start();
    for _ in 0..600 {
        world.run(Duration::from_millis(1000));
        world.kill();
        world.start();
    }
    assert!(world.vault.issues.len() <= 6, "{} issues in ten minutes", world.vault.issues.len());
    assert!(world.broken.is_empty(), "{:?}", world.broken);
}

/// Killed before each single command of three rotations, in turn: nothing breaks, no login is
/// made twice, and what is left over was reported.
#[test]
fn a_kill_before_any_command_breaks_nothing() {
    let setting = Setting {
        ttl: 3600,
        max: 86_400,
        token_max: None,
        rotate_every: Some(10),
        grace: 5,
        confirm: Confirm::Moved,
        seed: 11,
    };
    for commands in 0..400 {
        hold(&setting, |world| {
            world.dies_in = Some(commands);
            world.start();
            for _ in 0..350 {
                world.run(Duration::from_millis(100));
                if world.dead() {
                    world.start();
                }
                sound(world)?;
                ensure(!world.published() || world.works(), || "the visible login died".into())?;
            }
            world.stop();
            world.run(Duration::from_secs(11));
            if !world.exited {
                // Killed while it stopped: the next one goes on, and stops.
                world.start();
                world.run(Duration::from_secs(1));
                world.stop();
                world.run(Duration::from_secs(11));
            }
            let reported =
                world.count_records(|record| matches!(record, Record::IssueUnanswered { .. }));
            ensure(reported <= 1, || format!("{reported} reports of one kill"))?;
            no_leak(world)
        })
        .unwrap_or_else(|failed| panic!("killed before command {commands}: {failed}"));
    }
}

/// Promise 6: what is left after a stop that revokes was reported, and only where there was no
/// child token to end it by.
fn no_leak(world: &mut World) -> Result<(), String> {
    let reported = world
        .count_records(|record| matches!(record, Record::IssueUnanswered { undone: false, .. }));
    let left = world.leases();
    ensure(left.len() <= reported, || format!("left: {left:?}"))
}

/// The checks of this file can fail: a world that breaks a promise says so.
#[test]
fn a_broken_promise_is_noticed() {
    let setting = Setting {
        ttl: 60,
        max: 600,
        token_max: None,
        rotate_every: Some(10),
        grace: 5,
        confirm: Confirm::None,
        seed: 1,
    };
    let mut world = world(&setting);
    // With no evidence wanted the old login drains while the app still uses it.
    world.app.moves_in = None;
    world.faults.insert("count".into(), [again("made up")].into());
    world.start();
    world.run(Duration::from_secs(30));
    assert!(!world.leases().is_empty());
    assert!(world.count_records(|record| matches!(record, Record::Draining { .. })) > 0);
    world.break_on_purpose();
    assert_eq!(world.broken.len(), 1, "{:?}", world.broken);
}
