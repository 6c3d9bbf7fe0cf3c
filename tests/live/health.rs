//! `leasehold health`, as a probe in a container runs it.

use serde_json::json;

use crate::support::command::leasehold;
use crate::support::world::{Terms, World};
use crate::support::{eventually, free_port, secs};

#[tokio::test]
async fn each_probe_is_an_exit_status() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let port = free_port();
    let mut config = world.config();
    config["listen"]["probes"] = json!(format!("0.0.0.0:{port}"));
    let vault = config["vault"]["address"].clone();
    config["vault"]["address"] = json!("http://127.0.0.1:9");
    let agent = world.start(&config);
    let url = format!("http://{}", agent.listener("probes").await);
    let file = world.path("leasehold.yaml").display().to_string();

    for (probe, code, reason) in [
        ("--live", 0, ""),
        ("--startup", 1, "leasehold: nothing is published yet\n"),
        ("--ready", 1, "leasehold: 1 required secret is not valid\n"),
    ] {
        for place in [["--config", &*file], ["--url", &*url]] {
            let ran = leasehold(&[&["health", probe], &place[..]].concat()).await;
            assert_eq!((ran.code, ran.said.as_str(), ran.complained.as_str()), (code, "", reason));
        }
    }
    agent.kill();
    let ran = leasehold(&["health", "--live", "--config", &file]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.complained.contains(&format!("at `127.0.0.1:{port}`: nobody listens there\nhint:"))
    );

    config["vault"]["address"] = vault;
    let _agent = world.start(&config);
    eventually("it is ready", secs(20), async || {
        (leasehold(&["health", "--config", &file]).await.code == 0).then_some(())
    })
    .await;
    for probe in ["--live", "--startup", "--ready"] {
        let ran = leasehold(&["health", probe, "--config", &file]).await;
        assert_eq!((ran.code, ran.said + &ran.complained), (0, String::new()), "{probe}");
    }
}

#[tokio::test]
async fn without_an_address_it_says_what_is_missing() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let file = world.path("leasehold.yaml").display().to_string();
    for (probes, reason) in [(json!("127.0.0.1:0"), "port 0"), (json!(null), "no `listen.probes`")]
    {
        config["listen"]["probes"] = probes;
        world.prepare("leasehold", &config);
        let ran = leasehold(&["health", "--config", &file]).await;
        assert_eq!(ran.code, 78, "{ran:?}");
        assert!(ran.complained.contains(reason) && ran.complained.contains("\nhint: "), "{ran:?}");
    }
}
