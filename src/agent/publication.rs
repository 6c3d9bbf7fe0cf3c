//! What readers see: generations, and the repair of what somebody else changed.
//!
//! Receives the values that there are and what became of a publish, gives snapshots and the
//! versions that are visible. A failed publish leaves what is visible alone and is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Visible;
use crate::audit::event::Record;
use crate::error::Failure;
use crate::lease::schedule::Retry;
use crate::snapshot::{Generation, SecretName, Snapshot, Value, Version};
use crate::time::Moment;

/// Repairs at once before they are spaced.
const REPAIR_BURST: u32 = 3;

/// After this long without a change by somebody else the count begins anew.
const REPAIR_CALM: Duration = Duration::from_secs(120);

const REPAIR_CEILING: Duration = Duration::from_secs(60);

/// The versions that readers see, by secret.
pub type Versions = BTreeMap<SecretName, Version>;

/// What readers see.
pub struct Publication {
    generation: Generation,
    visible: Option<Versions>,
    /// What an earlier process published, where it is still on disk.
    remembered: Versions,
    under_way: Option<Versions>,
    retry: Retry,
    rehearsal: Rehearsal,
    rehearsal_retry: Retry,
    repair: Repair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rehearsal {
    Wanted,
    UnderWay,
    Good,
}

#[derive(Default)]
struct Repair {
    drifted: Option<String>,
    under_way: bool,
    times: u32,
    last: Option<Moment>,
}

impl Repair {
    fn due(&self) -> Option<Moment> {
        self.drifted.as_ref().filter(|_| !self.under_way)?;
        let last = self.last.unwrap_or(Moment::from_micros(0));
        let steps = self.times.saturating_sub(REPAIR_BURST).min(6);
        let wait = Duration::from_secs(1 << steps).min(REPAIR_CEILING);
        Some(if self.times < REPAIR_BURST { last } else { last + wait })
    }
}

impl Publication {
    /// Goes on after `generation`. What is on disk is known only after the first publish, which
    /// finds it unchanged where nothing changed.
    pub fn adopt(generation: Generation, remembered: Versions) -> Self {
        Self {
            generation,
            visible: None,
            remembered,
            under_way: None,
            retry: Retry::default(),
            rehearsal: Rehearsal::Wanted,
            rehearsal_retry: Retry::default(),
            repair: Repair::default(),
        }
    }

    /// The newest generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What readers see, once something was published.
    pub fn visible(&self) -> Option<&Versions> {
        self.visible.as_ref()
    }

    /// What readers see, as far as is known before the first publish of this process.
    pub fn shown(&self) -> &Versions {
        self.visible.as_ref().unwrap_or(&self.remembered)
    }

    fn differs(&self, wanted: &Versions) -> bool {
        self.visible.as_ref() != Some(wanted)
    }

    /// When [`Publication::step`] has something to do; `wanted` where the gate is open.
    pub fn due(&self, wanted: Option<&Versions>) -> Option<Moment> {
        let idle = self.under_way.is_none();
        let publish = wanted
            .filter(|wanted| idle && self.differs(wanted))
            .map(|_| self.retry.not_before(Moment::from_micros(0)));
        [publish, self.repair.due()].into_iter().flatten().min()
    }

    /// The set that is on its way to readers.
    pub fn publishing(&self) -> Option<&Versions> {
        self.under_way.as_ref()
    }

    /// Publishes what differs from what is visible, and repairs.
    pub fn step(
        &mut self,
        cx: &mut Context,
        wanted: Option<Versions>,
        secrets: BTreeMap<SecretName, Value>,
    ) {
        if let Some(versions) = wanted
            && self.under_way.is_none()
            && !self.repair.under_way
            && self.differs(&versions)
            && self.retry.not_before(Moment::from_micros(0)) <= cx.now
        {
            self.under_way = Some(versions);
            // A next process must know what it finds on disk.
            cx.dirty();
            cx.push(Command::Publish(Snapshot { generation: self.generation.next(), secrets }));
        }
        if self.repair.due().is_some_and(|at| at <= cx.now) && self.under_way.is_none() {
            self.repair.under_way = true;
            self.repair.times += 1;
            self.repair.last = Some(cx.now);
            let file = self.repair.drifted.clone().unwrap_or_default();
            cx.record(if self.repair.times > REPAIR_BURST {
                Record::Tampered { file, times: self.repair.times }
            } else {
                Record::Repairing { file }
            });
            cx.push(Command::Repair);
        }
    }

    /// Whether neither a publish nor a repair is under way.
    pub fn idle(&self) -> bool {
        self.under_way.is_none() && !self.repair.under_way
    }

    /// Publishes `versions` in the files of the newest policy, whatever is visible.
    pub fn switch(
        &mut self,
        cx: &mut Context,
        versions: Versions,
        secrets: BTreeMap<SecretName, Value>,
    ) {
        self.under_way = Some(versions);
        cx.dirty();
        cx.push(Command::Switch(Snapshot { generation: self.generation.next(), secrets }));
    }

    /// A switch failed: what is visible stays. Gives the generation that there will not be.
    pub fn give_up(&mut self) -> Generation {
        self.under_way = None;
        self.generation.next()
    }

    /// Takes what became of a publish or a repair.
    pub fn published(&mut self, cx: &mut Context, result: Result<Visible, Failure>) {
        if self.under_way.is_none() {
            self.repaired(cx, result);
            return;
        }
        let Some(versions) = self.under_way.take() else { return };
        match result {
            Ok(visible) => {
                self.retry = Retry::default();
                self.generation = visible.generation;
                if visible.changed {
                    let secrets = versions.keys().cloned().collect();
                    cx.record(Record::Published { generation: visible.generation, secrets });
                }
                self.visible = Some(versions);
                self.repair.drifted = None;
                cx.dirty();
            }
            Err(failure) => {
                let generation = self.generation.next();
                let retry_in = cx.back_off(&mut self.retry, None, &failure);
                cx.record(Record::PublishFailed { generation, failure, retry_in });
            }
        }
    }

    fn repaired(&mut self, cx: &mut Context, result: Result<Visible, Failure>) {
        if !std::mem::take(&mut self.repair.under_way) {
            return;
        }
        match result {
            Ok(_) => self.repair.drifted = None,
            Err(failure) => {
                let generation = self.generation;
                let retry_in = Duration::from_secs(1);
                cx.record(Record::PublishFailed { generation, failure, retry_in });
            }
        }
    }

    /// Somebody changed `file`.
    pub fn drifted(&mut self, now: Moment, file: String) {
        if self.repair.last.is_some_and(|last| now.since(last) >= REPAIR_CALM) {
            self.repair.times = 0;
        }
        self.repair.drifted.get_or_insert(file);
    }

    /// Whether a lease may be made at `now`: a set with it would render and fit. Asks for a
    /// rehearsal of `values` where that is not known.
    pub fn rehearsed(&mut self, cx: &mut Context, values: BTreeMap<SecretName, Value>) -> bool {
        match self.rehearsal {
            Rehearsal::Good => {
                self.rehearsal = Rehearsal::Wanted;
                true
            }
            Rehearsal::UnderWay => false,
            Rehearsal::Wanted => {
                if self.rehearsal_at() <= cx.now {
                    self.rehearsal = Rehearsal::UnderWay;
                    let generation = self.generation.next();
                    cx.push(Command::Rehearse(Snapshot { generation, secrets: values }));
                }
                false
            }
        }
    }

    /// Whether a rehearsal is under way.
    pub fn rehearsing(&self) -> bool {
        self.rehearsal == Rehearsal::UnderWay
    }

    /// When the next rehearsal may be.
    pub fn rehearsal_at(&self) -> Moment {
        self.rehearsal_retry.not_before(Moment::from_micros(0))
    }

    /// Takes what became of a rehearsal.
    pub fn rehearsal(&mut self, cx: &mut Context, result: Result<(), Failure>) {
        match result {
            Ok(()) => {
                self.rehearsal = Rehearsal::Good;
                self.rehearsal_retry = Retry::default();
            }
            Err(failure) => {
                self.rehearsal = Rehearsal::Wanted;
                let retry_in = cx.back_off(&mut self.rehearsal_retry, None, &failure);
                cx.record(Record::RehearsalFailed { failure, retry_in });
            }
        }
    }
}
