//! `leasehold init`: one publish, and an exit status that says why there is none.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leasehold::time::Moment;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::watch::Watch;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, quiet, secs};

/// Runs `init` and gives its exit status, and what it said last.
async fn init(world: &World, config: &Value, arguments: &[&str]) -> (i32, String) {
    let status = world.init(config, arguments).exited(secs(60)).await;
    let raw = world.journal.raw();
    let words = raw.rsplit("leasehold: ").next().unwrap_or_default().to_owned();
    (status.code().unwrap(), words)
}

async fn ready(agent: &Agent) {
    eventually("the agent is ready", secs(30), async || {
        (agent.get("probes", "/readyz").await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_publishes_once_and_run_goes_on_with_the_lease() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.one" })).await;
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail } });
    config["publish"]["files"]["app.env"] =
        json!({ "format": "dotenv", "secrets": ["db", "mail"], "mode": "0400" });
    config["notify"] =
        json!([{ "name": "api", "secrets": ["db"], "http": { "url": "http://127.0.0.1:9/" } }]);

    assert_eq!(init(&world, &config, &[]).await.0, 0);
    let login = world.login().unwrap();
    assert!(world.works(&login).await);
    let mode =
        |file| std::fs::metadata(world.published(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("db/pg_service.conf"), mode("app.env")), (0o440, 0o400));
    assert_eq!(world.journal.count("listening"), 0, "nobody is served");
    assert_eq!(world.journal.count("confined"), 1, "it reaches what it needs, and no more");
    assert_eq!(world.journal.count("delivery_failed"), 0, "nobody is told");
    assert_eq!(world.users().await, [login.user.as_str()]);

    // Another one, into a directory that was emptied, and with a value that changed.
    std::fs::remove_dir_all(world.path("run")).unwrap();
    world.bao.put_kv(&mail, json!({ "api_key": "SG.two" })).await;
    assert_eq!(init(&world, &config, &[]).await.0, 0);
    assert_eq!(world.login().unwrap().user, login.user);
    assert!(std::fs::read_to_string(world.published("app.env")).unwrap().contains("SG.two"));

    let agent = world.start(&config);
    ready(&agent).await;
    assert_eq!(world.login().unwrap().user, login.user);
    assert_eq!(world.users().await, [login.user]);
    assert_eq!(world.journal.count("lease_issued"), 1);
    let status = agent.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    assert_eq!(world.users().await, [] as [String; 0]);
}

#[tokio::test]
async fn what_was_left_is_asked_about() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    assert_eq!(init(&world, &config, &[]).await.0, 0);
    let first = world.login().unwrap();
    let [accessor] = world.bao.sessions(&world.name).await.try_into().unwrap();
    world.bao.revoke_token(&accessor).await;
    assert_eq!(init(&world, &config, &[]).await.0, 0);
    let next = world.login().unwrap();
    assert_ne!(next.user, first.user);
    assert!(world.works(&next).await);
    assert_eq!(world.users().await, [next.user]);
}

#[tokio::test]
async fn it_waits_for_vault_as_long_as_it_is_told_to() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    config["vault"]["address"] = json!("http://127.0.0.1:9");
    config["init_timeout"] = json!("2s");
    let began = now();
    let (code, words) = init(&world, &config, &[]).await;
    assert_eq!(code, 69, "{words}");
    assert!(words.starts_with("publish within 2s: log in at "), "{words}");
    assert!(began.until(now()) >= secs(2), "{:?}", began.until(now()));
    let began = now();
    assert_eq!(init(&world, &config, &["--timeout", "3s"]).await.0, 69);
    assert!(began.until(now()) >= secs(3), "{:?}", began.until(now()));

    let mark = world.journal.mark();
    let begun = world.init(&config, &["--timeout", "10m"]);
    world.journal.wait(mark, "login_failed", secs(20)).await;
    let status = begun.terminate(secs(10)).await;
    assert_eq!(status.code(), Some(143));
}

#[tokio::test]
async fn a_login_that_could_not_be_tried_waits_in_the_state() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let port = std::mem::replace(&mut config["secrets"]["db"]["connection"]["port"], json!(9));
    let (code, words) = init(&world, &config, &["--timeout", "3s"]).await;
    assert_eq!(code, 69, "{words}");
    assert!(words.starts_with("publish within 3s: ") && words.contains("\nhint: "), "{words}");
    assert_eq!((world.leases().await.len(), world.login()), (1, None));

    config["secrets"]["db"]["connection"]["port"] = port;
    assert_eq!(init(&world, &config, &[]).await.0, 0);
    assert_eq!((world.leases().await.len(), world.journal.count("lease_issued")), (1, 1));
}

/// Fails with `code` and `reason` well before its time, and leaves no lease.
async fn fails_at_once(world: &World, config: &Value, code: i32, reason: &str) {
    let began: Moment = now();
    let (exited, words) = init(world, config, &["--timeout", "10m"]).await;
    assert_eq!(exited, code, "{words}");
    assert!(words.contains(reason), "`{reason}` is not in {words}");
    assert!(began.until(now()) < secs(20), "{:?}", began.until(now()));
    assert_eq!(world.leases().await, [] as [String; 0]);
}

#[tokio::test]
async fn what_vault_refuses_is_not_waited_for() {
    let mut terms = Terms::of("1h", "2h");
    terms.may_issue = false;
    let world = World::new(terms).await;
    let config = world.config();
    fails_at_once(&world, &config, 77, "/creds/").await;
    // Another login is wanted for this, and the one in the state is not asked for.
    std::fs::remove_dir_all(world.path("state")).unwrap();
    world.write("secret_id", "00000000-0000-0000-0000-000000000000");
    fails_at_once(&world, &config, 77, "publish once: log in at ").await;
    assert_eq!(world.journal.count("login_refused"), 1);
}

#[tokio::test]
async fn what_is_not_there_is_not_waited_for() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mail = format!("{}/mail", world.name);
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail } });
    config["publish"]["files"]["key"] =
        json!({ "format": "raw", "secret": "mail", "field": "api_key" });
    fails_at_once(&world, &config, 78, &mail).await;
    world.bao.put_kv(&mail, json!({ "renamed": "SG.one" })).await;
    fails_at_once(&world, &config, 78, "`api_key`").await;

    world.bao.put_kv(&mail, json!({ "api_key": "SG.one" })).await;
    config["secrets"]["db"]["database"]["role"] = json!("nobody");
    fails_at_once(&world, &config, 77, "/creds/nobody").await;
    config["vault"]["auth"]["approle"]["secret_id_file"] = json!(world.path("nowhere"));
    std::fs::remove_dir_all(world.path("state")).unwrap();
    fails_at_once(&world, &config, 78, "nowhere").await;
}

#[tokio::test]
async fn a_database_that_refuses_the_login_is_not_waited_for() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    config["secrets"]["db"]["connection"]["dbname"] = json!("nowhere");
    fails_at_once(&world, &config, 77, "nowhere").await;
}

#[tokio::test]
async fn a_directory_that_takes_nothing_is_not_waited_for() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    world.prepare("leasehold", &config);
    std::fs::set_permissions(world.path("run"), PermissionsExt::from_mode(0o777)).unwrap();
    fails_at_once(&world, &config, 73, "\nhint: ").await;
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    config["publish"]["directory"] = json!(disk.path());
    fails_at_once(&world, &config, 73, "not in memory").await;
}

#[tokio::test]
async fn a_state_that_another_process_holds_is_waited_for_and_then_left() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let agent = world.start_and_publish(&config).await;
    let (code, words) = init(&world, &config, &[]).await;
    assert_eq!(code, 75, "{words}");
    assert!(words.contains("another process holds"), "{words}");
    drop(agent);
}

const ROUNDS: usize = 20;

/// Counts the database users of a world all the time; gives the most.
fn most_users(world: &Arc<World>) -> (Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    let most = Arc::new(AtomicUsize::new(0));
    let (world, seen) = (world.clone(), most.clone());
    let task = tokio::spawn(async move {
        loop {
            seen.fetch_max(world.users().await.len(), Ordering::Relaxed);
            quiet(Duration::from_millis(50)).await;
        }
    });
    (most, task)
}

#[tokio::test]
async fn twenty_rounds_of_init_run_kill_and_run_need_one_user() {
    let mut terms = Terms::of("8s", "1h");
    terms.token = json!({ "token_period": "6s" });
    let world = Arc::new(World::new(terms).await);
    let config = world.config();
    let began = now();
    assert_eq!(init(&world, &config, &[]).await.0, 0);
    let (most, counting) = most_users(&world);
    let watch = Watch::start(&world, true);
    let login = world.login().unwrap();
    for round in 0..ROUNDS {
        if round % 4 == 3 {
            // The publish volume was lost, the state's was not.
            std::fs::remove_dir_all(world.path("run")).unwrap();
        }
        assert_eq!(init(&world, &config, &[]).await.0, 0, "round {round}");
        for _ in 0..2 {
            let agent = world.start(&config);
            ready(&agent).await;
            quiet(Duration::from_millis(fastrand::u64(200..800))).await;
            agent.kill();
        }
    }
    let took = began.until(now());
    assert!(took > 3 * secs(6), "the token could do without a renewal: {took:?}");
    assert!(world.journal.count("session_renewed") > 0 && world.journal.count("lease_renewed") > 0);
    assert_eq!(watch.failures(), [] as [String; 0]);
    assert_eq!(world.login().map(|login| login.user), Some(login.user.clone()));
    counting.abort();
    assert_eq!(most.load(Ordering::Relaxed), 1, "users at a time");
    assert_eq!(world.users().await, [login.user]);
    assert_eq!(world.journal.count("lease_issued"), 1);
    assert_eq!(world.journal.count("session_opened"), 1);
}
