//! A Vault that is slow, refuses, or answers nonsense, for some requests or for all.

use Verdict::{Answer, AnswerRetry, Garbage, Gateway, Half, Huge, Late};

use crate::support::proxy::{Proxy, Verdict};
use crate::support::secs;
use crate::support::trial::{Named, Pace, SHORT, Trial};
use crate::support::world::World;

/// One row.
#[derive(Clone, Copy)]
struct Fault {
    verdict: Verdict,
    /// Requests whose path has this in it; "" for all.
    only: &'static str,
    /// The record and the text that must be in the log.
    named: Option<(&'static str, &'static str)>,
}

const ALL: &str = "";
const ISSUE: &str = "/creds/";
const LEASES: &str = "/sys/leases/";
const LOOKUP: &str = "lookup_failed";

const fn fault(
    verdict: Verdict,
    only: &'static str,
    event: &'static str,
    text: &'static str,
) -> Fault {
    Fault { verdict, only, named: Some((event, text)) }
}

soak! {
    vault_slow = Fault { verdict: Late(secs(2)), only: ALL, named: None };
    vault_too_slow = fault(Late(secs(11)), ALL, LOOKUP, "no answer within 10 s");
    vault_403 = fault(Answer(403), ISSUE, "issue_failed", "answered 403");
    vault_412 = fault(Answer(412), ALL, LOOKUP, "answered 412");
    vault_429 = fault(AnswerRetry(429, 2), ALL, LOOKUP, "answered 429");
    vault_500 = fault(Answer(500), ALL, LOOKUP, "answered 500");
    vault_502 = fault(Gateway(502), ALL, LOOKUP, "answered 502");
    vault_503 = fault(Answer(503), ALL, LOOKUP, "answered 503");
    vault_503_to_leases = fault(Answer(503), LEASES, "drain_failed", "answered 503");
    vault_garbage = fault(Garbage, ALL, LOOKUP, "makes no sense");
    vault_half_answers = fault(Half, ALL, LOOKUP, "broke off");
    vault_half_an_issue = fault(Half, ISSUE, "issue_unanswered", "");
    vault_huge_answers = fault(Huge, ALL, LOOKUP, "larger than");
}

#[tokio::test]
async fn a_vault_that_answers_503() {
    run("vault 503, short", SHORT, fault(Answer(503), ALL, LOOKUP, "answered 503")).await;
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    let world = World::new(pace.terms()).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let config = pace.config(&world, Some(proxy.address.clone()));
    let mut trial = Trial::start(name, pace, world, config).await;
    trial
        .rounds(async |trial| {
            let Fault { verdict, only, .. } = fault;
            proxy.rule(move |_, path| if path.contains(only) { verdict } else { Verdict::Pass });
            trial.lasts().await;
            proxy.rule(|_, _| Verdict::Pass);
        })
        .await;
    let named = fault.named.map(|(event, text)| Named { event, text });
    trial.finish(named.as_slice()).await;
}
