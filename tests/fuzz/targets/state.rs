//! A state file, and a process that goes on from it.

use std::sync::LazyLock;
use std::time::Duration;

use leasehold::agent::command::Command;
use leasehold::agent::event::{Event, TokenTerm, Visible};
use leasehold::agent::{Agent, Policy};
use leasehold::config::environment::Environment;
use leasehold::lease::LeaseTerm;
use leasehold::snapshot::Generation;
use leasehold::state::{OpenError, Settings, Store};
use leasehold::time::Moment;

use super::{no_canary_in, scratch};

const CONFIG: &str = "
vault: { address: https://vault.internal:8200 }
secrets:
  db: { database: { role: app }, connection: { host: db, dbname: novacore, sslmode: require } }
  mail: { kv: { path: mail }, required: false }
publish: { directory: /run/leasehold/app, files: { app.env: { format: dotenv, secrets: [db] } } }
notify: [{ name: api, http: { url: \"http://127.0.0.1:8000/\" } }]
";

/// More of one moment than this is a turn that never ends.
const TURNS: usize = 300;

pub(super) fn state(data: &[u8]) {
    let directory = scratch("state");
    let settings = Settings { directory: directory.clone(), allow_disk: true };
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("state.json"), data).expect("a file");
    match Store::open(&settings) {
        Ok((store, Some(found))) => {
            go_on(found.agent.clone());
            store.write(&found.epoch, &found.agent).expect("what was read can be written");
        }
        Ok((_, None)) => {}
        Err(OpenError::Locked(failure) | OpenError::Unusable(failure)) => {
            no_canary_in(&format!("{failure} {failure:?}"));
        }
    }
}

fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let path = scratch("policy.yaml");
        std::fs::write(&path, CONFIG).expect("a file");
        let environment = Environment::new("host-1", [("VAULT_TOKEN", "token")]);
        leasehold::config::load(&path, &environment, &[]).expect("a configuration").config.policy
    });
    POLICY.clone()
}

/// A few turns of a process that adopts `kept`, with a Vault that knows of everything for a while.
fn go_on(kept: leasehold::agent::Kept) {
    let mut now = Moment::from_micros(1_700_000_000_000_000);
    let (mut agent, mut commands) = Agent::adopt(policy(), kept, Generation(3), 1, now);
    for _ in 0..TURNS {
        let events: Vec<Event> =
            commands.drain(..).filter_map(|command| answer(command, now)).collect();
        for event in events {
            commands.extend(agent.handle(now, event));
        }
        let _ = agent.view(now);
        if commands.is_empty() {
            match agent.next_wakeup(now) {
                Some(at) => now = now.max(at),
                None => break,
            }
            commands.extend(agent.handle(now, Event::Wake));
        }
    }
    let text = serde_json::to_string(&agent.kept()).expect("a state can be written");
    let _: leasehold::agent::Kept = serde_json::from_str(&text).expect("and read again");
}

fn answer(command: Command, sent: Moment) -> Option<Event> {
    let ttl = Duration::from_secs(20);
    Some(match command {
        Command::LookupToken { op, .. } | Command::RenewToken { op, .. } => {
            let term = TokenTerm { ttl: Some(ttl), renewable: true, periodic: None };
            Event::TokenSeen { op, sent, result: Ok(term) }
        }
        Command::RevokeToken { op, .. } => Event::TokenRevoked { op, result: Ok(()) },
        Command::RenewLease { op, .. }
        | Command::ShortenLease { op, .. }
        | Command::LookupLease { op, .. } => {
            Event::LeaseSeen { op, sent, result: Ok(LeaseTerm { ttl }) }
        }
        Command::RevokeLease { op, .. } => Event::LeaseRevoked { op, result: Ok(()) },
        Command::Probe { op, .. } => Event::Probed { op, result: Ok(7) },
        Command::Rehearse(_) => Event::Rehearsed { result: Ok(()) },
        Command::Publish(snapshot) | Command::Switch(snapshot) => {
            let visible = Visible { generation: snapshot.generation, changed: true };
            Event::Published { result: Ok(visible) }
        }
        Command::Deliver { op, .. } => Event::Delivered { op, result: Ok(()) },
        _ => return None,
    })
}
