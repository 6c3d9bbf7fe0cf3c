//! A cluster of real OpenBao nodes as deploy/vault/openbao.hcl has them: sealed, changing its leader,
//! losing it, and with a standby that lags.

use std::time::Duration;

use serde_json::json;

use crate::support::bao::Bao;
use crate::support::gate::Gate;
use crate::support::keeper::Keeper;
use crate::support::postgres::Postgres;
use crate::support::trial::{Named, Pace, SHORT, TWENTY, Trial};
use crate::support::world::World;
use crate::support::{eventually, free_port, quiet, secs};

/// One row.
#[derive(Clone, Copy)]
enum Fault {
    Sealed,
    StepDown,
    LeaderKilled,
    StandbyLags(Duration),
}

soak! {
    vault_sealed = Fault::Sealed;
    leader_steps_down = Fault::StepDown;
    standby_lags = Fault::StandbyLags(Duration::from_millis(300));
    // Less than `lookup`: a lease that a standby does not know by then counts as revoked.
    standby_lags_much = Fault::StandbyLags(secs(3));
}

#[tokio::test]
#[ignore = "takes minutes; `make soak` runs it"]
async fn leader_killed_twenty_times() {
    run("leader killed twenty times", TWENTY, Fault::LeaderKilled).await;
}

#[tokio::test]
async fn a_vault_that_is_sealed() {
    run("vault sealed, short", SHORT, Fault::Sealed).await;
}

#[tokio::test]
async fn a_leader_that_is_killed() {
    run("leader killed, short", SHORT, Fault::LeaderKilled).await;
}

/// The cluster, and the address before all its nodes that the agent is given.
struct Cluster {
    keeper: Keeper,
    door: Gate,
    /// Before the cluster port of the last node.
    link: Gate,
}

impl Cluster {
    async fn start(nodes: usize) -> Self {
        let port = free_port();
        let link = Gate::before(format!("127.0.0.1:{port}")).await;
        let (nodes, said) = (nodes.to_string(), link.address.port().to_string());
        let keeper = Keeper::start(&["raft", &nodes, &port.to_string(), &said]).await;
        let cluster = Self { door: Gate::at("127.0.0.1:0", Vec::new()).await, keeper, link };
        cluster.door.lead_to(cluster.addresses());
        cluster
    }

    fn addresses(&self) -> Vec<String> {
        let nodes = self.keeper.facts["nodes"].as_array().unwrap();
        let hosts = nodes.iter().map(|node| node["address"].as_str().unwrap());
        hosts.map(|address| address.trim_start_matches("https://").to_owned()).collect()
    }

    fn url(&self) -> String {
        format!("https://{}", self.door.address)
    }

    /// From here on the last node hears everything so much later.
    async fn hold_back(&mut self, delay: Duration) {
        self.link.delay(delay);
        // The leader connects anew, with the delay.
        self.link.shut().await;
        self.link.open().await;
    }

    /// The node that leads: its name and its address.
    async fn leader(&self) -> (String, Bao) {
        let nodes = self.keeper.facts["nodes"].as_array().unwrap();
        eventually("a node leads", secs(60), async || {
            for node in nodes {
                let bao = self.keeper.bao(node["address"].as_str().unwrap());
                let Some((200, answer)) = bao.try_ask("GET", "sys/leader").await else { continue };
                if answer["is_self"] == true {
                    return Some((node["name"].as_str().unwrap().to_owned(), bao));
                }
            }
            None
        })
        .await
    }
}

async fn run(name: &'static str, pace: Pace, fault: Fault) {
    let nodes = if matches!(fault, Fault::Sealed) { 1 } else { 3 };
    let mut cluster = Cluster::start(nodes).await;
    let (_, first) = cluster.leader().await;
    let mut world = World::on(first.clone(), Postgres::shared(), pace.terms()).await;
    // Ours may go to any node that lives; the agent's go the same way, or to the one that lags.
    world.bao = cluster.keeper.bao(&cluster.url());
    if let Fault::StandbyLags(_) = fault {
        let last = cluster.addresses().pop().unwrap();
        cluster.door.lead_to(vec![last]);
        world.bao = first.clone();
    }
    let mut config = pace.config(&world, Some(cluster.url()));
    if let Fault::StandbyLags(_) = fault {
        config["secrets"]["db"]["lookup"] = json!("10s");
    }
    let mut trial = Trial::start(name, pace, world, config).await;
    trial
        .rounds(async |trial| match fault {
            Fault::Sealed => {
                first.must("PUT", "sys/seal", None).await;
                trial.lasts().await;
                let key = cluster.keeper.text("/key");
                first.must("PUT", "sys/unseal", Some(json!({ "key": key }))).await;
            }
            Fault::StepDown => {
                cluster.leader().await.1.must("PUT", "sys/step-down", None).await;
                trial.lasts().await;
            }
            Fault::LeaderKilled => {
                let (leader, _) = cluster.leader().await;
                cluster.keeper.order(&format!("kill {leader}")).await;
                // A node that has just taken over may not know a lease yet; the agent then asks
                // for a new login, and is not ready until it has one.
                quiet(pace.fault).await;
                cluster.leader().await;
                cluster.keeper.order(&format!("start {leader}")).await;
            }
            Fault::StandbyLags(delay) => {
                cluster.hold_back(delay).await;
                trial.lasts().await;
                cluster.hold_back(Duration::ZERO).await;
            }
        })
        .await;
    let named: &[Named<'_>] = match fault {
        Fault::Sealed => &[Named { event: "lookup_failed", text: "answered 503" }],
        // Another leads within a second or two: whether a request meets the gap is chance.
        Fault::StepDown | Fault::LeaderKilled | Fault::StandbyLags(_) => &[],
    };
    trial.finish(named).await;
}
