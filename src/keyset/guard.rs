//! What each transition waits for. Nothing here changes anything.

use std::time::Duration;

use crate::date::{Date, Now};
use crate::keyset::{AgentId, Agents, Manifest, Missing, Phase, Policy, Rotation, Trigger};

/// How many keys may be shown to who verifies: the one that signs, one before and one after it.
const AT_MOST: usize = 3;

/// How long a writing may take until all who use the set have it.
pub(super) fn propagation(policy: &Policy, agents: &Agents) -> Duration {
    policy.min_propagation.max(agents.slowest())
}

/// What a writing of `date` waits for until all who use the set have it and are known.
fn everywhere(date: Date, policy: &Policy, agents: &Agents, now: Now) -> Vec<Missing> {
    let everywhere = Missing::Propagation(date + propagation(policy, agents));
    let all = [Some(everywhere), agents.settled().map(Missing::Settled)];
    let ahead = |missing: &Missing| missing.until().is_some_and(|date| !now.is_past(date));
    all.into_iter().flatten().filter(ahead).collect()
}

pub(super) fn initiate(
    manifest: &Manifest,
    by: Trigger,
    policy: &Policy,
    now: Now,
) -> Vec<Missing> {
    let mut missing = Vec::new();
    if by == Trigger::Schedule {
        let old_enough = manifest.signing().map(|key| key.created_at + policy.min_age);
        missing.extend(old_enough.filter(|date| !now.is_past(*date)).map(Missing::Age));
        let held = manifest.held_until.filter(|date| !now.is_past(*date));
        missing.extend(held.map(Missing::Hold));
    }
    if manifest.verifying().count() >= AT_MOST {
        let ends = manifest.verifying().filter_map(|key| key.verify_until);
        missing.push(Missing::Room(ends.min()));
    }
    missing
}

/// Every verifier must have the new key before a token is signed with it: those that were known when
/// the rotation began, and those that came since. One that fell silent is waited out; those are
/// given.
pub(super) fn promote(
    manifest: &Manifest,
    open: &Rotation,
    policy: &Policy,
    agents: &Agents,
    now: Now,
) -> Result<Vec<AgentId>, Vec<Missing>> {
    let (began, serial) = open.initiated;
    let mut missing = everywhere(began, policy, agents, now);
    if agents.known.len() < policy.min_expected {
        missing.push(Missing::Agents(agents.known.len(), policy.min_expected));
    }
    let mark = manifest.at(serial);
    let (mut silent, mut rejected, mut unpublished) = (Vec::new(), Vec::new(), Vec::new());
    for (id, agent) in &agents.known {
        if agent.has(&mark) {
            continue;
        }
        let list = match (agent.rejects(&mark), agents.waited_out(agent, now)) {
            (_, true) => &mut silent,
            (true, false) => &mut rejected,
            (false, false) => &mut unpublished,
        };
        list.push(id.clone());
    }
    // Who is not heard of since we listen is not there.
    silent.extend(open.awaited.iter().filter(|id| !agents.known.contains_key(*id)).cloned());
    if !rejected.is_empty() {
        missing.push(Missing::Rejected(rejected));
    }
    if !unpublished.is_empty() {
        missing.push(Missing::Published(unpublished));
    }
    if missing.is_empty() { Ok(silent) } else { Err(missing) }
}

/// From here on the old key's last token counts: nobody may sign with it any more.
pub(super) fn complete(
    manifest: &Manifest,
    open: &Rotation,
    by: Trigger,
    policy: &Policy,
    agents: &Agents,
    now: Now,
) -> Vec<Missing> {
    let Some((promoted, serial)) = open.promoted else { return vec![Missing::Promotion] };
    let mut missing = everywhere(promoted, policy, agents, now);
    let grace = open.initiated.0 + policy.grace;
    if by == Trigger::Schedule && !now.is_past(grace) {
        missing.push(Missing::Grace(grace));
    }
    let without = agents.signers_without(manifest, serial);
    if !without.is_empty() {
        missing.push(Missing::Published(without));
    }
    missing
}

/// The keys that may leave, and what those that may not wait for.
pub(super) fn cleanup(manifest: &Manifest, agents: &Agents, now: Now) -> (Vec<u64>, Vec<Missing>) {
    let (mut may, mut missing) = (Vec::new(), Vec::new());
    // Since when, at the latest, each who signs has to have another key.
    let signs_since = manifest.signing().map_or(0, |key| key.signs_since);
    let without = agents.signers_without(manifest, signs_since);
    for key in manifest.keys.iter().filter(|key| key.phase == Phase::VerifyOnly) {
        match key.verify_until {
            Some(date) if !now.is_past(date) => missing.push(Missing::Grace(date)),
            Some(_) if !without.is_empty() => missing.push(Missing::Published(without.clone())),
            Some(_) => may.push(key.version),
            // It signed until this rotation, which is open.
            None => {}
        }
    }
    (may, missing)
}

/// The keys that left and that nobody shows any more, so that what signs with them may be destroyed.
pub(super) fn destroy(
    manifest: &Manifest,
    policy: &Policy,
    agents: &Agents,
    now: Now,
) -> (Vec<u64>, Vec<Missing>) {
    let (mut may, mut missing) = (Vec::new(), Vec::new());
    for key in &manifest.keys {
        let Some((left, serial)) = key.retired else { continue };
        let mark = manifest.at(serial);
        let everywhere = left + propagation(policy, agents);
        let known = agents.known.iter();
        let shown = known.filter(|(_, agent)| !agent.has(&mark) && !agents.waited_out(agent, now));
        let shown: Vec<_> = shown.map(|(id, _)| id.clone()).collect();
        if !now.is_past(everywhere) {
            missing.push(Missing::Propagation(everywhere));
        } else if let Some(date) = agents.settled().filter(|date| !now.is_past(*date)) {
            missing.push(Missing::Settled(date));
        } else if !shown.is_empty() {
            missing.push(Missing::Published(shown));
        } else {
            may.push(key.version);
        }
    }
    (may, missing)
}
