//! Vault or PostgreSQL away for a while.

use serde_json::json;

use crate::support::gate::Gate;
use crate::support::proxy::{Proxy, Verdict};
use crate::support::watch::Watch;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, quiet, secs};

/// A renewal at 70 to 79 % of this term that fails for ten seconds comes back before the last try,
/// two seconds before a tenth of it is left.
const TERM: &str = "120s";

/// Waits until the agent has learned the lease's maximum and put its term back.
async fn learned(world: &World) {
    world.journal.wait(0, "maximum_learned", secs(10)).await;
    let [lease] = world.leases().await.try_into().unwrap();
    eventually("the lease has its term again", secs(5), async || {
        (world.bao.lease_ttl(&lease).await? <= 120).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_renewal_that_vault_cannot_answer_abandons_nothing() {
    let world = World::new(Terms::of(TERM, "20m")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let mut config = world.config();
    config["vault"]["address"] = json!(proxy.address);
    let agent = world.start_and_publish(&config).await;
    let watch = Watch::start(&world, true);
    let issued = world.journal.wait(0, "lease_issued", secs(5)).await;
    learned(&world).await;

    proxy.rule(|_, path| {
        if path.contains("sys/leases/renew") { Verdict::Answer(503) } else { Verdict::Pass }
    });
    let mark = world.journal.mark();
    let failed = world.journal.wait(mark, "renewal_failed", secs(110)).await;
    quiet(now().until(failed.at + secs(10))).await;
    let renewed = world.journal.mark();
    assert!(world.journal.since(mark, "lease_renewed").is_empty());
    proxy.rule(|_, _| Verdict::Pass);
    world.journal.wait(renewed, "lease_renewed", secs(10)).await;
    quiet(now().until(issued.at + secs(121))).await;

    assert_eq!(watch.known().len(), 1, "another login was published");
    assert_eq!(watch.failures(), [] as [String; 0]);
    assert_eq!(proxy.seen("/creds/").len(), 1);
    drop(agent);
}

#[tokio::test]
async fn a_renewal_with_postgresql_down_abandons_nothing() {
    let postgres = crate::support::postgres::Postgres::shared();
    let mut gate = Gate::before(format!("{}:{}", postgres.host, postgres.port)).await;
    let mut terms = Terms::of(TERM, "20m");
    terms.postgres_port = Some(gate.address.port());
    let world = World::new(terms).await;
    let agent = world.start_and_publish(&world.config()).await;
    let watch = Watch::start(&world, true);
    let issued = world.journal.wait(0, "lease_issued", secs(5)).await;
    learned(&world).await;

    gate.shut().await;
    let mark = world.journal.mark();
    let failed = world.journal.wait(mark, "renewal_failed", secs(110)).await;
    quiet(now().until(failed.at + secs(10))).await;
    assert!(world.journal.since(mark, "lease_renewed").is_empty());
    let renewed = world.journal.mark();
    gate.open().await;
    world.journal.wait(renewed, "lease_renewed", secs(10)).await;
    quiet(now().until(issued.at + secs(121))).await;

    assert_eq!(world.journal.count("lease_lost"), 0);
    assert_eq!(watch.known().len(), 1, "another login was published");
    assert_eq!(watch.failures(), [] as [String; 0]);
    drop(agent);
}

#[tokio::test]
async fn vault_away_around_a_renewal_refuses_nobody() {
    let world = World::new(Terms::of("100s", "1h")).await;
    let upstream = world.bao.address.trim_start_matches("http://").to_owned();
    let mut gate = Gate::before(upstream).await;
    let mut config = world.config();
    config["vault"]["address"] = json!(format!("http://{}", gate.address));
    let mut agent = world.start_and_publish(&config).await;
    let watch = Watch::start(&world, true);
    let issued = world.journal.wait(0, "lease_issued", secs(5)).await;
    learned(&world).await;

    // Back 93 s after the issue: 75 s away, and 7 s of the lease left.
    quiet(now().until(issued.at + secs(18))).await;
    gate.shut().await;
    let mark = world.journal.mark();
    quiet(now().until(issued.at + secs(93))).await;
    gate.open().await;
    assert!(agent.alive());
    assert!(!world.journal.since(mark, "renewal_failed").is_empty(), "no renewal was due");
    quiet(now().until(issued.at + secs(102))).await;

    assert_eq!(watch.failures(), [] as [String; 0]);
    assert_eq!(world.journal.count("lease_lost"), 0);
    assert!(world.works(&world.login().unwrap()).await);
    drop(agent);
}

#[tokio::test]
async fn a_start_waits_for_vault() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let upstream = world.bao.address.trim_start_matches("http://").to_owned();
    let mut gate = Gate::before(upstream).await;
    gate.shut().await;
    let mut config = world.config();
    config["vault"]["address"] = json!(format!("http://{}", gate.address));
    let mut agent = world.start(&config);
    world.journal.wait_count("login_failed", 2, secs(20)).await;
    assert!(agent.alive());
    assert_eq!(agent.get("probes", "/livez").await.0, 200);
    assert_eq!(agent.get("probes", "/readyz").await.0, 503);

    gate.open().await;
    let login = eventually("a login is published", secs(30), async || world.login()).await;
    assert!(world.works(&login).await);
    drop(agent);
}
