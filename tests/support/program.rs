//! The demo's programs as the tests run them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::pace::judged_in_time;
use super::world::World;
use super::{eventually, from_servers, now, secs};

/// Runs one of our scripts with this binary; its exit code is the verdict, and what it printed is
/// given.
pub fn judged(script: &str, arguments: &[&str]) -> String {
    let run = || {
        let done = Command::new(from_servers("PYTHON"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .args(["--binary", env!("CARGO_BIN_EXE_leasehold")])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        match done.status.success() {
            true => Ok(said),
            false => {
                let wrong = String::from_utf8_lossy(&done.stderr);
                Err(format!("{}\n{said}\n{wrong}", done.status))
            }
        }
    };
    judged_in_time(run).unwrap_or_else(|failed| panic!("{failed}"))
}

/// A program that uses the published login through libpq and knows nothing of the agent.
pub struct Program {
    child: Child,
    reader: Option<JoinHandle<()>>,
    said: Arc<Mutex<Said>>,
    began: leasehold::time::Moment,
}

/// What it reported so far.
#[derive(Clone, Default)]
pub struct Said {
    pub queries: u64,
    pub failures: u64,
    pub user: String,
    /// What went wrong, and lines that are no report.
    pub texts: Vec<String>,
}

impl Program {
    /// Starts `examples/demo/<file>` and waits for its first query.
    pub async fn start(world: &World, file: &str, arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(from_servers("PYTHON"))
            .arg(root.join("examples/demo").join(file))
            .args(arguments)
            .env("PGSERVICEFILE", world.published("db/pg_service.conf"))
            .envs(world.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Said::default()));
        let (stdout, shared) = (child.stdout.take().unwrap(), said.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                took(&mut shared.lock().unwrap(), &line);
            }
        });
        let program = Self { child, reader: Some(reader), said, began: now() };
        eventually(&format!("{file} runs queries"), secs(30), async || {
            (program.said().queries > 0).then_some(())
        })
        .await;
        program
    }

    /// The pool at `rate` queries a second.
    pub async fn pool(world: &World, rate: &str) -> Self {
        Self::start(world, "pool.py", &["--rate", rate]).await
    }

    pub fn said(&self) -> Said {
        self.said.lock().unwrap().clone()
    }

    /// Queries a second since it was started.
    pub fn rate(&self) -> f64 {
        let queries = u32::try_from(self.said().queries).unwrap();
        f64::from(queries) / now().since(self.began).as_secs_f64()
    }

    /// Stops it and gives its last report.
    pub async fn stop(mut self) -> Said {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        eventually("the program exits", secs(20), async || self.child.try_wait().unwrap()).await;
        self.reader.take().unwrap().join().unwrap();
        self.said()
    }
}

fn took(said: &mut Said, line: &str) {
    match serde_json::from_str::<Value>(line) {
        Ok(report) => {
            said.queries = report["queries"].as_u64().unwrap();
            said.failures = report["failures"].as_u64().unwrap();
            said.user = report["user"].as_str().unwrap_or_default().to_owned();
            let texts = report["texts"].as_array().cloned().unwrap_or_default();
            said.texts.extend(texts.iter().map(ToString::to_string));
        }
        Err(_) => said.texts.push(line.to_owned()),
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
