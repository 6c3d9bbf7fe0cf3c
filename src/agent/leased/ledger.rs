//! Child tokens whose leases are over.
//!
//! Each lease but the first under a new session is made under a token of its own that is born with
//! two minutes to live and made to last only once the lease is known: whatever a lost answer left
//! ends without us. Receives those that are needed no more, gives the requests that end them. Never
//! ends one under which a lease lives.

use serde::{Deserialize, Serialize};

use super::Leased;
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::agent::session::SessionId;
use crate::error::{Class, Failure};
use crate::lease::ChildToken;
use crate::lease::schedule::Retry;
use crate::time::Moment;

/// One that is to end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spent {
    child: ChildToken,
    #[serde(skip)]
    asked: Option<Op>,
    #[serde(skip)]
    retry: Retry,
}

impl Spent {
    pub(super) fn new(child: ChildToken) -> Self {
        Self { child, asked: None, retry: Retry::default() }
    }

    fn due(&self) -> Option<Moment> {
        self.asked.is_none().then(|| self.retry.not_before(Moment::from_micros(0)))
    }
}

impl Leased {
    /// When [`Leased::step_spent`] has something to do.
    pub(super) fn spent_due(&self) -> Option<Moment> {
        self.kept.spent.iter().filter_map(Spent::due).min()
    }

    /// Ends the child tokens whose leases are over.
    pub(super) fn step_spent(&mut self, cx: &mut Context) {
        for spent in &mut self.kept.spent {
            if spent.due().is_some_and(|at| at <= cx.now) {
                let op = cx.op();
                spent.asked = Some(op);
                cx.push(Command::RevokeToken { op, token: spent.child.token.clone() });
            }
        }
    }

    /// Whether `op` ends a child token of this secret.
    pub fn ends_child(&self, op: Op) -> bool {
        self.kept.spent.iter().any(|spent| spent.asked == Some(op))
    }

    /// Takes the answer to the end of a child token.
    pub fn child_ended(&mut self, cx: &mut Context, op: Op, result: Result<(), Failure>) {
        let spent = &mut self.kept.spent;
        let Some(at) = spent.iter().position(|spent| spent.asked == Some(op)) else { return };
        match result {
            Err(failure) if matches!(failure.class, Class::Again { .. } | Class::Unclear) => {
                spent[at].asked = None;
                cx.back_off(&mut spent[at].retry, None, &failure);
            }
            // Vault does not know it, or lets it not end itself: it ends with its parent.
            Ok(()) | Err(_) => {
                spent.remove(at);
                cx.dirty();
            }
        }
    }

    /// The token above died, and every child with it.
    pub(super) fn children_died(&mut self, id: SessionId) {
        self.kept.spent.retain(|spent| spent.child.session != id);
    }
}
