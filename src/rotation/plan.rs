//! One look at a key set, and the step that it calls for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::date::{Date, Now};
use crate::keyset::{Agents, Done, Manifest, Mark, Missing, Policy, Refused, Trigger, Who};
use crate::rotation::Cron;

/// A key that no manifest names is left alone for so long: somebody may be about to name it.
const ORPHAN_AGE: Duration = Duration::from_secs(600);

/// When the steps of a rotation are due by the calendar; without, by age and grace alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// When one begins, if the key is old enough.
    pub initiate: Option<Cron>,
    /// When it is completed, if it falls into the day of grace behind its first.
    pub complete: Option<Cron>,
    /// When old keys leave, in the same way.
    pub cleanup: Option<Cron>,
}

/// What stands where the manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever there, or all of it was removed.
    Absent,
    /// It was deleted, and may be restored.
    Deleted,
    /// A manifest, with KV's number of it.
    There(u64, Box<Manifest>),
}

/// What a controller knows of a set from before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The newest manifest that it saw.
    pub mark: Mark,
    /// The number of the next key in it.
    pub next_version: u64,
}

/// What is known of a set.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The manifest.
    pub found: &'a Found,
    /// The keys that are stored, and when each was made, as far as that can be told.
    pub stored: &'a BTreeMap<u64, Option<Date>>,
    /// The agents.
    pub agents: &'a Agents,
    /// What was known before.
    pub memory: Option<&'a Memory>,
}

/// Why nothing is done until a person has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no set.
    Absent,
    /// The manifest was deleted.
    Deleted,
    /// It is broken.
    Broken(&'static str),
    /// KV has another number for it than it says of itself: it was written by somebody else, or
    /// restored.
    Gap {
        /// KV's.
        found: u64,
        /// Its own.
        written: u64,
    },
    /// It is older than one that was seen: the storage was restored.
    WentBack(Mark),
    /// It is of another set than the one that was seen.
    Another(Arc<str>),
    /// The clock of this machine and that of Vault differ.
    Clocks(Duration),
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the key of this number, or take the one that is stored under it, and begin a rotation.
    Initiate(u64),
    /// Write it: the new key signs.
    Promote(Done),
    /// Write it: the rotation is over.
    Complete(Done),
    /// Write it: keys leave.
    Cleanup(Done),
    /// Write it: keys that left are forgotten.
    Forget(Done),
    /// Write it: numbers of keys that came to nothing are passed over.
    Skip(Box<Manifest>),
    /// Destroy these keys, which no manifest names or can name.
    Destroy(Vec<u64>),
}

impl Step {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Initiate(_) => "initiate",
            Self::Promote(_) => "promote",
            Self::Complete(_) => "complete",
            Self::Cleanup(_) => "cleanup",
            Self::Forget(_) => "forget",
            Self::Skip(_) => "skip",
            Self::Destroy(_) => "destroy",
        }
    }
}

/// What a look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now; then look again.
    pub step: Option<Step>,
    /// What is waited for otherwise.
    pub waits: Vec<Missing>,
    /// When the clock calls for the next look.
    pub wake: Option<Date>,
    /// What only a person can mend.
    pub trouble: Option<Trouble>,
    /// Keys that are named and not stored: whoever reads them anew cannot.
    pub lost: Vec<u64>,
}

/// What to do next. Never two things: each is decided on what stands in Vault after the one before.
pub fn plan(view: &View<'_>, policy: &Policy, schedule: &Schedule, now: Now) -> Plan {
    let manifest = match sound(view, policy, now) {
        Ok(manifest) => manifest,
        Err(trouble) => return Plan { trouble: Some(trouble), ..Plan::default() },
    };
    let named = |version: &u64| manifest.key(*version).is_some();
    let lost = manifest.verifying().map(|key| key.version);
    let lost: Vec<u64> = lost.filter(|version| !view.stored.contains_key(version)).collect();
    let mut plan = Plan { lost, ..Plan::default() };

    let unnamed = view.stored.iter().filter(|(version, _)| !named(version));
    let (dead, orphans): (Vec<_>, Vec<_>) =
        unnamed.partition(|(version, _)| **version < manifest.next_version);
    if !dead.is_empty() {
        plan.step = Some(Step::Destroy(dead.into_iter().map(|(version, _)| *version).collect()));
        return plan;
    }
    let who = Who { by: Trigger::Schedule, policy, agents: view.agents, now };
    plan.step = turn(manifest, &who, schedule, &mut plan);
    if plan.step.is_none() {
        plan.step = skip(manifest, &orphans, now, &mut plan);
    }
    let dates = plan.waits.iter().filter_map(Missing::until);
    plan.wake = plan.wake.into_iter().chain(dates).filter(|date| !now.is_past(*date)).min();
    plan
}

/// The manifest, if it can be built upon.
///
/// # Errors
/// Why a person has to look first.
pub fn sound<'a>(view: &View<'a>, policy: &Policy, now: Now) -> Result<&'a Manifest, Trouble> {
    let (serial, manifest) = match view.found {
        Found::Absent => return Err(Trouble::Absent),
        Found::Deleted => return Err(Trouble::Deleted),
        Found::There(serial, manifest) => (*serial, manifest),
    };
    if let Some(problem) = manifest.problem() {
        return Err(Trouble::Broken(problem));
    }
    if serial != manifest.mark.serial {
        return Err(Trouble::Gap { found: serial, written: manifest.mark.serial });
    }
    if let Some(memory) = view.memory {
        if memory.mark.set_id != manifest.mark.set_id {
            return Err(Trouble::Another(memory.mark.set_id.clone()));
        }
        if !manifest.mark.covers(&memory.mark) || manifest.next_version < memory.next_version {
            return Err(Trouble::WentBack(memory.mark.clone()));
        }
    }
    let apart = now.earliest().until(now.latest());
    if apart > policy.leeway {
        return Err(Trouble::Clocks(apart));
    }
    Ok(manifest)
}

/// The next step of a rotation, of its end, or of the one that is due.
fn turn(manifest: &Manifest, who: &Who<'_>, schedule: &Schedule, plan: &mut Plan) -> Option<Step> {
    let (forgotten, missing) = manifest.forget(*who);
    if !forgotten.versions.is_empty() {
        return Some(Step::Forget(forgotten));
    }
    plan.waits.extend(missing);
    if let Some(open) = &manifest.rotation {
        if open.promoted.is_none() {
            return plan.take(manifest.promote(*who)).map(Step::Promote);
        }
        if due(schedule.complete.as_ref(), open.initiated.0, who, plan) {
            return plan.take(manifest.complete(*who)).map(Step::Complete);
        }
        return None;
    }
    let (left, missing) = manifest.cleanup(*who);
    plan.waits.extend(missing);
    // Counted from when its tokens had run out: each key waits for a date of its own.
    let run_out = left.versions.iter().filter_map(|version| manifest.key(*version)?.verify_until);
    let last = run_out.max().map(|date| date - who.policy.grace);
    if let Some(last) = last
        && due(schedule.cleanup.as_ref(), last, who, plan)
    {
        return Some(Step::Cleanup(left));
    }
    begin(manifest, who, schedule, plan)
}

/// Whether the calendar's next date after `since` has come, or has not come within twice the grace: a
/// rotation that age began falls on no date of the calendar, and must not wait a quarter for one.
fn due(cron: Option<&Cron>, since: Date, who: &Who<'_>, plan: &mut Plan) -> bool {
    let Some(date) = cron.and_then(|cron| cron.next(since)) else { return true };
    let date = date.min(since + who.policy.grace * 2);
    if !who.now.is_past(date) {
        plan.wakes(date);
    }
    who.now.is_past(date)
}

/// By age, or by the calendar where the key was old enough on that date. A date that was missed is
/// made up for.
fn begin(manifest: &Manifest, who: &Who<'_>, schedule: &Schedule, plan: &mut Plan) -> Option<Step> {
    let made = manifest.signing()?.created_at;
    let aged = made + who.policy.rotate_at;
    let cron = schedule.initiate.as_ref();
    // The very date counts, too.
    let since = made + who.policy.min_age - Duration::from_millis(1);
    let called = cron.and_then(|cron| cron.next(since)).unwrap_or(aged);
    let date = aged.min(called).max(made + who.policy.min_age);
    if !who.now.is_past(date) {
        plan.wakes(date);
        return None;
    }
    match manifest.may_initiate(*who) {
        Ok(()) => Some(Step::Initiate(manifest.next_version)),
        Err(refused) => {
            plan.waits.extend(refused.blocked_by().iter().cloned());
            None
        }
    }
}

/// Passes over the numbers of keys that were made long ago and that nobody named.
fn skip(
    manifest: &Manifest,
    orphans: &[(&u64, &Option<Date>)],
    now: Now,
    plan: &mut Plan,
) -> Option<Step> {
    let mut last = None;
    for (version, made) in orphans {
        match made.map(|made| made + ORPHAN_AGE) {
            Some(date) if !now.is_past(date) => plan.wakes(date),
            Some(_) | None => last = last.max(Some(**version)),
        }
    }
    last.map(|last| Step::Skip(Box::new(manifest.skip(last))))
}

impl Plan {
    fn wakes(&mut self, date: Date) {
        self.wake = Some(self.wake.map_or(date, |wake| wake.min(date)));
    }

    fn take(&mut self, result: Result<Done, Refused>) -> Option<Done> {
        match result {
            Ok(done) => Some(done),
            Err(refused) => {
                self.waits.extend(refused.blocked_by().iter().cloned());
                None
            }
        }
    }
}
