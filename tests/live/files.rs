//! Secrets in files of this machine, with no Vault anywhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::agent::{Agent, Journal};
use crate::support::hook::Hook;
use crate::support::{eventually, secs};

struct Desk {
    directory: TempDir,
    journal: Journal,
    hook: Hook,
}

impl Desk {
    async fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
        for name in ["run", "state"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            let closed = PermissionsExt::from_mode(0o700);
            fs::set_permissions(directory.path().join(name), closed).unwrap();
        }
        Self { directory, journal: Journal::default(), hook: Hook::answering(204, secs(0)).await }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    /// In one step.
    fn replace(&self, name: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.at("new"), self.at(name)).unwrap();
    }

    fn start(&self, path: &str) -> Agent {
        let config = json!({
            "secrets": { "dev": { "file": { "path": self.at(path), "poll": "1h" } } },
            "publish": { "directory": self.at("run"), "files": {
                "app.json": { "format": "json", "secrets": ["dev"] },
                "key": { "format": "raw", "secret": "dev", "field": "key" },
            } },
            "notify": [{ "name": "api", "http": { "url": self.hook.url } }],
            "state": { "directory": self.at("state") },
            "listen": { "probes": "127.0.0.1:0" },
            "log": { "level": "debug" },
        });
        self.write("leasehold.yaml", &config.to_string());
        Agent::start(&self.at("leasehold.yaml"), self.journal.clone())
    }

    /// Waits until `value` is published, and told: a person edits, and looks.
    async fn shows(&self, value: &str, notices: usize) {
        eventually(&format!("{value} is published"), secs(1), async || {
            (fs::read_to_string(self.at("run/key")).ok()? == value).then_some(())
        })
        .await;
        eventually(&format!("{value} is told"), secs(1), async || {
            (self.hook.told().len() == notices).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_edit_is_published_and_told_and_a_broken_file_takes_nothing_away() {
    let desk = Desk::new().await;
    desk.write("dev.yaml", "key: first\nport: 5432\nzip: 007\n");
    let agent = desk.start("dev.yaml");
    desk.journal.wait(0, "published", secs(10)).await;
    desk.shows("first", 1).await;
    let text = fs::read_to_string(desk.at("run/app.json")).unwrap();
    let dev = serde_json::from_str::<Value>(&text).unwrap()["dev"].clone();
    assert_eq!(dev, json!({ "key": "first", "port": 5432, "zip": "007" }));

    desk.write("dev.yaml", "key: second\n");
    desk.shows("second", 2).await;
    desk.replace("dev.yaml", r#"{ "key": "third" }"#);
    desk.shows("third", 3).await;
    // The same value in other words is not news.
    desk.replace("dev.yaml", "key: third # as before\n");

    for (broken, told) in [
        ("key: \"canary\nother: x\n", "line "),
        ("key: canary\nnested: { canary: 1 }\n", "`nested` has more keys"),
        ("other: canary\n", "has no field `key`"),
        ("", "it has no fields"),
    ] {
        let mark = desk.journal.mark();
        desk.replace("dev.yaml", broken);
        let failed = desk.journal.wait(mark, "read_failed", secs(5)).await;
        assert!(failed.text("error").contains(told), "{failed:?}");
    }
    fs::remove_file(desk.at("dev.yaml")).unwrap();
    let missing = "No such file";
    eventually("it is missed", secs(5), async || {
        let failed = desk.journal.all("read_failed");
        failed.iter().any(|line| line.text("error").contains(missing)).then_some(())
    })
    .await;
    assert_eq!(fs::read_to_string(desk.at("run/key")).unwrap(), "third");
    assert_eq!(agent.get("probes", "/readyz").await.0, 200);
    assert_eq!(desk.hook.told().len(), 3);

    // The last good value outlives the process.
    assert!(agent.terminate(secs(10)).await.success());
    let agent = desk.start("dev.yaml");
    eventually("it is ready again", secs(10), async || {
        (agent.get("probes", "/readyz").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(fs::read_to_string(desk.at("run/key")).unwrap(), "third");
    desk.write("dev.yaml", "key: fourth\n");
    desk.shows("fourth", 4).await;
    assert!(!desk.journal.raw().contains("canary"), "a value in the log");
    let logins = ["session_opened", "login_failed", "login_refused"];
    assert_eq!(logins.map(|event| desk.journal.count(event)), [0; 3]);
    drop(agent);
}

/// A mounted volume of Kubernetes: the files are links through `..data`, which is replaced.
#[tokio::test]
async fn a_volume_that_the_kubelet_swaps_is_followed() {
    let desk = Desk::new().await;
    let fill = |version: &str, text: &str| {
        fs::create_dir_all(desk.at("volume").join(version)).unwrap();
        fs::write(desk.at("volume").join(version).join("dev.yaml"), text).unwrap();
        symlink(version, desk.at("volume/..data_tmp")).unwrap();
        fs::rename(desk.at("volume/..data_tmp"), desk.at("volume/..data")).unwrap();
    };
    fill("..1", "key: first\n");
    symlink("..data/dev.yaml", desk.at("volume/dev.yaml")).unwrap();
    let agent = desk.start("volume/dev.yaml");
    desk.journal.wait(0, "published", secs(10)).await;
    desk.shows("first", 1).await;
    for (number, value) in ["second", "third"].into_iter().enumerate() {
        fill(&format!("..{}", number + 2), &format!("key: {value}\n"));
        desk.shows(value, number + 2).await;
    }
    drop(agent);
}
