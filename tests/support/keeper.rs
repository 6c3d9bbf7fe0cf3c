//! Servers of one test's own, kept by `keeper.py`: it ends them when we are gone, however.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::bao::Bao;
use super::from_servers;
use super::postgres::Postgres;

/// The process that keeps the servers.
pub struct Keeper {
    child: Child,
    ears: Arc<Mutex<Option<Ears>>>,
    /// What it says of them.
    pub facts: Value,
}

struct Ears {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Starts what `arguments` name; `keeper.py` says what there is.
    pub async fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/keeper.py");
        let mut child = Command::new(from_servers("PYTHON"))
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ears = Ears {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
        };
        let mut keeper = Self { child, ears: Arc::new(Mutex::new(Some(ears))), facts: Value::Null };
        keeper.facts = keeper.ask("").await;
        keeper
    }

    /// Gives an order and waits until it is carried out.
    pub async fn order(&self, order: &str) {
        self.ask(&format!("{order}\n")).await;
    }

    async fn ask(&self, order: &str) -> Value {
        let (ears, order) = (Arc::clone(&self.ears), order.to_owned());
        // Proxies and gates of the test go on meanwhile.
        let answer = tokio::task::spawn_blocking(move || {
            let mut ears = ears.lock().unwrap();
            let ears = ears.as_mut().unwrap();
            ears.orders.write_all(order.as_bytes()).unwrap();
            let mut line = String::new();
            ears.answers.read_line(&mut line).unwrap();
            serde_json::from_str(&line).expect("the keeper failed; its reason is on stderr")
        });
        answer.await.unwrap()
    }

    /// The PostgreSQL that it keeps; the primary where there are two.
    pub fn postgres(&self) -> Postgres {
        Postgres::own(
            self.text("/host"),
            self.facts["port"].as_u64().unwrap().try_into().unwrap(),
            self.text("/password"),
        )
    }

    /// The OpenBao behind `address`, as root.
    pub fn bao(&self, address: &str) -> Bao {
        Bao::trusted(address, self.text("/token"), self.text("/ca"))
    }

    /// A text of its facts.
    pub fn text(&self, pointer: &str) -> &str {
        self.facts.pointer(pointer).and_then(Value::as_str).unwrap()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its orders; it waits for its servers.
        self.ears.lock().unwrap().take();
        let _ = self.child.wait();
    }
}
