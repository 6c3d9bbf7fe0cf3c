//! Three controllers, none of which leads, and people who rotate by hand.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use jiff::tz::TimeZone;
use leasehold::date::{Date, Now};
use leasehold::jwt::Algorithm;
use leasehold::keyset::{Agents, Done, Manifest, NewKey, Policy, Trigger, Who};
use leasehold::rotation::{Cron, Found, Memory, Schedule, Step, View, plan};

use super::services::{Service, known};
use super::vault::Vault;
use super::{DAY, HOUR, MINUTE, SECOND, START, Weather};

/// What a controller is about to do.
enum Act {
    Look,
    Store(u64, Manifest),
    Begin(NewKey, Manifest),
    Write(Manifest, Vec<u64>, &'static str),
    Destroy(Vec<u64>),
}

struct Controller {
    act: Act,
    at: i64,
    since: i64,
    memory: Option<Memory>,
    /// When the last plan called for the next look.
    wake: Option<Date>,
    person: bool,
}

pub struct Site<'a> {
    pub vault: Vault,
    /// Each step that was done, with the key that it was about.
    pub done: BTreeSet<(String, &'static str)>,
    controllers: Vec<Controller>,
    services: &'a [Service],
    weather: &'a Weather,
    policy: Policy,
    schedule: Schedule,
    rng: Rng,
    now: i64,
    names: u64,
    /// Until when whose clock is wrong by how much; the last is Vault's.
    jumps: Vec<(usize, i64, i64, i64)>,
}

impl<'a> Site<'a> {
    pub fn new(
        rng: &mut Rng,
        weather: &'a Weather,
        services: &'a [Service],
        policy: Policy,
    ) -> Self {
        let cron = |text| Some(Cron::new(text, TimeZone::UTC).unwrap());
        let schedule = Schedule {
            initiate: cron("0 0 1 */3 *"),
            complete: cron("0 0 2 */3 *").filter(|_| rng.bool()),
            cleanup: cron("0 0 3 */3 *").filter(|_| rng.bool()),
        };
        let controller = |person| Controller {
            act: Act::Look,
            at: START + if person { 20 * DAY } else { MINUTE },
            since: START,
            memory: None,
            wake: None,
            person,
        };
        let mut controllers: Vec<_> = (0..3).map(|_| controller(false)).collect();
        if weather.people {
            controllers.push(controller(true));
        }
        let jumps = if weather.rough {
            let draw = |rng: &mut Rng| {
                let from = START + rng.i64(DAY..360 * DAY);
                let by = rng.i64(-40 * DAY..40 * DAY);
                (rng.usize(0..4), from, from + rng.i64(MINUTE..DAY), by)
            };
            (0..6).map(|_| draw(rng)).collect()
        } else {
            Vec::new()
        };
        let mut vault = Vault::default();
        let first = NewKey { version: 1, kid: "k0".to_owned(), public: None };
        vault.store(1, (first.kid.clone(), Date::from_millis(START)));
        let now = Now::of(Date::from_millis(START), Date::from_millis(START));
        let first = Manifest::first("set".into(), Algorithm::HS256, first, &policy, now);
        assert!(vault.write(START, first));
        Self {
            vault,
            done: BTreeSet::new(),
            controllers,
            services,
            weather,
            policy,
            schedule,
            rng: rng.fork(),
            now: START,
            names: 0,
            jumps,
        }
    }

    pub fn run(&mut self, end: i64) {
        loop {
            let next = (0..self.controllers.len()).min_by_key(|n| self.controllers[*n].at).unwrap();
            self.now = self.controllers[next].at;
            if self.now >= end {
                return;
            }
            let act = std::mem::replace(&mut self.controllers[next].act, Act::Look);
            // Killed before it, behind which only Vault knows what was done.
            let killed = self.rng.u32(0..40) == 0;
            let act = if killed { Act::Look } else { self.perform(next, act) };
            let idle = matches!(act, Act::Look);
            let mut pause = self.pause(idle, killed, next);
            if let Some(wake) = self.controllers[next].wake.take().filter(|_| idle && !killed) {
                let until = wake.as_millis() - self.now + self.rng.i64(1..MINUTE);
                pause = pause.min(until.max(SECOND));
            }
            let (now, controller) = (self.now, &mut self.controllers[next]);
            controller.act = act;
            controller.at = now + pause;
            if killed {
                controller.since = controller.at;
                // Sometimes its own store is lost with it.
                controller.memory.take_if(|_| self.rng.bool());
            }
        }
    }

    fn pause(&mut self, idle: bool, killed: bool, who: usize) -> i64 {
        match (killed, idle, self.controllers[who].person) {
            (true, ..) => self.rng.i64(SECOND..4 * DAY),
            (false, true, true) => self.rng.i64(HOUR..60 * DAY),
            (false, true, false) => self.rng.i64(MINUTE..8 * HOUR),
            // Between two requests; now and then it is stopped for as long as may be.
            (false, false, _) if self.rng.u32(0..30) == 0 => self.rng.i64(SECOND..HOUR),
            (false, false, _) => self.rng.i64(1..SECOND),
        }
    }

    fn clock(&mut self, whose: usize) -> Date {
        let now = self.now;
        let wrong = self
            .jumps
            .iter()
            .find(|(who, from, until, _)| *who == whose && (*from..*until).contains(&now));
        let drift = self.rng.i64(-20 * SECOND..20 * SECOND);
        Date::from_millis(now + wrong.map_or(drift, |(.., by)| *by))
    }

    fn perform(&mut self, who: usize, act: Act) -> Act {
        match act {
            Act::Look => self.look(who),
            Act::Store(version, manifest) => {
                self.names += 1;
                let key = (format!("k{}", self.names), Date::from_millis(self.now));
                self.vault.store(version, key);
                let Some((kid, _)) = self.vault.stored.get(&version) else { return Act::Look };
                Act::Begin(NewKey { version, kid: kid.clone(), public: None }, manifest)
            }
            Act::Begin(key, manifest) => {
                let now = Now::of(self.clock(who.min(2)), self.clock(3));
                let agents = self.agents(who);
                let by = self.trigger(who);
                let asked = Who { by, policy: &self.policy, agents: &agents, now };
                match manifest.initiate(key, asked) {
                    Ok(done) => self.write(done.manifest, done.versions, "initiated"),
                    Err(_) => Act::Look,
                }
            }
            Act::Write(manifest, versions, step) => self.write(manifest, versions, step),
            Act::Destroy(mut versions) => {
                if let Some(version) = versions.pop() {
                    self.vault.destroy(version);
                }
                if versions.is_empty() { Act::Look } else { Act::Destroy(versions) }
            }
        }
    }

    fn write(&mut self, manifest: Manifest, versions: Vec<u64>, step: &'static str) -> Act {
        let names: Vec<String> = versions
            .iter()
            .filter_map(|version| manifest.key(*version).map(|key| key.kid.clone()))
            .collect();
        if self.vault.write(self.now, manifest) {
            for name in names {
                assert!(self.done.insert((name.clone(), step)), "{name} was {step} twice");
            }
        }
        Act::Look
    }

    fn trigger(&self, who: usize) -> Trigger {
        if self.controllers[who].person { Trigger::Operator } else { Trigger::Schedule }
    }

    fn agents(&self, who: usize) -> Agents {
        let since = self.controllers[who].since;
        known(self.services, &self.vault.history, self.weather, since, self.now)
    }

    fn look(&mut self, who: usize) -> Act {
        let now = Now::of(self.clock(who.min(2)), self.clock(3));
        let agents = self.agents(who);
        let manifest = self.vault.manifest().clone();
        if self.controllers[who].person {
            // People look at the clock, too.
            if now.earliest().until(now.latest()) > self.policy.leeway {
                return Act::Look;
            }
            return self.by_hand(&manifest, &agents, now);
        }
        let stored: BTreeMap<u64, Option<Date>> =
            self.vault.stored.iter().map(|(version, (_, made))| (*version, Some(*made))).collect();
        let found = Found::There(self.vault.serial, Box::new(manifest.clone()));
        let memory = self.controllers[who].memory.as_ref();
        let view = View { found: &found, stored: &stored, agents: &agents, memory };
        let plan = plan(&view, &self.policy, &self.schedule, now);
        assert_eq!(plan.lost, [] as [u64; 0]);
        let memory = Memory { mark: manifest.mark.clone(), next_version: manifest.next_version };
        self.controllers[who].memory = Some(memory);
        self.controllers[who].wake = plan.wake;
        match plan.step {
            None => Act::Look,
            Some(Step::Initiate(version)) => Act::Store(version, manifest),
            Some(Step::Promote(done)) => written(done, "deployed"),
            Some(Step::Complete(done)) => written(done, "completed"),
            Some(Step::Cleanup(done)) => written(done, "revoked"),
            Some(Step::Forget(done)) => written(done, "forgotten"),
            Some(Step::Skip(manifest)) => Act::Write(*manifest, Vec::new(), "skipped"),
            Some(Step::Destroy(versions)) => Act::Destroy(versions),
        }
    }

    fn by_hand(&mut self, manifest: &Manifest, agents: &Agents, now: Now) -> Act {
        let choice = self.rng.u32(0..4);
        let asked = Who { by: Trigger::Operator, policy: &self.policy, agents, now };
        match choice {
            0 if manifest.may_initiate(asked).is_ok() => {
                Act::Store(manifest.next_version, manifest.clone())
            }
            1 => manifest.complete(asked).map_or(Act::Look, |done| written(done, "completed")),
            2 => {
                let (done, _) = manifest.cleanup(asked);
                if done.versions.is_empty() { Act::Look } else { written(done, "revoked") }
            }
            _ => manifest.abort(asked).map_or(Act::Look, |done| written(done, "failed")),
        }
    }
}

fn written(done: Done, step: &'static str) -> Act {
    Act::Write(done.manifest, done.versions, step)
}
