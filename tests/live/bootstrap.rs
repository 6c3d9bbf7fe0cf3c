//! `leasehold vault bootstrap` and `vault doctor` on real servers.

mod guide;
mod interrupted;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::support::bao::Bao;
use crate::support::bootstrap::{Bootstrap, of_database};
use crate::support::postgres::{Login, Postgres, refused};
use crate::support::{eventually, secs, unique};

const TABLES: &str = "CREATE TABLE users (id bigserial PRIMARY KEY);
    CREATE TABLE memories (id bigserial PRIMARY KEY);";

/// What stands in no output.
const FIRST_PASSWORD: &str = "first-password-of-vault";

/// A file of the test's own on the shared servers. Everything is named after the test: roles of the
/// database are everybody's.
struct Site {
    name: String,
    bao: Bao,
    postgres: Postgres,
    bootstrap: Bootstrap,
    _directory: TempDir,
}

impl Site {
    async fn new() -> Self {
        let (name, bao, postgres) = (unique(), Bao::shared(), Postgres::shared());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bootstrap.yaml");
        let mut bootstrap = Bootstrap::new(&bao, &postgres, file);
        bootstrap.environment = vec![("VAULT_ADMIN_PASSWORD", FIRST_PASSWORD.to_owned())];
        postgres.run("postgres", &format!("CREATE DATABASE {name}")).await;
        postgres.run(&name, TABLES).await;
        let site = Self { name, bao, postgres, bootstrap, _directory: directory };
        site.bootstrap.write(&site.file());
        site
    }

    fn file(&self) -> Value {
        let Self { name, postgres, .. } = self;
        let (all, some) = (format!("{name}-all"), format!("{name}-some"));
        let (mut of_postgres, mut database) =
            of_database(postgres, name, &self.admin(), postgres.port);
        of_postgres["groups"] = json!({
            &all: { "tables": "all", "creates": true },
            &some: { "tables": ["users"] },
        });
        of_postgres["apart"] = json!(["audit"]);
        database["mount"] = json!(self.mount());
        database["roles"] = json!({
            "all": { "group": all, "default_ttl": "1h", "max_ttl": "2h" },
            "some": { "group": some, "default_ttl": "1h", "max_ttl": "2h" },
        });
        json!({
            "vault": { "address": self.bao.address },
            "postgres": of_postgres,
            "database": database,
            "engines": { format!("secret-{name}"): { "type": "kv", "version": 2 } },
            "policies": { name: { format!("{}/creds/all", self.mount()): ["read"] } },
            "auth": {
                format!("approle-{name}"): {
                    "type": "approle",
                    "roles": { "app": { "token_policies": [name], "token_period": "1h" } },
                },
            },
            "identity": {
                "keys": { name: { "allowed_client_ids": [name], "rotation_period": "24h" } },
                "roles": { name: { "key": name, "client_id": name, "ttl": "1h" } },
            },
        })
    }

    fn mount(&self) -> String {
        format!("database-{}", self.name)
    }

    fn admin(&self) -> String {
        format!("{}-admin", self.name)
    }

    async fn first_password_is_refused(&self) {
        let login = Login { user: self.admin(), password: FIRST_PASSWORD.to_owned() };
        let state = self.postgres.connect(&login, &self.name).await.err();
        assert!(state.as_deref().is_some_and(refused), "{state:?}");
    }

    /// A login of `role`, its lease, and a session with it.
    async fn issued(&self, role: &str) -> (Login, String, Client) {
        let path = format!("{}/creds/{role}", self.mount());
        let answer = self.bao.must("GET", &path, None).await;
        let text = |pointer: &str| answer.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let login = Login { user: text("/data/username"), password: text("/data/password") };
        let session = self.postgres.connect(&login, &self.name).await.unwrap();
        (login, text("/lease_id"), session)
    }

    async fn revoke(&self, lease: &str) -> u16 {
        let body = json!({ "lease_id": lease, "sync": true });
        self.bao.ask("POST", "sys/leases/revoke", Some(body)).await.0
    }

    async fn users(&self, login: &Login) -> usize {
        let sql = format!("SELECT rolname::text FROM pg_roles WHERE rolname = '{}'", login.user);
        self.postgres.column("postgres", &sql).await.len()
    }
}

#[tokio::test]
async fn one_command_sets_up_and_the_next_has_nothing_to_do() {
    let site = Site::new().await;
    let bootstrap = &site.bootstrap;
    // Without an answer nothing is done.
    assert!(bootstrap.run(&["bootstrap", "apply"], 75).contains("nothing is changed"));
    let planned = bootstrap.run(&["bootstrap", "plan"], 1);
    assert!(planned.contains(&format!("+ role \"{}-all\"", site.name)), "{planned}");
    assert!(planned.contains("stays outside of Vault"), "{planned}");
    bootstrap.apply();
    site.first_password_is_refused().await;
    for words in [&["bootstrap", "plan"][..], &["bootstrap", "apply", "--yes"]] {
        let said = bootstrap.run(words, 0);
        assert!(said.contains("no change"), "{said}");
    }
    let proved = bootstrap.run(&["doctor"], 0);
    assert!(proved.contains("all as it should be"), "{proved}");
}

/// A server's databases have its roles in common, and a lock in one keeps nobody out of the other.
#[tokio::test]
async fn two_databases_of_one_server_are_set_up_at_once() {
    for _ in 0..4 {
        let (one, two) = (Site::new().await, Site::new().await);
        let mut file = two.file().to_string();
        for group in ["all", "some"] {
            file = file.replace(&format!("{}-{group}", two.name), &format!("{}-{group}", one.name));
        }
        two.bootstrap.write(&serde_json::from_str(&file).unwrap());
        tokio::join!(one.bootstrap.apply_beside(), two.bootstrap.apply_beside());
        for site in [one, two] {
            assert!(site.bootstrap.run(&["bootstrap", "plan"], 0).contains("no change"));
        }
    }
}

#[tokio::test]
async fn drift_is_named_repaired_and_nothing_else_is_touched() {
    let site = Site::new().await;
    let bootstrap = &site.bootstrap;
    bootstrap.apply();
    let (name, mount) = (&site.name, site.mount());
    let other = json!({ "db_name": "postgres", "creation_statements": ["SELECT 1;"] });
    site.bao.must("POST", &format!("{mount}/roles/other"), Some(other)).await;

    site.postgres.run(name, &format!("REVOKE INSERT ON users FROM \"{name}-some\"")).await;
    for grant in [
        "SELECT ON memories",
        "SELECT (id) ON memories",
        "CREATE ON SCHEMA public",
        "USAGE ON SCHEMA audit",
    ] {
        site.postgres.run(name, &format!("GRANT {grant} TO \"{name}-some\"")).await;
    }
    let path = format!("{mount}/roles/all");
    site.bao.must("POST", &path, Some(json!({ "renew_statements": ["SELECT 2;"] }))).await;
    let policy = json!({ "policy": "path \"sys/seal\" { capabilities = [\"sudo\"] }" });
    site.bao.must("POST", &format!("sys/policies/acl/{name}"), Some(policy)).await;

    let planned = bootstrap.run(&["bootstrap", "plan"], 1);
    for line in [
        "+ INSERT on users",
        "- SELECT, SELECT (id) on memories",
        "- CREATE",
        &format!("- \"{name}-some\" may enter it"),
        "- renew_statements: SELECT 2;",
        "- path \"sys/seal\" { capabilities = [\"sudo\"] }",
        // The grants on tables are one group's.
        "5 changes",
    ] {
        assert!(planned.contains(line), "{line}\n{planned}");
    }
    let proved = bootstrap.run(&["doctor"], 1);
    for line in ["mend: ", "may not INSERT on `public.users`", "may enter schema `audit`"] {
        assert!(proved.contains(line), "{line}\n{proved}");
    }
    bootstrap.apply();
    // A membership is not ours to take back.
    let above = format!("GRANT pg_read_all_data TO \"{name}-some\"");
    site.postgres.run(name, &above).await;
    let planned = bootstrap.run(&["bootstrap", "plan"], 1);
    assert!(planned.contains("left: role") && planned.contains("pg_read_all_data"), "{planned}");
    assert!(bootstrap.run(&["doctor"], 1).contains("may enter schema `audit`"), "it is entered");
    site.postgres.run(name, &above.replace("GRANT", "REVOKE").replace(" TO ", " FROM ")).await;
    bootstrap.run(&["bootstrap", "plan"], 0);
    let kept = site.bao.must("GET", &format!("{mount}/roles/other"), None).await;
    assert_eq!(kept["data"]["creation_statements"], json!(["SELECT 1;"]));
}

/// As after a restore, or a password that somebody set by hand.
#[tokio::test]
async fn a_password_that_vault_does_not_have_is_found_and_mended() {
    let site = Site::new().await;
    let bootstrap = &site.bootstrap;
    bootstrap.apply();
    let by_hand = format!("ALTER ROLE \"{}\" PASSWORD 'by-hand'", site.admin());
    site.postgres.run("postgres", &by_hand).await;
    let proved = bootstrap.run(&["doctor"], 1);
    assert!(proved.contains("--reset-root"), "{proved}");
    bootstrap.run(&["bootstrap", "apply", "--yes", "--reset-root"], 0);
    bootstrap.run(&["doctor"], 0);
}

#[tokio::test]
async fn what_a_login_made_stays_and_holds_up_no_revocation() {
    let site = Site::new().await;
    site.bootstrap.apply();
    let (login, lease, session) = site.issued("all").await;
    let migration = "CREATE TABLE made (id bigserial PRIMARY KEY); INSERT INTO made DEFAULT VALUES";
    session.batch_execute(migration).await.unwrap();

    assert_eq!(site.revoke(&lease).await, 204);
    // Once more, which is what Vault does when it was cut off.
    assert_eq!(site.revoke(&lease).await, 204);
    assert_eq!(site.users(&login).await, 0);
    eventually("its session is gone with it", secs(10), async || {
        session.batch_execute("SELECT 1").await.is_err().then_some(())
    })
    .await;
    // Another login goes on with the table.
    let (_, _, next) = site.issued("all").await;
    next.batch_execute("INSERT INTO made DEFAULT VALUES; ALTER TABLE made ADD x int")
        .await
        .unwrap();
    // Who may make none makes none.
    let (_, _, some) = site.issued("some").await;
    assert!(some.batch_execute("CREATE TABLE not_made ()").await.is_err());
}

/// Whatever a login does, it cannot stay.
#[tokio::test]
async fn a_login_that_owns_something_as_itself_ends_all_the_same() {
    let site = Site::new().await;
    site.bootstrap.apply();
    let (login, lease, session) = site.issued("some").await;
    session.batch_execute("SET ROLE NONE; SELECT lo_create(0)").await.unwrap();
    assert_eq!(site.revoke(&lease).await, 204);
    assert_eq!(site.users(&login).await, 0);
    assert!(site.postgres.connect(&login, &site.name).await.is_err());
    let owner = "SELECT pg_get_userbyid(lomowner)::text FROM pg_largeobject_metadata";
    assert_eq!(site.postgres.column(&site.name, owner).await, [format!("{}-some", site.name)]);
}

#[tokio::test]
async fn a_user_that_is_gone_already_holds_up_no_revocation() {
    let site = Site::new().await;
    site.bootstrap.apply();
    let (login, lease, session) = site.issued("some").await;
    drop(session);
    let drop = format!("DROP ROLE \"{}\"", login.user);
    site.postgres.run("postgres", &drop).await;
    assert_eq!(site.revoke(&lease).await, 204);
    let left = site.bao.leases(&format!("{}/creds/some", site.mount())).await;
    assert_eq!(left, [""; 0]);
}

/// What somebody else set up is named, and not rebuilt.
#[tokio::test]
async fn what_is_in_the_way_is_told_and_nothing_is_done() {
    let site = Site::new().await;
    let path = format!("sys/mounts/secret-{}", site.name);
    site.bao.must("POST", &path, Some(json!({ "type": "transit" }))).await;
    for words in [&["bootstrap", "plan"][..], &["bootstrap", "apply", "--yes"]] {
        let said = site.bootstrap.run(words, 78);
        assert!(said.contains("in the way: the engine at secret-"), "{said}");
        assert!(said.contains("is `transit`, not `kv`"), "{said}");
    }
    let sql = format!("SELECT rolname::text FROM pg_roles WHERE rolname = '{}'", site.admin());
    assert_eq!(site.postgres.column("postgres", &sql).await, [""; 0]);
}
