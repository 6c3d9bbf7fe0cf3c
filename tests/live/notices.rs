//! Hooks that fail or dawdle, and secrets that are not there, cost no database user.

use serde_json::json;

use crate::support::hook::Hook;
use crate::support::proxy::Proxy;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, quiet, secs};

#[tokio::test]
async fn a_hook_that_always_fails_costs_no_lease_and_is_told_again() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let hook = Hook::answering(500, secs(0)).await;
    let mut config = world.config();
    config["vault"]["address"] = json!(proxy.address);
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);
    let began = now();
    let agent = world.start_and_publish(&config).await;
    eventually("the hook is told again", secs(40), async || (hook.told().len() >= 3).then_some(()))
        .await;
    agent.kill();
    let told = hook.told().len();
    let agent = world.start(&config);
    eventually("the hook is told again after a restart", secs(30), async || {
        (hook.told().len() >= told + 2).then_some(())
    })
    .await;
    quiet(now().until(began + secs(60))).await;

    assert_eq!(proxy.seen("/creds/").len(), 1, "issued more than once");
    assert_eq!(world.leases().await.len(), 1);
    assert!(hook.told().len() < 60, "told {} times in a minute", hook.told().len());
    drop(agent);
}

#[tokio::test]
async fn a_secret_that_is_gone_leaves_the_others_alone() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let hook = Hook::answering(204, secs(0)).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.one-two-three" })).await;
    let mut config = world.config();
    config["vault"]["address"] = json!(proxy.address);
    config["secrets"]["mail"] =
        json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" }, "required": false });
    config["secrets"]["never"] = json!({
        "kv": { "mount": "secret", "path": format!("{}/never", world.name), "poll": "1s" },
        "required": false,
    });
    config["publish"]["files"]["app.env"] =
        json!({ "format": "dotenv", "secrets": ["db", "mail"] });
    config["publish"]["files"]["never.env"] = json!({ "format": "dotenv", "secrets": ["never"] });
    config["notify"] = json!([{ "name": "api", "secrets": ["db"], "http": { "url": hook.url } }]);
    let agent = world.start_and_publish(&config).await;
    let env = eventually("the mail key is published", secs(10), async || {
        let text = std::fs::read_to_string(world.published("app.env")).ok()?;
        text.contains("SG.one-two-three").then_some(text)
    })
    .await;
    eventually("the hook is told", secs(10), async || {
        (!hook.told_of("db").is_empty()).then_some(())
    })
    .await;

    let (mark, polls) = (world.journal.mark(), proxy.seen("/mail").len());
    world.bao.delete_kv(&mail).await;
    world.journal.wait(mark, "read_failed", secs(10)).await;
    eventually("it is asked for again", secs(60), async || {
        (proxy.seen("/mail").len() >= polls + 5).then_some(())
    })
    .await;

    assert_eq!(std::fs::read_to_string(world.published("app.env")).unwrap(), env);
    assert!(!world.published("never.env").exists());
    assert_eq!(proxy.seen("/creds/").len(), 1, "the healthy login was issued again");
    assert_eq!(hook.told_of("db").len(), 1, "the healthy login was told again");
    drop(agent);
}

#[tokio::test]
async fn a_value_that_no_file_can_hold_holds_back_no_other_secret() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.good-value" })).await;
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    config["secrets"]["db"]["rotate_every"] = json!("8s");
    config["publish"]["files"]["key"] =
        json!({ "format": "raw", "secret": "mail", "field": "api_key" });
    let agent = world.start_and_publish(&config).await;
    let key = world.published("key");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), "SG.good-value");

    let mark = world.journal.mark();
    world.bao.put_kv(&mail, json!({ "renamed": "SG.next-value" })).await;
    let failed = world.journal.wait(mark, "read_failed", secs(10)).await;
    assert!(failed.text("error").contains("`api_key`"), "{failed:?}");
    let refused = world.journal.mark();
    world.journal.wait(refused, "rotated", secs(20)).await;
    assert_eq!(std::fs::read_to_string(&key).unwrap(), "SG.good-value");

    world.bao.put_kv(&mail, json!({ "api_key": "SG.mended-value" })).await;
    eventually("the mended value is published", secs(10), async || {
        (std::fs::read_to_string(&key).ok()? == "SG.mended-value").then_some(())
    })
    .await;
    drop(agent);
}

#[tokio::test]
async fn a_slow_hook_delays_no_other_secret() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let hook = Hook::answering(204, secs(15)).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.first-value" })).await;
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    config["publish"]["files"]["mail.env"] = json!({ "format": "dotenv", "secrets": ["mail"] });
    config["notify"] = json!([{
        "name": "api", "secrets": ["db"], "http": { "url": hook.url, "timeout": "20s" },
    }]);
    let agent = world.start_and_publish(&config).await;
    let told =
        eventually("the hook is told", secs(10), async || hook.told().into_iter().next()).await;
    for value in ["SG.second-value", "SG.third-value"] {
        let written = now();
        world.bao.put_kv(&mail, json!({ "api_key": value })).await;
        eventually("the new value is on disk", secs(4), async || {
            let text = std::fs::read_to_string(world.published("mail.env")).ok()?;
            text.contains(value).then_some(())
        })
        .await;
        assert!(written.until(now()) < secs(4));
    }
    assert!(now() < told.at + secs(14), "the hook had answered already: nothing was shown");
    assert_eq!(world.journal.count("delivered"), 0);
    world.journal.wait(0, "delivered", secs(20)).await;
    drop(agent);
}
