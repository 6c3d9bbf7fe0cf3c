//! The example services, which do not know of us: under load, and started anew at each rotation.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::program::judged;
use crate::support::world::{Terms, World};
use crate::support::{bao, eventually, free_port, from_servers, secs};

/// The load itself is the test: its exit code tells whether a target was missed.
#[test]
fn the_example_services_answer_every_request_over_rotations() {
    let nestjs = concat!(env!("CARGO_MANIFEST_DIR"), "/target/apps/nestjs");
    let output = tempfile::tempdir().unwrap();
    let output = output.path().display().to_string();
    let arguments = ["--quick", "--nestjs", nestjs, "--output", &output];
    let said = judged("tests/load/load.py", &arguments);
    assert!(said.contains("| rotations | "), "no table:\n{said}");
}

#[tokio::test]
async fn a_batch_job_finishes_the_transaction_that_a_rotation_meets() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let sql = "INSERT INTO memories (body) SELECT 'a row' FROM generate_series(1, 100)";
    world.postgres.run(&world.name, sql).await;
    let mut config = world.config();
    config["secrets"]["db"]["rotate_every"] = "10s".into();
    let agent = world.start_and_publish(&config).await;
    let job = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/batch-job/job.py");
    let mut job = Command::new(from_servers("PYTHON"))
        .args([job, "--service", "demo", "--size", "5", "--seconds", "12", "--pause", "1"])
        .env("PGSERVICEFILE", world.published("db/pg_service.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Each batch takes longer than a login is the newest one.
    let lines = BufReader::new(job.stdout.take().unwrap()).lines();
    let batches: Vec<Value> =
        lines.take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    job.kill().unwrap();
    job.wait().unwrap();
    let mut users: Vec<&str> =
        batches.iter().map(|batch| batch["session_user"].as_str().unwrap()).collect();
    assert!(batches.iter().all(|batch| batch["rows"] == 5), "{batches:?}");
    users.dedup();
    assert_eq!(users.len(), 3, "each batch has the login of its time: {users:?}");
    assert!(agent.terminate(secs(15)).await.success());
}

#[tokio::test]
async fn a_service_that_reads_one_variable_at_its_start_has_each_login_in_it() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let legacy = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/legacy-env");
    let (port, run) = (free_port(), world.path("run"));
    std::fs::create_dir(&run).unwrap();
    let mut exec = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    exec.args(["exec", "--config", &format!("{legacy}/leasehold.yaml"), "--log-format", "json"])
        .args(["--", &from_servers("PYTHON"), &format!("{legacy}/app.py")])
        .env("PORT", port.to_string())
        .env("VAULT_URL", &world.bao.address)
        .env("APPROLE_DIR", world.path(""))
        .env("RUN_DIR", &run)
        .env("DB_HOST", &world.postgres.host)
        .env("DB_PORT", world.postgres.port.to_string())
        .env("DB_SSLMODE", "disable")
        .env("LEASEHOLD_LISTEN__PROBES", "127.0.0.1:0")
        .env("LEASEHOLD_SECRETS__DB__DATABASE__MOUNT", world.mount())
        .env("LEASEHOLD_SECRETS__DB__DATABASE__ROLE", &world.name)
        .env("LEASEHOLD_SECRETS__DB__CONNECTION__DBNAME", &world.name)
        .env("LEASEHOLD_SECRETS__DB__ROTATE_EVERY", "8s")
        .env("LEASEHOLD_SECRETS__DB__GRACE", "1s");
    let sql = "INSERT INTO memories (body) VALUES ('a row')";
    world.postgres.run(&world.name, sql).await;
    let agent = Agent::spawn(&mut exec, world.journal.clone());
    let user = async || {
        let url = format!("http://127.0.0.1:{port}/rows");
        let answer = bao::client().get(url).send().await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        answer["session_user"].as_str().map(str::to_owned)
    };
    let first = eventually("the service answers", secs(30), user).await;
    assert!(first.starts_with("v-"), "{first}");
    let next = async || user().await.filter(|user| *user != first);
    eventually("the service has another login", secs(60), next).await;
    let status = agent.terminate(secs(30)).await;
    assert_eq!(status.code(), Some(0), "its service ends so at SIGTERM");
    assert!(world.users().await.is_empty(), "what was leased for the service is gone with it");
}
