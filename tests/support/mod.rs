//! What the live tests stand on: the servers, a world of its own for each test, the agent as a
//! process, programs that use the credential, and proxies that break things.

pub mod agent;
pub mod bao;
pub mod bootstrap;
pub mod canary;
pub mod cluster;
pub mod command;
pub mod doctor;
pub mod gate;
pub mod hook;
pub mod keeper;
pub mod manifests;
pub mod pace;
pub mod pod;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod signer;
pub mod trial;
pub mod watch;
pub mod world;

use std::sync::LazyLock;
use std::time::Duration;

use leasehold::time::{Clock, Moment};

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock::resume(None));

/// This moment.
pub fn now() -> Moment {
    CLOCK.now()
}

/// `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A variable that `tests/support/servers.py` sets.
pub fn from_servers(name: &str) -> String {
    std::env::var(format!("LEASEHOLD_TEST_{name}")).unwrap_or_else(|_| {
        panic!("LEASEHOLD_TEST_{name} is not set\nhint: run the live tests with `make test`")
    })
}

/// A port of the loopback that nobody listens on. It lies below those that the kernel gives to
/// connections and to whoever asks for any, so that no other test comes by it.
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).unwrap()
}

/// Waits until `condition` gives something and returns it; fails after `limit`, naming `what`.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = now() + limit;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(now() < deadline, "{what}: not so after {limit:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Waits until `condition` gives `wanted`; fails after `limit`, naming `what` and what it gave last.
pub async fn becomes<T: PartialEq + std::fmt::Debug>(
    what: &str,
    limit: Duration,
    wanted: T,
    mut condition: impl AsyncFnMut() -> T,
) {
    let deadline = now() + limit;
    loop {
        let found = condition().await;
        if found == wanted {
            return;
        }
        assert!(now() < deadline, "{what}: {wanted:?}, not {found:?}, after {limit:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Lets time pass while nothing is waited for: to show that something does not happen.
pub async fn quiet(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Random text of the test's own, 7 letters and digits.
pub fn unique() -> String {
    std::iter::repeat_with(fastrand::lowercase).take(7).collect()
}
