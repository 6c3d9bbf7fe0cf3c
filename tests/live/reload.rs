//! A configuration that changes while the agent and a program run.

use std::os::unix::fs::symlink;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getuid};
use serde_json::{Value, json};

use crate::support::agent::{Agent, Journal, Line};
use crate::support::hook::Hook;
use crate::support::program::Program;
use crate::support::world::{Terms, World};
use crate::support::{becomes, eventually, quiet, secs};

/// Writes `config` and waits until the agent goes on by it.
async fn change(world: &World, config: &Value) {
    let mark = world.journal.mark();
    world.prepare("leasehold", config);
    world.journal.wait(mark, "reloaded", secs(10)).await;
}

/// Writes `text` and gives what the agent says is wrong with it.
async fn refused(world: &World, text: &str) -> Vec<Line> {
    let mark = world.journal.mark();
    world.write("leasehold.yaml", text);
    world.journal.wait(mark, "configuration_refused", secs(10)).await;
    assert_eq!(world.journal.since(mark, "reloaded").len(), 0);
    world.journal.since(mark, "configuration_problem")
}

fn hang_up(agent: &Agent) {
    kill(Pid::from_raw(i32::try_from(agent.pid()).unwrap()), Signal::SIGHUP).unwrap();
}

async fn put(world: &World, name: &str, value: &str) {
    let path = format!("secret/data/{}/{name}", world.name);
    world.bao.must("POST", &path, Some(json!({ "data": { "value": value } }))).await;
}

fn kv(world: &World, name: &str) -> Value {
    json!({ "kv": { "path": format!("{}/{name}", world.name), "poll": "500ms" } })
}

fn text(world: &World, file: &str) -> Option<String> {
    std::fs::read_to_string(world.published(file)).ok()
}

async fn generation(agent: &Agent) -> String {
    let (_, page) = agent.get("metrics", "/metrics").await;
    metric(&page, "leasehold_generation ")
}

fn metric(page: &str, name: &str) -> String {
    let value = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    value.trim_end_matches(".0").to_owned()
}

#[tokio::test]
async fn what_is_added_changed_and_removed_costs_no_query_and_no_login() {
    let world = World::new(Terms::of("1h", "2h")).await;
    put(&world, "mail", "m1").await;
    let mut config = world.config();
    let agent = world.start_and_publish(&config).await;
    let first = world.login().unwrap();
    let pool = Program::pool(&world, "80").await;

    // A secret and its file.
    config["secrets"]["mail"] = kv(&world, "mail");
    config["publish"]["files"]["mail"] =
        json!({ "format": "raw", "secret": "mail", "field": "value" });
    change(&world, &config).await;
    becomes("the new file", secs(10), Some("m1".to_owned()), async || text(&world, "mail")).await;

    // Another file of a value that stays the same is a generation of its own.
    let before = generation(&agent).await;
    config["publish"]["files"]["db.env"] = json!({ "format": "dotenv", "secrets": ["db"] });
    change(&world, &config).await;
    let named = format!("DB_USERNAME='{}'", first.user);
    let shown = async || text(&world, "db.env").filter(|text| text.contains(&first.user)).is_some();
    becomes(&named, secs(10), true, shown).await;
    assert_ne!(generation(&agent).await, before);

    // A target hears of what is there, once; another interval begins at once.
    let hook = Hook::answering(204, secs(0)).await;
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);
    config["secrets"]["db"]["grace"] = json!("3s");
    change(&world, &config).await;
    becomes("it is told", secs(10), 1, async || hook.told_of("db").len()).await;
    config["secrets"]["db"]["lookup"] = json!("2s");
    change(&world, &config).await;

    // What is gone from the configuration is gone from the directory.
    config["secrets"].as_object_mut().unwrap().remove("mail");
    config["publish"]["files"].as_object_mut().unwrap().remove("mail");
    change(&world, &config).await;
    becomes("the file is gone", secs(10), None, async || text(&world, "mail")).await;

    assert_eq!(hook.told_of("db").len(), 1, "told again of what it knows");
    assert_eq!(world.login().unwrap(), first);
    assert_eq!(world.users().await, [first.user]);
    assert_eq!(world.journal.count("lease_issued"), 1);
    let (_, page) = agent.get("metrics", "/metrics").await;
    assert_eq!(metric(&page, "leasehold_config_reloads_total{outcome=\"applied\"} "), "5");
    let logins = "leasehold_vault_requests_total{operation=\"login\",outcome=\"ok\"} ";
    assert_eq!(metric(&page, logins), "1", "it no longer counts what was before");
    assert!(!page.contains("\"mail\""), "{page}");

    // The grace that is in force is the last one.
    config["secrets"]["db"]["rotate_every"] = json!("6s");
    change(&world, &config).await;
    let draining = world.journal.wait(0, "draining", secs(30)).await;
    assert_eq!(draining.value["grace_seconds"], 3.0);
    let said = pool.stop().await;
    assert_eq!(said.failures, 0, "{:?}", said.texts);
    assert!(agent.terminate(secs(15)).await.success());
    assert_eq!(world.leases().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_login_that_is_added_gets_a_lease_and_one_that_is_removed_drains() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let agent = world.start_and_publish(&config).await;
    let first = world.login().unwrap();
    let pool = Program::pool(&world, "80").await;

    config["secrets"]["reports"] = config["secrets"]["db"].clone();
    config["publish"]["files"]["reports.json"] =
        json!({ "format": "json", "secrets": ["reports"] });
    change(&world, &config).await;
    eventually("a second login", secs(10), async || text(&world, "reports.json")).await;
    assert_eq!(world.users().await.len(), 2);
    assert_eq!(world.login().unwrap(), first);

    config["secrets"].as_object_mut().unwrap().remove("reports");
    config["publish"]["files"].as_object_mut().unwrap().remove("reports.json");
    change(&world, &config).await;
    becomes("its file is gone", secs(10), None, async || text(&world, "reports.json")).await;
    assert_eq!(world.leases().await.len(), 2, "it has its grace");
    becomes("it ends", secs(20), vec![first.user.clone()], async || world.users().await).await;
    world.journal.wait(0, "lease_ended", secs(10)).await;
    let said = pool.stop().await;
    assert_eq!(said.failures, 0, "{:?}", said.texts);
    drop(agent);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_all_that_is_wrong() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let agent = world.start_and_publish(&config).await;
    let first = world.login().unwrap();
    let before = generation(&agent).await;

    let mut bad = config.clone();
    bad["secrets"]["db"]["garce"] = json!("5m");
    bad["publish"]["files"]["x"] = json!({ "format": "raw", "secret": "bd", "field": "password" });
    bad["listen"]["metrics"] = json!("9100");
    let problems = refused(&world, &bad.to_string()).await;
    let keys: Vec<_> = problems.iter().map(|line| line.text("key")).collect();
    assert_eq!(keys, ["listen.metrics", "publish.files.x.secret", "secrets.db.garce"]);
    assert!(problems.iter().all(|line| !line.text("hint").is_empty()), "{problems:?}");

    let problems = refused(&world, "secrets: [").await;
    assert!(problems[0].text("error").contains("is not YAML"), "{problems:?}");

    // What leases and files belong to stays for the life of the process.
    let mut other = config.clone();
    other["publish"]["directory"] = json!(world.path("elsewhere"));
    other["vault"]["address"] = json!("http://127.0.0.1:1");
    other["secrets"]["db"]["grace"] = json!("1s");
    let problems = refused(&world, &other.to_string()).await;
    let keys: Vec<_> = problems.iter().map(|line| line.text("key")).collect();
    assert_eq!(keys, ["vault.address", "publish.directory"]);
    assert!(problems[0].text("hint").contains("restart"), "{problems:?}");

    // A port that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut other = config.clone();
    other["listen"]["metrics"] = json!(taken.local_addr().unwrap().to_string());
    other["publish"]["files"]["y"] = json!({ "format": "json", "secrets": ["db"] });
    let problems = refused(&world, &other.to_string()).await;
    assert!(problems[0].text("error").contains("in use"), "{problems:?}");

    assert_eq!(generation(&agent).await, before);
    assert_eq!(world.login().unwrap(), first);
    assert!(text(&world, "y").is_none());
    let (_, page) = agent.get("metrics", "/metrics").await;
    assert_eq!(metric(&page, "leasehold_config_reloads_total{outcome=\"refused\"} "), "4");
    assert_eq!(metric(&page, "leasehold_config_last_reload_successful "), "0");

    // Once it is free, the file is as good as any other; the address before is let go.
    drop(taken);
    let (mark, old) = (world.journal.mark(), agent.listener("metrics").await);
    hang_up(&agent);
    world.journal.wait(mark, "reloaded", secs(10)).await;
    world.journal.wait(mark, "listening", secs(10)).await;
    eventually("the other file", secs(10), async || text(&world, "y")).await;
    let (_, page) = agent.get("metrics", "/metrics").await;
    assert_eq!(metric(&page, "leasehold_config_last_reload_successful "), "1");
    assert_ne!(agent.listener("metrics").await, old);
    becomes("the old address", secs(5), true, async || {
        tokio::net::TcpStream::connect(&old).await.is_err()
    })
    .await;
    assert_eq!(world.users().await, [first.user]);
}

/// What an agent closed itself off from is no part of a configuration that it can go on by.
#[tokio::test]
async fn what_is_out_of_reach_of_a_confined_agent_wants_a_restart() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let agent = world.start_and_publish(&config).await;
    let first = world.login().unwrap();
    world.journal.wait(0, "confined", secs(5)).await;

    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let far = elsewhere.path().join("far.yaml");
    std::fs::write(&far, "key: far\n").unwrap();
    let mut other = config.clone();
    other["secrets"]["far"] = json!({ "file": { "path": far } });
    other["publish"]["files"]["far"] = json!({ "format": "json", "secrets": ["far"] });
    let problems = refused(&world, &other.to_string()).await;
    let text = format!("`{}` is out of reach", elsewhere.path().display());
    assert!(problems[0].text("error").contains(&text), "{problems:?}");
    let mut command = config.clone();
    command["notify"] = json!([{ "name": "reload", "exec": { "command": ["/bin/true"] } }]);
    let problems = refused(&world, &command.to_string()).await;
    assert!(problems[0].text("error").contains("a confined agent starts none"), "{problems:?}");
    assert!(problems[0].text("hint").contains("restart the agent"), "{problems:?}");

    // A restart does, with the login that is there.
    world.prepare("leasehold", &other);
    agent.kill();
    let _agent = world.start(&other);
    eventually("the far secret", secs(10), async || self::text(&world, "far")).await;
    assert_eq!(world.login().unwrap(), first);
}

#[tokio::test]
async fn a_secret_that_is_required_and_not_there_leaves_the_files_as_they_were() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    config["secrets"]["db"]["rotate_every"] = json!("5s");
    config["secrets"]["db"]["grace"] = json!("1s");
    config["publish"]["files"]["app.json"] = json!({ "format": "json", "secrets": ["db"] });
    let agent = world.start_and_publish(&config).await;
    let pool = Program::pool(&world, "80").await;

    config["secrets"]["mail"] = kv(&world, "mail");
    config["publish"]["files"]["app.json"] = json!({ "format": "json", "secrets": ["db", "mail"] });
    let mark = world.journal.mark();
    change(&world, &config).await;
    let waits = world.journal.wait(mark, "reload_waits", secs(10)).await;
    assert_eq!(waits.text("secrets"), "mail");
    world.journal.wait(mark, "rotated", secs(20)).await;
    let app: Value = serde_json::from_str(&text(&world, "app.json").unwrap()).unwrap();
    assert_eq!(app["db"]["username"], world.login().unwrap().user);
    assert_eq!(agent.get("probes", "/readyz").await.0, 200);

    put(&world, "mail", "m1").await;
    eventually("the new file", secs(10), async || {
        text(&world, "app.json").filter(|text| text.contains("m1"))
    })
    .await;
    let said = pool.stop().await;
    assert_eq!(said.failures, 0, "{:?}", said.texts);
}

#[tokio::test]
async fn the_sender_of_the_signal_is_in_the_log_and_a_touch_does_nothing() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let agent = world.start_and_publish(&config).await;
    // The file is watched from here on.
    config["secrets"]["db"]["grace"] = json!("4s");
    change(&world, &config).await;

    let mark = world.journal.mark();
    world.prepare("leasehold", &config);
    let file = std::fs::File::options().append(true).open(world.path("leasehold.yaml")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + secs(1_700_000_000)).unwrap();
    quiet(secs(1)).await;
    for event in ["reloaded", "configuration_unchanged", "configuration_refused", "published"] {
        assert_eq!(world.journal.since(mark, event).len(), 0, "{event}");
    }

    hang_up(&agent);
    world.journal.wait(mark, "configuration_unchanged", secs(10)).await;
    let [signal] = world.journal.since(mark, "signalled").try_into().unwrap();
    let sender = (&signal.value["sender_pid"], &signal.value["sender_uid"]);
    assert_eq!(sender, (&json!(getpid().as_raw()), &json!(getuid().as_raw())), "{signal:?}");

    // A template is read again when somebody asks.
    world.write("t.j2", "one {{ db.username }}");
    config["publish"]["files"]["t"] = json!({ "template": world.path("t.j2") });
    config["log"]["level"] = json!("warn");
    let mark = world.journal.mark();
    world.prepare("leasehold", &config);
    eventually("the template's file", secs(10), async || text(&world, "t")).await;
    world.write("t.j2", "two {{ db.username }}");
    hang_up(&agent);
    eventually("the other template", secs(10), async || {
        text(&world, "t").filter(|text| text.starts_with("two"))
    })
    .await;
    assert_eq!(world.journal.since(mark, "signalled").len(), 0, "it is below the level");
}

#[tokio::test]
async fn a_configuration_of_kubernetes_changes_by_its_link() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    world.prepare("leasehold", &config);
    let mount = world.path("mounted");
    let version = |name: &str, config: &Value| {
        std::fs::create_dir_all(mount.join(name)).unwrap();
        std::fs::write(mount.join(name).join("agent.yaml"), config.to_string()).unwrap();
        symlink(name, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    version("..one", &config);
    symlink("..data/agent.yaml", mount.join("agent.yaml")).unwrap();
    let journal: Journal = world.journal.clone();
    let agent = Agent::start(&mount.join("agent.yaml"), journal);
    world.wait_published().await;

    for (name, file) in [("..two", "a"), ("..three", "b")] {
        config["publish"]["files"][file] = json!({ "format": "json", "secrets": ["db"] });
        version(name, &config);
        eventually("the new file", secs(10), async || text(&world, file)).await;
    }
    std::fs::remove_dir_all(mount.join("..one")).unwrap();
    assert_eq!(world.users().await.len(), 1);
    assert_eq!(world.journal.count("configuration_refused"), 0);
    drop(agent);
}
