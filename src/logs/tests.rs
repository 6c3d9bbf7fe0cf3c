use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::error::Class;
use crate::snapshot::{Generation, SecretName};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `act` runs.
fn captured(level: &str, json: bool, act: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = Log { level: level.to_owned(), json };
    tracing::subscriber::with_default(subscriber(&log, move || writer.clone()).0, act);
    String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
}

fn secret() -> SecretName {
    SecretName::from("db")
}

fn issued() -> Record {
    Record::LeaseIssued {
        secret: secret(),
        lease: "0123456789abcdef".to_owned(),
        username: "v-approle-app-1".to_owned(),
        ttl: Duration::from_secs(60),
        request_id: "req-1".to_owned(),
    }
}

fn failure() -> Failure {
    Failure::new(Class::Denied, "renew lease: denied\u{1b}[2J\nforged\u{202e}").hint("ask for it")
}

#[test]
fn a_record_is_one_flat_json_object_in_reading_order() {
    let text = captured("info", true, || record(&issued()));
    let line: Json = serde_json::from_str(&text).unwrap();
    let (time, rest) = text.split_once(",\"level\"").unwrap();
    let time = time.strip_prefix("{\"timestamp\":\"").unwrap().strip_suffix('"').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(
        rest,
        ":\"INFO\",\"event\":\"lease_issued\",\"secret\":\"db\",\"lease\":\"0123456789abcdef\",\
         \"username\":\"v-approle-app-1\",\"ttl_seconds\":60,\"request_id\":\"req-1\",\
         \"message\":\"new login `v-approle-app-1` for `db`\"}\n"
    );
    assert_eq!(line["ttl_seconds"], json!(60));
}

#[test]
fn text_from_outside_cannot_forge_a_line_or_steer_a_terminal() {
    for json in [true, false] {
        let text = captured("info", json, || {
            record(&Record::LoginRefused { failure: failure() });
            record(&Record::LeaseLost {
                secret: secret(),
                lease: "0".to_owned(),
                cause: "gone\r\n2026 INFO forged".to_owned(),
            });
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(['\u{1b}', '\r', '\u{202e}']), "{text:?}");
        assert!(text.contains("u{1b}"), "{text}");
        assert!(text.contains("ask for it"), "{text}");
    }
}

#[test]
fn text_lines_name_event_and_fields() {
    let text = captured("info", false, || {
        record(&Record::DeliveryFailed {
            target: "api".into(),
            generation: Generation(3),
            failure: Failure::new(Class::Again { after: None }, "post: refused"),
            retry_in: Duration::from_millis(1500),
        });
    });
    let (_, line) = text.split_once(' ').unwrap();
    assert_eq!(
        line,
        " WARN delivery_failed: `api` not told of generation 3, trying again target=api \
         generation=3 retry_in_seconds=1.5 error=\"post: refused\"\n"
    );
}

#[test]
fn dependencies_stay_below_a_warning_at_every_level() {
    for (level, expected) in [("error", 1), ("info", 2), ("trace", 2)] {
        let text = captured(level, true, || {
            tracing::trace!(target: "rustify::client", "canary");
            tracing::debug!(target: "hyper", "canary");
            tracing::info!(target: "vaultrs", "canary");
            tracing::warn!(target: "reqwest", "w");
            tracing::error!(target: "leaseholder", "e");
        });
        assert!(!text.contains("canary"), "{text}");
        assert_eq!(text.lines().count(), expected, "{level}: {text}");
    }
}

#[test]
fn the_level_of_the_configuration_holds_for_our_own() {
    let three = || {
        record(&issued());
        record(&Record::IssueUnanswered { secret: secret(), undone: false });
        record(&Record::SessionLost { cause: "c".to_owned() });
        tracing::debug!(target: "leasehold", "detail");
    };
    for (level, expected) in [("error", 1), ("warn", 2), ("info", 3), ("debug", 4)] {
        assert_eq!(captured(level, true, three).lines().count(), expected, "{level}");
    }
}

#[test]
fn every_field_of_every_record_is_written() {
    for record in crate::audit::line::tests::every_record() {
        let wanted = line(&record);
        let text = captured("info", true, || super::record(&record));
        let json: Json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        for (name, value) in &wanted.fields {
            let same = match value {
                Value::Text(text) => json[name] == json!(text),
                Value::Number(number) => json[name].as_f64() == Some(*number),
                Value::Flag(flag) => json[name] == json!(flag),
            };
            assert!(same, "{name} is not in {text}");
        }
        assert_eq!(json["event"], json!(wanted.event));
        assert_eq!(json["message"], json!(wanted.message));
        assert_eq!(json.as_object().unwrap().len(), wanted.fields.len() + 4, "{text}");
    }
}

#[test]
fn our_other_lines_have_a_name_too() {
    let text = captured("info", true, || {
        listening("probes", &"127.0.0.1:9101");
        signalled("SIGHUP", Some((7, 0)), "ignored");
        signalled("SIGTERM", None, "stopping");
    });
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "listening");
    assert_eq!(lines[0]["listener"], "probes");
    assert_eq!(lines[0]["address"], "127.0.0.1:9101");
    assert_eq!((&lines[1]["sender_pid"], &lines[1]["sender_uid"]), (&json!(7), &json!(0)));
    assert_eq!(lines[2].get("sender_pid"), None);
}
