//! The server's certificate, with a real server behind it.

use std::path::Path;
use std::process::{Command, Stdio};

use leasehold::error::{Class, Failure};
use leasehold::secret::Secret;
use leasehold::vault::{ClientCertificate, Settings, Vault};
use serde_json::json;

use super::{AGAIN, Watched, settings};
use crate::live::effects_servers::{Admin, Running, certificates, env, eventually, openssl};
use crate::support::free_port;

pub struct Tls {
    pub server: Running,
    /// Its listener without TLS.
    pub admin: Admin,
    pub port: u16,
    expired_port: u16,
    mutual_port: u16,
}

/// A server of its own: one listener with the certificate of `good`, one with that of `expired`,
/// and one that wants a certificate of the CA of `good`.
pub async fn serve(good: &Path, expired: &Path) -> Tls {
    let (plain, port, expired_port, mutual_port) =
        (free_port(), free_port(), free_port(), free_port());
    let listener = |port: u16, dir: &Path, more: &str| {
        let dir = dir.display();
        format!(
            "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n \
             tls_cert_file = \"{dir}/server.crt\"\n tls_key_file = \"{dir}/server.key\"\n \
             {more}\n}}\n"
        )
    };
    let config = good.join("config.hcl");
    let mutual = format!(
        "tls_require_and_verify_client_cert = true\n tls_client_ca_file = \"{}/ca.crt\"",
        good.display()
    );
    let listeners = [
        listener(port, good, ""),
        listener(expired_port, expired, ""),
        listener(mutual_port, good, &mutual),
    ];
    std::fs::write(&config, listeners.concat()).unwrap();
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
    Tls { server: Running(server), admin, port, expired_port, mutual_port }
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

    // A new CA in the file is enough, and a broken one changes nothing and is told once.
    let changing = good.path().join("changing.crt");
    std::fs::copy(&other_ca, &changing).unwrap();
    let vault = vault(by_name, Some(&changing));
    vault.lookup_token(&token).await.unwrap_err();
    std::fs::copy(&ca, &changing).unwrap();
    vault.lookup_token(&token).await.unwrap();
    assert_eq!(vault.tls_files(), Some(Ok(())));
    std::fs::write(&changing, "nonsense").unwrap();
    vault.lookup_token(&token).await.unwrap();
    let Some(Err(told)) = vault.tls_files() else { panic!("not told") };
    assert!(told.text.contains("changing.crt"), "{told}");
    vault.lookup_token(&token).await.unwrap();
    assert_eq!(vault.tls_files(), None);

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
    Watched::new(&Settings { address: "http://localhost:1".into(), ..settings.clone() });
    for content in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&path, content).unwrap();
        let failure = Watched::try_new(&settings).err().unwrap();
        assert_eq!(failure.class, Class::Ours, "{failure}");
        assert!(failure.text.contains("ca.pem"), "{failure}");
    }
}

/// A certificate for us by the CA in `dir`, as `client.crt` and `client.key`.
pub fn client(dir: &Path) -> ClientCertificate {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req {key} -keyout client.key -out client.csr -subj /CN=agent"));
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    openssl(
        dir,
        "x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out client.crt -days 2 \
         -extfile client.ext",
    );
    ClientCertificate { cert: dir.join("client.crt"), key: dir.join("client.key") }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_ours_gets_the_one_in_the_files() {
    let (good, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(good.path(), 2);
    certificates(other.path(), 2);
    let tls = serve(good.path(), other.path()).await;
    let token = Secret::new("root".into());
    let (ours, theirs) = (client(good.path()), client(other.path()));
    let settings = |client: Option<&ClientCertificate>| Settings {
        ca_cert: Some(good.path().join("ca.crt")),
        client: client.cloned(),
        ..settings(&format!("https://localhost:{}", tls.mutual_port))
    };
    let vault = Watched::new(&settings(Some(&ours))).vault;
    vault.lookup_token(&token).await.unwrap();
    for (wrong, why) in
        [(None, "wants a certificate of ours"), (Some(&theirs), "does not accept our certificate")]
    {
        let vault = Watched::new(&settings(wrong)).vault;
        // Also what could have taken effect: nobody read it.
        for failure in [
            vault.lookup_token(&token).await.unwrap_err(),
            vault.renew_token(&token, None).await.unwrap_err(),
        ] {
            assert_eq!(failure.class, AGAIN, "{failure}");
            assert!(failure.text.contains(why), "{failure}");
            assert!(failure.hint.as_ref().unwrap().contains("`vault.client_cert`"), "{failure}");
        }
    }

    // Half of a new pair changes nothing; the whole pair is used.
    let vault = Watched::new(&settings(Some(&theirs))).vault;
    vault.lookup_token(&token).await.unwrap_err();
    std::fs::copy(&ours.cert, &theirs.cert).unwrap();
    vault.lookup_token(&token).await.unwrap_err();
    let Some(Err(told)) = vault.tls_files() else { panic!("not told") };
    assert!(told.text.contains("client.crt") && told.text.contains("client.key"), "{told}");
    assert!(Watched::try_new(&settings(Some(&theirs))).is_err());
    std::fs::copy(&ours.key, &theirs.key).unwrap();
    vault.lookup_token(&token).await.unwrap();
    assert_eq!(vault.tls_files(), Some(Ok(())));

    std::fs::remove_file(&theirs.key).unwrap();
    let failure = Watched::try_new(&settings(Some(&theirs))).err().unwrap();
    assert_eq!(failure.class, Class::Missing);
    assert!(failure.hint.unwrap().contains("`vault.client_key`"));
}
