//! A static role under a program that logs in all the time with what is published.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold::time::Moment;
use serde_json::json;

use crate::support::hook::Hook;
use crate::support::world::{Terms, World, login_in};
use crate::support::{eventually, now, secs};

/// How long readers may be left with a password that was replaced, mostly, and at the most. The agent
/// asks every 50 ms; the rest is for a machine that is busy.
const GAP: Duration = Duration::from_secs(1);
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// The least that OpenBao takes.
const PERIOD: &str = "5s";

/// How long each row of refusals lasted, and how many logins went well.
#[derive(Default)]
struct Seen {
    gaps: Vec<Duration>,
    refused_since: Option<Moment>,
    logins: usize,
    odd: Vec<String>,
}

#[tokio::test]
async fn readers_see_a_dead_password_for_a_moment_only() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (mount, name) = (world.mount(), &world.name);
    // Of the name that is allowed there is to be one role.
    world.bao.must("DELETE", &format!("{mount}/roles/{name}"), None).await;
    world
        .postgres
        .run(
            "postgres",
            &format!(
                "CREATE ROLE \"shared-{name}\" LOGIN PASSWORD 'first' IN ROLE intelligence_role; \
                 GRANT \"shared-{name}\" TO \"{}\" WITH ADMIN OPTION",
                world.admin()
            ),
        )
        .await;
    let role = json!({
        "db_name": "postgres", "username": format!("shared-{name}"), "rotation_period": PERIOD,
    });
    world.bao.must("POST", &format!("{mount}/static-roles/{name}"), Some(role)).await;
    world
        .allow(&format!("path \"{mount}/static-creds/{name}\" {{ capabilities = [\"read\"] }}"))
        .await;
    let hook = Hook::answering(204, secs(0)).await;
    let mut config = world.config();
    let connection = config["secrets"]["db"]["connection"].clone();
    config["secrets"]["db"] = json!({
        "database": { "mount": mount, "role": name, "static": true }, "connection": connection,
    });
    config["publish"]["files"]["db/pgpass"] = json!({ "format": "pgpass", "secret": "db" });
    config["publish"]["files"]["db/url"] = json!({ "format": "dsn", "secret": "db" });
    config["notify"] = json!([{ "name": "api", "http": { "url": hook.url } }]);
    let agent = world.start_and_publish(&config).await;

    let seen = Arc::new(Mutex::new(Seen::default()));
    let (file, postgres, dbname) =
        (world.published("db/pg_service.conf"), world.postgres.clone(), name.clone());
    let notes = seen.clone();
    let program = tokio::spawn(async move {
        loop {
            let login = login_in(&file).unwrap();
            let result = postgres.try_login(&login, &dbname).await;
            let mut seen = notes.lock().unwrap();
            match result {
                Ok(()) => {
                    seen.logins += 1;
                    let gap = seen.refused_since.take().map(|since| since.until(now()));
                    seen.gaps.extend(gap);
                }
                Err(state) if state == "28P01" => {
                    seen.refused_since.get_or_insert(now());
                }
                Err(other) => seen.odd.push(other),
            }
        }
    });
    world.journal.wait_count("value_read", 6, secs(60)).await;
    eventually("the last of them is told", secs(10), async || {
        (hook.told().len() >= 6).then_some(())
    })
    .await;
    program.abort();

    let seen = seen.lock().unwrap();
    assert_eq!(seen.odd, [] as [String; 0]);
    assert!(seen.logins > 50, "only {} logins", seen.logins);
    println!("gaps: {:?}", seen.gaps);
    let long = seen.gaps.iter().filter(|gap| **gap >= GAP).count();
    assert!(2 * long < seen.gaps.len().max(1), "{:?}", seen.gaps);
    assert!(seen.gaps.iter().all(|gap| *gap < LONGEST_GAP), "{:?}", seen.gaps);
    // One notice for each password, of a version of its own, with the time of the next rotation.
    let told: Vec<_> =
        hook.told().iter().map(|told| told.body["data"]["secrets"][0].clone()).collect();
    for pair in told.windows(2) {
        assert_ne!(pair[0]["version"], pair[1]["version"]);
        assert!(pair[0]["expires_at"].is_string(), "{pair:?}");
    }
    let read = |file: &str| std::fs::read_to_string(world.published(file)).unwrap();
    let login = world.login().unwrap();
    assert!(read("db/pgpass").contains(&format!(":{}:{}", login.user, login.password)));
    assert!(read("db/url").starts_with(&format!("postgresql://{}:", login.user)));
    assert_eq!(world.journal.count("lease_issued"), 0);
    drop(agent);
}
