//! What happens in a run: time passes, things break and are mended, processes die.

use std::time::Duration;

use fastrand::Rng;
use leasehold::error::{Class, Failure};
use leasehold::snapshot::SecretName;

use super::draw::{self, Mood, Setting};
use crate::world::{World, again};

pub struct Acts {
    setting: Setting,
    rng: Rng,
    /// Whether `init` goes before each process that is started anew.
    init: bool,
}

/// How a run ends.
pub enum Ending {
    Sick(SecretName),
    Killed,
    Stopped,
}

const KINDS: [&str; 16] = [
    "login",
    "create-token",
    "lookup-token",
    "renew-token",
    "revoke-token",
    "issue",
    "renew-lease",
    "lookup-lease",
    "revoke-lease",
    "read",
    "make",
    "probe",
    "count",
    "deliver",
    "publish",
    "rehearse",
];

impl Acts {
    pub fn new(setting: &Setting, rng: Rng, init: bool) -> Self {
        Self { setting: setting.clone(), rng, init }
    }

    /// A process begins.
    pub fn start(&mut self, world: &mut World) {
        if self.init {
            world.init(self.shortest_term().mul_f64(0.1));
        }
        world.start();
    }

    pub fn fair(&self) -> bool {
        self.setting.mood == Mood::Fair
    }

    pub fn shortest_term(&self) -> Duration {
        self.setting.roles.values().map(|(ttl, _)| *ttl).min().unwrap_or_default()
    }

    pub fn longest_term(&self) -> Duration {
        self.setting.roles.values().map(|(ttl, _)| *ttl).max().unwrap_or_default()
    }

    pub fn longest_grace(&self) -> Duration {
        self.longest_term()
    }

    /// One thing happens, then time passes.
    pub fn step(&mut self, world: &mut World) {
        let chance = match self.setting.mood {
            Mood::Fair => 0.0,
            Mood::Mixed => 0.15,
            Mood::Rough => 0.5,
        };
        if self.rng.f64() < chance {
            self.trouble(world);
        } else if self.rng.u32(..20) == 0 {
            self.ordinary(world);
        }
        let term = self.shortest_term();
        let share = if self.rng.u32(..4) == 0 { 0.05 } else { 1.5 };
        world.run(term.mul_f64(share * self.rng.f64()));
        if world.dead() {
            // Killed before a command.
            self.start(world);
        }
    }

    /// What no promise may mind in any weather.
    fn ordinary(&mut self, world: &mut World) {
        match self.rng.u32(..6) {
            0 if world.published() => world.drift(),
            1 => world.write_kv("mail", Some(self.rng.u64(1..9))),
            2 => self.restart(world),
            3 => self.reload(world),
            _ => {
                world.app.moves_in = Some(self.moving());
            }
        }
    }

    fn moving(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(0..4000))
    }

    /// The configuration changes while the agent runs, or is only read again.
    fn reload(&mut self, world: &mut World) {
        let policy = match self.rng.bool() {
            true => draw::changed(&world.policy, &self.setting, &mut self.rng),
            false => world.policy.clone(),
        };
        world.reload(policy, self.rng.bool());
    }

    fn restart(&mut self, world: &mut World) {
        world.kill();
        if self.rng.bool() {
            let away = self.shortest_term().mul_f64(0.2 * self.rng.f64());
            world.run(away);
        }
        self.start(world);
    }

    fn trouble(&mut self, world: &mut World) {
        let often = self.rng.u32(..3) > 0;
        match self.rng.u32(..24) {
            0 => world.vault.up = often,
            1 => world.database.up = often,
            2 => world.database.refuses = !often,
            3 => world.kill_tokens(),
            4 => world.kill_leases(),
            5 => world.write_kv("maps", (!often).then_some(3)),
            6 | 7 => self.hook(world),
            8 => world.app.moves_in = if often { Some(self.moving()) } else { None },
            9 => world.app_gone(),
            10 => world.writable = often,
            11 => world.suspend(self.shortest_term().mul_f64(1.5 * self.rng.f64())),
            12 => world.dies_in = Some(self.rng.usize(..60)),
            13 => {
                // What is asked for under the next token has no answer, or none that is heard.
                world.kill_tokens();
                if often {
                    world.dies_at_issue = true;
                } else {
                    let failure = Failure::new(Class::Unclear, "made up");
                    world.faults.entry("issue".to_owned()).or_default().push_back(failure);
                }
            }
            14 | 15 => self.restart(world),
            16 => {
                world.kill();
                world.policy = draw::changed(&world.policy, &self.setting, &mut self.rng);
                self.start(world);
            }
            17 => {
                world.weather.trouble = if often { 0.0 } else { 0.6 * self.rng.f64() };
            }
            18 => {
                world.weather.sick.clear();
                if !often {
                    let secret = self.any_secret(world);
                    self.sicken(world, &secret);
                }
            }
            19 | 20 => self.reload(world),
            _ => self.fail(world),
        }
    }

    fn hook(&mut self, world: &mut World) {
        let targets: Vec<_> = world.policy.targets.keys().cloned().collect();
        world.app.deaf.clear();
        world.app.deaf.extend(targets.into_iter().filter(|_| self.rng.bool()));
    }

    fn fail(&mut self, world: &mut World) {
        let kind = KINDS[self.rng.usize(..KINDS.len())];
        let class = match self.rng.u32(..4) {
            0 => Class::Again { after: Some(Duration::from_secs(self.rng.u64(1..60))) },
            1 if !matches!(kind, "publish" | "rehearse") => Class::Unclear,
            _ => Class::Again { after: None },
        };
        let times = self.rng.usize(1..6);
        let failure = Failure::new(class, "made up");
        let queue = world.faults.entry(kind.to_owned()).or_default();
        queue.extend(std::iter::repeat_n(failure, times));
    }

    fn any_secret(&mut self, world: &World) -> SecretName {
        let all: Vec<_> = world.policy.secrets.keys().cloned().collect();
        all[self.rng.usize(..all.len())].clone()
    }

    /// Vault gives `secret` no answer but one.
    pub fn sicken(&mut self, world: &mut World, secret: &SecretName) {
        let all = [Class::Missing, Class::Denied, Class::Ours, again("").class];
        let class = all[self.rng.usize(..all.len())];
        world.weather.sick.insert(secret.clone(), class);
    }

    /// All is well from now on.
    pub fn calm(&mut self, world: &mut World) {
        world.vault.up = true;
        world.database.up = true;
        world.database.refuses = false;
        world.writable = true;
        world.dies_in = None;
        world.dies_at_issue = false;
        world.faults.clear();
        world.app.deaf.clear();
        world.app.moves_in = Some(Duration::from_secs(1));
        world.weather.calm();
        world.write_kv("mail", Some(4));
        world.write_kv("maps", Some(4));
        world.app_back();
    }

    pub fn ending(&mut self) -> Ending {
        let names: Vec<_> = self.setting.roles.keys().cloned().collect();
        match self.rng.u32(..3) {
            0 if names.len() > 1 && self.longest_term() < Duration::from_secs(1200) => {
                Ending::Sick(names[self.rng.usize(..names.len())].clone())
            }
            1 => Ending::Killed,
            _ => Ending::Stopped,
        }
    }
}
