//! What the decisions make of a secret id that came wrapped, of leases that are no login, and of a
//! lease where none was meant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::command::Command;
use leasehold::agent::event::{Event, Op, Reading, Token, TokenTerm, Unwrapped, Visible};
use leasehold::agent::{
    Agent, Confirm, Gives, Kept, LeasedPolicy, OnStop, Policy, PolledPolicy, SecretPolicy, Until,
};
use leasehold::audit::event::Record;
use leasehold::error::{Class, Failure};
use leasehold::lease::{Grant, Granted};
use leasehold::secret::Secret;
use leasehold::snapshot::{Connection, Content, Field, Fields, Generation, Snapshot, SslMode};
use leasehold::time::Moment;

const START: Moment = Moment::from_micros(1_000_000_000_000);

fn adopt(name: &str, secret: SecretPolicy, kept: Kept) -> Agent {
    let policy = Policy {
        secrets: BTreeMap::from([(Arc::from(name), secret)]),
        targets: BTreeMap::new(),
        on_stop: OnStop::Keep,
        stop_timeout: Duration::from_secs(10),
        until: Until::Stopped,
    };
    Agent::adopt(policy, kept, Generation::default(), 1, START).0
}

fn agent(kept: Kept) -> Agent {
    let mail =
        PolledPolicy { source: "kv/mail".into(), required: true, poll: Duration::from_secs(15) };
    adopt("mail", SecretPolicy::Polled(mail), kept)
}

/// The login among `commands`: its operation and the secret id that it takes along.
fn login(commands: &[Command]) -> Option<(Op, Option<String>)> {
    commands.iter().find_map(|command| {
        let Command::Login { op, unwrapped, .. } = command else { return None };
        let id = unwrapped.as_ref().map(|known| known.secret_id.expose().to_owned());
        Some((*op, id))
    })
}

#[test]
fn an_unwrapped_secret_id_is_saved_before_it_is_used() {
    let mut first = agent(Kept::default());
    let (op, unwrapped) = login(&first.handle(START, Event::Wake)).unwrap();
    assert_eq!(unwrapped, None);
    let found = Unwrapped { of: "hash".into(), secret_id: Secret::new("the-id".into()) };
    let commands = first.handle(START, Event::Unwrapped { op, unwrapped: found.clone() });
    assert!(matches!(commands[0], Command::Save), "{commands:?}");
    assert_eq!(login(&commands).unwrap().1.as_deref(), Some("the-id"));
    // An answer that nobody waits for is none.
    let stray = Event::Unwrapped { op, unwrapped: Unwrapped { of: "x".into(), ..found } };
    assert_eq!(login(&first.handle(START, stray)), None);

    let kept = serde_json::to_string(&first.kept()).unwrap();
    let mut next = agent(serde_json::from_str(&kept).unwrap());
    assert_eq!(login(&next.handle(START, Event::Wake)).unwrap().1.as_deref(), Some("the-id"));
}

#[test]
fn what_turns_out_to_be_leased_is_not_read_again() {
    let mut agent = agent(Kept::default());
    let (op, _) = login(&agent.handle(START, Event::Wake)).unwrap();
    let term = TokenTerm { ttl: None, renewable: false, periodic: None };
    let token = Token { secret: Secret::new("token".into()), term, ours: false };
    let commands = agent.handle(START, Event::LoggedIn { op, sent: START, result: Ok(token) });
    let op = commands.iter().find_map(|command| {
        let Command::Read { op, .. } = command else { return None };
        Some(*op)
    });
    let result = Ok(Reading::Leased(Failure::new(Class::Ours, "it is a lease")));
    let mut commands = agent.handle(START, Event::Read { op: op.unwrap(), result });
    let stopped =
        |command: &Command| matches!(command, Command::Record(Record::ReadStopped { .. }));
    assert!(commands.iter().any(stopped), "{commands:?}");
    for hour in 1..48 {
        commands.extend(agent.handle(START + Duration::from_secs(3600 * hour), Event::Wake));
    }
    assert!(!commands.iter().any(|command| matches!(command, Command::Read { .. })));
    let view = agent.view(START);
    assert!(view.secrets["mail"].stale && !view.ready());
}

fn leased(gives: Gives, source: &str, connection: Option<Arc<Connection>>) -> SecretPolicy {
    SecretPolicy::Leased(LeasedPolicy {
        source: source.into(),
        gives,
        required: true,
        connection,
        confirm: Confirm::None,
        grace: Duration::from_secs(60),
        unconfirmed_after: None,
        rotate_every: None,
        lookup: Duration::from_secs(30),
    })
}

/// What a world in which everything works answers.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest needs no answer here")]
fn answer(command: &Command) -> Option<Event> {
    let term = TokenTerm { ttl: None, renewable: false, periodic: None };
    Some(match command.clone() {
        Command::Login { op, .. } => {
            let token = Token { secret: Secret::new("token".into()), term, ours: true };
            Event::LoggedIn { op, sent: START, result: Ok(token) }
        }
        Command::CreateToken { op, secret, .. } => {
            let result = Err(Failure::new(Class::Denied, "no child tokens"));
            Event::TokenCreated { op, secret, sent: START, result }
        }
        Command::Rehearse(_) => Event::Rehearsed { result: Ok(()) },
        Command::Issue { op, secret, .. } => {
            let key = Field::Text(Secret::new("the-key".into()));
            let fields = Fields::from([("access_key".to_owned(), key)]);
            let grant = Grant {
                lease_id: Secret::new("aws/creds/deploy/1".into()),
                duration: Duration::from_secs(3600),
                renewable: false,
                content: Granted::Fields(Arc::new(fields)),
                request_id: String::new(),
            };
            Event::Issued { op, secret, sent: START, result: Ok(grant) }
        }
        Command::Publish(Snapshot { generation, .. }) => {
            Event::Published { result: Ok(Visible { generation, changed: true }) }
        }
        _ => return None,
    })
}

#[test]
fn leased_fields_are_published_as_they_are_and_never_taken_for_a_login() {
    let policy = leased(Gives::Fields, "aws/creds/deploy (fields)", None);
    let mut agent = adopt("deploy", policy, Kept::default());
    let (mut commands, mut done) = (agent.handle(START, Event::Wake), 0);
    while let Some(command) = commands.get(done) {
        done += 1;
        if let Some(event) = answer(command) {
            commands.extend(agent.handle(START, event));
        }
    }
    let rehearsed = commands.iter().find_map(|command| {
        let Command::Rehearse(snapshot) = command else { return None };
        Some(snapshot.secrets.len())
    });
    assert_eq!(rehearsed, Some(0), "nobody knows the fields before the first answer");
    let published = commands.iter().find_map(|command| {
        let Command::Publish(snapshot) = command else { return None };
        Some(snapshot.secrets["deploy"].clone())
    });
    let value = published.unwrap();
    assert_eq!(value.expires, Some(START + Duration::from_secs(3600)));
    let Content::Fields(fields) = &value.content else { panic!("{value:?}") };
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["access_key"]);

    // The secret becomes a database login: what is held is replaced, and not tried as one.
    let connection = Connection {
        hosts: vec!["h".into()],
        port: 5432,
        dbname: "d".into(),
        sslmode: SslMode::Require,
        sslrootcert: None,
    };
    let policy = leased(Gives::Login, "database/creds/app", Some(Arc::new(connection)));
    let mut next = adopt("deploy", policy, agent.kept());
    let commands = next.handle(START, Event::Wake);
    assert!(!commands.iter().any(|command| matches!(command, Command::Probe { .. })));
    assert!(next.next_wakeup(START).is_none_or(|at| at > START), "it turns without rest");
}
