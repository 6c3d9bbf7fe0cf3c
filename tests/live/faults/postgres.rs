//! A database that is down, cut off, or full of connections.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::bao::Bao;
use crate::support::from_servers;
use crate::support::gate::Gate;
use crate::support::keeper::Keeper;
use crate::support::postgres::Postgres;
use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;

/// One row.
#[derive(Clone, Copy)]
enum Fault {
    /// Neither Vault nor the agent reaches it; the programs do.
    CutOff,
    /// It is stopped.
    Down,
    /// All its connections are taken.
    Full,
}

/// Connections of the server that is filled; the programs hold about a dozen.
const LIMIT: usize = 30;

soak! {
    postgres_cut_off = Fault::CutOff;
    postgres_down = Fault::Down;
    postgres_full = Fault::Full;
}

#[tokio::test]
async fn a_database_that_is_cut_off() {
    run("postgres cut off, short", SHORT, Fault::CutOff).await;
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    match fault {
        Fault::CutOff => cut_off(name, pace).await,
        Fault::Down => down(name, pace).await,
        Fault::Full => full(name, pace).await,
    }
}

const UNREACHED: Named<'_> = Named { event: "probe_failed", text: "refused" };
const ISSUE: Named<'_> = Named { event: "issue_failed", text: "answered 500" };

async fn cut_off(name: &'static str, pace: Pace) {
    let postgres = Postgres::shared();
    let direct = format!("{}:{}", postgres.host, postgres.port);
    let mut for_vault = Gate::before(&direct).await;
    let part = || fastrand::u8(1..255);
    let host = format!("127.{}.{}.{}", part(), part(), part());
    // The port of the database itself: the programs go there by `hostaddr`.
    let mut for_agent = Gate::at(&format!("{host}:{}", postgres.port), vec![direct]).await;
    let mut terms = pace.terms();
    terms.postgres_port = Some(for_vault.address.port());
    let mut world = World::new(terms).await;
    world.environment.push(("PGHOSTADDR", postgres.host.clone()));
    let mut config = pace.config(&world, None);
    config["secrets"]["db"]["connection"]["host"] = json!(host);
    let mut trial = Trial::start(name, pace, world, config).await;
    let mut half = false;
    trial
        .rounds(async |trial| {
            // In turn from the agent alone and from both.
            for_agent.shut().await;
            if half {
                for_vault.shut().await;
            }
            trial.lasts().await;
            for_agent.open().await;
            if half {
                for_vault.open().await;
            }
            half = true;
        })
        .await;
    let named = [UNREACHED, ISSUE];
    trial.finish(&named[..pace.rounds.min(2)]).await;
}

async fn down(name: &'static str, pace: Pace) {
    let keeper = Keeper::start(&["postgres", "300"]).await;
    let world = World::on(Bao::shared(), keeper.postgres(), pace.terms()).await;
    let config = pace.config(&world, None);
    let mut trial = Trial::start(name, pace, world, config).await;
    trial
        .rounds(async |trial| {
            let before = trial.failures();
            keeper.order("stop").await;
            trial.lasts().await;
            keeper.order("start").await;
            trial.excuse_since(before).await;
        })
        .await;
    trial.finish(&[ISSUE]).await;
}

async fn full(name: &'static str, pace: Pace) {
    let keeper = Keeper::start(&["postgres", &LIMIT.to_string()]).await;
    let world = World::on(Bao::shared(), keeper.postgres(), pace.terms()).await;
    let role = format!("CREATE ROLE {TAKER} LOGIN PASSWORD '{TAKER}'");
    world.postgres.run("postgres", &role).await;
    let config = pace.config(&world, None);
    let mut trial = Trial::start(name, pace, world, config).await;
    trial
        .rounds(async |trial| {
            let before = trial.failures();
            let mut taker = fill(trial);
            trial.lasts().await;
            drop(taker.stdin.take());
            taker.wait().unwrap();
            // Also the programs find no place.
            trial.excuse_since(before).await;
        })
        .await;
    trial.finish(&[Named { event: "probe_failed", text: "53300" }]).await;
}

/// An ordinary user, and its password.
const TAKER: &str = "taker";

/// Takes every connection that an ordinary user can have, and keeps them until its input ends.
const TAKE_ALL: &str = "
import psycopg, sys
taken = []
try:
    while True:
        taken.append(psycopg.connect(''))
except psycopg.OperationalError as error:
    print(error, flush=True)
sys.stdin.read()
";

fn fill(trial: &Trial) -> Child {
    let postgres = &trial.world.postgres;
    let mut child = Command::new(from_servers("PYTHON"))
        .args(["-c", TAKE_ALL])
        .envs([("PGHOST", &postgres.host), ("PGPORT", &postgres.port.to_string())])
        .envs([("PGUSER", TAKER), ("PGPASSWORD", TAKER), ("PGDATABASE", "postgres")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("connection slots") || said.contains("too many"), "{said}");
    child
}
