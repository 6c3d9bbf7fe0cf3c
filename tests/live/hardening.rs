//! What the running agent has given up, seen from outside, and that it still does its work.

use std::collections::BTreeMap;
use std::fs::{metadata, read_dir, read_to_string, remove_file, rename};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

/// Every thread's `/proc/PID/task/TID/status`, as field and value.
fn threads(agent: &Agent) -> Vec<BTreeMap<String, String>> {
    let tasks = read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let status = |task: &Path| {
        let text = read_to_string(task.join("status")).unwrap();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    };
    tasks.map(|task| status(&task.unwrap().path())).collect()
}

fn mode(path: &Path) -> u32 {
    metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn what_a_process_can_give_up_is_given_up_and_a_planted_link_leads_nowhere() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut config = world.config();
    // Above both directories nothing is there yet.
    config["publish"]["directory"] = json!(world.path("volume/run"));
    config["state"]["directory"] = json!(world.path("volume/state"));
    world.write("leasehold.yaml", &config.to_string());
    let agent = Agent::start(&world.path("leasehold.yaml"), world.journal.clone());
    let file = world.path("volume/run/db/pg_service.conf");
    eventually("a login is published", secs(15), async || metadata(&file).ok()).await;
    // It comes after the files.
    let status = world.path("volume/run/status.json");
    eventually("the status is there", secs(5), async || metadata(&status).ok()).await;

    for thread in threads(&agent) {
        assert_eq!(thread["NoNewPrivs"], "1", "{}", thread["Name"]);
        assert_eq!(thread["Umask"], "0077");
    }
    for (path, expected) in [
        ("volume", 0o755),
        ("volume/run", 0o755),
        ("volume/run/current/db", 0o755),
        ("volume/run/db/pg_service.conf", 0o440),
        ("volume/run/status.json", 0o644),
        ("volume/state", 0o700),
        ("volume/state/state.json", 0o600),
    ] {
        let found = mode(&world.path(path));
        assert_eq!(found, expected, "{path}: {found:o}");
    }
    let confined = world.journal.first("confined").expect("it does not say that it is confined");
    let words = |field: &str| -> Vec<_> {
        confined.text(field).split(' ').map(std::path::PathBuf::from).collect()
    };
    assert_eq!(words("writes"), [world.path("volume/run"), world.path("volume/state")]);
    assert!(words("reads").contains(&world.path("").join("")), "{:?}", words("reads"));

    // Whoever may write where the secret id lies sends root to another file.
    let (secret_id, kept) = (world.path("secret_id"), world.path("secret_id.kept"));
    std::fs::write(elsewhere.path().join("theirs"), read_to_string(&secret_id).unwrap()).unwrap();
    rename(&secret_id, &kept).unwrap();
    symlink(elsewhere.path().join("theirs"), &secret_id).unwrap();
    let [accessor] = world.bao.sessions(&world.name).await.try_into().unwrap();
    world.bao.revoke_token(&accessor).await;
    let failed = world.journal.wait(0, "login_failed", secs(10)).await;
    assert!(failed.text("error").contains("ermission denied"), "{failed:?}");
    remove_file(&secret_id).unwrap();
    rename(&kept, &secret_id).unwrap();
    world.journal.wait_count("session_opened", 2, secs(20)).await;
    drop(agent);
}

#[tokio::test]
async fn a_command_keeps_the_agent_unconfined_and_that_is_said() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let told = world.path("told");
    config["notify"] = json!([{
        "name": "hook",
        "exec": { "command": ["/bin/cp", "/proc/self/status", told] },
    }]);
    let agent = world.start_and_publish(&config).await;
    let line = world.journal.wait(0, "unconfined", secs(5)).await;
    assert!(line.text("cause").contains("`hook`"), "{line:?}");
    assert_eq!(world.journal.count("confined"), 0);
    let status = eventually("the command has run", secs(10), async || {
        read_to_string(&told).ok().filter(|text| text.contains("NoNewPrivs:"))
    })
    .await;
    assert!(status.contains("NoNewPrivs:\t1"), "a command may gain privileges: {status}");
    drop(agent);
}

#[tokio::test]
async fn a_service_manager_hears_when_it_is_up_and_when_it_stops() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mail = format!("{}/mail", world.name);
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    config["publish"]["files"]["mail"] =
        json!({ "format": "raw", "secret": "mail", "field": "key" });
    world.prepare("leasehold", &config);
    let socket = world.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let hear = || {
        let mut word = [0; 64];
        let length = manager.recv(&mut word).ok()?;
        Some(String::from_utf8_lossy(&word[..length]).into_owned())
    };
    let agent = Agent::spawn(
        Command::new(env!("CARGO_BIN_EXE_leasehold"))
            .args(["run", "--config"])
            .arg(world.path("leasehold.yaml"))
            .env("NOTIFY_SOCKET", &socket),
        world.journal.clone(),
    );
    world.journal.wait(0, "read_failed", secs(15)).await;
    assert_eq!(hear(), None, "ready with nothing published");
    world.bao.put_kv(&mail, json!({ "key": "SG.one" })).await;
    assert_eq!(eventually("it is ready", secs(15), async || hear()).await, "READY=1");
    assert!(world.login().is_some());
    let status = agent.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    assert_eq!(hear().as_deref(), Some("STOPPING=1"));
    assert_eq!(hear(), None);
}
