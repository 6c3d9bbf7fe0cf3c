//! `leasehold check --online` against the real servers.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::live::timeline::{assert_clean, check, line};
use crate::support::proxy::{Proxy, Verdict};
use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

/// A login, and a KV secret that is there.
async fn config(world: &World) -> Value {
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.one-two-three" })).await;
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail } });
    config["publish"]["files"]["app.env"] =
        json!({ "format": "dotenv", "secrets": ["db", "mail"] });
    config
}

async fn set_policy(world: &World, policy: &str) {
    let body = json!({ "policy": policy });
    world.bao.must("POST", &format!("sys/policies/acl/{}", world.name), Some(body)).await;
}

async fn set_role(world: &World, settings: Value) {
    world.bao.must("POST", &format!("auth/approle/role/{}", world.name), Some(settings)).await;
}

/// Rows that begin with this verdict.
fn rows<'a>(said: &'a str, verdict: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.starts_with(verdict)).collect()
}

#[tokio::test]
async fn what_the_agent_needs_is_there_and_nothing_is_left() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = config(&world).await;
    config["secrets"]["maps"] =
        json!({ "kv": { "path": format!("{}/none", world.name) }, "required": false });
    let (code, said, complained) = check(&world, &config, &["--online"]);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    line(&said, "logged in to `http://127.0.0.1:");
    line(&said, "9 of 9 rights");
    line(&said, &format!("`{}/creds/{}` gives a lease of 1h: `v-", world.mount(), world.name));
    line(&said, "its login works at `127.0.0.1:");
    line(&said, &format!("`secret/data/{}/mail` read: 1 field", world.name));
    line(&said, &format!("`secret/data/{}/none` is not there, and optional", world.name));
    line(&said, "what was made here is ended");
    for wrong in ["missing", "too much", "failed"] {
        assert_eq!(rows(&said, wrong), [] as [&str; 0], "{said}");
    }
    assert!(!said.contains("SG.one"), "{said}");
    assert_clean(&world).await;
    assert!(!world.path("run").exists() && !world.path("state").exists());
}

#[tokio::test]
async fn the_lines_that_are_missing_make_a_policy_that_the_agent_runs_with() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = config(&world).await;
    // Not even what every token may do by default.
    set_role(&world, json!({ "token_no_default_policy": true, "token_period": "20s" })).await;
    let mut policy = "# nothing\n".to_owned();
    let mut rounds = 0;
    loop {
        set_policy(&world, &policy).await;
        let (code, said, complained) = check(&world, &config, &["--online"]);
        let lines = said.lines().filter_map(|line| line.trim().strip_prefix("add: "));
        let lines: Vec<&str> = lines.collect();
        if code == 0 {
            assert_eq!(lines, [] as [&str; 0], "{said}");
            break;
        }
        assert_eq!(code, 77, "{said}{complained}");
        assert!(!lines.is_empty(), "{said}");
        rounds += 1;
        // What the token may do is seen only when it may ask that.
        assert!(rounds <= 2, "{policy}{said}");
        lines.iter().for_each(|line| policy += &format!("{line}\n"));
    }
    assert_eq!(rounds, 2);
    eventually("tokens that had no right to end themselves run out", secs(60), async || {
        world.bao.sessions(&world.name).await.is_empty().then_some(())
    })
    .await;
    assert_clean(&world).await;

    let agent = world.start_and_publish(&config).await;
    world.journal.wait(0, "session_renewed", secs(20)).await;
    assert!(agent.terminate(secs(15)).await.success());
    let everything = world.journal.everything();
    let mut wrong = everything.iter().filter(|line| line.text("level") != "INFO");
    assert!(wrong.next().is_none(), "a right is missing all the same");
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_right_too_many_is_told_with_what_comes_of_it() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = config(&world).await;
    let mount = world.mount();
    let all = "[\"create\", \"read\", \"update\", \"delete\", \"list\"]";
    let more = "path \"auth/token/create\" { capabilities = [\"update\", \"sudo\"] }
        path \"sys/leases/revoke\" { capabilities = [\"update\"] }
        path \"sys/policies/acl/*\" { capabilities = [\"update\"] }";
    let policy = format!(
        "path \"secret/*\" {{ capabilities = {all} }}
         path \"{mount}/*\" {{ capabilities = {all} }}
         {more}"
    );
    set_policy(&world, &policy).await;
    let (code, said, complained) = check(&world, &config, &["--online"]);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    let mail = format!("secret/data/{}/mail", world.name);
    line(&said, &format!("may create, update, delete `{mail}`: it is only read here"));
    line(&said, "every secret of the mount could be read");
    line(&said, &format!("`{mount}/roles/{}`: what a login may do could be changed", world.name));
    line(&said, "logins of every role could be made");
    line(&said, "may sudo `auth/token/create`: tokens with any policy could be made");
    line(&said, "it could give itself every right");
    assert_eq!(rows(&said, "missing"), [] as [&str; 0], "{said}");
    assert!(rows(&said, "too much").iter().all(|row| !row.contains("sys/mounts")), "{said}");
    assert_clean(&world).await;

    let mut config = config;
    world.write("token", &crate::support::from_servers("VAULT_TOKEN"));
    config["vault"]["auth"] = json!({ "token_file": world.path("token") });
    let (code, said, complained) = check(&world, &config, &["--online"]);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    let [row] = rows(&said, "too much")[..] else { panic!("{said}") };
    assert!(row.contains("it is root's"), "{said}");
    assert_clean(&world).await;
}

#[tokio::test]
async fn what_fails_is_told_with_a_hint_and_has_its_code() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let good = config(&world).await;
    let failed = |config: &Value, code: i32, why: &str, hint: &str| {
        let (exit, said, complained) = check(&world, config, &["--online"]);
        assert_eq!((exit, complained.as_str()), (code, ""), "{said}");
        let row = line(&said, why);
        assert!(row.starts_with("failed") || row.starts_with("missing"), "{said}");
        line(&said, hint);
    };
    let mut config = good.clone();
    config["secrets"]["db"]["connection"]["port"] = json!(9);
    failed(&config, 69, "log in to `127.0.0.1:9/", "hint: see whether the database runs");
    let mut config = good.clone();
    config["secrets"]["db"]["connection"]["dbname"] = json!("nowhere");
    failed(&config, 77, "does not exist", "what was made here is ended");
    let mut config = good.clone();
    config["secrets"]["mail"]["kv"]["path"] = json!(format!("{}/none", world.name));
    failed(&config, 78, "/none`: vault answered 404", "hint: compare mount, name");
    let mut config = good.clone();
    config["secrets"]["mail"]["kv"]["path"] = json!("other/mail");
    let policy_line = "add: path \"secret/data/other/mail\" { capabilities = [\"read\"] }";
    failed(&config, 77, "read `secret/data/other/mail`", policy_line);
    assert_clean(&world).await;

    let mut config = good.clone();
    config["vault"]["address"] = json!("http://127.0.0.1:9");
    failed(&config, 69, "no connection to `http://127.0.0.1:9`", "hint: see whether Vault runs");
    world.write("secret_id", "wrong-secret-id");
    failed(&good, 77, "invalid role or secret ID", "hint: write the role's id");
    world.wrap_secret_id().await;
    let mut config = good;
    config["vault"]["auth"]["approle"]["wrapped"] = json!(true);
    failed(&config, 78, "the secret id is still wrapped", "hint: what logs in only once");
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_signal_in_the_middle_leaves_nothing_behind() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    proxy.rule(|_, path| match path.contains("/creds/") {
        true => Verdict::Late(secs(2)),
        false => Verdict::Pass,
    });
    let mut config = config(&world).await;
    config["vault"]["address"] = json!(proxy.address);
    world.write("check.yaml", &config.to_string());
    let mut child = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .args(["check", "--online", "--config"])
        .arg(world.path("check.yaml"))
        .env_clear()
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The login is made, and its answer is on the way.
    eventually("a login is made", secs(30), async || {
        (world.users().await.len() == 1).then_some(())
    })
    .await;
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let status = eventually("it ends", secs(30), async || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(143));
    assert_clean(&world).await;
}
