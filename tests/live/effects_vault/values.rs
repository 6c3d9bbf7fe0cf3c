//! Static logins and certificates, as the server answers them.

use leasehold::agent::event::Reading;
use leasehold::error::Class;
use leasehold::lease::Granted;
use leasehold::secret::Secret;
use leasehold::snapshot::Version;
use leasehold::vault::{CertificateRequest, Source};
use serde_json::json;

use super::{AGAIN, Watched, no_secret_in, settings};
use crate::live::effects_servers::{Act, Admin, Script, unique};
use crate::support::bao::Bao;

fn certificate(mount: &str, role: &str) -> Source {
    Source::Certificate(CertificateRequest {
        mount: mount.to_owned(),
        role: role.to_owned(),
        common_name: "api.test".to_owned(),
        alt_names: Vec::new(),
        ip_sans: Vec::new(),
        ttl: None,
    })
}

#[tokio::test]
async fn certificates_are_made_and_what_goes_wrong_has_a_class() {
    let admin = Admin::from_env();
    let mount = unique("pki");
    admin.call("POST", &format!("sys/mounts/{mount}"), json!({ "type": "pki" })).await;
    let root = json!({ "common_name": "root", "ttl": "100h", "key_type": "ec" });
    admin.call("POST", &format!("{mount}/root/generate/internal"), root).await;
    for (role, lease) in [("web", false), ("leased", true)] {
        let role_of = json!({
            "allow_any_name": true, "key_type": "ec", "ttl": "90s", "generate_lease": lease,
        });
        admin.call("POST", &format!("{mount}/roles/{role}"), role_of).await;
    }
    admin.call("POST", &format!("{mount}/roles/strict"), json!({ "ttl": "90s" })).await;
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let watched = Watched::new(&settings(&admin.address));
    let make = async |role: &str| watched.vault.make(&token, &certificate(&mount, role)).await;

    let Reading::New { version, content: Granted::Fields(fields), left } =
        make("web").await.unwrap()
    else {
        panic!("no certificate")
    };
    assert_eq!(fields.len(), leasehold::vault::CERTIFICATE_FIELDS.len());
    assert!(version.contains(':'), "{version}");
    let left = left.unwrap().as_secs();
    assert!((80..=90).contains(&left), "{left} s left");
    assert_eq!(watched.requests(), ["issue ok"]);

    let Reading::Leased(failure) = make("leased").await.unwrap() else { panic!("it is no lease") };
    assert!(failure.hint.unwrap().contains("generate_lease=false"));
    let leases = Bao::shared().leases(&format!("{mount}/issue/leased")).await;
    assert_eq!(leases, [] as [String; 0], "its lease is left");

    let unknown = make("nosuch").await.unwrap_err();
    assert_eq!(unknown.class, Class::Missing, "{unknown}");
    let strict = make("strict").await.unwrap_err();
    assert_eq!(strict.class, Class::Ours, "{strict}");
    assert!(strict.text.contains("api.test not allowed by this role"), "{strict}");
    let policy = admin.policy("path \"other\" { capabilities = [\"read\"] }").await;
    let poor = admin.token(json!({ "policies": [policy], "ttl": "1h" })).await;
    let denied = watched.vault.make(&poor, &certificate(&mount, "web")).await.unwrap_err();
    assert_eq!(denied.class, Class::Denied);
    let needed = format!("path \"{mount}/issue/web\" {{ capabilities = [\"update\"] }}");
    assert!(denied.hint.clone().unwrap().contains(&needed), "{denied}");
    no_secret_in(&denied, &[&poor]);
    for call in [
        watched.vault.read(&token, &certificate(&mount, "web"), None).await.map(drop),
        watched.vault.issue(&token, &certificate(&mount, "web")).await.map(drop),
        watched.vault.make(&token, &Source::Plain { path: "a".into() }).await.map(drop),
    ] {
        assert_eq!(call.unwrap_err().class, Class::Ours);
    }
}

#[tokio::test]
async fn a_static_role_that_is_not_there_is_missing() {
    let admin = Admin::from_env();
    let mount = unique("database");
    admin.call("POST", &format!("sys/mounts/{mount}"), json!({ "type": "database" })).await;
    let token = admin.token(json!({ "policies": ["root"], "ttl": "1h" })).await;
    let watched = Watched::new(&settings(&admin.address));
    let source = Source::Static { mount, role: "nosuch".into() };
    let known: Version = "1".into();
    let failure = watched.vault.read(&token, &source, Some(&known)).await.unwrap_err();
    assert_eq!(failure.class, Class::Missing, "{failure}");
    assert!(failure.text.contains("unknown role: nosuch"), "{failure}");
    assert_eq!(watched.vault.issue(&token, &source).await.unwrap_err().class, Class::Ours);
}

/// Vault has roles with a schedule, which have no period; OpenBao has none.
#[tokio::test]
async fn a_static_login_needs_no_period_and_has_a_password() {
    let token = Secret::new("s.hunter2token".into());
    let source = Source::Static { mount: "database".into(), role: "app".into() };
    let scheduled = r#"{"data":{"username":"app","password":"hunter2","ttl":40,
        "rotation_schedule":"0 * * * *","rotation_window":3600}}"#;
    let keys = r#"{"data":{"username":"app","rsa_private_key":"hunter2","ttl":40}}"#;
    let script = Script::play(vec![
        Act::answer("200 OK", "", scheduled),
        Act::answer("200 OK", "", scheduled),
        Act::answer("200 OK", "", keys),
        Act::answer("200 OK", "", "{"),
    ])
    .await;
    let watched = Watched::new(&settings(&script.url()));
    let read = async |known: Option<&Version>| watched.vault.read(&token, &source, known).await;
    let Reading::New { version, content, left } = read(None).await.unwrap() else { panic!("same") };
    assert_eq!(content.login().unwrap().username, "app");
    assert_eq!(left.unwrap().as_secs(), 40);
    let Reading::Same { left } = read(Some(&version)).await.unwrap() else { panic!("another") };
    assert_eq!(left.unwrap().as_secs(), 40);
    let failure = read(None).await.unwrap_err();
    assert_eq!(failure.class, Class::Ours);
    assert!(failure.hint.clone().unwrap().contains("credential type `password`"), "{failure}");
    no_secret_in(&failure, &[&Secret::new("hunter2".into())]);
    assert_eq!(read(None).await.unwrap_err().class, AGAIN);
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_may_hide_a_certificate() {
    let token = Secret::new("s.hunter2token".into());
    let ended = r#"{"data":{"certificate":"c","private_key":"hunter2","issuing_ca":"c",
        "serial_number":"1","expiration":1000000000}}"#;
    for act in [
        Act::answer("200 OK", "", r#"{"data":{"private_key":"hunter2"}}"#),
        Act::answer("200 OK", "", ended),
        Act::answer("204 No Content", "", ""),
        Act::Say(String::new()),
    ] {
        let script = Script::play(vec![act]).await;
        let watched = Watched::new(&settings(&script.url()));
        let failure = watched.vault.make(&token, &certificate("pki", "web")).await.unwrap_err();
        assert_eq!(failure.class, Class::Unclear, "{failure}");
        no_secret_in(&failure, &[&Secret::new("hunter2".into())]);
        assert!(failure.text.starts_with("issue `pki/issue/web`: "), "{failure}");
    }
}
