//! Suspends, and a clock that has jumped when the agent starts again.
//!
//! Nobody's clock is set here. A suspended process stands still while leases go on, as on a
//! suspended machine. The agent's own scale never jumps while it runs; a restart is where a jump
//! could come in, so the scale in its state is moved between two processes.

use serde_json::{Value, json};

use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;
use crate::support::{eventually, quiet, secs};

/// In the state's microseconds.
const HOUR: u64 = 3_600_000_000;

/// One row.
#[derive(Clone, Copy)]
enum Fault {
    /// Stopped for longer than a rotation is due, and shorter than the lease.
    Suspended,
    /// Stopped for longer than the lease.
    SuspendedPastTheLease,
    /// Started again with a scale that is an hour further.
    Jumped,
    /// Started again after another boot, with a wall clock that is an hour behind the scale.
    Rebooted,
}

soak! {
    suspended = Fault::Suspended;
    suspended_past_the_lease = Fault::SuspendedPastTheLease;
    clock_an_hour_ahead = Fault::Jumped;
    clock_an_hour_back = Fault::Rebooted;
}

#[tokio::test]
async fn an_agent_that_is_suspended() {
    run("suspended, short", SHORT, Fault::Suspended).await;
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    let world = World::new(pace.terms()).await;
    let config = pace.config(&world, None);
    let mut trial = Trial::start(name, pace, world, config).await;
    if let Fault::Rebooted = fault {
        trial.restart(jump);
        trial.recovered().await;
    }
    trial
        .rounds(async |trial| match fault {
            Fault::Suspended => suspend(trial, pace.fault).await,
            Fault::SuspendedPastTheLease => {
                let held = trial.world.login().unwrap().user;
                let before = trial.failures();
                suspend(trial, secs(45)).await;
                eventually("another login is published", secs(10), async || {
                    trial.world.login().filter(|login| login.user != held)
                })
                .await;
                // Vault ended the login while nobody could replace it.
                trial.excuse_since(before).await;
            }
            Fault::Jumped => {
                trial.restart(jump);
                quiet(pace.fault).await;
            }
            Fault::Rebooted => {
                trial.restart(reboot);
                quiet(pace.fault).await;
            }
        })
        .await;
    let named: &[Named<'_>] = match fault {
        Fault::Suspended | Fault::Jumped | Fault::Rebooted => &[],
        Fault::SuspendedPastTheLease => &[Named { event: "lease_lost", text: "it ran out" }],
    };
    trial.finish(named).await;
}

/// Moves the scale of the state: whoever goes on with it finds its moments an hour older.
fn jump(world: &World) {
    edit(world, |epoch| epoch["offset"] = json!(epoch["offset"].as_u64().unwrap() + HOUR));
}

/// Another boot, and a wall clock that shows an hour less than the scale.
fn reboot(world: &World) {
    edit(world, |epoch| epoch["boot_id"] = json!("another"));
}

fn edit(world: &World, change: impl FnOnce(&mut Value)) {
    let path = world.path("state/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut state["epoch"]);
    std::fs::write(&path, state.to_string()).unwrap();
}

async fn suspend(trial: &Trial, span: std::time::Duration) {
    let agent = trial.agent.as_ref().unwrap();
    agent.suspend();
    quiet(span).await;
    agent.go_on();
}
