//! The server's certificate, with a real server behind it.

use std::path::Path;
use std::process::{Command, Stdio};

use leasehold::error::{Class, Failure};
use leasehold::secret::Secret;
use leasehold::vault::{Settings, Vault};
use serde_json::json;

use super::{AGAIN, Watched, settings};
use crate::live::effects_servers::{Admin, Running, certificates, env, eventually, free_port};

struct Tls {
    _server: Running,
    /// Its listener without TLS.
    admin: Admin,
    port: u16,
    expired_port: u16,
}

/// A server of its own: one listener with the certificate of `good`, one with that of `expired`.
async fn serve(good: &Path, expired: &Path) -> Tls {
    let (plain, port, expired_port) = (free_port(), free_port(), free_port());
    let listener = |port: u16, dir: &Path| {
        let dir = dir.display();
        format!(
            "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n \
             tls_cert_file = \"{dir}/server.crt\"\n tls_key_file = \"{dir}/server.key\"\n}}\n"
        )
    };
    let config = good.join("config.hcl");
    std::fs::write(&config, listener(port, good) + &listener(expired_port, expired)).unwrap();
    let server = Command::new(env("LEASEHOLD_TEST_BAO"))
        .args(["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"])
        .arg(format!("-dev-listen-address=127.0.0.1:{plain}"))
        .arg(format!("-config={}", config.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let admin = Admin::new(format!("http://127.0.0.1:{plain}"), "root".into());
    eventually("the server answers", async || {
        admin.try_call("GET", "sys/health", &json!({})).await
    })
    .await;
    Tls { _server: Running(server), admin, port, expired_port }
}

fn vault(address: String, ca: Option<&Path>) -> Vault {
    let ca_cert = ca.map(Path::to_owned);
    Watched::new(&Settings { ca_cert, ..settings(&address) }).vault
}

async fn refusal(address: String, ca: Option<&Path>) -> Failure {
    let token = Secret::new("root".into());
    let failure = vault(address, ca).lookup_token(&token).await.unwrap_err();
    assert_eq!(failure.class, AGAIN, "{failure}");
    assert!(failure.hint.is_some(), "{failure}");
    failure
}

#[tokio::test]
async fn a_certificate_is_checked_in_every_way() {
    let (good, expired) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(good.path(), 2);
    certificates(expired.path(), -1);
    let tls = serve(good.path(), expired.path()).await;
    let token = Secret::new("root".into());
    let by_name = format!("https://localhost:{}", tls.port);
    let ca = good.path().join("ca.crt");
    let other_ca = expired.path().join("ca.crt");

    vault(by_name.clone(), Some(&ca)).lookup_token(&token).await.unwrap();

    for untrusted in [None, Some(other_ca.as_path())] {
        let failure = refusal(by_name.clone(), untrusted).await;
        assert!(failure.text.contains("unknown authority"), "{failure}");
    }
    let failure = refusal(format!("https://127.0.0.1:{}", tls.port), Some(&ca)).await;
    assert!(failure.text.contains("for another name"), "{failure}");
    let failure = refusal(format!("https://localhost:{}", tls.expired_port), Some(&other_ca)).await;
    assert!(failure.text.contains("has expired"), "{failure}");
    let plain = tls.admin.address.replace("http://", "https://");
    let failure = refusal(plain, Some(&ca)).await;
    assert!(failure.text.contains("does not speak TLS"), "{failure}");

    let plain = vault(format!("http://localhost:{}", tls.port), None);
    let failure = plain.lookup_token(&token).await.unwrap_err();
    assert_eq!(failure.class, Class::Ours);
    assert!(failure.text.contains("must begin with https"), "{failure}");

    // A new CA in the file is enough, and a broken one changes nothing.
    let changing = good.path().join("changing.crt");
    std::fs::copy(&other_ca, &changing).unwrap();
    let vault = vault(by_name, Some(&changing));
    vault.lookup_token(&token).await.unwrap_err();
    std::fs::copy(&ca, &changing).unwrap();
    vault.lookup_token(&token).await.unwrap();
    std::fs::write(&changing, "nonsense").unwrap();
    vault.lookup_token(&token).await.unwrap();

    tls.admin.call("PUT", "sys/seal", json!({})).await;
    let sealed = vault.lookup_token(&token).await.unwrap_err();
    assert_eq!(sealed.class, AGAIN);
    assert!(sealed.text.contains("503"), "{sealed}");
}

#[tokio::test]
async fn a_ca_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let settings = Settings { ca_cert: Some(path.clone()), ..settings("https://localhost:1") };
    assert_eq!(Watched::try_new(&settings).err().unwrap().class, Class::Missing);
    for content in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&path, content).unwrap();
        let failure = Watched::try_new(&settings).err().unwrap();
        assert_eq!(failure.class, Class::Ours, "{failure}");
        assert!(failure.text.contains("ca.pem"), "{failure}");
    }
}
