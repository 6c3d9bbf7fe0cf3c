//! Completions that say no: of a command that was held back, or whose answer was lost.

use leasehold::agent::command::Command;
use leasehold::agent::event::Event;
use leasehold::error::Failure;
use leasehold::time::Moment;

use super::World;

/// What the driver does not begin while the state cannot be written.
pub(super) fn waits_for_the_state(command: &Command) -> bool {
    matches!(
        command,
        Command::Issue { .. }
            | Command::Make { .. }
            | Command::ShortenLease { .. }
            | Command::Publish(_)
            | Command::Switch(_)
    )
}

/// Its completion instead.
pub(super) fn held_back(command: &Command, now: Moment, failure: Failure) -> Option<Event> {
    match command {
        Command::Issue { op, secret, .. } => {
            Some(Event::Issued { op: *op, secret: secret.clone(), sent: now, result: Err(failure) })
        }
        Command::Make { op, .. } => Some(Event::Read { op: *op, sent: now, result: Err(failure) }),
        Command::ShortenLease { op, .. } => {
            Some(Event::LeaseSeen { op: *op, sent: now, result: Err(failure) })
        }
        Command::Publish(_) | Command::Switch(_) => Some(Event::Published { result: Err(failure) }),
        _ => None,
    }
}

/// `event` with `failure` for its result.
pub(super) fn instead(world: &World, event: Event, failure: Failure) -> Event {
    match event {
        Event::LoggedIn { op, sent, .. } => {
            Event::LoggedIn { op, sent, result: Err(world.login_failure(failure)) }
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
        Event::Read { op, sent, .. } => Event::Read { op, sent, result: Err(failure) },
        Event::Probed { op, .. } => Event::Probed { op, result: Err(failure) },
        Event::Counted { op, .. } => Event::Counted { op, result: Err(failure) },
        Event::Rehearsed { .. } => Event::Rehearsed { result: Err(failure) },
        Event::Published { .. } => Event::Published { result: Err(failure) },
        Event::Delivered { op, .. } => Event::Delivered { op, result: Err(failure) },
        other @ (Event::Unwrapped { .. }
        | Event::Accepted { .. }
        | Event::Wake
        | Event::FilesChanged
        | Event::Drifted { .. }
        | Event::Reload(_)
        | Event::Refresh { .. }
        | Event::Stop) => other,
    }
}
