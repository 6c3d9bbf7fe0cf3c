//! A pod, as `pod.py` makes it of a manifest: its description, what becomes of it, and orders.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{eventually, from_servers, secs};

/// The image that `make test` or `make image` built, as `image.sh` unpacks it.
pub fn image() -> Value {
    let built = std::env::var("LEASEHOLD_TEST_IMAGE").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image-debug"),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(built.join("image.json")).unwrap_or_else(|error| {
        panic!("{}: {error}\nhint: run it by `make test`, which builds the image", built.display())
    });
    let said: Value = serde_json::from_str(&text).unwrap();
    let config = &said["Docker"]["config"];
    json!({
        "root": std::fs::canonicalize(built.join("root")).unwrap(),
        "entrypoint": config["Entrypoint"], "cmd": config["Cmd"], "user": config["User"],
        "env": config["Env"], "health": config["Healthcheck"]["Test"],
    })
}

/// A running pod; it is gone with this.
pub struct Pod {
    child: Child,
    orders: ChildStdin,
    events: Arc<Mutex<Vec<Value>>>,
    _directory: TempDir,
}

impl Pod {
    /// Makes the namespaces and the volumes, and begins with the containers.
    pub fn start(description: &Value) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = directory.path().join("pod.json");
        std::fs::write(&file, description.to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pod.py");
        let mut child = Command::new(from_servers("PYTHON"))
            .arg(script)
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let (stdout, events) = (child.stdout.take().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let shared = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                shared.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, orders, events, _directory: directory }
    }

    /// How much has happened: a mark, to look only at what comes after it.
    pub fn mark(&self) -> usize {
        self.events.lock().unwrap().len()
    }

    /// What happened after a mark.
    pub fn since(&self, mark: usize) -> Vec<Value> {
        self.events.lock().unwrap()[mark..].to_vec()
    }

    /// Waits for an event after `mark` that has all the fields of `wanted`.
    pub async fn wait(&self, mark: usize, wanted: Value, limit: Duration) -> Value {
        let fields = wanted.as_object().unwrap();
        eventually(&format!("{wanted}"), limit, async || {
            let events = self.since(mark);
            if let Some(failed) = events.iter().find(|event| event["event"] == "failed") {
                panic!("the pod cannot be made: {}", failed["why"]);
            }
            events.into_iter().find(|event| fields.iter().all(|(key, value)| event[key] == *value))
        })
        .await
    }

    /// The log of a container after `mark`, where a line is a record.
    pub fn log(&self, mark: usize, container: &str) -> Vec<Value> {
        let lines = self.since(mark).into_iter();
        let lines =
            lines.filter(|event| event["event"] == "log" && event["container"] == container);
        lines.filter_map(|line| serde_json::from_str(line["line"].as_str()?).ok()).collect()
    }

    /// Waits for a record of a container's log.
    pub async fn record(&self, mark: usize, container: &str, event: &str) -> Value {
        eventually(&format!("{container} says `{event}`"), secs(20), async || {
            self.log(mark, container).into_iter().find(|record| record["event"] == event)
        })
        .await
    }

    fn order(&mut self, order: &Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).unwrap();
    }

    /// Runs a command in a container, as its user; gives the exit status and what it printed.
    pub async fn execute(&mut self, container: &str, arguments: &[&str]) -> (i64, String) {
        let mark = self.mark();
        self.order(&json!({ "do": "exec", "container": container, "args": arguments }));
        let done = self.wait(mark, json!({ "event": "executed" }), secs(20)).await;
        (done["code"].as_i64().unwrap(), done["output"].as_str().unwrap().to_owned())
    }

    /// SIGKILL.
    pub fn kill(&mut self, container: &str) {
        self.order(&json!({ "do": "kill", "container": container, "signal": 9 }));
    }

    /// Stops it as a deleted pod is stopped.
    pub async fn stop(&mut self) {
        let mark = self.mark();
        self.order(&json!({ "do": "stop" }));
        self.wait(mark, json!({ "event": "stopped" }), secs(60)).await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let events = self.since(0);
            eprintln!("what became of the pod:");
            events[events.len().saturating_sub(300)..]
                .iter()
                .for_each(|event| eprintln!("  {event}"));
        }
    }
}
