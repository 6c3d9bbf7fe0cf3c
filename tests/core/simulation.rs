//! Long runs with everything drawn from one number: policies, faults, kills, waits.
//!
//! Receives a seed, gives how many rotations it saw and which promise broke. One seed is one run:
//! `LEASEHOLD_SIM_SEED` plays it again with its whole trace, `LEASEHOLD_SIM_ROTATIONS` asks for more.

#[path = "simulation/acts.rs"]
mod acts;
#[path = "simulation/draw.rs"]
mod draw;
#[path = "simulation/meddlers.rs"]
mod meddlers;
#[path = "simulation/sabotage.rs"]
mod sabotage;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use leasehold::agent::OnStop;

use crate::world::{Meddler, World};

use acts::Acts;

/// Rotations of one run; those of a longer one would be more of the same, and slower.
const ROTATIONS: usize = 150;

/// Steps, and commands, after which a run ends though it rotated little.
const STEPS: usize = 400;
const COMMANDS: usize = 5_000;

/// How a run went.
#[derive(Default)]
pub struct Outcome {
    pub rotations: usize,
    pub commands: usize,
    pub simulated: Duration,
    /// What broke first, with others of the same moment.
    pub broken: Vec<String>,
    pub trace: String,
}

/// Plays the run of `seed`.
pub fn play(seed: u64, meddler: Option<Box<dyn Meddler>>, verbose: bool) -> Outcome {
    play_after(seed, meddler, verbose, false)
}

/// The same, with `init` before each process where that is wanted.
fn play_after(seed: u64, meddler: Option<Box<dyn Meddler>>, verbose: bool, init: bool) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(seed);
    let setting = draw::setting(&mut rng);
    let mut world = draw::world(&setting, seed, &mut rng);
    world.verbose = verbose;
    world.meddler = meddler;
    if verbose {
        let _ = writeln!(world.out, "seed {seed}: {setting:#?}\n{:#?}", world.policy);
    }
    let began = world.now;
    let mut acts = Acts::new(&setting, rng, init);
    acts.start(&mut world);
    for _ in 0..STEPS {
        acts.step(&mut world);
        check(&mut world, acts.fair());
        let long = world.ledger.rotations >= ROTATIONS || world.ledger.commands >= COMMANDS;
        if long || !world.broken.is_empty() {
            break;
        }
    }
    if world.broken.is_empty() {
        end(&mut world, &mut acts);
    }
    if verbose {
        let _ = writeln!(world.out, "{}", world.state());
    }
    Outcome {
        rotations: world.ledger.rotations,
        commands: world.ledger.commands,
        simulated: world.now.since(began),
        broken: std::mem::take(&mut world.broken),
        trace: std::mem::take(&mut world.out),
    }
}

/// What must hold whenever nobody is in the middle of something.
fn check(world: &mut World, fair: bool) {
    world.check_leaks();
    if fair && world.published() && !world.works() {
        world.broken.push("the visible login does not work, and nothing was wrong".into());
    }
    world.prune();
}

/// The faults are over: all is well again, and goes well to the end.
fn end(world: &mut World, acts: &mut Acts) {
    acts.calm(world);
    // A budget that was spent before any term was known gives one back in ten minutes.
    // What was revoked before is found by the next lookup.
    world.run(Duration::from_secs(300));
    let haunting = world.haunting();
    world.run(Duration::from_secs(400) + acts.longest_term() / 2);
    check(world, false);
    if !world.works() {
        world.broken.push("no working login after the faults".into());
    }
    if !world.untold().is_empty() {
        // Something was published this very moment.
        world.run(Duration::from_secs(1));
    }
    let untold = world.untold();
    if !untold.is_empty() {
        world.broken.push(format!("not told: {untold:?}"));
    }
    let overdue = world.overdue(Duration::from_secs(15));
    if !overdue.is_empty() {
        world.broken.push(format!("long past their grace: {overdue:?}"));
    }
    if !haunting.is_empty() {
        world.broken.push(format!("unread, and not undone: {haunting:?}"));
    }
    if !world.broken.is_empty() {
        return;
    }
    match acts.ending() {
        acts::Ending::Sick(secret) => sick(world, acts, &secret),
        acts::Ending::Killed => killed(world, acts),
        acts::Ending::Stopped => stopped(world),
    }
    check(world, false);
}

/// One secret fails for good: no other is held back.
fn sick(world: &mut World, acts: &mut Acts, secret: &leasehold::snapshot::SecretName) {
    acts.sicken(world, secret);
    for _ in 0..20 {
        world.run(acts.longest_term() / 5);
        let held_back = world.held_back(secret);
        if !held_back.is_empty() {
            world.broken.push(format!("{secret} fails, and {held_back:?} with it"));
            return;
        }
        check(world, false);
    }
}

/// The agent dies for good: what drains ends all the same.
fn killed(world: &mut World, acts: &Acts) {
    for _ in 0..60 {
        if !world.draining_now().is_empty() {
            break;
        }
        world.run(acts.shortest_term() / 5);
    }
    let draining = world.draining_now();
    world.run(Duration::from_secs(4));
    world.kill();
    world.run(acts.longest_grace() + Duration::from_secs(60));
    let overdue = world.overdue(Duration::from_secs(3));
    let outlived: Vec<_> = overdue.iter().filter(|id| draining.contains(*id)).collect();
    if !outlived.is_empty() {
        world.broken.push(format!("outlived the agent and their grace: {outlived:?}"));
    }
}

/// A stop leaves what its policy says.
fn stopped(world: &mut World) {
    let (policy, now) = (world.policy.on_stop, world.now);
    world.stop();
    world.run(world.policy.stop_timeout + Duration::from_secs(1));
    if !world.exited {
        world.broken.push("told to stop, and goes on".into());
    }
    let left = match policy {
        OnStop::Revoke => world.left_over(),
        OnStop::Drain => world.living_past(now),
        OnStop::Keep => Vec::new(),
    };
    if !left.is_empty() {
        world.broken.push(format!("left by the stop ({policy:?}): {left:?}"));
    }
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The promises hold in every weather; `make soak` goes on to a million rotations.
#[test]
fn promises_hold_in_every_weather() {
    if let Ok(seed) = std::env::var("LEASEHOLD_SIM_SEED") {
        let outcome = play(seed.parse().expect("a seed is a number"), None, true);
        println!("{}", outcome.trace);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
        return;
    }
    let wanted = asked("LEASEHOLD_SIM_ROTATIONS", 100_000) as usize;
    let first = asked("LEASEHOLD_SIM_FIRST", 1);
    let next = AtomicU64::new(first);
    let (rotations, commands) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let days = AtomicU64::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while rotations.load(Ordering::Relaxed) < wanted
                    && failed.lock().expect("no panic").len() < 5
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let outcome = play(seed, None, false);
                    rotations.fetch_add(outcome.rotations, Ordering::Relaxed);
                    commands.fetch_add(outcome.commands, Ordering::Relaxed);
                    days.fetch_add(outcome.simulated.as_secs() / 86_400, Ordering::Relaxed);
                    if !outcome.broken.is_empty() {
                        failed.lock().expect("no panic").push((seed, outcome.broken));
                    }
                }
            });
        }
    });
    println!(
        "{} runs, {} rotations, {} commands, {} days",
        next.into_inner() - first,
        rotations.into_inner(),
        commands.into_inner(),
        days.into_inner(),
    );
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "play one again with LEASEHOLD_SIM_SEED=…: {failed:#?}");
}

/// They hold too where each process takes over from an `init`.
#[test]
fn promises_hold_after_init() {
    let (first, runs) = (asked("LEASEHOLD_SIM_FIRST", 1), asked("LEASEHOLD_SIM_INITS", 60));
    let mut rotations = 0;
    for seed in first..first + runs {
        let outcome = play_after(seed, None, runs == 1, true);
        let broken = format!("LEASEHOLD_SIM_FIRST={seed} LEASEHOLD_SIM_INITS=1 plays it again");
        assert!(outcome.broken.is_empty(), "{}{broken}: {:#?}", outcome.trace, outcome.broken);
        rotations += outcome.rotations;
    }
    assert!(rotations > 1000, "{rotations} rotations show nothing");
}

/// One seed is one run, to the last line.
#[test]
fn a_seed_is_a_run() {
    for seed in [1, 5, 9] {
        let (first, second) = (play(seed, None, true), play(seed, None, true));
        assert!(first.trace == second.trace, "seed {seed} played twice differs");
        assert!(first.rotations > 0, "seed {seed} rotates nothing");
    }
}
