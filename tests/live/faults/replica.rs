//! A real streaming replica, which knows a new login later than the primary.

use serde_json::json;

use crate::support::bao::Bao;
use crate::support::keeper::Keeper;
use crate::support::postgres::Postgres;
use crate::support::quiet;
use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;

/// One row: whether the replica is held back for as long as a fault lasts, or lags all the time.
#[derive(Clone, Copy)]
enum Fault {
    Stands,
    Lags(&'static str),
}

soak! {
    replica_stands_still = Fault::Stands;
    replica_lags = Fault::Lags("1500ms");
    replica_lags_much = Fault::Lags("6s");
}

#[tokio::test]
async fn a_replica_that_stands_still() {
    run("replica stands still, short", SHORT, Fault::Stands).await;
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    let keeper = Keeper::start(&["replica"]).await;
    let primary = keeper.postgres();
    let host = keeper.text("/replica");
    let replica = Postgres::own(host, primary.port, primary.password());
    if let Fault::Lags(lag) = fault {
        let sql = format!("ALTER SYSTEM SET recovery_min_apply_delay = '{lag}'");
        replica.run("postgres", &sql).await;
        replica.run("postgres", "SELECT pg_reload_conf()").await;
    }
    let world = World::on(Bao::shared(), primary.clone(), pace.terms()).await;
    let mut config = pace.config(&world, None);
    config["secrets"]["db"]["connection"]["host"] = json!(format!("{},{host}", primary.host));
    let mut trial = Trial::start(name, pace, world, config).await;
    trial
        .rounds(async |trial| match fault {
            Fault::Stands => {
                replica.run("postgres", "SELECT pg_wal_replay_pause()").await;
                trial.lasts().await;
                replica.run("postgres", "SELECT pg_wal_replay_resume()").await;
            }
            Fault::Lags(_) => quiet(pace.fault).await,
        })
        .await;
    let issued = trial.world.journal.count("lease_issued");
    let rotated = trial.world.journal.count("rotated");
    trial.finish(&[Named { event: "probe_failed", text: host }]).await;
    assert!(issued <= rotated + 2, "{issued} logins for {rotated} rotations");
}
