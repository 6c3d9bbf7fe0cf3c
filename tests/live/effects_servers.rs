//! The servers that `make test` starts, and small ones that the tests start themselves.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::free_port;

/// Long enough for the slowest machine; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{:016x}", fastrand::u64(..))
}

/// Tries until it gives something.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// A Vault with somebody who may do anything.
pub struct Admin {
    pub address: String,
    token: String,
    namespace: Option<String>,
    client: reqwest::Client,
}

impl Admin {
    pub fn from_env() -> Self {
        Self::new(env("LEASEHOLD_TEST_VAULT_ADDR"), env("LEASEHOLD_TEST_VAULT_TOKEN"))
    }

    pub fn new(address: String, token: String) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, token, namespace: None, client }
    }

    pub fn inside(&self, namespace: &str) -> Self {
        Self {
            address: self.address.clone(),
            token: self.token.clone(),
            namespace: Some(namespace.to_owned()),
            client: self.client.clone(),
        }
    }

    pub async fn try_call(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}/v1/{path}", self.address))
            .header("x-vault-token", &self.token)
            .body(body.to_string());
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let response = request.send().await.ok()?;
        let success = response.status().is_success();
        let text = response.text().await.ok()?;
        assert!(success, "{path}: {text}");
        Some(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        self.try_call(method, path, &body).await.unwrap_or_else(|| panic!("{path}: no answer"))
    }

    /// What `path` answers, in a wrapping token.
    pub async fn wrapped(&self, path: &str, body: Value, ttl: &str) -> leasehold::secret::Secret {
        let mut request = self
            .client
            .post(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", &self.token)
            .header("x-vault-wrap-ttl", ttl)
            .body(body.to_string());
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let text = request.send().await.unwrap().text().await.unwrap();
        secret(&serde_json::from_str::<Value>(&text).unwrap()["wrap_info"]["token"])
    }

    pub async fn policy(&self, rules: &str) -> String {
        let name = unique("p");
        self.call("PUT", &format!("sys/policies/acl/{name}"), json!({ "policy": rules })).await;
        name
    }

    /// A token with `facts`, as `auth/token/create` takes them.
    pub async fn token(&self, facts: Value) -> leasehold::secret::Secret {
        let made = self.call("POST", "auth/token/create", facts).await;
        secret(&made["auth"]["client_token"])
    }

    /// A database engine for the tests' PostgreSQL at `port`, with a role `app`; its mount.
    pub async fn database(&self, port: u16) -> String {
        let mount = unique("db");
        self.call("POST", &format!("sys/mounts/{mount}"), json!({ "type": "database" })).await;
        let (user, password) =
            (env("LEASEHOLD_TEST_PG_SUPERUSER"), env("LEASEHOLD_TEST_PG_PASSWORD"));
        let host = env("LEASEHOLD_TEST_PG_HOST");
        let config = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url":
                format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/postgres?sslmode=disable&connect_timeout=2"),
            "username": user,
            "password": password,
        });
        self.call("POST", &format!("{mount}/config/pg"), config).await;
        let role = json!({
            "db_name": "pg",
            "default_ttl": "1h",
            "max_ttl": "2h",
            "creation_statements": [
                "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
            ],
            "revocation_statements": ["DROP ROLE IF EXISTS \"{{name}}\""],
        });
        self.call("POST", &format!("{mount}/roles/app"), role).await;
        mount
    }

    pub async fn kv(&self) -> String {
        let mount = unique("kv");
        let facts = json!({ "type": "kv", "options": { "version": "2" } });
        self.call("POST", &format!("sys/mounts/{mount}"), facts).await;
        // The engine answers 400 while it readies itself.
        let probe = format!("{}/v1/{mount}/config", self.address);
        eventually("the KV engine is ready", async || {
            let mut request = self.client.get(&probe).header("x-vault-token", &self.token);
            if let Some(namespace) = &self.namespace {
                request = request.header("x-vault-namespace", namespace);
            }
            request.send().await.ok().filter(|response| response.status().is_success())
        })
        .await;
        mount
    }
}

pub fn secret(text: &Value) -> leasehold::secret::Secret {
    leasehold::secret::Secret::new(text.as_str().unwrap().to_owned())
}

pub fn pg_port() -> u16 {
    env("LEASEHOLD_TEST_PG_PORT").parse().unwrap()
}

/// A child process that ends with its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A private PostgreSQL with TLS, its certificate in `dir/server.{crt,key}`.
pub async fn postgres_with_tls(dir: &Path, hba: &str) -> (Running, u16) {
    let bin = PathBuf::from(env("LEASEHOLD_TEST_PG_BIN"));
    let data = dir.join("data");
    // PostgreSQL refuses to run as root.
    let uid =
        if nix::unistd::geteuid().is_root() { 65534 } else { nix::unistd::geteuid().as_raw() };
    let own = |path: &Path| chown(path, Some(uid), None).unwrap();
    own(dir);
    let password = dir.join("password");
    std::fs::write(&password, "hunter2").unwrap();
    own(&password);
    let made = Command::new(bin.join("initdb"))
        .args(["-U", "postgres", "-A", "scram-sha-256", "--no-sync", "--pwfile"])
        .args([&password, Path::new("-D"), &data])
        .current_dir(dir)
        .uid(uid)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
    for name in ["server.crt", "server.key"] {
        let to = data.join(name);
        std::fs::copy(dir.join(name), &to).unwrap();
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        own(&to);
    }
    let port = free_port();
    let server = Command::new(bin.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"])
        .args(["-c", "fsync=off", "-k"])
        .arg(dir)
        .current_dir(dir)
        .uid(uid)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Running(server), port)
}

/// Runs `openssl` in `dir`.
pub fn openssl(dir: &Path, arguments: &str) {
    let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(ran.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// A CA and a certificate for `localhost`, as `ca.crt`, `server.crt` and `server.key` in `dir`;
/// `days` below zero make one that has expired.
pub fn certificates(dir: &Path, days: i32) {
    certificates_for(dir, days, "DNS:localhost");
}

/// The same for the `names` of a subjectAltName.
pub fn certificates_for(dir: &Path, days: i32, names: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.crt -days 3 -subj /CN=test-ca"));
    openssl(dir, &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
    std::fs::write(dir.join("ext"), extensions).unwrap();
    openssl(
        dir,
        &format!(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt \
             -days {days} -extfile ext"
        ),
    );
}

/// What a [`Script`] does after it has read a request.
#[derive(Clone)]
pub enum Act {
    /// Sends these bytes and closes.
    Say(String),
    /// Sends these bytes and keeps the connection open.
    Stall(String),
}

impl Act {
    pub fn answer(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Say(format!(
            "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

/// A server that plays the acts one a connection, the last one again and again, and keeps what
/// it was sent.
pub struct Script {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Script {
    pub async fn play(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut stalled = Vec::new();
            for turn in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let request = read_request(&mut stream).await;
                kept.lock().unwrap().push(request);
                match &acts[turn.min(acts.len() - 1)] {
                    Act::Say(bytes) => {
                        let _ = stream.write_all(bytes.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                    Act::Stall(bytes) => {
                        let _ = stream.write_all(bytes.as_bytes()).await;
                        stalled.push(stream);
                    }
                }
            }
        });
        Self { address, seen, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, head and body.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Passes connections on to `port` until it is dropped, and then cuts them.
pub struct Forward {
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Forward {
    pub async fn to(target: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut pairs = tokio::task::JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let target = target.clone();
                pairs.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { port, task }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
