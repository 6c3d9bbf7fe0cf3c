//! The publish directory, and what cannot be published: no lease is made for it.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, quiet, secs};

#[tokio::test]
async fn a_deleted_and_a_changed_file_are_put_back() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let agent = world.start_and_publish(&world.config()).await;
    world.journal.wait(0, "published", secs(5)).await;
    let file = world.published("db/pg_service.conf");
    let good = std::fs::read(&file).unwrap();

    let began = now();
    std::fs::remove_file(&file).unwrap();
    eventually("the deleted file is back", secs(1), async || {
        (std::fs::read(&file).ok()? == good).then_some(())
    })
    .await;
    assert!(began.until(now()) < secs(1));

    // One repair a second.
    quiet(secs(2)).await;
    let began = now();
    let real = std::fs::canonicalize(&file).unwrap();
    std::fs::remove_file(&real).unwrap();
    std::fs::write(&real, "[demo]\nuser=somebody\n").unwrap();
    eventually("the changed file is back", secs(1), async || {
        (std::fs::read(&file).ok()? == good).then_some(())
    })
    .await;
    assert!(began.until(now()) < secs(1));
    world.journal.wait_count("repairing", 2, secs(5)).await;
    assert_eq!(world.journal.count("lease_issued"), 1);
    drop(agent);
}

/// Waits for a warning or an error that holds `words`, and fails when a lease was made.
async fn names(world: &World, words: &[&str]) {
    eventually(&format!("a message that names {words:?}"), secs(15), async || {
        let raw = world.journal.raw();
        let lines = raw.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        let found = lines.filter(|line| !line.contains("\"INFO\"")).count();
        (found > 0).then_some(())
    })
    .await;
    quiet(secs(2)).await;
    assert_eq!(world.leases().await, [] as [String; 0], "a lease was made");
    assert_eq!(world.users().await, [] as [String; 0]);
}

/// Starts the agent with a file system of its own mounted at the publish directory.
fn start_on(world: &World, config: &Value, options: &str) -> Agent {
    for name in ["run", "state"] {
        std::fs::create_dir(world.path(name)).unwrap();
    }
    world.write("leasehold.yaml", &config.to_string());
    let script = "mount -t tmpfs -o \"$1\" none \"$2\" && chmod 700 \"$3\" && exec \"$4\" run --config \"$5\"";
    Agent::spawn(
        Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script, "sh", options])
            .arg(world.path("run"))
            .arg(world.path("state"))
            .arg(env!("CARGO_BIN_EXE_leasehold"))
            .arg(world.path("leasehold.yaml")),
        world.journal.clone(),
    )
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_costs_no_lease() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let agent = start_on(&world, &world.config(), "ro,mode=0700");
    names(&world, &["ead-only"]).await;
    drop(agent);
}

#[tokio::test]
async fn a_full_directory_costs_no_lease() {
    let world = World::new(Terms::of("1h", "2h")).await;
    // One page: it is taken by the first directory or file.
    let agent = start_on(&world, &world.config(), "size=4k,mode=0700");
    names(&world, &["o space left"]).await;
    drop(agent);
}

#[tokio::test]
async fn a_missing_field_costs_no_lease() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.one-two-three" })).await;
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    config["publish"]["files"]["key"] =
        json!({ "format": "raw", "secret": "mail", "field": "no_such_field" });
    let agent = world.start(&config);
    names(&world, &["no_such_field", "mail"]).await;
    drop(agent);
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let mut terms = Terms::of("1h", "2h");
    terms.may_issue = false;
    let world = World::new(terms).await;
    let agent = world.start(&world.config());
    let path = format!("{}/creds/{}", world.mount(), world.name);
    names(&world, &[&path, "read"]).await;
    drop(agent);
}
