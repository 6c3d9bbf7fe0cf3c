//! Completions that say no: of a command that was held back, or whose answer was lost.

use leasehold::agent::command::Command;
use leasehold::agent::event::{Event, LoginFailure};
use leasehold::error::Failure;
use leasehold::time::Moment;

/// What the driver does not begin while the state cannot be written.
pub(super) fn waits_for_the_state(command: &Command) -> bool {
    matches!(command, Command::Issue { .. } | Command::ShortenLease { .. } | Command::Publish(_))
}

/// Its completion instead.
pub(super) fn held_back(command: &Command, now: Moment, failure: Failure) -> Option<Event> {
    match command {
        Command::Issue { op, secret, .. } => {
            Some(Event::Issued { op: *op, secret: secret.clone(), sent: now, result: Err(failure) })
        }
        Command::ShortenLease { op, .. } => {
            Some(Event::LeaseSeen { op: *op, sent: now, result: Err(failure) })
        }
        Command::Publish(_) => Some(Event::Published { result: Err(failure) }),
        _ => None,
    }
}

/// `event` with `failure` for its result.
pub(super) fn instead(event: Event, failure: Failure) -> Event {
    match event {
        Event::LoggedIn { op, sent, .. } => {
            let credential = Some("secret-id-1".into());
            Event::LoggedIn { op, sent, result: Err(LoginFailure { failure, credential }) }
        }
        Event::TokenSeen { op, sent, .. } => Event::TokenSeen { op, sent, result: Err(failure) },
        Event::TokenRevoked { op, .. } => Event::TokenRevoked { op, result: Err(failure) },
        Event::TokenCreated { op, secret, sent, .. } => {
            Event::TokenCreated { op, secret, sent, result: Err(failure) }
        }
        Event::Issued { op, secret, sent, .. } => {
            Event::Issued { op, secret, sent, result: Err(failure) }
        }
        Event::LeaseSeen { op, sent, .. } => Event::LeaseSeen { op, sent, result: Err(failure) },
        Event::LeaseRevoked { op, .. } => Event::LeaseRevoked { op, result: Err(failure) },
        Event::Read { op, .. } => Event::Read { op, result: Err(failure) },
        Event::Probed { op, .. } => Event::Probed { op, result: Err(failure) },
        Event::Counted { op, .. } => Event::Counted { op, result: Err(failure) },
        Event::Rehearsed { .. } => Event::Rehearsed { result: Err(failure) },
        Event::Published { .. } => Event::Published { result: Err(failure) },
        Event::Delivered { op, .. } => Event::Delivered { op, result: Err(failure) },
        other @ (Event::Unwrapped { .. }
        | Event::Wake
        | Event::Drifted { .. }
        | Event::Refresh { .. }
        | Event::Stop) => other,
    }
}
