//! What people and programs are told of a key set.

use serde_json::{Value, json};

use crate::date::Date;
use crate::keyset::{Manifest, Missing, Phase, Refused};
use crate::rotation::{Plan, Trouble};

/// Behind `initiate`.
pub fn initiated(manifest: &Manifest) -> Value {
    let open = manifest.rotation.as_ref();
    let key = open.and_then(|open| manifest.key(open.to));
    json!({
        "version": key.map(|key| key.version),
        "status": "rotating",
        "expires_at": key.map(|key| key.expires_at),
    })
}

/// Behind `complete`.
pub fn completed(manifest: &Manifest) -> Value {
    let current = manifest.signing().map(|key| key.version);
    let older = manifest.verifying().filter(|key| Some(key.version) < current);
    json!({
        "current_version": current,
        "status": "active",
        "old_version_deprecated": older.map(|key| key.version).max(),
    })
}

/// Behind `cleanup`.
pub fn cleaned(manifest: &Manifest, removed: &[u64], until: Option<Date>) -> Value {
    let mut answer = json!({
        "removed_versions": removed,
        "current_version": manifest.signing().map(|key| key.version),
    });
    if let (true, Some(until)) = (removed.is_empty(), until) {
        answer["retry_after"] = json!(until);
    }
    answer
}

/// The set, without what signs.
pub fn status(manifest: &Manifest) -> Value {
    let keys = manifest.verifying().map(|key| {
        json!({
            "version": key.version,
            "kid": key.kid,
            "status": manifest.status(key).map(crate::jwt::Status::as_str),
            "signs": key.phase == Phase::Signing,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "verify_until": key.verify_until,
        })
    });
    json!({
        "set_id": manifest.mark.set_id,
        "epoch": manifest.mark.epoch,
        "serial": manifest.mark.serial,
        "algorithm": manifest.algorithm,
        "current_version": manifest.signing().map(|key| key.version),
        "keys": keys.collect::<Vec<_>>(),
    })
}

/// What is waited for, a line each.
pub fn waits(plan: &Plan) -> Vec<String> {
    let lost = plan.lost.iter().map(|version| {
        format!("the key of version {version} is named and not there: restore it, or rotate")
    });
    plan.waits.iter().map(Missing::to_string).chain(lost).collect()
}

/// What to do where a transition was refused.
pub fn advice(refused: &Refused) -> String {
    let room = refused.blocked_by().iter().any(|missing| matches!(missing, Missing::Room(_)));
    let promotion = refused.blocked_by().contains(&Missing::Promotion);
    match (refused, refused.until()) {
        (Refused::Open(_), _) => {
            "`leasehold jwt complete` ends it, `leasehold jwt abort` gives it up".to_owned()
        }
        (Refused::NotOpen, _) => "`leasehold jwt initiate` begins one".to_owned(),
        (Refused::Outdated, _) => "try again".to_owned(),
        (Refused::Blocked(_), _) if room => {
            "`leasehold jwt cleanup` takes away those whose tokens have run out".to_owned()
        }
        (Refused::Blocked(_), _) if promotion => "`leasehold jwt promote` has it sign".to_owned(),
        (Refused::Blocked(_), Some(date)) => format!("try at {date}"),
        (Refused::Blocked(_), None) => "see to the agents that it names".to_owned(),
    }
}

/// Why nothing is done, and what to do about it.
pub fn problem(trouble: &Trouble) -> (String, &'static str) {
    match trouble {
        Trouble::Absent => {
            ("there is no key set".to_owned(), "make it by `leasehold jwt bootstrap`")
        }
        Trouble::Deleted => (
            "the manifest of the key set is deleted".to_owned(),
            "restore it by `vault kv undelete`: its keys are there still",
        ),
        Trouble::Broken(why) => (
            format!("the manifest of the key set is broken: {why}"),
            "somebody wrote it by hand: go back by `vault kv rollback`",
        ),
        Trouble::Gap { found, written } => (
            format!("the manifest says that it is version {written}, and Vault has it as {found}"),
            "it was written by hand or restored; where it is right, `leasehold jwt resume` goes on",
        ),
        Trouble::WentBack(mark) => (
            format!("the key set is older than version {}, which was seen before", mark.serial),
            "Vault was restored; where that is right, `leasehold jwt resume` goes on",
        ),
        Trouble::Another(id) => (
            format!("the key set is another than `{id}`, which was seen before"),
            "see who made it anew",
        ),
        Trouble::Clocks(apart) => (
            format!("the clocks of this machine and of Vault are {} s apart", apart.as_secs()),
            "set both by NTP",
        ),
    }
}
