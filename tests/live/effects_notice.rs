//! `leasehold::notice` with real processes and sockets.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leasehold::agent::command::{Notice, NoticeSecret};
use leasehold::error::{Class, Failure};
use leasehold::notice::{Channel, Context, Process, Settings, deliver};
use leasehold::snapshot::Generation;
use leasehold::time::Clock;
use serde_json::Value;

use crate::live::effects_servers::{Act, Running, Script, eventually};
use crate::support::free_port;

const AGAIN: Class = Class::Again { after: None };

async fn tell(channel: Channel) -> Result<(), Failure> {
    let settings = Settings { channel, timeout: Duration::from_millis(500) };
    let context = Context {
        instance: "api-1".into(),
        directory: "/run/leasehold/current".into(),
        files: vec!["app.env".into()],
    };
    let secret = NoticeSecret {
        name: "db".into(),
        version: "3f2a".into(),
        expires: None,
        previous_ends: None,
    };
    let notice = Notice { generation: Generation(17), secrets: vec![secret] };
    let attempt = async move { deliver(&settings, &context, &notice, &Clock::resume(None)).await };
    tokio::spawn(attempt).await.unwrap()
}

async fn post(url: String, key: Option<&Path>) -> Result<(), Failure> {
    tell(Channel::Http { url, signing_key_file: key.map(Path::to_owned) }).await
}

#[tokio::test]
async fn a_2xx_answer_acknowledges_and_tries_share_an_id() {
    let acts = vec![
        Act::answer("500 Oops", "", "hunter2"),
        Act::answer("204 No Content", "", ""),
        Act::answer("200 OK", "", "yes"),
    ];
    let script = Script::play(acts).await;
    let url = format!("{}/-/secrets?key=hunter2", script.url());
    let failure = post(url.clone(), None).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    let shown = format!("notify `{}/-/secrets`: the app answered 500", script.url());
    assert!(failure.text.starts_with(&shown), "{failure}");
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
    post(url.clone(), None).await.unwrap();
    post(url, None).await.unwrap();

    let seen = script.seen();
    let events: Vec<Value> = seen
        .iter()
        .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
    assert_eq!(events[0]["data"]["generation"], 17);
    assert_eq!(events[0]["subject"], "db");
    let head = &seen[0];
    assert!(head.starts_with("POST /-/secrets?key=hunter2 HTTP/1.1\r\n"), "{head}");
    let host = format!("host: {}", script.address);
    for line in [host.as_str(), "content-type: application/cloudevents+json; charset=utf-8"] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(!head.contains("webhook-"), "{head}");
}

#[tokio::test]
async fn a_signed_notice_can_be_verified() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    for (text, bytes) in [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("plain text key\n", "cGxhaW4gdGV4dCBrZXk="),
    ] {
        std::fs::write(&file, text).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(bytes).unwrap());
        let script = Script::play(vec![Act::answer("200 OK", "", "")]).await;
        post(script.url(), Some(&file)).await.unwrap();
        let seen = script.seen().pop().unwrap();
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let found = head.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_else(|| panic!("{name} in {head}")).trim().to_owned()
        };
        let (id, timestamp) = (header("webhook-id:"), header("webhook-timestamp:"));
        let signature = header("webhook-signature:");
        let signature = BASE64_STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
        let signed = format!("{id}.{timestamp}.{body}");
        hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
        let event: Value = serde_json::from_str(body).unwrap();
        assert_eq!(event["id"], id);
        let clock = Clock::resume(None);
        let wall = clock.wall_micros(clock.now()) / 1_000_000;
        assert!(wall - timestamp.parse::<u64>().unwrap() < 60);
    }
    std::fs::remove_file(&file).unwrap();
    let failure = post("http://127.0.0.1:1".into(), Some(&file)).await.unwrap_err();
    assert_eq!(failure.class, Class::Missing, "{failure}");
}

#[tokio::test]
async fn nothing_leaves_this_machine() {
    for host in ["192.0.2.1", "[2001:db8::1]", "0.0.0.0"] {
        let failure = post(format!("http://{host}/"), None).await.unwrap_err();
        assert_eq!(failure.class, Class::Ours, "{failure}");
        assert!(failure.text.contains("not this machine"), "{failure}");
    }
    let script = Script::play(vec![Act::answer("200 OK", "", "")]).await;
    post(format!("http://localhost:{}/", script.address.port()), None).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_no_acknowledgement() {
    let other = Script::play(vec![Act::answer("200 OK", "", "")]).await;
    let header = format!("Location: {}\r\n", other.url());
    let script = Script::play(vec![Act::answer("302 Found", &header, "")]).await;
    let failure = post(script.url(), None).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert!(failure.hint.unwrap().contains("redirects"));
    assert_eq!(other.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn an_app_that_does_not_answer_is_given_up() {
    let failure = post(format!("http://127.0.0.1:{}", free_port()), None).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert!(failure.text.contains("refused"), "{failure}");
    let silent = Script::play(vec![Act::Stall(String::new())]).await;
    let failure = post(silent.url(), None).await.unwrap_err();
    assert_eq!(failure.class, Class::Unclear);
    assert!(failure.text.ends_with("no answer within 500 ms"), "{failure}");
    let broken = Script::play(vec![Act::Say("HTTP/1.1 2".into())]).await;
    assert_eq!(post(broken.url(), None).await.unwrap_err().class, Class::Unclear);
}

#[tokio::test]
async fn a_hostile_body_costs_nothing() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_000_000));
    for act in
        [Act::Stall("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx".into()), Act::Stall(endless)]
    {
        let script = Script::play(vec![act]).await;
        post(script.url(), None).await.unwrap();
    }
    let failed = "HTTP/1.1 503 Busy\r\nretry-after: 3\r\ncontent-length: 9\r\n\r\nhunter2";
    let script = Script::play(vec![Act::Say(failed.into())]).await;
    let failure = post(script.url(), None).await.unwrap_err();
    assert_eq!(failure.class, Class::Again { after: Some(Duration::from_secs(3)) });
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
}

/// A shell that makes `heard` in `dir` on SIGHUP, and that is ready for it.
async fn listener(dir: &Path) -> Running {
    let script = "trap 'touch heard' HUP; touch ready; while :; do sleep 0.02; done";
    let child = Command::new("sh").args(["-c", script]).current_dir(dir).spawn().unwrap();
    eventually("the process listens", async || dir.join("ready").exists().then_some(())).await;
    Running(child)
}

#[tokio::test]
async fn the_process_of_a_pid_file_is_signalled() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let hup = || Channel::Signal { process: Process::PidFile(pid_file.clone()), signal: 1 };
    let mut process = listener(dir.path()).await;
    std::fs::write(&pid_file, format!("{}\nmore\n", process.0.id())).unwrap();
    tell(hup()).await.unwrap();
    let heard = dir.path().join("heard");
    eventually("the signal arrives", async || heard.exists().then_some(())).await;

    process.0.kill().unwrap();
    process.0.wait().unwrap();
    let failure = tell(hup()).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert!(failure.text.ends_with("does not run"), "{failure}");
}
