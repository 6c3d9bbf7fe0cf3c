use super::*;

const ACCOUNT: &str = r#"{
  "instance": "intelligence-0", "version": "0.1.0", "time": "2026-11-23T14:00:00.000Z",
  "generation": 17, "started": true, "ready": false, "stopping": false,
  "session": { "needed": true, "valid": true, "expires_at": "2026-11-23T14:47:00.000Z" },
  "secrets": {
    "db": {
      "required": true, "valid": true, "stale": false, "version": "9f2c41d07a6be853",
      "username": "v-approle-x", "obtained_at": "2026-11-23T11:00:00.000Z",
      "expires_at": "2026-11-24T11:00:00.000Z", "leases": 2, "leaving": 1
    },
    "keys": { "required": true, "valid": false, "stale": true, "leases": 0, "leaving": 0 },
    "mail": {
      "required": false, "valid": true, "stale": true, "version": "7",
      "obtained_at": "2026-11-20T14:00:00.000Z", "leases": 0, "leaving": 0
    }
  },
  "targets": { "api": { "pending": false }, "nginx": { "pending": true } },
  "next": [
    { "at": "2026-11-23T13:59:59.000Z", "what": "read", "of": "keys" },
    { "at": "2026-11-23T14:00:08.000Z", "what": "tell", "of": "nginx" },
    { "at": "2026-11-23T14:03:00.000Z", "what": "end_old", "of": "db" },
    { "at": "2026-11-23T14:40:00.000Z", "what": "renew_token" },
    { "at": "2026-11-24T04:30:00.000Z", "what": "renew", "of": "db" },
    { "at": "2026-11-26T04:30:00.000Z", "what": "replace", "of": "db" }
  ]
}"#;

const TABLE: &str = "\
intelligence-0  NOT READY: 1 required not valid  generation 17
token  valid, ends in 47m, renewed in 40m

SECRET  STATE    VERSION           AGE  ENDS    NEXT               OLD
db      valid    9f2c41d07a6be853  3h   in 21h  renewed in 14h30m  1, ends in 3m
keys    MISSING  -                 -    -       read now           -
mail    stale    7                 72h  -       -                  -

TARGET  STATE     NEXT
api     told      -
nginx   not told  told again in 8s";

#[test]
fn the_verdict_comes_first_and_each_thing_has_a_line() {
    let status: Status = serde_json::from_str(ACCOUNT).unwrap();
    let now: Timestamp = status.time.parse().unwrap();
    assert_eq!(lines(&status, now).join("\n"), TABLE);
}

#[test]
fn what_is_not_there_yet_is_said() {
    let mut status: Status = serde_json::from_str(ACCOUNT).unwrap();
    let now: Timestamp = status.time.parse().unwrap();
    (status.started, status.generation, status.session.valid) = (false, 0, false);
    status.instance = "a\u{1b}[31m".to_owned();
    status.next.clear();
    let shown = lines(&status, now);
    assert_eq!(shown[0], "a\\u{1b}[31m  NOT READY: nothing is published yet  generation 0");
    assert_eq!(shown[1], "token  NONE");
    status.session.needed = false;
    assert_eq!(lines(&status, now)[1], "token  none, nothing comes from Vault");
    status.stopping = true;
    assert!(lines(&status, now)[0].contains("  stopping  "));
}
