//! `leasehold doctor leaks` against the real servers.

use serde_json::{Value, json};

use crate::support::canary::Canaries;
use crate::support::doctor::{Examined, leaks, leaks_with};
use crate::support::world::{Terms, World};
use crate::support::{eventually, from_servers, secs};

const AT_ONCE: [&str; 2] = ["--older-than", "0s"];

/// A lease that nobody takes, made by root: its id, user and password.
async fn orphan(world: &World) -> [String; 3] {
    let path = format!("{}/creds/{}", world.mount(), world.name);
    let made = world.bao.must("GET", &path, None).await;
    ["/lease_id", "/data/username", "/data/password"]
        .map(|field| made.pointer(field).unwrap().as_str().unwrap().to_owned())
}

/// A token with these lines for its policy.
async fn token(world: &World, lines: &str) -> String {
    let name = format!("operator-{}", world.name);
    let policy = json!({ "policy": lines });
    world.bao.must("POST", &format!("sys/policies/acl/{name}"), Some(policy)).await;
    let wanted = json!({ "policies": [name], "ttl": "10m" });
    let made = world.bao.must("POST", "auth/token/create", Some(wanted)).await;
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

fn path(world: &World) -> String {
    format!("{}/creds/{}", world.mount(), world.name)
}

fn list_line(world: &World) -> String {
    format!("path \"sys/leases/lookup/{}\" {{ capabilities = [\"list\", \"sudo\"] }}", path(world))
}

/// The row that begins with `owner`.
fn row<'a>(found: &'a Examined, owner: &str) -> &'a str {
    let mut rows = found.said.lines().filter(|line| line.trim_start().starts_with(owner));
    rows.next().unwrap_or_else(|| panic!("no row `{owner}`: {found:?}"))
}

#[tokio::test]
async fn what_an_agent_holds_or_lets_drain_is_no_leak() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    config["secrets"]["db"]["confirm"] = json!("none");
    config["secrets"]["db"]["grace"] = json!("10m");
    let agent = world.start_and_publish(&config).await;
    let found = leaks(&world, &config, &AT_ONCE);
    assert_eq!((found.code, found.complained.as_str()), (0, ""), "{found:?}");
    assert!(found.said.starts_with("nothing is without an owner\n"), "{found:?}");
    let like = format!("1 lease, 1 held by an agent; 1 user like `v-%-{}-%`", world.name);
    assert!(found.said.contains(&like), "{found:?}");
    drop(agent);

    // The next process is told to rotate, and the first login has ten minutes left.
    config["secrets"]["db"]["rotate_every"] = json!("2s");
    let agent = world.start(&config);
    world.journal.wait(0, "rotated", secs(20)).await;
    let found = eventually("one drains", secs(10), async || {
        let found = leaks(&world, &config, &AT_ONCE);
        found.said.contains("draining").then_some(found)
    })
    .await;
    assert_eq!(found.code, 0, "{found:?}");
    let draining = row(&found, "draining");
    assert!(draining.contains("in 9m") || draining.contains("in 10m"), "{draining}");
    let report = leaks(&world, &config, &["--json", "--older-than", "0s"]).json();
    assert_eq!(report["without_owner"], 0, "{report}");
    let state = world.path("state");
    assert_eq!(report["states"], json!([state]), "{report}");
    let leases = report["sources"][0]["leases"].as_array().unwrap();
    assert!(leases.iter().any(|lease| lease["owner"] == "held"), "{report}");
    assert!(leases.iter().all(|lease| lease["state"] == json!(state)), "{report}");
    drop(agent);
}

#[tokio::test]
async fn a_lease_that_nobody_took_is_listed_once_it_is_not_young_and_can_be_ended() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let agent = world.start_and_publish(&config).await;
    let [lease, user, password] = orphan(&world).await;
    let hash = leasehold::secret::Secret::new(lease.clone()).short_hash();

    let young = leaks(&world, &config, &[]);
    assert_eq!(young.code, 0, "{young:?}");
    assert!(row(&young, "young").contains(&hash), "{young:?}");
    let found = leaks(&world, &config, &AT_ONCE);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.said.starts_with("without an owner: 1 lease\n"), "{found:?}");
    let nobody = row(&found, "nobody");
    assert!(nobody.contains(&hash) && nobody.contains(&user), "{nobody}");
    assert!(nobody.contains("in 59m") || nobody.contains("in 1h"), "{nobody}");
    let json = leaks(&world, &config, &["--json", "--older-than", "0s"]);
    let report = json.json();
    assert_eq!((json.code, &report["without_owner"]), (1, &json!(1)), "{report}");
    let users = report["sources"][0]["users"].as_array().unwrap();
    let theirs = users.iter().find(|row| row["user"] == json!(user)).unwrap();
    assert_eq!((&theirs["owner"], &theirs["lease"]), (&json!("lease"), &json!(hash)), "{report}");

    // What has an owner is not ended, and nothing beside it.
    let held = report["sources"][0]["leases"].as_array().unwrap().iter();
    let held = held.clone().find(|lease| lease["owner"] == "held").unwrap();
    let held = held["lease"].as_str().unwrap();
    let refused =
        leaks(&world, &config, &["--older-than", "0s", "--end", held, "--end", hash.as_str()]);
    assert_eq!(refused.code, 64, "{refused:?}");
    assert_eq!(world.leases().await.len(), 2);
    let ended = leaks(&world, &config, &["--older-than", "0s", "--end", hash.as_str()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.said.contains(&format!("lease {hash} has ended")), "{ended:?}");
    assert_eq!(world.bao.lease_ttl(&lease).await, None);
    assert!(world.works(&world.login().unwrap()).await, "the agent's login ended too");

    let mut canaries = Canaries::default();
    let last = lease.rsplit('/').next().unwrap();
    let root = from_servers("VAULT_TOKEN");
    let published = world.login().unwrap().password;
    for (kind, secret) in [
        ("lease id", lease.as_str()),
        ("lease id", last),
        ("password", &password),
        ("published password", &published),
        ("token", &root),
    ] {
        canaries.add(kind, secret);
    }
    for found in [young, found, json, refused, ended] {
        assert_eq!(canaries.found_in(&found.all()), [] as [String; 0], "{found:?}");
    }
    drop(agent);
}

#[tokio::test]
async fn a_user_with_no_lease_is_listed_with_what_ends_it() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let agent = world.start_and_publish(&config).await;
    let user = format!("v-other-{}-abcdefghijklmnopqrst-1700000000", world.name);
    world.postgres.run("postgres", &format!("CREATE ROLE \"{user}\" LOGIN")).await;
    let found = leaks(&world, &config, &["--end", "all"]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.said.starts_with("without an owner: 1 user with no lease\n"), "{found:?}");
    let nobody = row(&found, "nobody");
    assert!(nobody.contains("none  ") && nobody.contains("never"), "{nobody}");
    assert!(nobody.contains("2023-11-14T22:13:20Z") && nobody.ends_with(&user), "{nobody}");
    let statement = found.said.lines().last().unwrap().trim();
    assert!(statement.starts_with("ALTER ROLE"), "{found:?}");
    let narrower = leaks(&world, &config, &["--users", &format!("v-approle-{}-%", world.name)]);
    assert_eq!(narrower.code, 0, "{narrower:?}");
    world.postgres.run("postgres", statement).await;
    assert_eq!(leaks(&world, &config, &[]).code, 0);

    // A pattern that leaves out the agent's own user is another role's.
    let other = leaks(&world, &config, &["--users", "app\\_%"]);
    assert_eq!(other.code, 78, "{other:?}");
    assert!(!other.said.contains("nothing is without an owner"), "{other:?}");
    assert!(other.complained.contains("say how this role's users are called"), "{other:?}");
    drop(agent);
}

#[tokio::test]
async fn an_operators_rights_are_needed_and_named() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let with = |environment: &[(&str, &str)]| leaks_with(&world, &config, &AT_ONCE, environment);
    let nobody = with(&[]);
    let unknown = with(&[("VAULT_TOKEN", "s.canaryOfNoVault1234567")]);
    let weak = token(&world, "path \"secret/none\" { capabilities = [\"read\"] }").await;
    let denied = with(&[("BAO_TOKEN", &weak)]);
    for found in [&nobody, &unknown, &denied] {
        assert_eq!((found.code, found.said.as_str()), (77, ""), "{found:?}");
    }
    for found in [&nobody, &denied] {
        assert!(found.complained.contains(&list_line(&world)), "{found:?}");
    }
    assert!(unknown.complained.contains("does not know this token"), "{unknown:?}");
    assert!(!unknown.complained.contains("canary"), "{unknown:?}");
    assert!(!denied.complained.contains(&weak), "{denied:?}");

    let lines = format!(
        "{}\npath \"sys/leases/lookup\" {{ capabilities = [\"update\"] }}",
        list_line(&world)
    );
    let operator = token(&world, &lines).await;
    world.write("token", &format!("{operator}\n"));
    let file = world.path("token");
    let lease = orphan(&world).await;
    let arguments = [&AT_ONCE[..], &["--token-file", file.to_str().unwrap()]].concat();
    let found = leaks_with(&world, &config, &arguments, &[]);
    assert_eq!(found.code, 1, "{found:?}");
    assert!(found.said.contains("without an owner: 1 lease\n"), "{found:?}");
    assert!(found.said.contains("users could not be looked at"), "{found:?}");
    assert!(found.complained.contains("no state that was read has a login"), "{found:?}");
    assert!(found.said.contains("no agent has a state in"), "{found:?}");
    let all = leaks_with(&world, &config, &[&arguments[..], &["--end", "all"]].concat(), &[]);
    assert_eq!(all.code, 64, "{all:?}");
    assert!(all.complained.contains("no agent's state was read"), "{all:?}");
    let hash = leasehold::secret::Secret::new(lease[0].clone()).short_hash();
    let ending = [&arguments[..], &["--end", hash.as_str()]].concat();
    let refused = leaks_with(&world, &config, &ending, &[]);
    assert_eq!(refused.code, 77, "{refused:?}");
    let line = "path \"sys/leases/revoke\" { capabilities = [\"update\"] }";
    assert!(refused.complained.contains(line), "{refused:?}");
    assert!(world.bao.lease_ttl(&lease[0]).await.is_some(), "it ended");

    // Where no lease is lost and nobody can ask for users, that is no reason to be content.
    world.bao.revoke_lease(&lease[0]).await;
    let unseen = leaks_with(&world, &config, &arguments, &[]);
    assert_eq!(unseen.code, 77, "{unseen:?}");
    assert!(!unseen.said.contains("nothing is without an owner"), "{unseen:?}");
    for word in ["PGUSER", "PGPASSWORD", "PGPASSFILE", "--state"] {
        assert!(unseen.complained.contains(word), "{word}: {unseen:?}");
    }
    let mut bare = config.clone();
    bare["secrets"]["db"].as_object_mut().unwrap().remove("connection");
    bare["secrets"]["db"]["confirm"] = json!("none");
    bare["publish"]["files"] = json!({ "all.json": { "format": "json", "secrets": ["db"] } });
    let bare = leaks_with(&world, &bare, &arguments, &[]);
    assert_eq!(bare.code, 0, "{bare:?}");
    assert!(bare.said.contains("the secret has no `connection`"), "{bare:?}");

    // A file that has no token is no operator's token.
    world.write("empty", "\n");
    for file in ["none", "empty"] {
        let file = world.path(file);
        let none = leaks_with(&world, &config, &["--token-file", file.to_str().unwrap()], &[]);
        assert_eq!((none.code, none.said.as_str()), (77, ""), "{none:?}");
        assert!(none.complained.contains(file.to_str().unwrap()), "{none:?}");
    }
}

#[tokio::test]
async fn the_database_is_asked_as_libpqs_variables_say() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut config = world.config();
    let (root, user, password) =
        (from_servers("VAULT_TOKEN"), from_servers("PG_SUPERUSER"), from_servers("PG_PASSWORD"));
    let [_, orphan, _] = orphan(&world).await;
    let ask = |config: &Value, name: &str, value: &str| {
        let environment = [("VAULT_TOKEN", root.as_str()), ("PGUSER", &user), (name, value)];
        leaks_with(&world, config, &AT_ONCE, &environment)
    };
    world.write("pgpass", &format!("*:*:{}:{user}:{password}\n", world.name));
    let file = world.path("pgpass");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap().to_owned();
    for found in [ask(&config, "PGPASSWORD", &password), ask(&config, "PGPASSFILE", &file)] {
        assert_eq!(found.code, 1, "{found:?}");
        assert!(row(&found, "nobody").contains(&orphan), "{found:?}");
        assert!(!found.all().contains(&password), "{found:?}");
    }

    // A database that is away hides users, and that is not taken for there being none.
    config["secrets"]["db"]["connection"]["port"] = json!(9);
    let away = ask(&config, "PGPASSWORD", &password);
    assert_eq!(away.code, 1, "{away:?}");
    assert!(away.said.contains("users could not be looked at"), "{away:?}");
    let lease = world.leases().await;
    world.bao.revoke_lease(&lease[0]).await;
    assert_eq!(ask(&config, "PGPASSWORD", &password).code, 69);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_not_guessed_at() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let config = world.config();
    let agent = world.start_and_publish(&config).await;
    let other = world.path("other");
    let arguments = ["--state", other.to_str().unwrap()];
    let missing = leaks(&world, &config, &arguments);
    assert_eq!((missing.code, missing.said.as_str()), (73, ""), "{missing:?}");
    std::fs::create_dir(&other).unwrap();
    world.write("other/state.json", "{\"version\":9,\"key\":\"canary\"}");
    let newer = leaks(&world, &config, &arguments);
    assert_eq!((newer.code, newer.said.as_str()), (73, ""), "{newer:?}");
    assert!(newer.complained.contains("version 9, this program knows version 1"), "{newer:?}");

    let mut away = config.clone();
    away["vault"]["address"] = json!("http://127.0.0.1:9");
    assert_eq!(leaks(&world, &away, &[]).code, 69);
    assert_eq!(leaks(&world, &config, &["--secret", "none"]).code, 78);
    assert_eq!(leaks(&world, &config, &["--secret", "db"]).code, 0);
    drop(agent);
}
