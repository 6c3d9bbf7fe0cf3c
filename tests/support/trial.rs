//! One fault under the demo's two programs, and what must hold: no query fails while a login is
//! valid, no lease and no user is left over, and the log names the fault with what to do.

use std::io::Write;
use std::time::Duration;

use leasehold::time::Moment;
use serde_json::{Value, json};

use super::agent::{Agent, Journal};
use super::program::Program;
use super::watch::Watch;
use super::world::{Terms, World};
use super::{eventually, now, quiet, secs};

/// A lease, and the longest that renewals reach. At a rotation's age most of the lease is left, so
/// a fault of [`Pace::fault`] can begin at any time without the login running out in it.
const LEASE: (&str, &str) = ("40s", "10m");
/// A lease that nobody knows ends by itself in this time.
const FORGOTTEN: Duration = secs(60);

/// How hard and how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The pool's queries a second, and how many seconds the other program's transactions last.
    rate: &'static str,
    transaction: &'static str,
    rotate_every: &'static str,
    grace: Duration,
    /// Without and with the fault, and how often.
    calm: Duration,
    pub fault: Duration,
    pub rounds: usize,
}

/// Seconds: for `make test`.
pub const SHORT: Pace = Pace {
    rate: "20",
    transaction: "2",
    rotate_every: "4s",
    grace: secs(2),
    calm: secs(0),
    fault: secs(4),
    rounds: 1,
};

/// Minutes: for `make soak`.
pub const SOAK: Pace = Pace {
    rate: "60",
    transaction: "8",
    rotate_every: "12s",
    grace: secs(5),
    calm: secs(5),
    fault: secs(14),
    rounds: 3,
};

/// Often.
pub const TWENTY: Pace = Pace { calm: secs(0), fault: secs(6), rounds: 20, ..SOAK };

impl Pace {
    /// The terms that fit it.
    pub fn terms(self) -> Terms {
        Terms::of(LEASE.0, LEASE.1)
    }

    /// The configuration that fits it; `vault` where that is not asked directly.
    pub fn config(self, world: &World, vault: Option<String>) -> Value {
        let mut config = world.config();
        config["secrets"]["db"]["rotate_every"] = json!(self.rotate_every);
        config["secrets"]["db"]["grace"] = json!(format!("{}s", self.grace.as_secs()));
        if let Some(address) = vault {
            config["vault"]["address"] = json!(address);
        }
        config
    }
}

/// A log record that names a fault: this event, with this text somewhere in it, and a hint.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub event: &'static str,
    pub text: &'a str,
}

/// A trial under way.
pub struct Trial {
    name: &'static str,
    pub world: World,
    pub agent: Option<Agent>,
    pub config: Value,
    pub pace: Pace,
    pool: Program,
    long: Program,
    watch: Watch,
    began: Moment,
    /// Failures while there was no valid login, or no server.
    excused: u64,
}

impl Trial {
    /// Starts the agent and then the programs.
    pub async fn start(name: &'static str, pace: Pace, world: World, config: Value) -> Self {
        let agent = world.start(&config);
        Self::with(name, pace, world, config, agent).await
    }

    /// The same with an agent that was started in another way.
    pub async fn with(
        name: &'static str,
        pace: Pace,
        world: World,
        config: Value,
        agent: Agent,
    ) -> Self {
        let began = now();
        world.wait_published().await;
        let watch = Watch::start(&world, false);
        let transaction = ["--seconds", pace.transaction];
        let (pool, long) = tokio::join!(
            Program::pool(&world, pace.rate),
            Program::start(&world, "long_transaction.py", &transaction),
        );
        let agent = Some(agent);
        Self { name, world, agent, config, pace, pool, long, watch, began, excused: 0 }
    }

    /// As often as the pace says: calm, then `fault`, then a rotation without it.
    pub async fn rounds(&mut self, mut fault: impl AsyncFnMut(&mut Self)) {
        for _ in 0..self.pace.rounds {
            quiet(self.pace.calm).await;
            fault(self).await;
            self.recovered().await;
        }
    }

    /// Lets the fault last; readers must find a valid login all the time.
    pub async fn lasts(&self) {
        let until = now() + self.pace.fault;
        while now() < until {
            quiet(secs(1)).await;
            assert_eq!(self.ready().await, 200, "{}: not ready in the fault", self.name);
        }
    }

    async fn ready(&self) -> u16 {
        self.agent.as_ref().unwrap().get("probes", "/readyz").await.0
    }

    /// Waits until it rotates again and nothing is said to be stale.
    pub async fn recovered(&self) {
        let mark = self.world.journal.mark();
        self.world.journal.wait(mark, "rotated", secs(100)).await;
        eventually("all is well again", secs(30), async || {
            let text = std::fs::read_to_string(self.world.published("status.json")).ok()?;
            let status: Value = serde_json::from_str(&text).ok()?;
            let db = &status["secrets"]["db"];
            let well = status["ready"] == true && db["valid"] == true && db["stale"] == false;
            (well && self.ready().await == 200).then_some(())
        })
        .await;
    }

    /// Kills the agent, where it still lives, and starts it again; `between` both does something.
    pub fn restart(&mut self, between: impl FnOnce(&World)) {
        drop(self.agent.take());
        between(&self.world);
        self.agent = Some(self.world.start(&self.config));
    }

    /// Failed queries so far.
    pub fn failures(&self) -> u64 {
        self.pool.said().failures + self.long.said().failures
    }

    /// What failed since there were `before` failures is not the login's fault, nor what fails
    /// until the programs have connected anew.
    pub async fn excuse_since(&mut self, before: u64) {
        // Who asked the pool for a connection in vain hears so after five seconds.
        quiet(secs(7)).await;
        self.excused += self.failures() - before;
    }

    /// Ends it, writes its row into the report, and judges.
    pub async fn finish(self, named: &[Named<'_>]) {
        let Self { name, world, agent, pace, pool, long, watch, began, excused, .. } = self;
        let agent = agent.unwrap();
        let _words = LastWords(world.journal.clone());
        let (pool, long) = (pool.stop().await, long.stop().await);
        let log = &world.journal;

        // What was lost on its way is let run out; then Vault, the database and the agent agree.
        let same = eventually("Vault, database and agent name the same leases", FORGOTTEN, {
            async || {
                let (leases, users) = (world.leases().await.len(), world.users().await.len());
                let held = leases_held(&agent).await;
                (leases == held && users == held).then_some(held)
            }
        })
        .await;
        let stopped = now();
        let status = agent.terminate(secs(30)).await;
        let left = left_over(&world).await;

        let rows = log.everything();
        let names = |want: &Named| {
            rows.iter().any(|line| {
                line.event() == want.event
                    && line.value.to_string().contains(want.text)
                    && !line.text("hint").is_empty()
            })
        };
        let missing: Vec<&Named<'_>> = named.iter().filter(|want| !names(want)).collect();
        let failed = (pool.failures + long.failures) - excused;
        let by: Vec<&str> = named.iter().map(|want| want.event).collect();
        report(&[
            name.to_owned(),
            began.until(now()).as_secs().to_string(),
            log.count("rotated").to_string(),
            (pool.queries + long.queries).to_string(),
            failed.to_string(),
            excused.to_string(),
            same.to_string(),
            left.to_string(),
            if by.is_empty() { "-".to_owned() } else { by.join(" ") },
        ]);
        assert!(status.success(), "{name}: {status}");
        assert_eq!(left, 0, "{name}: {:?} {:?}", world.leases().await, world.users().await);
        assert_eq!(failed, 0, "{name}: {:?} {:?}", pool.texts, long.texts);
        assert!(missing.is_empty(), "{name}: nothing in the log says {missing:?} with a hint");
        // A fault that ends logins ends those on their way out too.
        if excused == 0 {
            watch.assert_kept(pace.grace, stopped);
            assert_eq!(log.count("grace_violated"), 0, "{name}");
        }
    }
}

/// Shows the whole log where the trial fails, also after the agent has ended.
struct LastWords(Journal);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.raw().lines().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// How many leases and users there are a moment after the agent has stopped.
async fn left_over(world: &World) -> usize {
    let deadline = now() + secs(10);
    loop {
        let left = world.leases().await.len() + world.users().await.len();
        if left == 0 || now() >= deadline {
            return left;
        }
        quiet(secs(1)).await;
    }
}

/// How many leases the agent says it has.
pub async fn leases_held(agent: &Agent) -> usize {
    let (_, text) = agent.get("metrics", "/metrics").await;
    let series = "leasehold_leases_held{secret_name=\"db\"} ";
    let value = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_default();
    value.parse::<f64>().map_or(0, |held| held as usize)
}

/// One row more in the table that `make soak` prints.
fn report(row: &[String]) {
    let Ok(path) = std::env::var("LEASEHOLD_TEST_REPORT") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    // One write: tests run side by side.
    file.unwrap().write_all(format!("{}\n", row.join("\t")).as_bytes()).unwrap();
}
