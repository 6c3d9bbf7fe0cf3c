//! `leasehold::vault` against the real server, and against scripted ones for what a real one does
//! not do on demand.

mod database;
mod keysets;
mod kv;
mod namespaces;
mod plain;
mod scripted;
pub mod tls;
mod tokens;
mod values;
mod wrapping;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use leasehold::error::{Class, Failure};
use leasehold::secret::Secret;
use leasehold::vault::{Auth, Settings, Vault};
use serde_json::json;

use crate::live::effects_servers::{Admin, secret, unique};

const AGAIN: Class = Class::Again { after: None };

/// A vault whose requests are written down as `operation outcome`.
struct Watched {
    vault: Vault,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    fn new(settings: &Settings) -> Self {
        Self::try_new(settings).unwrap()
    }

    fn try_new(settings: &Settings) -> Result<Self, Failure> {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let observer = Arc::new(move |operation: &'static str, outcome: &'static str, _| {
            kept.lock().unwrap().push(format!("{operation} {outcome}"));
        });
        Ok(Self { vault: Vault::new(settings, b"key", observer)?, requests })
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

/// Settings for calls that bring their own token.
fn settings(address: &str) -> Settings {
    Settings {
        address: address.to_owned(),
        namespace: String::new(),
        ca_cert: None,
        client: None,
        auth: Auth::Token(Secret::new("unused".into())),
    }
}

/// An AppRole `app` on a mount of its own, and a directory for its files.
struct AppRole {
    mount: String,
    role_id: Secret,
    secret_id: Secret,
    dir: tempfile::TempDir,
}

impl AppRole {
    async fn make(admin: &Admin, role: serde_json::Value) -> Self {
        let mount = unique("approle");
        admin.call("POST", &format!("sys/auth/{mount}"), json!({ "type": "approle" })).await;
        admin.call("POST", &format!("auth/{mount}/role/app"), role).await;
        let read = admin.call("GET", &format!("auth/{mount}/role/app/role-id"), json!({})).await;
        let role_id = secret(&read["data"]["role_id"]);
        let path = format!("auth/{mount}/role/app/secret-id");
        let made = admin.call("POST", &path, json!({})).await;
        let secret_id = secret(&made["data"]["secret_id"]);
        Self { mount, role_id, secret_id, dir: tempfile::tempdir().unwrap() }
    }

    /// With the files as a person or a tool would write them.
    fn settings(&self, admin: &Admin, secret_id: &str) -> Settings {
        self.with(admin, secret_id, false)
    }

    fn with(&self, admin: &Admin, secret_id: &str, wrapped: bool) -> Settings {
        let auth = Auth::AppRole {
            mount: self.mount.clone(),
            role_id_file: write(
                self.dir.path(),
                "role-id",
                &format!("{}\r\n", self.role_id.expose()),
            ),
            secret_id_file: write(self.dir.path(), "secret-id", &format!(" {secret_id}\n")),
            wrapped,
        };
        Settings { auth, ..settings(&admin.address) }
    }
}

fn write(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn no_secret_in(failure: &Failure, secrets: &[&Secret]) {
    let shown = format!("{failure} {failure:?}");
    for secret in secrets {
        assert!(!shown.contains(secret.expose()), "{shown}");
    }
}
