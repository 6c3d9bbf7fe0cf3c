//! `leasehold::vault` against the real server, and against scripted ones for what a real one does
//! not do on demand.

mod database;
mod kv;
mod scripted;
mod tls;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use leasehold::error::{Class, Failure};
use leasehold::secret::Secret;
use leasehold::vault::{Auth, Settings, Vault};

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
        auth: Auth::Token(Secret::new("unused".into())),
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
