//! The agent tells processes that it did not start, and runs commands that know nothing of it.

use std::fs::read_to_string;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::world::{Terms, World};
use crate::support::{eventually, secs, unique};

/// Ends with the test.
struct Daemon(i32);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

async fn written(path: &Path) -> String {
    eventually(&format!("{} is written", path.display()), secs(30), async || {
        read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
    .await
}

#[tokio::test]
async fn a_named_process_is_told_and_a_command_ends_with_the_agent() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (here, name) = (world.path("").display().to_string(), format!("app{}", unique()));
    let script = format!(
        "#!/bin/sh\ncd '{here}'; trap 'echo > heard' HUP; echo $$ > pid\n\
         while :; do sleep 0.05; done"
    );
    world.write(&name, &script);
    let program = world.path(&name);
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let started = Command::new("sh")
        .args(["-c", "\"$0\" &"])
        .arg(&program)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success());
    let _daemon = Daemon(written(&world.path("pid")).await.trim().parse().unwrap());

    let hang = format!(
        "cd '{here}'; tr '\\0' '\\n' < /proc/$$/environ > environ; ls -l /proc/$$/fd > fds; \
         echo $$ > hung; sleep 600"
    );
    let mut config = world.config();
    config["notify"] = json!([
        { "name": "app", "signal": { "process": name, "signal": "HUP" } },
        { "name": "hang", "exec": { "command": ["/bin/sh", "-c", hang], "timeout": "5m" } },
        { "name": "loud", "exec": { "command": ["/bin/sh", "-c", "printf '\\033[2Jclear'; exit 7"] } },
    ]);
    let agent = world.start_and_publish(&config).await;
    written(&world.path("heard")).await;
    let hung = written(&world.path("hung")).await;

    let names = written(&world.path("environ")).await;
    let mut names: Vec<&str> =
        names.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PATH", "HOME", "LANG"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["LEASEHOLD_DIRECTORY", "LEASEHOLD_GENERATION", "LEASEHOLD_SECRETS"]);
    let files = written(&world.path("fds")).await;
    for ours in ["socket:", "anon_inode:", "/state", "/run/"] {
        assert!(!files.contains(ours), "the command has a file of ours: {files}");
    }

    let failed = world.journal.wait(0, "delivery_failed", secs(10)).await;
    assert_eq!(failed.text("target"), "loud");
    assert_eq!(failed.text("error"), "run `/bin/sh`: exit status 7:  [2Jclear");
    let ended = world.journal.wait(0, "command_ended", secs(10)).await;
    assert_eq!(ended.text("output"), "\\u{1b}[2Jclear");

    let status = agent.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    assert!(!Path::new("/proc").join(hung.trim()).exists(), "the command outlived the agent");
}
