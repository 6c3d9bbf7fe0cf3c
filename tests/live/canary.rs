//! No secret of a whole run is seen anywhere but where it belongs.

use serde_json::{Value, json};

use crate::support::canary::Canaries;
use crate::support::hook::Hook;
use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

/// The texts of a JSON document that are secrets by their place in it.
fn secrets_of_state(value: &Value, key: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| secrets_of_state(value, key, found));
        }
        Value::Array(all) => all.iter().for_each(|value| secrets_of_state(value, key, found)),
        Value::String(text) => {
            let secret = ["password", "lease", "token", "secret", "key"]
                .iter()
                .any(|word| key.to_lowercase().contains(word));
            // Hashes, names and versions are for everybody to see.
            let shown = text.len() <= 16 || key.contains("hash") || key.contains("name");
            if secret && !shown {
                found.push((key.to_owned(), text.clone()));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn no_secret_of_a_run_is_seen_outside_its_place() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let hook = Hook::answering(204, secs(0)).await;
    let mail = format!("{}/mail", world.name);
    let odd = "SG.odd'\"$key\\with #all of it";
    world.bao.put_kv(&mail, json!({ "api_key": odd })).await;
    let mut config = world.config();
    config["log"]["level"] = json!("trace");
    config["secrets"]["db"]["confirm"] = json!("told");
    config["secrets"]["db"]["rotate_every"] = json!("3s");
    config["secrets"]["db"]["grace"] = json!("2s");
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    config["publish"]["files"]["all.json"] = json!({ "format": "json", "secrets": ["db", "mail"] });
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);

    let mut canaries = Canaries::default();
    canaries.add("mail key", odd);
    canaries.add("secret id", &std::fs::read_to_string(world.path("secret_id")).unwrap());
    let agent = world.start_and_publish(&config).await;
    let (mut passwords, mut kinds) = (Vec::new(), Vec::new());
    eventually("two rotations", secs(40), async || {
        if let Some(login) = world.login()
            && !passwords.contains(&login.password)
        {
            canaries.add("password", &login.password);
            passwords.push(login.password);
        }
        for lease in world.leases().await {
            canaries.add("lease id", &lease);
            canaries.add("lease id", lease.rsplit('/').next().unwrap());
        }
        for (key, secret) in secrets_in(&world.path("state")) {
            canaries.add(&format!("state: {key}"), &secret);
            kinds.push(key);
        }
        (world.journal.count("rotated") >= 2).then_some(())
    })
    .await;
    assert!(passwords.len() >= 2, "too few passwords were seen");
    assert!(kinds.iter().any(|key| key.contains("password")), "the state file was not read");

    let mut places = vec![("hook", format!("{:?}", hook.told()))];
    for kind in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{kind}", agent.pid())).unwrap();
        places.push((kind, String::from_utf8_lossy(&bytes).into_owned()));
    }
    for (listener, path) in [
        ("metrics", "/metrics"),
        ("probes", "/readyz"),
        ("probes", "/livez"),
        ("probes", "/startupz"),
        ("probes", "/nowhere"),
    ] {
        places.push((path, agent.get(listener, path).await.1));
    }
    let status = std::fs::read_to_string(world.published("status.json")).unwrap_or_default();
    places.push(("status.json", status));
    let exited = agent.terminate(secs(15)).await;
    assert!(exited.success(), "{exited}");
    let log = world.journal.raw();
    assert!(log.contains("lease_issued"), "nothing was logged");
    places.push(("log", log));
    for (place, text) in places {
        assert_eq!(canaries.found_in(&text), [] as [String; 0], "seen in {place}");
    }
}

/// Every secret in the files of the state directory.
fn secrets_in(directory: &std::path::Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let Ok(text) = std::fs::read_to_string(entry.unwrap().path()) else { continue };
        if let Ok(state) = serde_json::from_str::<Value>(&text) {
            secrets_of_state(&state, "", &mut found);
        }
    }
    found
}
