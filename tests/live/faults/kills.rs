//! `kill -9` as soon as the agent says what it has just done: once at every kind of record that a
//! rotation has.

use serde_json::json;

use crate::support::hook::Hook;
use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;
use crate::support::{eventually, secs};

/// In this order a process says them, but for the last three, which come with the time.
const KINDS: &[&str] = &[
    "adopted",
    "issue_requested",
    "lease_issued",
    "credential_proved",
    "published",
    "rotated",
    "delivered",
    "maximum_learned",
    "confirmed",
    "draining",
    "lease_ended",
    "lease_renewed",
    "session_renewed",
];

soak! {
    killed_at_each_step = KINDS;
}

#[tokio::test]
async fn an_agent_that_is_killed_in_a_rotation() {
    run("killed at some steps, short", SHORT, &["lease_issued", "published", "confirmed"]).await;
}

async fn run(name: &'static str, pace: Pace, kinds: &[&'static str]) {
    let mut terms = pace.terms();
    // Each kind has to come: renewals before the next rotation.
    terms.ttl = "15s";
    terms.token = json!({ "token_period": "30s" });
    let world = World::new(terms).await;
    let hook = Hook::answering(204, secs(0)).await;
    let mut config = pace.config(&world, None);
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);
    let mut trial = Trial::start(name, pace, world, config).await;
    for kind in kinds {
        trial.world.journal.kill_at(kind, trial.agent.as_ref().unwrap());
        if *kind == "adopted" {
            trial.restart(|_| {});
            trial.world.journal.kill_at(kind, trial.agent.as_ref().unwrap());
        }
        eventually(&format!("the agent says `{kind}` and is killed"), secs(60), async || {
            (!trial.agent.as_mut().unwrap().alive()).then_some(())
        })
        .await;
        trial.restart(|_| {});
    }
    trial.recovered().await;
    let (issued, rotated) =
        (trial.world.journal.count("lease_issued"), trial.world.journal.count("rotated"));
    assert!(issued <= rotated + 1 + kinds.len(), "{issued} logins for {rotated} rotations");
    let unanswered: &[Named<'_>] = &[Named { event: "issue_unanswered", text: "" }];
    let at_issue = kinds.contains(&"issue_requested");
    trial.finish(if at_issue { unanswered } else { &[] }).await;
}
