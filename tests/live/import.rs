//! `leasehold import` into a real KV engine.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::bao::Bao;
use crate::support::unique;

/// What stands in no output.
const SECRETS: [&str; 3] = ["canary-of-stripe", "canary-of-sendgrid", "canary-from-kubernetes"];

struct Site {
    bao: Bao,
    /// Its own folder of the engine.
    name: String,
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        Self { bao: Bao::shared(), name: unique(), directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn to(&self, path: &str) -> String {
        format!("secret/{}/{path}", self.name)
    }

    /// What it prints, having ended with `code`.
    fn run(&self, words: &[&str], code: i32) -> (String, String) {
        self.run_as(self.bao.token(), words, code)
    }

    fn run_as(&self, token: &str, words: &[&str], code: i32) -> (String, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_leasehold"))
            .env_clear()
            .env("VAULT_ADDR", &self.bao.address)
            .env("VAULT_TOKEN", token)
            .arg("import")
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (said, told) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{words:?}\n{said}\n{told}");
        for secret in SECRETS {
            assert!(!said.contains(secret) && !told.contains(secret), "a secret is shown");
        }
        (said, told)
    }

    async fn put(&self, path: &str, data: Value) {
        let path = format!("secret/data/{}/{path}", self.name);
        self.bao.must("POST", &path, Some(json!({ "data": data }))).await;
    }

    /// The fields at a path, and their version.
    async fn kept(&self, path: &str) -> (Value, u64) {
        let path = format!("secret/data/{}/{path}", self.name);
        let (status, answer) = self.bao.ask("GET", &path, None).await;
        if status == 404 {
            return (Value::Null, 0);
        }
        let data = &answer["data"];
        (data["data"].clone(), data["metadata"]["version"].as_u64().unwrap())
    }
}

#[tokio::test]
async fn an_environment_file_is_brought_once() {
    let site = Site::new();
    let text = "STRIPE=canary-of-stripe\nexport SENDGRID='canary-of-sendgrid'\nPORT=80\n";
    let file = site.file(".env", text);
    let (env, to) = (file.to_str().unwrap(), site.to("api"));
    site.put("api", json!({ "other": { "stays": 1.50 } })).await;
    let words = ["--env", env, "--only", "STRIPE", "--only", "SENDGRID", "--to", &to];

    let (said, _) = site.run(&[&words[..], &["--dry-run"]].concat(), 1);
    assert!(said.contains("new") && said.contains("nothing was written"), "{said}");
    assert_eq!(site.kept("api").await.1, 1);

    let (said, _) = site.run(&words, 0);
    assert!(said.contains("0 were there, 2 new"), "{said}");
    let wanted = json!({
        "other": { "stays": 1.50 },
        "STRIPE": "canary-of-stripe", "SENDGRID": "canary-of-sendgrid",
    });
    assert_eq!(site.kept("api").await, (wanted, 2));
    // The source is as it was, and a second run writes nothing.
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let (said, _) = site.run(&[&words[..], &["--json"]].concat(), 0);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["complete"], true);
    assert!(said["fields"].as_array().unwrap().iter().all(|field| field["state"] == "same"));
    assert_eq!(site.kept("api").await.1, 2);
}

#[tokio::test]
async fn another_value_is_replaced_only_when_somebody_says_so() {
    let site = Site::new();
    site.put("api", json!({ "STRIPE": "of today" })).await;
    let file = site.file(".env", "STRIPE=canary-of-stripe\nNEW=x\n");
    let to = site.to("api");
    let words = ["--env", file.to_str().unwrap(), "--to", &to];
    let (said, _) = site.run(&words, 1);
    assert!(said.contains("differs") && said.contains("nothing was written"), "{said}");
    assert_eq!(site.kept("api").await, (json!({ "STRIPE": "of today" }), 1));
    site.run(&[&words[..], &["--replace"]].concat(), 0);
    let wanted = json!({ "STRIPE": "canary-of-stripe", "NEW": "x" });
    assert_eq!(site.kept("api").await, (wanted, 2));
}

#[tokio::test]
async fn what_was_deleted_can_be_brought_again() {
    let site = Site::new();
    site.put("api", json!({ "STRIPE": "old" })).await;
    let path = format!("secret/data/{}/api", site.name);
    site.bao.must("DELETE", &path, None).await;
    let file = site.file(".env", "STRIPE=canary-of-stripe\n");
    site.run(&["--env", file.to_str().unwrap(), "--to", &site.to("api")], 0);
    assert_eq!(site.kept("api").await, (json!({ "STRIPE": "canary-of-stripe" }), 2));
}

#[tokio::test]
async fn secrets_of_a_cluster_come_under_their_names() {
    let site = Site::new();
    let file = site.file(
        "secrets.yaml",
        "kind: List\nitems:\n\
         - { kind: Secret, metadata: { name: a }, data: { k: Y2FuYXJ5LWZyb20ta3ViZXJuZXRlcw== } }\n\
         - { kind: Secret, metadata: { name: b }, stringData: { k: canary-of-stripe } }\n",
    );
    let manifest = file.to_str().unwrap();
    let (_, told) = site.run(&["--manifest", manifest, "--to", &site.to("k8s")], 78);
    assert!(told.contains("end it with a slash"), "{told}");
    site.run(&["--manifest", manifest, "--to", &site.to("k8s/")], 0);
    assert_eq!(site.kept("k8s/a").await.0, json!({ "k": "canary-from-kubernetes" }));
    assert_eq!(site.kept("k8s/b").await.0, json!({ "k": "canary-of-stripe" }));
}

#[tokio::test]
async fn a_folder_of_an_older_engine_is_copied_as_it_is() {
    let site = Site::new();
    let old = format!("old-{}", site.name);
    let mount = json!({ "type": "kv", "options": { "version": "1" } });
    site.bao.must("POST", &format!("sys/mounts/{old}"), Some(mount)).await;
    for (path, data) in [
        ("top", json!({ "a": "canary-of-stripe" })),
        ("deep/er/one", json!({ "n": 7, "list": [1, "two"] })),
    ] {
        site.bao.must("POST", &format!("{old}/{path}"), Some(data)).await;
    }
    site.run(&["--kv", &format!("{old}/"), "--to", &site.to("")], 0);
    assert_eq!(site.kept("top").await.0, json!({ "a": "canary-of-stripe" }));
    assert_eq!(site.kept("deep/er/one").await.0, json!({ "n": 7, "list": [1, "two"] }));
    let (said, _) = site.run(&["--kv", &format!("{old}/deep/"), "--to", &site.to("copy/")], 0);
    assert!(said.contains("2 new"), "{said}");
    let kept = site.bao.must("GET", &format!("{old}/top"), None).await;
    assert_eq!(kept["data"]["a"], "canary-of-stripe");
    // Nothing could be brought back there once it was replaced.
    let file = site.file(".env", "A=x\n");
    let to = format!("{old}/top");
    let (_, told) = site.run(&["--env", file.to_str().unwrap(), "--to", &to], 78);
    assert!(told.contains("keeps no versions"), "{told}");
}

#[tokio::test]
async fn what_cannot_be_is_told_with_what_to_do() {
    let site = Site::new();
    let (good, bad) = (site.file("good", "A=x\n"), site.file("bad", "A=canary-of-stripe$x\n"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let to = site.to("api");
    let (_, told) = site.run(&["--env", bad, "--to", &to], 78);
    assert!(told.contains("line 1: ") && told.contains("--literal"), "{told}");
    let (_, told) = site.run(&["--env", "/nowhere", "--to", &to], 78);
    assert!(told.contains("read `/nowhere`"), "{told}");
    let (_, told) = site.run(&["--env", good, "--only", "B", "--to", &to], 78);
    assert!(told.contains("`B`"), "{told}");
    let (_, told) = site.run(&["--env", good, "--to", "sys/x"], 78);
    assert!(told.contains("name a path of a KV engine"), "{told}");
    site.run(&["--env", good, "--to", "nowhere/x"], 77);
    site.run(&["--kv", &site.to("none"), "--to", &to], 78);

    // A token that may do nothing there.
    let body = json!({ "policies": ["default"], "ttl": "1m" });
    let made = site.bao.must("POST", "auth/token/create", Some(body)).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    site.run_as(token, &["--env", good, "--to", &to], 77);
    assert_eq!(site.kept("api").await, (Value::Null, 0));
}
