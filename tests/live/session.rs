//! Tokens and leases that end before their time, by somebody else's hand or by their own limit.

use serde_json::json;

use crate::support::pace::in_time;
use crate::support::watch::Watch;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, secs};

#[tokio::test]
async fn a_revoked_token_is_noticed_and_a_good_login_is_there_soon() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let agent = world.start_and_publish(&world.config()).await;
    let first = world.login().unwrap();
    let [accessor] = world.bao.sessions(&world.name).await.try_into().unwrap();

    let began = now();
    world.bao.revoke_token(&accessor).await;
    let next = eventually("another login is published", secs(5), async || {
        world.login().filter(|login| login.user != first.user)
    })
    .await;
    assert!(world.works(&next).await);
    assert!(began.until(now()) < secs(5), "{:?}", began.until(now()));
    world.journal.wait(0, "session_lost", secs(5)).await;
    assert_eq!(world.users().await, [next.user]);
    drop(agent);
}

#[tokio::test]
async fn a_revoked_lease_is_replaced_at_the_next_look() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let agent = world.start_and_publish(&world.config()).await;
    let first = world.login().unwrap();
    let [lease] = world.leases().await.try_into().unwrap();

    world.bao.revoke_lease(&lease).await;
    let began = now();
    let next = eventually("another login is published", secs(10), async || {
        world.login().filter(|login| login.user != first.user)
    })
    .await;
    // A look each second, and one more for the rest; how long the database takes for a login is
    // not ours.
    let lost = world.journal.wait(0, "lease_lost", secs(5)).await.at;
    assert!(began.until(lost) < secs(2), "{:?}", began.until(lost));
    let asked = world.journal.all("issue_requested").last().unwrap().at;
    assert!(lost.until(asked) < secs(1), "{:?}", lost.until(asked));
    assert!(world.works(&next).await);
    assert_eq!(world.leases().await.len(), 1);
    drop(agent);
}

#[tokio::test]
async fn a_token_at_its_limit_is_let_go_after_its_leases() {
    in_time(async || {
        let mut terms = Terms::of("10s", "10m");
        terms.token = json!({ "token_ttl": "30s", "token_max_ttl": "30s" });
        let world = World::new(terms).await;
        let mut config = world.config();
        config["secrets"]["db"]["confirm"] = json!("none");
        config["secrets"]["db"]["grace"] = json!("3s");
        let agent = world.start_and_publish(&config).await;
        let watch = Watch::start(&world, true);
        let first = world.journal.wait(0, "lease_issued", secs(5)).await;

        let ended = world.journal.wait(0, "session_ended", secs(45)).await;
        let lease_ended = world.journal.wait(0, "lease_ended", secs(1)).await;
        assert_eq!(lease_ended.text("lease"), first.text("lease"));
        assert!(lease_ended.at <= ended.at, "the token went before its lease");
        assert_eq!(world.journal.count("session_opened"), 2);
        assert_eq!(world.journal.count("lease_issued"), 2, "one overlapping issue is enough");
        assert_eq!(watch.failures(), [] as [String; 0]);
        assert_eq!(world.journal.count("grace_violated"), 0);
        drop(agent);
    })
    .await;
}
