//! Where secrets come from besides the database engine and versioned KV, and what guards the way
//! to Vault: through the agent as a process.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::live::effects_servers::certificates;
use crate::live::effects_vault::tls::serve;
use crate::support::agent::{Agent, Journal};
use crate::support::canary::Canaries;
use crate::support::proxy::Proxy;
use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

/// A JSON file of the set, once it is there.
fn published(world: &World, file: &str) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(world.published(file)).ok()?).ok()
}

fn user(world: &World) -> Option<String> {
    Some(published(world, "db.json")?["db"]["username"].as_str()?.to_owned())
}

#[tokio::test]
async fn a_leased_path_is_renewed_replaced_and_drained() {
    let world = World::new(Terms::of("8s", "1h")).await;
    let mut config = world.config();
    let path = format!("{}/creds/{}", world.mount(), world.name);
    config["secrets"] = json!({ "db": {
        "read": { "path": path, "leased": true }, "grace": "2s", "lookup": "1s",
    } });
    config["publish"]["files"] = json!({
        "db.json": { "format": "json", "secrets": ["db"] },
        "password": { "format": "raw", "secret": "db", "field": "password" },
    });
    let agent = world.start(&config);
    let first = eventually("it is published", secs(15), async || user(&world)).await;
    assert_eq!(world.users().await, std::slice::from_ref(&first));
    let password = std::fs::read_to_string(world.published("password")).unwrap();
    assert_eq!(published(&world, "db.json").unwrap()["db"]["password"], password);
    world.journal.wait(0, "lease_renewed", secs(15)).await;
    assert_eq!(user(&world).unwrap(), first, "a renewal makes nothing new");
    agent.kill();

    // A new process goes on with the lease, and replaces it as it is told to.
    config["secrets"]["db"]["rotate_every"] = json!("3s");
    let agent = world.start(&config);
    let mark = world.journal.wait(0, "adopted", secs(10)).await;
    assert_eq!(mark.value["leases"], 1.0);
    world.journal.wait(0, "rotated", secs(20)).await;
    assert_ne!(user(&world).unwrap(), first);
    world.journal.wait(0, "draining", secs(10)).await;
    eventually("the first has ended", secs(15), async || {
        (!world.users().await.contains(&first)).then_some(())
    })
    .await;
    assert!(agent.terminate(secs(15)).await.success());
    assert_eq!(world.leases().await, [] as [String; 0]);
    let issued = world.journal.first("lease_issued").unwrap();
    assert_eq!(issued.value.get("username"), None, "a field was taken for a user");
}

#[tokio::test]
async fn a_field_that_is_not_in_the_lease_ends_it_and_holds_back_nothing_else() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let path = format!("{}/creds/{}", world.mount(), world.name);
    config["secrets"]["other"] =
        json!({ "read": { "path": path, "leased": true }, "required": false });
    config["secrets"]["stray"] = json!({ "read": { "path": path }, "required": false });
    config["publish"]["files"]["other"] =
        json!({ "format": "raw", "secret": "other", "field": "access_key" });
    config["publish"]["files"]["stray"] =
        json!({ "format": "raw", "secret": "stray", "field": "username" });
    let agent = world.start_and_publish(&config).await;
    let failed = world.journal.wait(0, "issue_failed", secs(10)).await;
    assert!(failed.text("error").contains("no field `access_key`"), "{failed:?}");
    let stopped = world.journal.wait(0, "read_stopped", secs(10)).await;
    assert!(stopped.text("hint").starts_with("write `leased: true`"), "{stopped:?}");
    let login = world.login().unwrap();
    eventually("only the good login is left", secs(15), async || {
        (world.users().await == [login.user.clone()]).then_some(())
    })
    .await;
    assert!(!world.published("other").exists() && !world.published("stray").exists());
    drop(agent);
}

#[tokio::test]
async fn values_of_each_kind_are_published_with_a_token_of_the_environment() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (one, two) = (format!("kv1-{}", world.name), format!("{}/pinned", world.name));
    let engine = json!({ "type": "kv", "options": { "version": "1" } });
    world.bao.must("POST", &format!("sys/mounts/{one}"), Some(engine)).await;
    world.bao.must("POST", &format!("{one}/old"), Some(json!({ "key": "of engine 1" }))).await;
    for text in ["first", "second"] {
        world.bao.put_kv(&two, json!({ "key": text })).await;
    }
    world.allow(&format!("path \"{one}/*\" {{ capabilities = [\"read\"] }}")).await;
    let token = json!({ "policies": [world.name], "ttl": "1h" });
    let made = world.bao.must("POST", "auth/token/create", Some(token)).await;
    let token = made["auth"]["client_token"].as_str().unwrap();

    let mut config = world.config();
    config["vault"].as_object_mut().unwrap().remove("auth");
    config["secrets"] = json!({
        "old": { "kv": { "mount": one, "path": "old", "engine": 1 } },
        "pinned": { "kv": { "path": two, "version": 1 } },
        "plain": { "read": { "path": format!("{one}/old") } },
    });
    config["publish"]["files"] =
        json!({ "all.json": { "format": "json", "secrets": ["old", "pinned", "plain"] } });
    world.prepare("leasehold", &config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.arg("run").arg("--config").arg(world.path("leasehold.yaml")).env("BAO_TOKEN", token);
    let agent = Agent::spawn(&mut command, world.journal.clone());
    let all = eventually("it is published", secs(15), async || published(&world, "all.json")).await;
    assert_eq!(all["old"]["key"], "of engine 1");
    assert_eq!(all["pinned"]["key"], "first");
    assert_eq!(all["plain"]["key"], "of engine 1");

    // Somebody else's token is theirs to end.
    assert!(agent.terminate(secs(15)).await.success());
    let body = json!({ "token": token });
    assert_eq!(world.bao.ask("POST", "auth/token/lookup", Some(body)).await.0, 200);
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_and_outlives_the_process() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let mut canaries = Canaries::default();
    let unwrapped = || proxy.seen("sys/wrapping/unwrap").len();
    let token = world.wrap_secret_id().await;
    canaries.add("wrapping token", &token);
    let mut config = world.config();
    config["vault"]["address"] = json!(proxy.address);
    config["vault"]["auth"]["approle"]["wrapped"] = json!(true);
    let lose_the_token = async || {
        let mark = world.journal.mark();
        for accessor in world.bao.sessions(&world.name).await {
            world.bao.revoke_token(&accessor).await;
        }
        world.journal.wait(mark, "session_lost", secs(15)).await;
        mark
    };

    let agent = world.start_and_publish(&config).await;
    agent.kill();
    let agent = world.start(&config);
    world.journal.wait(0, "adopted", secs(10)).await;
    let mark = lose_the_token().await;
    world.journal.wait(mark, "session_opened", secs(15)).await;
    assert_eq!(unwrapped(), 1, "asked again for what is given once");

    canaries.add("second wrapping token", &world.wrap_secret_id().await);
    let mark = lose_the_token().await;
    world.journal.wait(mark, "session_opened", secs(15)).await;
    assert_eq!(unwrapped(), 2, "a changed file is another secret id");
    world.journal.wait(mark, "rotated", secs(15)).await;

    // Somebody puts the used token back: it is looked at twice, reported, and the secret id from
    // before is used.
    world.write("secret_id", &token);
    let mark = lose_the_token().await;
    let refused = world.journal.wait(mark, "login_refused", secs(15)).await;
    assert!(refused.text("hint").contains("as stolen"), "{refused:?}");
    let looked = proxy.seen("sys/wrapping/lookup").len();
    assert_eq!((looked, unwrapped()), (4, 2));
    world.journal.wait(mark, "session_opened", secs(15)).await;
    assert_eq!((proxy.seen("sys/wrapping/lookup").len(), unwrapped()), (looked, 2));
    assert!(agent.terminate(secs(15)).await.success());

    let ids = proxy.answered("/data/secret_id");
    assert_eq!(ids.len(), 2);
    ids.iter().for_each(|id| canaries.add("secret id", id));
    assert_eq!(canaries.found_in(&world.journal.raw()), [] as [String; 0]);
}

/// In one step: half of a file would be another change.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn another_authority_in_the_ca_file_needs_no_restart() {
    let (good, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(good.path(), 2);
    certificates(other.path(), 2);
    let tls = serve(good.path(), other.path()).await;
    let address = format!("https://localhost:{}", tls.port);
    let put = async |value: &str| {
        let body = json!({ "data": { "key": value } });
        tls.admin.call("POST", "secret/data/mail", body).await;
    };
    put("first-value").await;
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["run", "state"] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o700)).unwrap();
    }
    std::fs::copy(good.path().join("ca.crt"), at("ca.crt")).unwrap();
    std::fs::write(at("token"), "root").unwrap();
    let config = json!({
        "vault": {
            "address": address, "ca_cert": at("ca.crt"), "auth": { "token_file": at("token") },
        },
        "secrets": { "mail": { "kv": { "path": "mail", "poll": "200ms" } } },
        "publish": { "directory": at("run"), "files": {
            "key": { "format": "raw", "secret": "mail", "field": "key" },
        } },
        "state": { "directory": at("state") },
    });
    std::fs::write(at("leasehold.yaml"), config.to_string()).unwrap();
    let journal = Journal::default();
    let agent = Agent::start(&at("leasehold.yaml"), journal.clone());
    let shows = async |value: &str| {
        eventually(&format!("{value} is published"), secs(20), async || {
            (std::fs::read_to_string(at("run").join("key")).ok()? == value).then_some(())
        })
        .await;
    };
    shows("first-value").await;

    // The server gets a certificate of another authority.
    certificates(good.path(), 2);
    kill(Pid::from_raw(i32::try_from(tls.server.0.id()).unwrap()), Signal::SIGHUP).unwrap();
    let next = std::fs::read(good.path().join("ca.crt")).unwrap();
    let authority = reqwest::Certificate::from_pem(&next).unwrap();
    eventually("the server shows its new certificate", secs(20), async || {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority.clone()]);
        client.build().unwrap().get(format!("{address}/v1/sys/health")).send().await.ok()
    })
    .await;
    put("second-value").await;
    replace(&at("ca.crt"), b"nonsense");
    let told = journal.wait(0, "tls_files_unusable", secs(20)).await;
    assert!(told.text("error").contains("ca.crt"), "{told:?}");
    shows("second-value").await;

    // What is in the file is believed, and nothing else; a connection from before is not used.
    replace(&at("ca.crt"), &std::fs::read(other.path().join("ca.crt")).unwrap());
    let failed = journal.wait(0, "read_failed", secs(20)).await;
    assert!(failed.text("error").contains("unknown authority"), "{failed:?}");
    put("third-value").await;
    replace(&at("ca.crt"), &next);
    shows("third-value").await;
    assert_eq!(journal.count("tls_files_unusable"), 1, "told again and again");
    assert_eq!(journal.count("tls_files_read"), 2);
    assert_eq!(journal.count("starting"), 1);
    drop(agent);
}
