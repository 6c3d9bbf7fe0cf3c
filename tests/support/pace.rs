//! Whether this machine and its servers kept time.
//!
//! A term of six seconds leaves two between a renewal and the end. Where everything stands still for
//! longer, as a shared machine may, the login ends by itself and nobody is to blame. So pauses are
//! measured beside such a trial, and one that failed is repeated if it had a long one, and only then.

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{LocalSet, spawn_local};

use super::bao::Bao;
use super::postgres::{Login, Postgres};
use super::{from_servers, now};

/// A failed trial with a pause as long as this proves nothing.
const LONG: Duration = Duration::from_millis(800);
const ATTEMPTS: u32 = 3;
const EVERY: Duration = Duration::from_millis(200);

/// Looks again and again how late it wakes and how long the shared servers take to answer.
struct Pace {
    longest: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Pace {
    fn start() -> Self {
        let pace = Self { longest: Arc::default(), ended: Arc::default() };
        let (longest, ended) = (pace.longest.clone(), pace.ended.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (bao, postgres) = (Bao::shared(), Postgres::shared());
                let (user, password) = (postgres.superuser.clone(), postgres.password().to_owned());
                let login = Login { user, password };
                while !ended.load(Ordering::Relaxed) {
                    let began = now();
                    tokio::time::sleep(EVERY).await;
                    let _ = postgres.try_login(&login, "postgres").await;
                    let _ = bao.try_ask("GET", "sys/health").await;
                    let late = began.until(now()).saturating_sub(EVERY);
                    longest.fetch_max(late.as_millis().try_into().unwrap(), Ordering::Relaxed);
                }
            });
        });
        pace
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::Relaxed))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Runs a trial whose terms are a few seconds long; see above.
pub async fn in_time<Trial: Future<Output = ()> + 'static>(trial: impl Fn() -> Trial) {
    for attempt in 1..=ATTEMPTS {
        let pace = Pace::start();
        let failed = LocalSet::new().run_until(async { spawn_local(trial()).await.err() }).await;
        let Some(failed) = failed else { return };
        if !again(attempt, &pace) {
            resume_unwind(failed.into_panic());
        }
    }
}

/// The same for one that gives what it found.
pub fn judged_in_time<T, E>(trial: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let pace = Pace::start();
        let found = trial();
        if found.is_ok() || !again(attempt, &pace) {
            return found;
        }
    }
}

/// Whether a failed trial is to be repeated; if so, the run's report has a line of it.
fn again(attempt: u32, pace: &Pace) -> bool {
    let pause = pace.longest();
    eprintln!("try {attempt} failed; the longest pause of the machine was {pause:?}");
    if attempt == ATTEMPTS || pause < LONG {
        return false;
    }
    let name = std::thread::current().name().unwrap_or("a trial").to_owned();
    let line = format!("{name}: repeated, as everything stood still for {pause:?}\n");
    let report = OpenOptions::new().append(true).create(true).open(from_servers("PAUSES"));
    report.unwrap().write_all(line.as_bytes()).unwrap();
    true
}
