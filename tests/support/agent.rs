//! The agent as a process, and everything that it says.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use leasehold::time::Moment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{bao, eventually, now, secs};

/// One record of the log and when it was made.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Moment,
    pub value: Value,
}

impl Line {
    pub fn event(&self) -> &str {
        self.value["event"].as_str().unwrap_or_default()
    }

    /// A text field; empty when it is not there.
    pub fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or_default()
    }
}

/// The log of all of a test's agents, one after the other.
#[derive(Clone, Default)]
pub struct Journal {
    lines: Arc<Mutex<Vec<Line>>>,
    raw: Arc<Mutex<String>>,
    doom: Arc<Mutex<Option<(String, u32)>>>,
}

impl Journal {
    fn took(&self, text: &str) {
        if let Ok(value) = serde_json::from_str(text) {
            let line = Line { at: made(&value), value };
            self.doom.lock().unwrap().take_if(|(event, pid)| {
                line.event() == *event && kill(process(*pid), Signal::SIGKILL).is_ok()
            });
            self.lines.lock().unwrap().push(line);
        }
        let mut raw = self.raw.lock().unwrap();
        raw.push_str(text);
        raw.push('\n');
    }

    /// Kills `agent` as soon as it says `event`.
    pub fn kill_at(&self, event: &str, agent: &Agent) {
        *self.doom.lock().unwrap() = Some((event.to_owned(), agent.pid()));
    }

    /// Everything that was written to stdout and stderr.
    pub fn raw(&self) -> String {
        self.raw.lock().unwrap().clone()
    }

    /// How many records there are: a mark, to look only at what comes after it.
    pub fn mark(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// All records.
    pub fn everything(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }

    /// All records of an event.
    pub fn all(&self, event: &str) -> Vec<Line> {
        self.since(0, event)
    }

    /// The records of an event after a mark.
    pub fn since(&self, mark: usize, event: &str) -> Vec<Line> {
        let lines = self.lines.lock().unwrap();
        lines[mark..].iter().filter(|line| line.event() == event).cloned().collect()
    }

    pub fn count(&self, event: &str) -> usize {
        self.all(event).len()
    }

    pub fn first(&self, event: &str) -> Option<Line> {
        self.all(event).into_iter().next()
    }

    /// Waits for an event after a mark.
    pub async fn wait(&self, mark: usize, event: &str, limit: Duration) -> Line {
        eventually(&format!("log record `{event}`"), limit, async || {
            self.since(mark, event).into_iter().next()
        })
        .await
    }

    /// Waits until there are `count` records of an event.
    pub async fn wait_count(&self, event: &str, count: usize, limit: Duration) {
        let what = format!("{count} log records `{event}`");
        eventually(&what, limit, async || (self.count(event) >= count).then_some(())).await;
    }
}

/// A running agent; killed when dropped.
pub struct Agent {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    journal: Journal,
    mark: usize,
}

impl Agent {
    pub fn start(config: &Path, journal: Journal) -> Self {
        Self::spawn(
            Command::new(env!("CARGO_BIN_EXE_leasehold")).arg("run").arg("--config").arg(config),
            journal,
        )
    }

    /// Runs any command that becomes the agent.
    pub fn spawn(command: &mut Command, journal: Journal) -> Self {
        for (name, _) in std::env::vars() {
            if ["VAULT_", "BAO_", "LEASEHOLD_", "PG"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        let mark = journal.mark();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let readers = vec![
            read(child.stdout.take().unwrap(), journal.clone()),
            read(child.stderr.take().unwrap(), journal.clone()),
        ];
        Self { child, readers, journal, mark }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill(process(self.child.id()), signal).unwrap();
    }

    /// It stands still until [`Agent::go_on`], as in a suspended machine.
    pub fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGKILL, and everything that it had said is read.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
    }

    /// SIGTERM; gives how it exited.
    pub async fn terminate(self, limit: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.exited(limit).await
    }

    /// Waits until it exits by itself.
    pub async fn exited(mut self, limit: Duration) -> ExitStatus {
        let status =
            eventually("the agent exits", limit, async || self.child.try_wait().unwrap()).await;
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }

    /// Whether it is still running.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The address of one of its listeners.
    pub async fn listener(&self, name: &str) -> String {
        eventually(&format!("the {name} listener"), secs(10), async || {
            let lines = self.journal.since(self.mark, "listening");
            let found = lines.iter().find(|line| line.text("listener") == name)?;
            Some(found.text("address").to_owned())
        })
        .await
    }

    /// One GET of a listener: status and body.
    pub async fn get(&self, listener: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.listener(listener).await);
        let answer = bao::client().get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let raw = self.journal.raw();
            let lines: Vec<&str> = raw.lines().collect();
            eprintln!("the agent's last words:");
            lines[lines.len().saturating_sub(500)..].iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap())
}

/// When a record was made: a busy machine lets it wait in the pipe.
fn made(value: &Value) -> Moment {
    let stamp = value["timestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let waited = stamp.map(|stamp| Timestamp::now().duration_since(stamp).unsigned_abs());
    now() - waited.unwrap_or_default()
}

fn read(from: impl Read + Send + 'static, journal: Journal) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            journal.took(&line);
        }
    })
}
