//! SIGKILL again and again: nothing is lost, nothing is made twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::doctor::leaks;
use crate::support::pace::in_time;
use crate::support::program::Program;
use crate::support::proxy::{Proxy, Verdict};
use crate::support::trial::leases_held;
use crate::support::world::{Terms, World};
use crate::support::{becomes, eventually, quiet, secs};

const KILLS: usize = 50;

/// A random generator whose seed is printed, so that a failed run can be run again.
fn dice(name: &str) -> fastrand::Rng {
    let seed = std::env::var("LEASEHOLD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{name}: LEASEHOLD_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

fn millis(dice: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(dice.u64(range))
}

/// Kills and starts the agent 50 times, `alive` apart; calls `look` before each kill.
async fn kill_and_start(
    world: &World,
    config: &serde_json::Value,
    dice: &mut fastrand::Rng,
    alive: std::ops::Range<u64>,
    mut look: impl AsyncFnMut(),
) -> Agent {
    let mut agent = world.start_and_publish(config).await;
    for _ in 0..KILLS {
        quiet(millis(dice, alive.clone())).await;
        look().await;
        agent.kill();
        quiet(millis(dice, 0..500)).await;
        agent = world.start(config);
    }
    agent
}

/// Kills around issues: each of `SERVICES` agents is killed `TIMES` times while it asks for a
/// login that Vault's answer is late for, one time less than its budget has issues. What an issue
/// made whose answer nobody read ends with its child token, two minutes later.
const SERVICES: usize = 75;
const TIMES: usize = 4;

/// Whether the lease in use is under a child token; the first under a session needs none.
fn has_child(config: &Value) -> bool {
    let path = Path::new(config["state"]["directory"].as_str().unwrap()).join("state.json");
    let state: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    !state["agent"]["leased"]["db"]["current"]["child"].is_null()
}

#[tokio::test]
async fn three_hundred_kills_around_issues_leave_nothing() {
    let mut dice = dice("three_hundred_kills_around_issues_leave_nothing");
    let world = World::new(Terms::of("1h", "2h")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    proxy.rule(|_, path| {
        let late = path.contains("/creds/") || path.contains("auth/token/create");
        if late { Verdict::Late(Duration::from_millis(40)) } else { Verdict::Pass }
    });
    let services: Vec<_> = (0..SERVICES)
        .map(|n| {
            let mut config = world.config();
            config["vault"]["address"] = json!(proxy.address);
            config["publish"]["directory"] = json!(world.path(&format!("run-{n}")));
            config["state"]["directory"] = json!(world.path(&format!("state-{n}")));
            (format!("service-{n}"), config)
        })
        .collect();
    let mut most = 0;
    for _ in 0..TIMES {
        for some in services.chunks(4) {
            let agents: Vec<Agent> =
                some.iter().map(|(name, config)| world.start_service(name, config)).collect();
            for agent in agents {
                quiet(millis(&mut dice, 20..80)).await;
                agent.kill();
            }
        }
        most = most.max(world.users().await.len());
    }
    let kills = SERVICES * TIMES;
    let unanswered = world.journal.count("issue_unanswered");
    assert!(unanswered > kills / 20, "the kills missed the issues: {unanswered} of {kills}");

    // The last start of each takes over what the killed ones left.
    let mut agents = Vec::new();
    for (name, config) in &services {
        let agent = world.start_service(name, config);
        eventually("the agent is ready", secs(30), async || {
            (agent.get("probes", "/readyz").await.0 == 200).then_some(())
        })
        .await;
        agents.push(agent);
    }
    let each = "a lease and a user for each agent, and no child token that no agent knows";
    becomes(each, secs(240), [SERVICES, SERVICES, 0], async || {
        let (leases, users) = (world.leases().await.len(), world.users().await.len());
        let known = services.iter().filter(|(_, config)| has_child(config)).count();
        [leases, users, world.bao.children(&world.name).await.len().abs_diff(known)]
    })
    .await;
    eprintln!("{kills} kills, {unanswered} issues undone, {most} users at most");
    let states = services.iter().filter_map(|(_, config)| config["state"]["directory"].as_str());
    let states: Vec<&str> = states.flat_map(|directory| ["--state", directory]).collect();
    let found = leaks(&world, &world.config(), &[&states[..], &["--older-than", "0s"]].concat());
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.said.contains(&format!("{SERVICES} leases, {SERVICES} held")), "{found:?}");
    for agent in agents {
        agent.terminate(secs(15)).await;
    }
    assert_eq!((world.leases().await.len(), world.users().await.len()), (0, 0));
}

/// Users that were published and then followed by another.
fn replaced(world: &World) -> BTreeSet<String> {
    let rotated = world.journal.all("rotated");
    let first = world.journal.first("lease_issued").map(|line| line.text("username").to_owned());
    let mut users: Vec<String> =
        rotated.iter().map(|line| line.text("username").to_owned()).collect();
    users.pop();
    users.into_iter().chain(first).collect()
}

#[tokio::test]
async fn fifty_kills_under_load_are_not_noticed() {
    in_time(async || {
        let world = World::new(Terms::of("6s", "20s")).await;
        let config = world.config();
        let mut dice = dice("fifty_kills_under_load_are_not_noticed");
        let first = world.start_and_publish(&config).await;
        let pool = Program::pool(&world, "60").await;
        drop(first);

        let mut known = BTreeSet::new();
        let agent = kill_and_start(&world, &config, &mut dice, 600..1800, async || {
            known.extend(world.login().map(|login| login.user));
            known.extend(
                world.journal.all("lease_issued").iter().map(|l| l.text("username").to_owned()),
            );
            let lost = world.journal.count("issue_unanswered");
            // Beside those the agent knows there may be one for each answer that a kill cut off, and
            // one more that the next start is about to report or adopt.
            let strangers =
                world.users().await.into_iter().filter(|user| !known.contains(user)).count();
            assert!(strangers <= lost + 1, "{strangers} users nobody knows, {lost} answers lost");
        })
        .await;

        // Orphans live for one term; then Vault has the leases that the agent says it holds, all but
        // one of them replaced and on their way out.
        eventually("the agent knows every lease", secs(60), async || {
            let (leases, users) = (world.leases().await, world.users().await);
            known.extend(world.login().map(|login| login.user));
            let held = leases_held(&agent).await;
            let ours = users.iter().all(|user| known.contains(user));
            (ours && leases.len() == users.len() && leases.len() == held).then_some(())
        })
        .await;
        let held = world.login().unwrap().user;
        let living = world.users().await.into_iter().filter(|user| *user != held);
        let replaced = replaced(&world);
        let spare: Vec<String> = living.filter(|user| !replaced.contains(user)).collect();
        assert!(spare.len() <= 1, "beside the published one and one about to be: {spare:?}");
        let said = pool.stop().await;
        assert_eq!(said.failures, 0, "{:?}", said.texts);
        drop(agent);
    })
    .await;
}

#[tokio::test]
async fn without_child_tokens_each_kill_leaves_at_most_one_reported_orphan() {
    let mut terms = Terms::of("1h", "2h");
    terms.may_create_tokens = false;
    let world = World::new(terms).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    // Keeps the answer back, so that kills fall between Vault's answer and the agent's write.
    proxy.rule(|_, path| {
        if path.contains("/creds/") {
            Verdict::Late(Duration::from_millis(300))
        } else {
            Verdict::Pass
        }
    });
    let mut config = world.config();
    config["vault"]["address"] = json!(proxy.address);
    config["secrets"]["db"]["confirm"] = json!("none");
    config["secrets"]["db"]["grace"] = json!("1s");
    config["secrets"]["db"]["rotate_every"] = json!("2s");
    let mut dice = dice("without_child_tokens_each_kill_leaves_at_most_one_reported_orphan");

    let agent = kill_and_start(&world, &config, &mut dice, 100..900, async || {}).await;

    // The budget of five is spent long ago, so nothing is issued any more; what drains has ended.
    let (mut leases, mut users) = (Vec::new(), Vec::new());
    let orphans = eventually("leases and users come to rest", secs(40), async || {
        let before = (leases.len(), users.len());
        (leases, users) = (world.leases().await, world.users().await);
        quiet(secs(2)).await;
        let reported = world.journal.count("issue_unanswered");
        let same = before == (leases.len(), users.len()) && leases.len() == users.len();
        (same && leases.len() <= 1 + reported).then_some(leases.len() - 1)
    })
    .await;
    let held = world.login().unwrap();
    assert!(users.contains(&held.user), "the published user is gone");
    assert!(world.works(&held).await);
    let unanswered = world.journal.count("issue_unanswered");
    assert!(unanswered <= KILLS, "{unanswered} reports for {KILLS} kills");
    let found = leaks(&world, &world.config(), &["--json", "--older-than", "0s"]);
    let listed = found.json()["without_owner"].as_u64();
    assert_eq!(listed, u64::try_from(orphans).ok(), "{orphans}: {found:?}");
    assert_eq!(found.code, i32::from(orphans > 0), "{found:?}");
    eprintln!("{orphans} orphans, {unanswered} reported");
    drop(agent);
}

#[tokio::test]
async fn five_restarts_need_one_database_user() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    config["on_stop"] = json!("drain");
    config["secrets"]["db"]["grace"] = json!("20s");
    let mut agent = world.start_and_publish(&config).await;
    for terminated in [false, true, false, true, false] {
        let mark = world.journal.mark();
        if terminated {
            let status = agent.terminate(secs(15)).await;
            assert!(status.success(), "{status}");
        } else {
            agent.kill();
        }
        agent = world.start(&config);
        world.journal.wait(mark, "adopted", secs(10)).await;
        eventually("it is ready", secs(20), async || {
            (agent.get("probes", "/readyz").await.0 == 200).then_some(())
        })
        .await;
        assert!(world.works(&world.login().unwrap()).await);
    }
    eventually("one lease and one user are left", secs(60), async || {
        let (leases, users) = (world.leases().await, world.users().await);
        (leases.len() == 1 && users == [world.login()?.user]).then_some(())
    })
    .await;
    // Two stops that shorten the lease may need a successor each; a kill never does.
    let issued = world.journal.count("lease_issued");
    assert!(issued <= 3, "{issued} users for five restarts");
    drop(agent);
}
