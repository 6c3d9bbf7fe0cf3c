//! `leasehold check --timeline` against the real Vault.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

/// Exit code, standard output, standard error.
pub fn check(world: &World, config: &Value, arguments: &[&str]) -> (i32, String, String) {
    world.write("check.yaml", &config.to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_leasehold"))
        .arg("check")
        .arg("--config")
        .arg(world.path("check.yaml"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Nothing that was made to learn the terms is left.
pub async fn assert_clean(world: &World) {
    eventually("nothing is left", secs(10), async || {
        (world.leases().await.is_empty()
            && world.users().await.is_empty()
            && world.bao.sessions(&world.name).await.is_empty())
        .then_some(())
    })
    .await;
}

pub fn line<'a>(text: &'a str, what: &str) -> &'a str {
    text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {text}"))
}

#[tokio::test]
async fn the_guides_login_has_its_days_told_and_nothing_is_left() {
    let world = World::new(Terms::of("24h", "72h")).await;
    let mut config = world.config();
    config["secrets"]["db"]["grace"] = json!("5m");
    let (code, said, complained) = check(&world, &config, &["--timeline"]);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    assert!(said.contains("one login is made, and ended at once"), "{said}");
    line(&said, "`db`: a login lives 24h, and 72h with renewals");
    line(&said, "the token lives 1h, and is renewed without end");
    assert_eq!(said.matches("login 1 renewed").count(), 3, "{said}");
    let replaced = line(&said, "it replaces login 1").trim();
    let hour = replaced.split('h').next().unwrap();
    assert!(["+66", "+67"].contains(&hour), "{replaced}");
    line(&said, "gets its grace of 5m");
    assert_clean(&world).await;
    let users = world.leases().await;
    assert!(users.is_empty());
    for path in ["run", "state"] {
        assert!(!world.path(path).exists(), "{path} was made");
    }
}

#[tokio::test]
async fn a_grace_that_cannot_be_kept_is_refused_with_the_largest_that_can() {
    let mut terms = Terms::of("6s", "20s");
    terms.may_revoke = false;
    let world = World::new(terms).await;
    let mut config = world.config();
    config["secrets"]["db"]["grace"] = json!("1m");
    let (code, said, complained) = check(&world, &config, &["--timeline"]);
    assert_eq!(code, 78, "{said}{complained}");
    line(&said, "`db`: a login lives 6s, and 20s with renewals");
    line(&complained, "secrets.db.grace: 1m cannot be kept; the largest that can is 6s");
    line(&complained, "hint: shorten `grace`");
    assert_clean(&world).await;

    config["secrets"]["db"]["grace"] = json!("6s");
    let (code, said, complained) = check(&world, &config, &["--timeline"]);
    assert_eq!(code, 0, "{said}{complained}");
    assert_clean(&world).await;
}

#[tokio::test]
async fn a_role_that_may_be_read_costs_no_login() {
    let world = World::new(Terms::of("24h", "72h")).await;
    let policy = format!(
        "path \"{0}/roles/{1}\" {{ capabilities = [\"read\"] }}\n\
         path \"sys/mounts/{0}/tune\" {{ capabilities = [\"read\"] }}\n",
        world.mount(),
        world.name
    );
    let body = json!({ "policy": policy });
    world.bao.must("POST", &format!("sys/policies/acl/{}", world.name), Some(body)).await;
    // Not even the right to make one is there.
    let (code, said, complained) = check(&world, &world.config(), &["--timeline"]);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    line(&said, "`db`: a login lives 24h, and 72h with renewals");
    assert!(!said.contains("one login is made"), "{said}");
    assert_clean(&world).await;
}

#[tokio::test]
async fn what_does_not_answer_or_refuses_has_its_code() {
    let mut terms = Terms::of("24h", "72h");
    terms.may_issue = false;
    let world = World::new(terms).await;
    let (code, _, complained) = check(&world, &world.config(), &["--timeline"]);
    assert_eq!(code, 77, "{complained}");
    line(&complained, "hint: the token's policy needs: path");
    assert_clean(&world).await;
    let mut config = world.config();
    config["vault"]["address"] = json!("http://127.0.0.1:9");
    assert_eq!(check(&world, &config, &["--timeline"]).0, 69);
    // Without the flag nobody is asked.
    let (code, said, complained) = check(&world, &config, &[]);
    assert_eq!((code, complained.as_str()), (0, ""));
    line(&said, "secret     db  ");
    config["secrts"] = json!({});
    assert_eq!(check(&world, &config, &[]).0, 78);
}
