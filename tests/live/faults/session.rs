//! A token and a lease that end before their time, and a token that has a maximum.

use serde_json::json;

use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;
use crate::support::{eventually, secs};

/// One row.
#[derive(Clone, Copy)]
enum Fault {
    /// Somebody revokes the lease that is in use.
    LeaseRevoked,
    /// Somebody revokes the token, and with it every lease.
    TokenRevoked,
    /// The token lives 90 seconds and no renewal carries it further.
    TokenExpires,
}

soak! {
    lease_revoked = Fault::LeaseRevoked;
    token_revoked = Fault::TokenRevoked;
    token_expires = Fault::TokenExpires;
}

#[tokio::test]
async fn a_lease_that_is_revoked() {
    run("lease revoked, short", SHORT, Fault::LeaseRevoked).await;
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    let mut terms = pace.terms();
    if let Fault::TokenExpires = fault {
        terms.token = json!({ "token_ttl": "90s", "token_max_ttl": "90s" });
    }
    let world = World::new(terms).await;
    let config = pace.config(&world, None);
    let mut trial = Trial::start(name, pace, world, config).await;
    trial
        .rounds(async |trial| {
            // A rotation that came before the next look would replace what nobody missed yet.
            let mark = trial.world.journal.mark();
            trial.world.journal.wait(mark, "rotated", secs(30)).await;
            // What is revoked is no valid login any more, so its programs fail until the next.
            let (before, held) = (trial.failures(), trial.world.login().unwrap().user);
            match fault {
                Fault::LeaseRevoked => {
                    for lease in trial.world.leases().await {
                        trial.world.bao.revoke_lease(&lease).await;
                    }
                }
                Fault::TokenRevoked => {
                    for accessor in trial.world.bao.sessions(&trial.world.name).await {
                        trial.world.bao.revoke_token(&accessor).await;
                    }
                }
                Fault::TokenExpires => return trial.lasts().await,
            }
            eventually("another login is published", secs(10), async || {
                trial.world.login().filter(|login| login.user != held)
            })
            .await;
            trial.excuse_since(before).await;
        })
        .await;
    let named = match fault {
        Fault::LeaseRevoked => vec![Named { event: "lease_lost", text: "no longer knows it" }],
        Fault::TokenRevoked => vec![Named { event: "session_lost", text: "permission denied" }],
        Fault::TokenExpires => vec![],
    };
    trial.finish(&named).await;
}
