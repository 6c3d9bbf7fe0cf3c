//! Certificates of the PKI engine: renewed in time, whole in every generation, adopted by the next
//! process.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags, open, openat};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};

use crate::support::world::{Terms, World};
use crate::support::{eventually, quiet, secs};

const HOST: &str = "api.test.internal";

/// What a server would load of one generation.
struct Set {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca: CertificateDer<'static>,
    /// What the same generation has in one file.
    bundle: Vec<u8>,
}

impl Set {
    /// Of the directory that is visible now, opened once.
    fn open(directory: &Path) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let current = open(directory.join("current"), flags, Mode::empty()).unwrap();
        let read = |name: &str| {
            let file = openat(&current, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            let mut bytes = Vec::new();
            File::from(file.unwrap()).read_to_end(&mut bytes).unwrap();
            bytes
        };
        Self {
            chain: certificates(&read("tls.crt")),
            key: PrivateKeyDer::from_pem_slice(&read("tls.key")).unwrap(),
            ca: CertificateDer::from_pem_slice(&read("ca.crt")).unwrap(),
            bundle: read("all.pem"),
        }
    }

    /// Fails where the parts do not belong together, or a client would refuse them.
    fn check(&self) {
        let key = sign::any_supported_type(&self.key).unwrap();
        CertifiedKey::new(self.chain.clone(), key).keys_match().unwrap();
        assert_eq!(certificates(&self.bundle), self.chain);
        assert_eq!(PrivateKeyDer::from_pem_slice(&self.bundle).unwrap(), self.key);
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let (leaf, between) = self.chain.split_first().unwrap();
        for name in [HOST, "other.test.internal", "10.1.2.3"] {
            let name = ServerName::try_from(name).unwrap();
            let verifier = verifier.clone().build().unwrap();
            verifier.verify_server_cert(leaf, between, &name, &[], UnixTime::now()).unwrap();
        }
    }
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap()
}

struct Authority {
    world: World,
    mount: String,
}

impl Authority {
    async fn new() -> Self {
        let world = World::new(Terms::of("1h", "2h")).await;
        let mount = format!("pki-{}", world.name);
        let body = json!({ "type": "pki", "config": { "max_lease_ttl": "87600h" } });
        world.bao.must("POST", &format!("sys/mounts/{mount}"), Some(body)).await;
        let root = json!({ "common_name": "a root", "ttl": "1000h", "key_type": "ec" });
        world.bao.must("POST", &format!("{mount}/root/generate/internal"), Some(root)).await;
        let rule = format!("path \"{mount}/issue/web\" {{ capabilities = [\"update\"] }}");
        world.allow(&rule).await;
        let authority = Self { world, mount };
        authority.role().await;
        authority
    }

    async fn role(&self) {
        let role = json!({ "allow_any_name": true, "key_type": "ec", "max_ttl": "1h" });
        self.world.bao.must("POST", &format!("{}/roles/web", self.mount), Some(role)).await;
    }

    fn config(&self, ttl: &str) -> Value {
        let mut config = self.world.config();
        config["secrets"] = json!({ "tls": { "pki": {
            "mount": self.mount, "role": "web", "common_name": HOST, "ttl": ttl,
            "alt_names": ["other.test.internal"], "ip_sans": ["10.1.2.3"],
        } } });
        let raw = |field: &str| json!({ "format": "raw", "secret": "tls", "field": field });
        config["publish"]["files"] = json!({
            "tls.crt": raw("fullchain"), "tls.key": raw("private_key"), "ca.crt": raw("ca"),
            "all.pem": raw("bundle"),
        });
        config
    }

    /// How many certificates were ever made, the root's apart.
    async fn made(&self) -> usize {
        let listed = self.world.bao.must("LIST", &format!("{}/certs", self.mount), None).await;
        listed["data"]["keys"].as_array().unwrap().len() - 1
    }

    fn status(&self) -> Value {
        let text = std::fs::read_to_string(self.world.path("run/status.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["secrets"]["tls"].clone()
    }
}

#[tokio::test]
async fn certificate_and_key_belong_together_in_every_generation_and_over_restarts() {
    let authority = Authority::new().await;
    let world = &authority.world;
    let mut config = authority.config("12s");
    let agent = world.start(&config);
    world.journal.wait(0, "published", secs(15)).await;

    let (directory, stop, checked) =
        (world.path("run"), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (ended, count) = (stop.clone(), checked.clone());
    let reader = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            Set::open(&directory).check();
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    world.journal.wait_count("value_read", 4, secs(60)).await;
    stop.store(true, Ordering::Relaxed);
    reader.join().expect("a generation that does not belong together");
    assert!(checked.load(Ordering::Relaxed) > 100, "hardly looked");

    // Of the four none was made before two thirds of the life of the one before it had passed.
    let read = world.journal.all("value_read");
    for pair in read.windows(2) {
        let between = pair[0].at.until(pair[1].at);
        assert!(between > secs(7) && between < secs(12), "made after {between:?}");
    }
    // It is published a moment after it was read.
    let status = eventually("the last one is visible", secs(5), async || {
        let status = authority.status();
        (status["version"] == read.last().unwrap().text("version")).then_some(status)
    })
    .await;
    assert!(status["expires_at"].is_string() && status["valid"] == true, "{status}");
    let (_, metrics) = agent.get("metrics", "/metrics").await;
    let days = "secret_expiration_days{secret_type=\"certificate\",secret_name=\"tls\"} 0.0001";
    assert!(metrics.contains(days), "{metrics}");
    assert!(metrics.contains("leasehold_credential_expiry_timestamp_seconds{secret_name=\"tls\"}"));

    let made = authority.made().await;
    assert_eq!(made, read.len(), "made in vain");
    agent.kill();
    let agent = world.start(&config);
    world.journal.wait(0, "adopted", secs(10)).await;
    quiet(secs(2)).await;
    assert_eq!(authority.made().await, made, "a restart made another");
    Set::open(&world.path("run")).check();
    assert!(agent.terminate(secs(10)).await.success());

    let mark = world.journal.mark();
    config["secrets"]["tls"]["pki"]["alt_names"] = json!(["other.test.internal", "third.test"]);
    let agent = world.start(&config);
    world.journal.wait(mark, "value_read", secs(10)).await;
    assert_eq!(authority.made().await, made + 1);
    drop(agent);
}

#[tokio::test]
async fn one_that_cannot_be_renewed_is_kept_to_its_end_and_is_then_not_valid() {
    let authority = Authority::new().await;
    let world = &authority.world;
    let agent = world.start(&authority.config("8s"));
    world.journal.wait(0, "published", secs(15)).await;
    world.bao.must("DELETE", &format!("{}/roles/web", authority.mount), None).await;
    let failed = world.journal.wait(0, "read_failed", secs(15)).await;
    assert!(failed.text("error").contains("unknown role: web"), "{failed:?}");
    assert_eq!(agent.get("probes", "/readyz").await.0, 200);
    Set::open(&world.path("run")).check();

    let ended = world.journal.wait(0, "value_ended", secs(15)).await;
    assert_eq!(ended.text("version"), authority.status()["version"]);
    eventually("it shows as not valid", secs(5), async || {
        (authority.status()["valid"] == false).then_some(())
    })
    .await;
    assert_eq!(agent.get("probes", "/readyz").await.0, 503);
    let (_, metrics) = agent.get("metrics", "/metrics").await;
    let failures = "secret_rotation_total{secret_type=\"certificate\",status=\"failure\"} 1";
    assert!(metrics.contains(failures), "{metrics}");

    authority.role().await;
    eventually("it is ready again", secs(70), async || {
        (agent.get("probes", "/readyz").await.0 == 200).then_some(())
    })
    .await;
    Set::open(&world.path("run")).check();
    assert_eq!(world.journal.count("value_ended"), 1);
    drop(agent);
}
