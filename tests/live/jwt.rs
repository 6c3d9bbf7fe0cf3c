//! `leasehold jwt`: a key set in a real KV engine, rotated by hand.

use std::collections::BTreeMap;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::bao::Bao;
use crate::support::{eventually, secs, unique};

/// What an application signs with so far.
const SECRET: &str = "canary-of-a-secret-that-is-long-enough-for-hs256";

struct Site {
    bao: Bao,
    /// The folder of its key set.
    path: String,
    directory: TempDir,
}

impl Site {
    /// A file with one set, whose whole life is a matter of seconds.
    fn of(algorithm: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Self { bao: Bao::shared(), path: format!("{}/jwt", unique()), directory };
        let file = json!({
            "vault": { "address": site.bao.address },
            "keysets": { "app": {
                "path": site.path, "algorithm": algorithm,
                "lifetime": "10m", "rotate_at": "5m", "min_age": "1m", "grace": "2s", "hold": "2s",
                "max_token_ttl": "1s", "min_propagation": "1s", "leeway": "3s",
            } },
        });
        std::fs::write(site.directory.path().join("controller.yaml"), file.to_string()).unwrap();
        std::fs::write(site.directory.path().join("secret"), SECRET).unwrap();
        site
    }

    fn start(&self, words: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_leasehold"))
            .env_clear()
            .env("VAULT_TOKEN", self.bao.token())
            .current_dir(self.directory.path())
            .arg("jwt")
            .args(words)
            .args(["--config", "controller.yaml"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What it answers, or what it complains about, and its exit code.
    fn run(&self, words: &[&str]) -> (i32, Value) {
        ended(self.start(words))
    }

    fn done(&self, words: &[&str]) -> Value {
        let (code, answer) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {answer}");
        answer
    }

    fn refused(&self, words: &[&str], code: i32, text: &str) {
        let (found, answer) = self.run(words);
        assert_eq!(found, code, "{words:?}: {answer}");
        assert!(answer.as_str().unwrap().contains(text), "{words:?}: {answer}");
    }

    /// The first answer of these words that is not refused for now.
    async fn at_last(&self, words: &[&str]) -> Value {
        eventually("it is allowed", secs(30), async || {
            let (code, answer) = self.run(words);
            assert!([0, 75].contains(&code), "{words:?}: {answer}");
            (code == 0).then_some(answer)
        })
        .await
    }

    async fn document(&self, name: &str) -> Option<Value> {
        let path = format!("secret/data/{}/{name}", self.path);
        let (code, answer) = self.bao.ask("GET", &path, None).await;
        (code == 200).then(|| answer["data"]["data"].clone())
    }

    fn versions(&self) -> Vec<u64> {
        let status = self.done(&["status"]);
        let keys = status["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["version"].as_u64().unwrap()).collect()
    }
}

fn ended(child: Child) -> (i32, Value) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (said, told) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(!said.contains(SECRET) && !told.contains(SECRET), "a secret is shown");
    let answer = if said.is_empty() { Value::from(told) } else { said.parse().unwrap_or_default() };
    (status.code().unwrap_or(-1), answer)
}

#[tokio::test]
async fn a_rotation_by_hand_answers_as_the_guide_has_it() {
    for algorithm in ["EdDSA", "HS256"] {
        let site = Site::of(algorithm);
        site.refused(&["initiate"], 78, "leasehold jwt bootstrap");
        let made = site.done(&["bootstrap"]);
        assert_eq!((&made["current_version"], &made["algorithm"]), (&json!(1), &json!(algorithm)));
        site.refused(&["bootstrap"], 75, "there is one");
        site.refused(&["complete"], 75, "No rotating key found");

        let initiated = site.done(&["initiate"]);
        let key = site.document("version-2").await.unwrap();
        assert_eq!(key["status"], "rotating");
        assert_eq!(initiated["version"], 2);
        assert_eq!(initiated["status"], "rotating");
        assert!(initiated["expires_at"].as_str().unwrap().ends_with('Z'), "{initiated}");
        site.refused(&["initiate"], 75, "a rotation to version 2 is open");

        site.refused(&["complete"], 75, "the new key does not sign yet");
        site.refused(&["promote"], 75, "may be in use until");
        assert_eq!(site.at_last(&["promote"]).await["current_version"], 2);
        let completed = site.at_last(&["complete"]).await;
        let expected =
            json!({ "current_version": 2, "status": "active", "old_version_deprecated": 1 });
        assert_eq!(completed, expected);
        assert_eq!(site.versions(), [2, 1]);
        let early = site.done(&["cleanup"]);
        assert_eq!(early["removed_versions"], json!([]));
        assert!(early["retry_after"].is_string(), "{early}");
        let cleaned = eventually("the old key may leave", secs(30), async || {
            let answer = site.done(&["cleanup"]);
            (answer["removed_versions"] != json!([])).then_some(answer)
        })
        .await;
        assert_eq!(cleaned, json!({ "removed_versions": [1], "current_version": 2 }));
        assert_eq!(site.versions(), [2]);

        let manifest = site.document("keyset").await.unwrap().to_string();
        let signs = if algorithm == "EdDSA" {
            key["private_jwk"]["d"].clone()
        } else {
            key["secret"].clone()
        };
        assert!(!manifest.contains(signs.as_str().unwrap()), "the manifest has what signs");
    }
}

#[tokio::test]
async fn a_secret_that_is_in_use_becomes_the_first_key() {
    let site = Site::of("HS256");
    site.done(&["bootstrap", "--secret-file", "secret"]);
    assert_eq!(site.document("version-1").await.unwrap()["secret"], SECRET);
    let other = Site::of("EdDSA");
    other.refused(&["bootstrap", "--secret-file", "secret"], 70, "HS256 or HS512");
    assert!(other.document("version-1").await.is_none());
}

#[tokio::test]
async fn of_eight_who_begin_at_once_one_does() {
    let site = Site::of("EdDSA");
    site.done(&["bootstrap"]);
    let all: Vec<Child> = (0..8).map(|_| site.start(&["initiate"])).collect();
    let mut codes: Vec<i32> = all.into_iter().map(|child| ended(child).0).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 75, 75, 75, 75, 75, 75, 75]);
    assert_eq!(site.versions(), [2, 1]);
    assert!(site.document("version-3").await.is_none());
}

#[tokio::test]
async fn a_key_that_was_made_and_never_named_is_taken() {
    let (site, other) = (Site::of("EdDSA"), Site::of("EdDSA"));
    for site in [&site, &other] {
        site.done(&["bootstrap"]);
    }
    // As a crash leaves it: another set's key will do.
    other.done(&["initiate"]);
    let key = other.document("version-2").await.unwrap();
    let path = format!("secret/data/{}/version-2", site.path);
    site.bao.must("POST", &path, Some(json!({ "data": key }))).await;
    assert_eq!(site.done(&["initiate"])["version"], 2);
    let status = site.done(&["status"]);
    assert_eq!(status["keys"][0]["kid"], key["kid"]);

    // What is no key is passed over.
    site.done(&["abort"]);
    let path = format!("secret/data/{}/version-3", site.path);
    site.bao.must("POST", &path, Some(json!({ "data": { "secret": "x" } }))).await;
    assert_eq!(site.done(&["initiate"])["version"], 4);
}

#[tokio::test]
async fn a_manifest_that_others_changed_is_gone_on_with_by_a_persons_word_only() {
    let site = Site::of("EdDSA");
    site.done(&["bootstrap"]);
    let manifest = site.document("keyset").await.unwrap();
    site.bao.must("DELETE", &format!("secret/data/{}/keyset", site.path), None).await;
    site.refused(&["initiate"], 78, "is deleted");
    site.refused(&["bootstrap"], 78, "is deleted");
    let undelete = format!("secret/undelete/{}/keyset", site.path);
    site.bao.must("POST", &undelete, Some(json!({ "versions": [1] }))).await;
    site.done(&["initiate"]);

    // Back to the one before, which does not know of version 2.
    let write = json!({ "data": manifest, "options": { "cas": 2 } });
    let path = format!("secret/data/{}/keyset", site.path);
    site.bao.must("POST", &path, Some(write)).await;
    site.refused(&["initiate"], 78, "it is version 1, and Vault has it as 3");
    let resumed = site.done(&["resume"]);
    assert_eq!((&resumed["epoch"], &resumed["serial"]), (&json!(2), &json!(4)));
    assert_eq!(site.done(&["initiate"])["version"], 3);
}

#[tokio::test]
async fn a_plan_says_what_is_next_and_when() {
    let site = Site::of("ES256");
    site.done(&["bootstrap"]);
    let plan = site.done(&["plan"]);
    assert_eq!((&plan["step"], &plan["waits_for"]), (&json!(null), &json!([])));
    assert!(plan["next_look"].is_string(), "{plan}");
    site.done(&["initiate"]);
    let promote = eventually("the new key may sign", secs(20), async || {
        let plan = site.done(&["plan"]);
        plan["step"].is_string().then_some(plan)
    })
    .await;
    assert_eq!(promote["step"], "promote");
}

/// Whatever was cut off, the set is sound and the next who asks goes on from there.
#[tokio::test]
async fn killed_at_any_moment_a_set_is_gone_on_with() {
    let site = Site::of("EdDSA");
    let mut dice = fastrand::Rng::new();
    let acts = ["initiate", "initiate", "promote", "complete", "cleanup", "abort"];
    eventually("there is a set", secs(30), async || {
        let mut child = site.start(&["bootstrap"]);
        tokio::time::sleep(Duration::from_millis(dice.u64(0..40))).await;
        let _ = child.kill();
        ended(child);
        site.document("keyset").await
    })
    .await;
    let mut names = BTreeMap::new();
    for _ in 0..100 {
        let two = [0, 1].map(|_| site.start(&[dice.choice(acts).unwrap()]));
        tokio::time::sleep(Duration::from_millis(dice.u64(0..60))).await;
        for mut child in two {
            let _ = child.kill();
            let _ = child.wait();
        }
        let status = site.done(&["status"]);
        assert_eq!(status["waits_for"].to_string().matches("not there").count(), 0, "{status}");
        for key in status["keys"].as_array().unwrap() {
            let (version, kid) = (key["version"].as_u64().unwrap(), key["kid"].to_string());
            let named = names.entry(version).or_insert_with(|| kid.clone());
            assert_eq!(*named, kid, "version {version} is two keys");
            let document = format!("version-{version}");
            assert_eq!(site.document(&document).await.unwrap()["kid"], key["kid"]);
        }
    }
    assert!(names.len() > 2, "nothing was rotated: {names:?}");
}
