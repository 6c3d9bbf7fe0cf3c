//! Scripts in virtual time that are their own golden files: lines that begin with `$ ` are read,
//! what the agent did follows each. `UPDATE_EXPECT=1` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::{
    Confirm, Gives, LeasedPolicy, OnStop, Policy, PolledPolicy, Refresh, SecretPolicy, Until,
};
use leasehold::error::{Class, Failure};
use leasehold::snapshot::{Connection, SslMode};

use crate::world::{World, again, name};

#[test]
fn every_scenario_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("scenarios")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "the scenarios are gone");
    let mut differing = Vec::new();
    for file in files {
        let script = std::fs::read_to_string(&file).expect("a script");
        let played = play(&script);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &played).expect("written");
        } else if played != script {
            let at = played.lines().zip(script.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let got = played.lines().nth(at).unwrap_or("(nothing)");
            let wanted = script.lines().nth(at).unwrap_or("(nothing)");
            differing.push(format!(
                "{}:{}\n  wanted {wanted}\n  got    {got}",
                file.display(),
                at + 1
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn play(script: &str) -> String {
    let mut played = String::new();
    let mut policy = Policy {
        secrets: BTreeMap::new(),
        targets: BTreeMap::new(),
        on_stop: OnStop::Drain,
        stop_timeout: Duration::from_secs(10),
        until: Until::Stopped,
    };
    let mut settings: Vec<String> = Vec::new();
    let mut world: Option<World> = None;
    for line in script.lines() {
        let Some(input) = line.strip_prefix("$ ") else {
            if line.starts_with('#') || line.is_empty() {
                played.push_str(line);
                played.push('\n');
            }
            continue;
        };
        played.push_str(line);
        played.push('\n');
        let words: Vec<&str> = input.split_whitespace().collect();
        match (&mut world, words.as_slice()) {
            (None, ["secret", secret, "database", options @ ..]) => {
                policy.secrets.insert(name(secret), SecretPolicy::Leased(leased(options)));
            }
            (None, ["secret", secret, kind @ ("kv" | "static" | "pki" | "file"), options @ ..]) => {
                policy.secrets.insert(name(secret), polled(secret, kind, options));
            }
            (None, ["target", target, secrets @ ..]) => {
                let secrets: BTreeSet<_> = secrets.iter().map(|secret| name(secret)).collect();
                policy.targets.insert(name(target), secrets);
            }
            (None, ["on_stop", word]) => {
                policy.on_stop = match *word {
                    "drain" => OnStop::Drain,
                    "revoke" => OnStop::Revoke,
                    "keep" => OnStop::Keep,
                    other => panic!("on_stop {other}"),
                };
            }
            (None, ["once", span]) => policy = policy.publish_once(duration(span)),
            (None, ["first", span]) => policy = policy.publish_first(duration(span)),
            (None, ["start"]) => {
                let mut new = World::new(policy.clone(), 7);
                for setting in settings.drain(..) {
                    set(&mut new, &setting);
                }
                new.start();
                world = Some(new);
            }
            (None, words) => settings.push(words.join(" ")),
            (Some(world), ["start"]) => world.start(),
            (Some(world), ["run", span]) => world.run(duration(span)),
            (Some(world), ["kill"]) => world.kill(),
            (Some(world), ["secret", secret, "database", options @ ..]) => {
                let changed = SecretPolicy::Leased(leased(options));
                world.policy.secrets.insert(name(secret), changed);
            }
            (Some(world), ["once", span]) => {
                world.policy = world.policy.clone().publish_once(duration(span));
            }
            (Some(world), ["serve"]) => world.policy.until = Until::Stopped,
            (Some(world), ["secret", secret, kind @ ("kv" | "pki"), options @ ..]) => {
                world.policy.secrets.insert(name(secret), polled(secret, kind, options));
            }
            (Some(world), ["secret", secret, "gone"]) => {
                world.policy.secrets.remove(&name(secret));
            }
            (Some(world), ["target", target, secrets @ ..]) => {
                let secrets: BTreeSet<_> = secrets.iter().map(|secret| name(secret)).collect();
                world.policy.targets.insert(name(target), secrets);
            }
            (Some(world), ["reload", files @ ..]) => {
                world.reload(world.policy.clone(), !files.is_empty());
            }
            (Some(world), ["stop"]) => world.stop(),
            (Some(world), ["jump", span]) => world.jump(duration(span)),
            (Some(world), words) => set(world, &words.join(" ")),
        }
        if let Some(world) = &mut world {
            played.push_str(&std::mem::take(&mut world.out));
            for broken in world.broken.drain(..) {
                played.push_str(&format!("BROKEN {broken}\n"));
            }
        }
    }
    played
}

fn set(world: &mut World, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["vault", "down"] => world.vault.up = false,
        ["vault", "up"] => world.vault.up = true,
        ["vault", options @ ..] => {
            for option in options {
                let (key, value) = option.split_once('=').expect("key=value");
                match key {
                    "ttl" => world.vault.ttl = duration(value),
                    "max" => world.vault.max = duration(value),
                    "children" => world.vault.children = value == "yes",
                    "locks" => world.vault.locks = value == "yes",
                    "renewable" => world.vault.renewable = value == "yes",
                    "revokes" => world.vault.revokes = value == "yes",
                    "token" => world.vault.token_ttl = duration(value),
                    "token_max" => world.vault.token_max = Some(duration(value)),
                    "certificate" => world.values.life = duration(value),
                    "password" => world.values.period = duration(value),
                    "late" => world.values.late = duration(value),
                    other => panic!("vault {other}"),
                }
            }
        }
        ["credential", text] => world.vault.credential = (*text).to_owned(),
        ["postgres", "role", span] => world.database.role_after = Some(duration(span)),
        ["postgres", state] => world.database.up = *state == "up",
        ["postgres", "refuses", state] => world.database.refuses = *state == "yes",
        ["app", "moves", span] => world.app.moves_in = Some(duration(span)),
        ["app", "stays"] => world.app.moves_in = None,
        ["hook", target, "fails"] => {
            world.app.deaf.insert(name(target));
        }
        ["hook", target, "works"] => {
            world.app.deaf.remove(&name(target));
        }
        ["fail", kind, class, times] => {
            let failure = match *class {
                "again" => again("status 503"),
                "denied" => Failure::new(Class::Denied, "permission denied"),
                "missing" => Failure::new(Class::Missing, "no such field"),
                "gone" => Failure::new(Class::Gone, "invalid lease"),
                "unclear" => Failure::new(Class::Unclear, "no answer"),
                "ours" => Failure::new(Class::Ours, "status 400"),
                other => panic!("fail {other}"),
            };
            let times = times.parse().expect("a number");
            let queue = world.faults.entry((*kind).to_owned()).or_default();
            queue.extend(std::iter::repeat_n(failure, times));
        }
        ["revoke", "tokens"] => world.kill_tokens(),
        ["revoke", "leases"] => world.kill_leases(),
        ["kv", secret, "delete"] => world.write_kv(secret, None),
        ["file", secret, version] => world.write_file(secret, version.parse().ok()),
        ["kv", secret, version] => world.write_kv(secret, version.parse().ok()),
        ["answers", "lost"] => world.weather.hears = true,
        ["answers", "take", span] => world.weather.takes = Some(duration(span)),
        ["drift"] => world.drift(),
        ["refresh"] => world.refresh(None),
        ["refresh", secret] => world.refresh(Some(secret)),
        ["killed", "before", "command", number] => {
            world.dies_in = Some(number.parse().expect("a number"));
        }
        ["leases"] => {
            let all = world.leases();
            world.out.push_str(&format!("          {all:?}\n"));
        }
        other => panic!("no such line: {other:?}"),
    }
}

fn polled(secret: &str, kind: &str, options: &[&str]) -> SecretPolicy {
    let poll = Duration::from_secs(15);
    let (gives, refresh) = match kind {
        "kv" => (Gives::Fields, Refresh::Asked(poll)),
        "static" => (Gives::Login, Refresh::Asked(poll)),
        "pki" => (Gives::Fields, Refresh::Made),
        "file" => (Gives::Fields, Refresh::Local(poll)),
        other => panic!("kind {other}"),
    };
    let source = options.iter().find_map(|option| option.strip_prefix("from=")).unwrap_or(secret);
    SecretPolicy::Polled(PolledPolicy {
        source: source.into(),
        required: !options.contains(&"optional"),
        gives,
        connection: None,
        refresh,
    })
}

fn leased(options: &[&str]) -> LeasedPolicy {
    let connection = Connection {
        hosts: vec!["postgres.internal".into()],
        port: 5432,
        dbname: "novacore".into(),
        sslmode: SslMode::VerifyFull,
        sslrootcert: None,
    };
    let mut policy = LeasedPolicy {
        source: "database/creds/app".into(),
        gives: Gives::Login,
        required: true,
        connection: Some(Arc::new(connection)),
        confirm: Confirm::Moved,
        grace: Duration::from_secs(300),
        unconfirmed_after: None,
        rotate_every: None,
        lookup: Duration::from_secs(30),
    };
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "rotate_every" => policy.rotate_every = Some(duration(value)),
            "grace" => policy.grace = duration(value),
            "lookup" => policy.lookup = duration(value),
            "from" => policy.source = value.into(),
            "unconfirmed_after" => policy.unconfirmed_after = Some(duration(value)),
            "optional" => policy.required = false,
            "untried" => policy.connection = None,
            "confirm" => {
                policy.confirm = match value {
                    "none" => Confirm::None,
                    "told" => Confirm::Told,
                    "moved" => Confirm::Moved,
                    other => panic!("confirm {other}"),
                }
            }
            other => panic!("option {other}"),
        }
    }
    policy
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).expect("a unit"));
    let number: u64 = number.parse().expect("a number");
    match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        other => panic!("unit {other}"),
    }
}
