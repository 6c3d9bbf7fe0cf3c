//! A test's own corner of the shared servers: mount, role, database, AppRole, directory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::agent::{Agent, Journal};
use super::bao::Bao;
use super::bootstrap::{Bootstrap, hand_over, of_database};
use super::postgres::{Login, Postgres};
use super::unique;

const TABLES: &str = include_str!("../../examples/demo/tables.sql");

/// What a test may want otherwise than the rest.
#[derive(Clone)]
pub struct Terms {
    /// A lease's term and the longest that renewals reach, in Vault's words.
    pub ttl: &'static str,
    pub max_ttl: &'static str,
    /// The AppRole's token settings.
    pub token: Value,
    /// Whether the policy allows to issue, and to revoke leases.
    pub may_issue: bool,
    pub may_revoke: bool,
    /// Whether it allows a child token for each lease.
    pub may_create_tokens: bool,
    /// Where Vault finds PostgreSQL, when not directly.
    pub postgres_port: Option<u16>,
}

impl Terms {
    pub fn of(ttl: &'static str, max_ttl: &'static str) -> Self {
        Self {
            ttl,
            max_ttl,
            token: json!({ "token_period": "1h" }),
            may_issue: true,
            may_revoke: true,
            may_create_tokens: true,
            postgres_port: None,
        }
    }
}

/// One test's corner.
pub struct World {
    pub bao: Bao,
    pub postgres: Postgres,
    /// Names the mount, the role, the policy and the database.
    pub name: String,
    pub journal: Journal,
    /// The publish directory, below the test's own.
    pub publish_in: PathBuf,
    /// From where an application sees the published files.
    pub view: PathBuf,
    /// What the programs find in their environment beside the service file's path.
    pub environment: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl World {
    /// Sets everything up; the agent is not started.
    pub async fn new(terms: Terms) -> Self {
        Self::on(Bao::shared(), Postgres::shared(), terms).await
    }

    /// The same on servers of the test's own.
    pub async fn on(bao: Bao, postgres: Postgres, terms: Terms) -> Self {
        let world = Self {
            bao,
            postgres,
            name: unique(),
            journal: Journal::default(),
            publish_in: PathBuf::from("run"),
            view: PathBuf::from("/"),
            environment: Vec::new(),
            directory: private_directory(),
        };
        world.set_up(&terms).await;
        world
    }

    async fn set_up(&self, terms: &Terms) {
        self.postgres.run("postgres", &format!("CREATE DATABASE {}", self.name)).await;
        self.postgres.run(&self.name, TABLES).await;
        let (name, mount) = (&self.name, self.mount());
        let port = terms.postgres_port.unwrap_or(self.postgres.port);
        let (postgres, mut database) = of_database(&self.postgres, name, &self.admin(), port);
        database["mount"] = json!(mount);
        database["roles"] = json!({ name: {
            "group": "intelligence_role", "default_ttl": terms.ttl, "max_ttl": terms.max_ttl,
        } });
        let mut policy = json!({
            format!("secret/data/{name}/*"): ["read"],
            format!("secret/metadata/{name}/*"): ["read"],
        });
        if terms.may_issue {
            policy[format!("{mount}/creds/{name}")] = json!(["read"]);
        }
        if terms.may_revoke {
            policy["sys/leases/revoke"] = json!(["update"]);
        }
        if terms.may_create_tokens {
            policy["auth/token/create"] = json!(["update"]);
        }
        let mut role = terms.token.clone();
        role["token_policies"] = json!([name]);
        let bootstrap = Bootstrap::new(&self.bao, &self.postgres, self.path("bootstrap.yaml"));
        bootstrap.write(&json!({
            "vault": self.bao.settings(),
            "postgres": postgres,
            "database": database,
            "policies": { name: policy },
            "auth": { "approle": { "type": "approle", "roles": { name: role } } },
        }));
        bootstrap.apply_beside().await;
        hand_over(&self.bao, &format!("auth/approle/role/{name}"), self.directory.path()).await;
    }

    /// The role that Vault logs in to the database as. Tests run side by side, and Vault gives it a
    /// password that only Vault knows.
    pub fn admin(&self) -> String {
        format!("vault-{}", self.name)
    }

    /// Adds a rule to the agent's policy.
    pub async fn allow(&self, rule: &str) {
        let path = format!("sys/policies/acl/{}", self.name);
        let found = self.bao.must("GET", &path, None).await;
        let policy = format!("{}\n{rule}\n", found["data"]["policy"].as_str().unwrap());
        self.bao.must("POST", &path, Some(json!({ "policy": policy }))).await;
    }

    /// Writes a secret id to its file, wrapped; gives the wrapping token.
    pub async fn wrap_secret_id(&self) -> String {
        let path = format!("auth/approle/role/{}/secret-id", self.name);
        let token = self.bao.wrapped(&path).await;
        self.write("secret_id", &token);
        token
    }

    /// The database engine's mount.
    pub fn mount(&self) -> String {
        format!("database-{}", self.name)
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of the publish directory, as an application sees it.
    pub fn published(&self, file: &str) -> PathBuf {
        let path = self.directory.path().join(&self.publish_in).join(file);
        self.view.join(path.strip_prefix("/").unwrap())
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A configuration that keeps one login fresh; tests change what they are about.
    pub fn config(&self) -> Value {
        let mut vault = self.bao.settings();
        vault["auth"] = json!({ "approle": {
            "role_id_file": self.path("role_id"),
            "secret_id_file": self.path("secret_id"),
        } });
        json!({
            "instance": self.name,
            "vault": vault,
            "secrets": { "db": {
                "database": { "mount": self.mount(), "role": self.name },
                "connection": {
                    "host": self.postgres.host, "port": self.postgres.port,
                    "dbname": self.name, "sslmode": "disable",
                },
                "confirm": "moved",
                "grace": "5s",
                "lookup": "1s",
            } },
            "publish": {
                "directory": self.path("run"),
                "mode": "0440",
                "files": {
                    "db/pg_service.conf": {
                        "format": "pg_service", "secret": "db", "alias": "demo",
                    },
                },
            },
            "state": { "directory": self.path("state") },
            "listen": { "probes": "127.0.0.1:0", "metrics": "127.0.0.1:0" },
            "on_stop": "revoke",
            "log": { "level": "debug", "format": "json" },
        })
    }

    /// Starts the agent with `config`.
    pub fn start(&self, config: &Value) -> Agent {
        self.start_service("leasehold", config)
    }

    /// As `start`, for one of several agents that run at the same time.
    pub fn start_service(&self, name: &str, config: &Value) -> Agent {
        self.prepare(name, config);
        Agent::start(&self.path(&format!("{name}.yaml")), self.journal.clone())
    }

    /// Runs `init` with `config`; it ends by itself.
    pub fn init(&self, config: &Value, arguments: &[&str]) -> Agent {
        self.prepare("leasehold", config);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_leasehold"));
        command.arg("init").arg("--config").arg(self.path("leasehold.yaml")).args(arguments);
        Agent::spawn(&mut command, self.journal.clone())
    }

    /// Makes the directories and writes `config` down as YAML's subset JSON.
    pub fn prepare(&self, name: &str, config: &Value) {
        for section in ["publish", "state"] {
            let path = Path::new(config[section]["directory"].as_str().unwrap());
            if !path.exists() {
                std::fs::create_dir_all(path).unwrap();
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
            }
        }
        self.write(&format!("{name}.yaml"), &serde_json::to_string_pretty(config).unwrap());
    }

    /// Starts the agent and waits until its first generation is visible.
    pub async fn start_and_publish(&self, config: &Value) -> Agent {
        let agent = self.start(config);
        self.wait_published().await;
        agent
    }

    /// Waits until the first generation is visible.
    pub async fn wait_published(&self) {
        let log = &self.journal;
        super::eventually("a login is published", super::secs(15), async || {
            self.login().or_else(|| {
                assert!(log.first("stopped").is_none(), "the agent stopped");
                None
            })
        })
        .await;
    }

    /// The login that an application finds in the service file.
    pub fn login(&self) -> Option<Login> {
        login_in(&self.published("db/pg_service.conf"))
    }

    /// Leases of the test's role, as Vault lists them.
    pub async fn leases(&self) -> Vec<String> {
        self.bao.leases(&format!("{}/creds/{}", self.mount(), self.name)).await
    }

    /// Leased users of the test's role that PostgreSQL has. A user's name holds the first eight
    /// characters of the role's.
    pub async fn users(&self) -> Vec<String> {
        let pattern = format!("v-%-{}-%", self.name);
        let sql = format!("SELECT rolname::text FROM pg_roles WHERE rolname LIKE '{pattern}'");
        self.postgres.column("postgres", &sql).await
    }

    /// Whether the published login works now.
    pub async fn works(&self, login: &Login) -> bool {
        self.postgres.try_login(login, &self.name).await.is_ok()
    }
}

/// User and password of a libpq service file.
pub fn login_in(path: &Path) -> Option<Login> {
    let text = std::fs::read_to_string(path).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    Some(Login { user: field("user")?, password: field("password")? })
}

/// A directory in memory that only we may enter.
fn private_directory() -> TempDir {
    let directory =
        tempfile::Builder::new().prefix("leasehold-live-").tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
    directory
}
