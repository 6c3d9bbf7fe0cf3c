//! `leasehold vault`, as the administrator of a test's servers runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::bao::Bao;
use super::postgres::Postgres;

/// A file that says what the servers are to be like, and who may make them so.
#[derive(Clone)]
pub struct Bootstrap {
    bao: Bao,
    postgres: Postgres,
    pub file: PathBuf,
    /// What else is in the environment.
    pub environment: Vec<(&'static str, String)>,
}

impl Bootstrap {
    pub fn new(bao: &Bao, postgres: &Postgres, file: PathBuf) -> Self {
        let (bao, postgres) = (bao.clone(), postgres.clone());
        Self { bao, postgres, file, environment: Vec::new() }
    }

    pub fn write(&self, wanted: &Value) {
        std::fs::write(&self.file, serde_json::to_string_pretty(wanted).unwrap()).unwrap();
    }

    /// What an administrator has in the environment.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = [("VAULT_TOKEN", self.bao.token()), ("PGPASSWORD", self.postgres.password())];
        own.into_iter().chain(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// `leasehold vault` with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
        command
            .env_clear()
            .envs(self.variables())
            .arg("vault")
            .args(words)
            .arg("--config")
            .arg(&self.file)
            .stdin(Stdio::null());
        command
    }

    /// What it says, having ended with `code`. No password of the environment is in it.
    pub fn run(&self, words: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let (said, told) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{words:?}\n{said}\n{told}");
        let passwords = self.environment.iter().filter(|(name, _)| name.ends_with("PASSWORD"));
        let passwords = passwords.map(|(_, value)| value.as_str());
        for secret in passwords.chain([self.bao.token(), self.postgres.password()]) {
            assert!(!said.contains(secret) && !told.contains(secret), "a secret is shown");
        }
        said
    }

    pub fn apply(&self) {
        self.run(&["bootstrap", "apply", "--yes"], 0);
    }

    /// The same, while proxies and gates of the test go on.
    pub async fn apply_beside(&self) {
        let bootstrap = self.clone();
        tokio::task::spawn_blocking(move || bootstrap.apply()).await.unwrap();
    }
}

/// The `postgres` and `database` of a file for the database `dbname`, whose Vault logs in as
/// `admin` and finds PostgreSQL at `port`.
pub fn of_database(postgres: &Postgres, dbname: &str, admin: &str, port: u16) -> (Value, Value) {
    let host = &postgres.host;
    let of_postgres = json!({
        "connection": {
            "host": host, "port": postgres.port, "dbname": dbname, "sslmode": "disable",
        },
        "superuser": postgres.superuser,
        "groups": { "intelligence_role": { "tables": "all" } },
    });
    let of_vault = json!({
        "connection": "postgres",
        "url": format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/{dbname}?sslmode=disable"
        ),
        "admin": admin,
    });
    (of_postgres, of_vault)
}

/// The two ids of an AppRole, as somebody who may see them hands them over.
pub async fn hand_over(bao: &Bao, role: &str, directory: &Path) {
    let id = bao.must("GET", &format!("{role}/role-id"), None).await;
    let secret = bao.must("POST", &format!("{role}/secret-id"), Some(json!({}))).await;
    for (name, answer) in [("role_id", id), ("secret_id", secret)] {
        std::fs::write(directory.join(name), answer["data"][name].as_str().unwrap()).unwrap();
    }
}
