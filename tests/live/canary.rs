//! No secret of a whole run is seen anywhere but where it belongs.

use serde_json::json;

use crate::support::canary::Canaries;
use crate::support::hook::Hook;
use crate::support::proxy::Proxy;
use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

#[tokio::test]
async fn no_secret_of_a_run_is_seen_outside_its_place() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let hook = Hook::answering(204, secs(0)).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let mail = format!("{}/mail", world.name);
    let odd = "SG.odd'\"$key\\with #all of it";
    world.bao.put_kv(&mail, json!({ "api_key": odd })).await;
    let mut config = world.config();
    config["vault"]["address"] = json!(proxy.address);
    config["log"]["level"] = json!("trace");
    config["vault"]["auth"]["approle"]["wrapped"] = json!(true);
    let wrapping = world.wrap_secret_id().await;
    config["secrets"]["db"]["confirm"] = json!("told");
    config["secrets"]["db"]["rotate_every"] = json!("3s");
    config["secrets"]["db"]["grace"] = json!("2s");
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    config["publish"]["files"]["all.json"] = json!({ "format": "json", "secrets": ["db", "mail"] });
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);

    let agent = world.start_and_publish(&config).await;
    world.journal.wait_count("rotated", 2, secs(40)).await;
    agent.kill();
    let agent = world.start(&config);
    world.journal.wait(0, "adopted", secs(10)).await;
    eventually("the adopted session is in use", secs(10), async || {
        (agent.get("probes", "/readyz").await.0 == 200).then_some(())
    })
    .await;
    let state = std::fs::read_dir(world.path("state")).unwrap();
    let state: String =
        state.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok()).collect();
    assert!(!canaries_of(&proxy).found_in(&state).is_empty(), "the state holds nothing to leak");

    let mut places = vec![("hook", format!("{:?}", hook.told()))];
    for kind in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{kind}", agent.pid())).unwrap();
        places.push((kind, String::from_utf8_lossy(&bytes).into_owned()));
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "a core file may be written: {core}");
    for (listener, path) in [
        ("metrics", "/metrics"),
        ("probes", "/readyz"),
        ("probes", "/livez"),
        ("probes", "/startupz"),
        ("probes", "/nowhere"),
    ] {
        places.push((path, agent.get(listener, path).await.1));
    }
    let status = std::fs::read_to_string(world.published("status.json")).unwrap();
    places.push(("status.json", status));
    let exited = agent.terminate(secs(15)).await;
    assert!(exited.success(), "{exited}");
    let log = world.journal.raw();
    assert!(log.contains("lease_issued"), "nothing was logged");
    places.push(("log", log));
    let mut canaries = canaries_of(&proxy);
    canaries.add("mail key", odd);
    canaries.add("wrapping token", &wrapping);
    for (place, text) in places {
        assert_eq!(canaries.found_in(&text), [] as [String; 0], "seen in {place}");
    }
}

/// Every token, password and lease id that Vault gave out.
fn canaries_of(proxy: &Proxy) -> Canaries {
    let mut canaries = Canaries::default();
    for (kind, pointer, at_least) in [
        ("token", "/auth/client_token", 1),
        ("password", "/data/password", 3),
        ("lease id", "/lease_id", 3),
        ("secret id", "/data/secret_id", 1),
    ] {
        let secrets = proxy.answered(pointer);
        assert!(secrets.len() >= at_least, "too few were seen: {kind}");
        for secret in secrets {
            canaries.add(kind, &secret);
            if let Some((_, last)) = secret.rsplit_once('/') {
                canaries.add(kind, last);
            }
        }
    }
    canaries
}
