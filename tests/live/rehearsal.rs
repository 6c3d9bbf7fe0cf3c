//! `leasehold rehearse` against the real servers.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

fn rehearse(world: &World, config: &Value, arguments: &[&str]) -> Command {
    world.write("rehearse.yaml", &config.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.arg("rehearse").arg("--config").arg(world.path("rehearse.yaml"));
    command.args(arguments).env_clear();
    command
}

/// Exit code, standard output, standard error.
async fn played(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn assert_clean(world: &World) {
    eventually("nothing is left", secs(15), async || {
        (world.leases().await.is_empty()
            && world.users().await.is_empty()
            && world.bao.sessions(&world.name).await.is_empty())
        .then_some(())
    })
    .await;
    let mut left = std::fs::read_dir("/dev/shm").unwrap();
    let ours = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path().join("current");
        std::fs::read_to_string(path.join(format!("{}.conf", world.name))).is_ok()
    };
    assert!(!left.any(ours), "the directory is left");
    assert!(!world.path("run").exists() && !world.path("state").exists());
}

fn config(world: &World) -> Value {
    let mut config = world.config();
    config["publish"]["files"][format!("{}.conf", world.name)] =
        json!({ "format": "pg_service", "secret": "db", "alias": "demo" });
    config
}

#[tokio::test]
async fn a_rotation_is_shown_step_by_step_and_nothing_is_left() {
    let world = World::new(Terms::of("30s", "10m")).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.one-two-three" })).await;
    let mut config = config(&world);
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail } });
    config["publish"]["files"]["app.env"] =
        json!({ "format": "dotenv", "secrets": ["db", "mail"] });
    let command = rehearse(&world, &config, &["--grace-seconds", "2"]);
    let (code, said, complained) = played(command).await;
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    let mut from = 0;
    for step in [
        "logged in to vault",
        "`mail` read",
        "`db` login 1 made: `v-approle-",
        "login 1 is taken by the database",
        "generation 1 published: 3 files",
        "a session of login 1 is open",
        "`db` login 2 made: `v-approle-",
        "generation 2 published: 3 files",
        "a session of login 2 is open beside it",
        "of login 1 none are left",
        "login 1 has its grace of 2s",
        "login 1 is refused, after ",
        "done: nothing that was made is left",
    ] {
        from += said[from..].find(step).unwrap_or_else(|| panic!("{step} is not in\n{said}"));
    }
    assert!(!said.contains("SG.one"), "{said}");
    assert_clean(&world).await;
}

#[tokio::test]
async fn what_fails_is_said_and_what_was_made_is_ended() {
    let world = World::new(Terms::of("30s", "40s")).await;
    let mut config = config(&world);
    let (code, said, complained) =
        played(rehearse(&world, &config, &["--grace-seconds", "60"])).await;
    assert_eq!(code, 78, "{said}{complained}");
    assert!(complained.contains("its grace of 1m: vault grants no more than"), "{complained}");
    assert!(said.contains("FAILED"), "{said}");
    assert_clean(&world).await;

    config["secrets"]["db"]["connection"]["dbname"] = json!("nowhere");
    let (code, said, complained) = played(rehearse(&world, &config, &[])).await;
    assert_eq!(code, 77, "{said}{complained}");
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_signal_ends_it_in_order() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut command = rehearse(&world, &config(&world), &["--grace-seconds", "600"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    eventually("two logins are made", secs(30), async || {
        (world.users().await.len() == 2).then_some(())
    })
    .await;
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let status = eventually("it ends", secs(30), async || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(130));
    assert_clean(&world).await;
}
