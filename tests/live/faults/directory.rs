//! A full tmpfs, and a kernel that gives no more inotify instances.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;
use crate::support::{eventually, secs};

/// One row.
#[derive(Clone, Copy)]
enum Fault {
    /// Nothing more fits into the publish directory.
    Full,
    /// No further inotify instance is given; files that somebody changes are put back all the same.
    Unwatched,
}

soak! {
    directory_full = Fault::Full;
    inotify_exhausted = Fault::Unwatched;
}

#[tokio::test]
async fn a_directory_that_cannot_be_watched() {
    run("inotify exhausted, short", SHORT, Fault::Unwatched).await;
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    match fault {
        Fault::Full => full(name, pace).await,
        Fault::Unwatched => unwatched(name, pace).await,
    }
}

/// The agent in a namespace of its own, after `script`, which finds the test's directory as `$1`.
fn within(world: &World, namespaces: &[&str], script: &str) -> Agent {
    let script = format!("{script} && exec \"$2\" run --config \"$1/leasehold.yaml\"");
    Agent::spawn(
        Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", &script, "sh"])
            .arg(world.path(""))
            .arg(env!("CARGO_BIN_EXE_leasehold")),
        world.journal.clone(),
    )
}

async fn full(name: &'static str, pace: Pace) {
    let mut world = World::new(pace.terms()).await;
    let mut config = pace.config(&world, None);
    let directory = world.path("run/memory/app");
    config["publish"]["directory"] = json!(directory);
    world.prepare("leasehold", &config);
    let mount = "mount -t tmpfs -o size=256k,mode=0700 none \"$1/run/memory\"";
    let agent = within(&world, &["--map-root-user", "--mount"], mount);
    world.publish_in = "run/memory/app".into();
    world.view = format!("/proc/{}/root", agent.pid()).into();
    let mut trial = Trial::with(name, pace, world, config, agent).await;
    trial
        .rounds(async |trial| {
            let path = trial.world.published("../filler");
            let mut filler = File::create(&path).unwrap();
            let mark = trial.world.journal.mark();
            // The agent keeps room for one more set, so what a rotation frees is taken too.
            eventually("the agent finds no room", secs(60), async || {
                while filler.write_all(&[0; 512]).is_ok() {}
                trial.world.journal.since(mark, "rehearsal_failed").into_iter().next()
            })
            .await;
            trial.lasts().await;
            std::fs::remove_file(&path).unwrap();
        })
        .await;
    trial.finish(&[Named { event: "rehearsal_failed", text: "o space left" }]).await;
}

async fn unwatched(name: &'static str, pace: Pace) {
    let world = World::new(pace.terms()).await;
    let mut config = pace.config(&world, None);
    config["publish"]["files"]["spare.env"] = json!({ "format": "dotenv", "secrets": ["db"] });
    world.prepare("leasehold", &config);
    let agent = within(&world, &["--map-root-user"], "true");
    let mut trial = Trial::with(name, pace, world, config, agent).await;
    trial
        .rounds(async |trial| {
            limit(trial, 0);
            let mark = trial.world.journal.mark();
            trial.world.journal.wait(mark, "rotated", pace.fault * 2).await;
            // The set that is visible now was made without a watch.
            let file = std::fs::canonicalize(trial.world.published("spare.env")).unwrap();
            let mark = trial.world.journal.mark();
            std::fs::remove_file(&file).unwrap();
            trial.world.journal.wait(mark, "repairing", secs(5)).await;
            eventually("the deleted file is put back", secs(5), async || {
                trial.world.published("spare.env").exists().then_some(())
            })
            .await;
            limit(trial, 128);
        })
        .await;
    trial.finish(&[Named { event: "watch_degraded", text: "inotify" }]).await;
}

/// How many inotify instances the agent's user namespace may have.
fn limit(trial: &Trial, count: u32) {
    let pid = trial.agent.as_ref().unwrap().pid().to_string();
    let script = format!("echo {count} > /proc/sys/user/max_inotify_instances");
    let arguments = ["--user", "--target", &pid, "sh", "-c", &script];
    assert!(Command::new("nsenter").args(arguments).status().unwrap().success());
}
