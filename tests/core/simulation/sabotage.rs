//! Each promise broken on purpose, by a hand between the agent and the world: the simulation must
//! see it within ten thousand rotations, and for the right reason.

use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::command::{Command, Notice};
use leasehold::agent::event::{Event, Op, Reading};
use leasehold::audit::event::Record;
use leasehold::error::{Class, Failure};
use leasehold::snapshot::{Content, Field, Generation};
use serde_json::Value;

use super::meddlers::Hand;
use super::play;

/// A sabotage is found within so many rotations.
const WITHIN: usize = 10_000;

/// What is done, which promise it breaks, and how the world must put it.
struct Sabotage {
    name: &'static str,
    promise: u8,
    found_as: &'static str,
    hand: fn() -> Hand,
}

const fn sabotage(
    promise: u8,
    name: &'static str,
    found_as: &'static str,
    hand: fn() -> Hand,
) -> Sabotage {
    Sabotage { name, promise, found_as, hand }
}

const ALL: &[Sabotage] = &[
    sabotage(1, "a generation is used twice", "the generation does not grow", || {
        Hand::on_publish(|_, snapshot| {
            snapshot.generation = Generation(snapshot.generation.0.saturating_sub(1).max(1));
        })
    }),
    sabotage(1, "user and password are of two logins", "half of another login", || {
        Hand::on_publish(|memory, snapshot| {
            for value in snapshot.secrets.values_mut() {
                if let Content::Database { credential, .. } = &mut value.content {
                    let other = memory.password.replace(credential.password.clone());
                    credential.password = other.unwrap_or_else(|| credential.password.clone());
                }
            }
        })
    }),
    sabotage(2, "a login is published without proof", "no proof and no word of it", || {
        Hand::on_event(|_, _, event| match event {
            Event::Probed { op, result: Err(_) } => Event::Probed { op, result: Ok(7) },
            other => other,
        })
    }),
    sabotage(3, "a failed read takes the value away", "was visible and is taken away", || {
        let mut hand = Hand::on_event(|memory, _, event| {
            memory.failing |= matches!(event, Event::Read { result: Err(_), .. });
            event
        });
        hand.publish = Some(|memory, snapshot| {
            if memory.failing {
                snapshot.secrets.retain(|_, it| matches!(it.content, Content::Database { .. }));
            }
        });
        hand
    }),
    sabotage(3, "an earlier login comes back", "goes back to an earlier login", || {
        Hand::on_publish(|memory, snapshot| {
            memory.count += 1;
            for (name, value) in &mut snapshot.secrets {
                if matches!(value.content, Content::Database { .. }) {
                    let first = memory.values.entry(name.clone()).or_insert(value.clone());
                    if memory.count % 5 == 0 {
                        *value = first.clone();
                    }
                }
            }
        })
    }),
    sabotage(3, "what could not be read shows as fresh", "does not show as stale", || {
        Hand::on_event(|_, _, event| match event {
            Event::Read { op, sent, result: Err(_) } => {
                Event::Read { op, sent, result: Ok(Reading::Same { left: None }) }
            }
            other => other,
        })
    }),
    sabotage(1, "certificate and key are of two", "half of another certificate", || {
        Hand::on_publish(|memory, snapshot| {
            for value in snapshot.secrets.values_mut() {
                if let Content::Fields(fields) = &mut value.content
                    && let Some(Field::Text(key)) = Arc::make_mut(fields).get_mut("private_key")
                {
                    let other = memory.key.replace(key.clone());
                    *key = other.unwrap_or_else(|| key.clone());
                }
            }
        })
    }),
    sabotage(4, "a certificate is believed longer than it is", "claims to live until", || {
        Hand::on_event(|_, _, mut event| {
            if let Event::Read { result: Ok(Reading::New { left, .. }), .. } = &mut event {
                *left = left.map(|left| left * 3);
            }
            event
        })
    }),
    sabotage(7, "a restart makes another certificate", "gets another certificate though", || {
        Hand::on_state(|state| each_polled(state, |secret| secret["held"] = Value::Null))
    }),
    sabotage(4, "a term counts from its answer", "claims to live until", || {
        Hand::on_event(|_, now, event| match event {
            Event::Issued { op, secret, result, .. } => {
                Event::Issued { op, secret, sent: now, result }
            }
            other => other,
        })
    }),
    sabotage(4, "a lease is believed longer than it is", "claims to live until", || {
        Hand::on_event(|_, _, mut event| {
            if let Event::Issued { result: Ok(grant), .. } = &mut event {
                grant.duration *= 3;
            }
            event
        })
    }),
    sabotage(4, "a token's end is not the lease's", "claims to live until", || {
        Hand::on_event(|_, _, mut event| {
            if let Event::LoggedIn { result: Ok(token), .. } = &mut event {
                token.term.ttl = None;
            }
            if let Event::TokenSeen { result: Ok(term), .. } = &mut event {
                term.ttl = None;
            }
            event
        })
    }),
    sabotage(5, "a login drains without evidence", "drains with no evidence", || {
        Hand::on_event(|_, _, mut event| {
            if let Event::Counted { result: Ok(hosts), .. } = &mut event {
                for host in hosts {
                    let newest = host.keys().next_back().copied();
                    host.iter_mut().for_each(|(role, count)| {
                        *count = u64::from(Some(*role) == newest);
                    });
                }
            }
            event
        })
    }),
    sabotage(5, "half of the grace", "ends before its grace", || {
        Hand::on_command(|_, command| {
            if let Command::ShortenLease { increment, .. } = command {
                *increment = Duration::from_secs((increment.as_secs() / 2).max(1));
            }
        })
    }),
    sabotage(5, "no grace at all", "ends before its grace", || {
        Hand::on_command(|_, command| {
            if let Command::ShortenLease { op, lease, token, .. } = command {
                let (op, lease, token) = (*op, lease.clone(), token.clone());
                *command = Command::RevokeLease { op, lease, token };
            }
        })
    }),
    sabotage(5, "a login that drains is lengthened", "drains until", || {
        Hand::on_command(|memory, command| match command {
            Command::ShortenLease { lease, .. } => {
                memory.leases.insert(lease.expose().to_owned());
            }
            Command::LookupLease { op, lease, token } if memory.leases.contains(lease.expose()) => {
                let increment = Duration::from_secs(3600);
                let (op, lease, token) = (*op, lease.clone(), token.clone());
                *command = Command::RenewLease { op, lease, increment, token };
            }
            _ => {}
        })
    }),
    sabotage(5, "the end of a drain is left to us", "left by the stop", || {
        Hand::on_command(|_, command| {
            if let Command::ShortenLease { op, lease, token, .. } = command {
                let (op, lease, token) = (*op, lease.clone(), token.clone());
                *command = Command::LookupLease { op, lease, token };
            }
        })
    }),
    sabotage(5, "a restart forgets what drains", "lengthened", || {
        Hand::on_state(|state| {
            each_lease(state, |lease| {
                if lease["goal"].get("Drain").is_some() {
                    lease["goal"] = Value::from("Keep");
                }
            });
        })
    }),
    sabotage(5, "a notice is not sent", "not told", || {
        Hand::on_command(|memory, command| {
            if let Command::Deliver { op, .. } = command {
                memory.answers.push(Event::Delivered { op: *op, result: Ok(()) });
                *command = Command::Save;
            }
        })
    }),
    sabotage(5, "a notice speaks of an older version", "a notice of what is not visible", || {
        Hand::on_command(|memory, command| {
            if let Command::Deliver { notice: Notice { secrets, .. }, .. } = command {
                for told in secrets {
                    let now = told.version.clone();
                    let before = memory.versions.insert(told.name.clone(), now);
                    told.version = before.unwrap_or_else(|| told.version.clone());
                }
            }
        })
    }),
    sabotage(6, "a lease is said to be ended and is not", "is forgotten", || {
        let mut hand = Hand::on_command(|memory, command| {
            if let Command::RevokeLease { op, lease, token } = command {
                memory.ops.insert(*op);
                let (op, lease, token) = (*op, lease.clone(), token.clone());
                *command = Command::LookupLease { op, lease, token };
            }
        });
        hand.event = Some(|memory, _, event| match event {
            Event::LeaseSeen { op, .. } if memory.ops.remove(&op) => {
                Event::LeaseRevoked { op, result: Ok(()) }
            }
            other => other,
        });
        hand
    }),
    sabotage(6, "an issue is sent before it is written down", "and no word of it", || {
        Hand::on_batch(|commands| {
            if commands.iter().any(|it| matches!(it, Command::Issue { .. })) {
                commands.retain(|it| !matches!(it, Command::Save));
            }
        })
    }),
    sabotage(6, "an issue without an answer goes unreported", "and no word of it", || {
        Hand::on_batch(|commands| {
            commands.retain(|it| !matches!(it, Command::Record(Record::IssueUnanswered { .. })));
        })
    }),
    sabotage(6, "the token of a lost answer is kept", "that is to be let go", || {
        Hand::on_state(|state| {
            each_secret(state, |secret| {
                if let Some(intent) = secret["intent"].as_object_mut() {
                    intent.insert("session".into(), Value::Null);
                }
            });
        })
    }),
    sabotage(6, "a restart forgets the login that waits", "is forgotten", || {
        Hand::on_state(|state| each_secret(state, |secret| secret["candidate"] = Value::Null))
    }),
    sabotage(6, "a restart makes a second login", "gets a new login though", || {
        Hand::on_state(|state| each_secret(state, |secret| secret["current"] = Value::Null))
    }),
    sabotage(6, "two logins are asked for at once", "two requests at once: Issue", || {
        Hand::on_batch(|commands| {
            let issue = commands.iter().find(|it| matches!(it, Command::Issue { .. })).cloned();
            if let Some(Command::Issue { op, secret, token }) = issue {
                commands.push(Command::Issue { op: Op(op.0 + 1_000_000_000), secret, token });
            }
        })
    }),
    sabotage(7, "a restart gives a fresh budget", "makes more than its budget", || {
        Hand::on_state(|state| each_secret(state, |secret| secret["budget"]["left"] = 5.into()))
    }),
    sabotage(7, "two renewals of a lease are under way", "two requests at once: Lease", || {
        Hand::on_batch(|commands| {
            let renewal = commands.iter().find(|it| matches!(it, Command::RenewLease { .. }));
            if let Some(Command::RenewLease { op, lease, increment, token }) = renewal.cloned() {
                let op = Op(op.0 + 1_000_000_000);
                commands.push(Command::RenewLease { op, lease, increment, token });
            }
        })
    }),
    sabotage(
        7,
        "a lookup that fails counts as a lost lease",
        "is taken for lost and lives",
        || {
            Hand::on_event(|_, _, event| match event {
                Event::LeaseSeen { op, sent, result: Err(_) } => {
                    let gone = Failure::new(Class::Gone, "invalid lease");
                    Event::LeaseSeen { op, sent, result: Err(gone) }
                }
                other => other,
            })
        },
    ),
    sabotage(7, "one that fails holds back the others", "with it", || {
        let mut hand = Hand::on_event(|memory, _, event| {
            if let Event::Issued { secret, result, .. } = &event {
                memory.sick.retain(|sick| sick != secret);
                memory.sick.extend(result.is_err().then(|| secret.clone()));
            }
            event
        });
        hand.command = Some(|memory, command| {
            if let (Command::Publish(_) | Command::Switch(_), false) =
                (&*command, memory.sick.is_empty())
            {
                let result = Err(Failure::new(Class::Ours, "held back"));
                memory.answers.push(Event::Published { result });
                *command = Command::Save;
            }
        });
        hand
    }),
];

fn each_secret(state: &mut Value, change: impl Fn(&mut Value)) {
    let secrets = state["leased"].as_object_mut().into_iter().flatten();
    secrets.for_each(|(_, secret)| change(secret));
}

fn each_polled(state: &mut Value, change: impl Fn(&mut Value)) {
    let secrets = state["polled"].as_object_mut().into_iter().flatten();
    secrets.for_each(|(_, secret)| change(secret));
}

fn each_lease(state: &mut Value, change: impl Fn(&mut Value) + Copy) {
    each_secret(state, |secret| {
        change(&mut secret["current"]);
        for old in secret["leaving"].as_array_mut().into_iter().flatten() {
            change(&mut old["lease"]);
        }
    });
}

/// The rotations after which `sabotage` was found, and the seed.
fn find(sabotage: &Sabotage) -> Result<(usize, u64), String> {
    let mut rotations = 0;
    let mut others = Vec::new();
    for seed in 1.. {
        let outcome = play(seed, Some(Box::new((sabotage.hand)())), false);
        rotations += outcome.rotations;
        if outcome.broken.iter().any(|text| text.contains(sabotage.found_as)) {
            return Ok((rotations, seed));
        }
        others.extend(outcome.broken);
        if rotations > WITHIN {
            break;
        }
    }
    others.truncate(5);
    Err(format!("`{}` is not found; but: {others:#?}", sabotage.name))
}

/// The checks see each promise broken; the promises that the core keeps are all among them.
#[test]
fn every_sabotage_is_found() {
    let mut missed = Vec::new();
    let only = std::env::var("LEASEHOLD_SIM_SABOTAGE").ok();
    for sabotage in ALL.iter().filter(|it| only.as_ref().is_none_or(|only| it.name.contains(only)))
    {
        match find(sabotage) {
            Ok((rotations, seed)) => println!(
                "{}  {:<45} {rotations:>6} rotations, seed {seed}",
                sabotage.promise, sabotage.name
            ),
            Err(text) => missed.push(text),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    for promise in 1..=7 {
        assert!(ALL.iter().any(|it| it.promise == promise), "promise {promise} is not tried");
    }
}
