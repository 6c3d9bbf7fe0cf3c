//! Rotations under programs that do not know of them.

use serde_json::json;

use crate::support::pace::in_time;
use crate::support::program::{Program, judged};
use crate::support::watch::Watch;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, secs};

/// The demo itself is the test: its summary asks Vault and PostgreSQL, and its exit code tells.
#[test]
fn the_demo_passes_its_own_checks_for_a_minute() {
    let said = judged("examples/demo/demo.py", &["--seconds", "60"]);
    assert!(said.contains("ok    rotations: "), "no summary:\n{said}");
}

#[tokio::test]
async fn a_login_is_replaced_in_time_by_the_maximum_that_the_agent_learned() {
    in_time(async || {
        let world = World::new(Terms::of("6s", "20s")).await;
        let agent = world.start_and_publish(&world.config()).await;
        let watch = Watch::start(&world, false);
        // Its connections live for so little that on a busy machine, too, the evidence comes in time
        // for the whole grace: 8 s after the replacement, the agent reckons.
        let pool =
            Program::start(&world, "pool.py", &["--rate", "80", "--max-lifetime", "1.5"]).await;

        world.journal.wait_count("rotated", 5, secs(110)).await;
        eventually("the fourth replaced login is refused", secs(40), async || {
            (watch.known().iter().filter(|known| known.refused.is_some()).count() >= 4)
                .then_some(())
        })
        .await;

        let rate = pool.rate();
        let said = pool.stop().await;
        assert_eq!(said.failures, 0, "{:?}", said.texts);
        assert!(rate >= 50.0, "only {rate:.0} queries a second");
        assert!(world.journal.first("maximum_learned").is_some());
        assert_eq!(world.journal.count("grace_violated"), 0);
        assert_eq!(world.journal.count("unconfirmed"), 0);
        watch.assert_grace(secs(5), secs(10), 4);
        drop(agent);
    })
    .await;
}

#[tokio::test]
async fn a_login_that_is_still_used_is_kept_to_its_own_end_and_reported() {
    in_time(async || {
        let world = World::new(Terms::of("6s", "20s")).await;
        let agent = world.start_and_publish(&world.config()).await;
        // A program that starts for as long as a login is visible reads the next one.
        let (first, pool) = loop {
            let visible = world.login().unwrap();
            let pool = ["--rate", "40", "--max-lifetime", "3600"];
            let pool = Program::start(&world, "pool.py", &pool).await;
            if pool.said().user == visible.user {
                break (visible, pool);
            }
        };
        let issued = world.journal.all("lease_issued");
        let issued = issued.iter().find(|line| line.text("username") == first.user).unwrap();

        let unconfirmed = world.journal.wait(0, "unconfirmed", secs(40)).await;
        assert_eq!(unconfirmed.text("lease"), issued.text("lease"));

        // The maximum counts from the issue; the login must be there until shortly before it.
        let almost = issued.at + secs(18);
        eventually("the login's own end is near", secs(30), async || {
            assert!(
                world.works(&first).await,
                "ended {:?} after its issue",
                issued.at.until(now())
            );
            (now() >= almost).then_some(())
        })
        .await;
        let said = pool.said();
        assert_eq!(said.failures, 0, "{:?}", said.texts);
        let draining = world.journal.since(0, "draining");
        assert!(draining.iter().all(|line| line.text("lease") != issued.text("lease")));
        assert_ne!(world.login().unwrap().user, first.user);
        eventually("it ends by itself", secs(10), async || {
            (!world.works(&first).await).then_some(())
        })
        .await;
        drop((pool, agent));
    })
    .await;
}

#[tokio::test]
async fn a_hook_that_acknowledges_is_evidence_where_told_is_enough() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let hook = crate::support::hook::Hook::answering(204, secs(0)).await;
    let mut config = world.config();
    config["secrets"]["db"]["confirm"] = json!("told");
    config["secrets"]["db"]["rotate_every"] = json!("4s");
    config["secrets"]["db"]["grace"] = json!("2s");
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);
    let agent = world.start_and_publish(&config).await;
    let watch = Watch::start(&world, false);

    world.journal.wait(0, "rotated", secs(15)).await;
    eventually("a replaced login is refused", secs(20), async || {
        watch.known().iter().any(|known| known.refused.is_some()).then_some(())
    })
    .await;
    watch.assert_grace(secs(2), secs(10), 1);
    assert!(hook.told_of("db").len() >= 2);
    let told = &hook.told_of("db")[1];
    let version = told.body["data"]["secrets"][0]["version"].as_str().unwrap();
    let issued = world.journal.all("lease_issued");
    assert!(issued.iter().any(|line| line.text("lease") == version), "{:?}", told.body);
    drop(agent);
}
