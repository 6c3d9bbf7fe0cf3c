//! A service's hook that hangs, resets, or answers for ever: it holds up nothing.

use serde_json::json;

use crate::support::hook::{Manners, ill_mannered};
use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;

soak! {
    hook_silent = (Manners::Silent, "no answer within");
    hook_resets = (Manners::Resets, "notify");
    hook_endless = (Manners::Endless, "answered 500");
}

#[tokio::test]
async fn a_hook_that_says_nothing() {
    run("hook silent, short", SHORT, (Manners::Silent, "no answer within")).await;
}

async fn run(name: &'static str, pace: Pace, (manners, text): (Manners, &'static str)) {
    let world = World::new(pace.terms()).await;
    let mut config = pace.config(&world, None);
    let url = ill_mannered(manners).await;
    config["notify"] =
        json!([{ "name": "api", "secrets": ["db"], "http": { "url": url, "timeout": "1s" } }]);
    let mut trial = Trial::start(name, pace, world, config).await;
    trial.rounds(async |trial| trial.lasts().await).await;
    let log = &trial.world.journal;
    assert_eq!(log.count("delivered"), 0);
    // Told again at most so often: each failure makes the next pause longer.
    let (told, rotated) = (log.count("delivery_failed"), log.count("rotated"));
    assert!(told <= 8 * (rotated + 1), "told {told} times in {rotated} rotations");
    trial.finish(&[Named { event: "delivery_failed", text }]).await;
}
