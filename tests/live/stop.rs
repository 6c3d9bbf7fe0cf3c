//! What SIGTERM leaves behind, by policy.

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, quiet, secs};

async fn started(terms: Terms, on_stop: &str) -> (World, Agent) {
    let world = World::new(terms).await;
    let mut config = world.config();
    config["on_stop"] = json!(on_stop);
    config["secrets"]["db"]["grace"] = json!("6s");
    let agent = world.start_and_publish(&config).await;
    assert_eq!(world.leases().await.len(), 1);
    (world, agent)
}

#[tokio::test]
async fn revoke_leaves_no_lease_at_exit() {
    let (world, agent) = started(Terms::of("1h", "2h"), "revoke").await;
    let status = agent.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    assert_eq!(world.leases().await, [] as [String; 0]);
    assert_eq!(world.users().await, [] as [String; 0]);
    assert_eq!(world.bao.sessions(&world.name).await, [] as [String; 0]);
}

#[tokio::test]
async fn revoke_without_the_right_for_it_shortens_and_says_why() {
    let mut terms = Terms::of("1h", "2h");
    terms.may_revoke = false;
    let (world, agent) = started(terms, "revoke").await;
    let status = agent.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    eventually("no lease is left", secs(3), async || world.leases().await.is_empty().then_some(()))
        .await;
    let denied = world.journal.first("revoke_denied").expect("the log says nothing");
    assert!(denied.value.to_string().contains("sys/leases/revoke"), "{}", denied.value);
}

#[tokio::test]
async fn drain_leaves_a_login_that_works_for_its_grace() {
    let (world, agent) = started(Terms::of("1h", "2h"), "drain").await;
    let login = world.login().unwrap();
    let asked = now();
    let status = agent.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    // Looked at until shortly before the grace is over: it has to work all that time.
    let mut tries = 0;
    while now() < asked + secs(5) {
        let answer = world.postgres.try_login(&login, &world.name).await;
        let over = now() >= asked + secs(6);
        assert!(answer.is_ok() || over, "{answer:?} {:?} after the stop", asked.until(now()));
        tries += 1;
        quiet(std::time::Duration::from_millis(200)).await;
    }
    assert!(tries > 0, "the stop took its whole grace");
    eventually("no lease and no user is left", secs(20), async || {
        (world.leases().await.is_empty() && world.users().await.is_empty()).then_some(())
    })
    .await;
}
