use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::agent::command::NoticeSecret;
use crate::snapshot::Generation;

fn context() -> Context {
    Context {
        instance: "api 1/ä".into(),
        directory: "/run/leasehold/current".into(),
        files: vec!["app.env".into(), "db/pgpass".into()],
    }
}

fn secret(name: &str, version: &str) -> NoticeSecret {
    NoticeSecret { name: name.into(), version: version.into(), expires: None, previous_ends: None }
}

fn parse(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

#[test]
fn one_changed_secret_is_the_subject() {
    let clock = Clock::resume(None);
    let now = clock.now();
    let db = NoticeSecret {
        expires: Some(now + Duration::from_secs(3600)),
        previous_ends: Some(now + Duration::from_secs(300)),
        ..secret("db", "3f2a")
    };
    let notice = Notice { generation: Generation(17), secrets: vec![db] };
    let mut event = parse(&compose(&context(), &notice, &clock, None).unwrap());
    let times: Vec<String> =
        ["/time", "/data/secrets/0/previous_ends_at", "/data/secrets/0/expires_at"]
            .iter()
            .map(|at| {
                let text = event.pointer_mut(at).unwrap().take();
                text.as_str().unwrap().to_owned()
            })
            .collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    let id = event["id"].take();
    assert_eq!(id.as_str().unwrap().len(), 32);
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": null, "source": "/leasehold/api%201%2F%C3%A4",
            "type": "io.leasehold.published.v1", "time": null, "subject": "db",
            "datacontenttype": "application/json",
            "data": {
                "generation": 17,
                "secrets": [{
                    "name": "db", "version": "3f2a",
                    "expires_at": null, "previous_ends_at": null
                }],
                "files": ["app.env", "db/pgpass"], "directory": "/run/leasehold/current"
            }
        })
    );
}

#[test]
fn several_changed_secrets_have_no_subject_and_unknown_times_are_absent() {
    let notice =
        Notice { generation: Generation(2), secrets: vec![secret("db", "a"), secret("kv", "4")] };
    let event = parse(&compose(&context(), &notice, &Clock::resume(None), None).unwrap());
    assert_eq!(event.get("subject"), None);
    assert_eq!(event["data"]["secrets"][1], json!({ "name": "kv", "version": "4" }));
}

#[test]
fn the_id_follows_what_is_told_and_by_whom() {
    let notice = Notice { generation: Generation(2), secrets: vec![secret("db", "a")] };
    let id = |instance: &str, notice: &Notice| event_id(instance, notice);
    let first = id("a", &notice);
    assert_eq!(first, id("a", &notice.clone()));
    assert_ne!(first, id("b", &notice));
    assert_ne!(first, id("a", &Notice { generation: Generation(3), ..notice.clone() }));
    assert_ne!(first, id("a", &Notice { secrets: vec![secret("db", "b")], ..notice }));
}

/// The example of the Standard Webhooks reference libraries.
#[test]
fn the_signature_is_that_of_the_standard() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let body = br#"{"test": 2432232314}"#;
    let signed = sign(
        &signing_key(&file).unwrap(),
        "msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
        1_614_265_330,
        body,
    );
    assert_eq!(signed.signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    assert_eq!(signing_key(&file).unwrap_err().class, Class::Missing);
    for (text, class) in
        [(" \n", Class::Missing), ("whsec_", Class::Missing), ("whsec_!hunter2", Class::Ours)]
    {
        std::fs::write(&file, text).unwrap();
        let failure = signing_key(&file).unwrap_err();
        assert_eq!(failure.class, class, "{text}");
        assert!(failure.text.contains("/key`") && !failure.text.contains("hunter2"), "{failure}");
    }
}
