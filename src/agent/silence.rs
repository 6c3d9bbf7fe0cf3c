//! Whether reads are answered at all. Receives how each went, says when only one may ask for all:
//! while Vault is away, many polled secrets must not each try again by themselves. Never holds a
//! secret back for the failures of another that are its own.

use crate::agent::context::Context;
use crate::error::{Class, Failure};
use crate::lease::schedule::Retry;
use crate::time::Moment;

/// Reads that went unanswered in a row before they speak of Vault and not of one secret.
const ENOUGH: u32 = 3;

/// How many reads went unanswered since the last answer.
#[derive(Default)]
pub(super) struct Silence {
    unanswered: u32,
    retry: Retry,
}

impl Silence {
    /// Takes how a read went; a refusal is an answer too.
    pub(super) fn heard(&mut self, cx: &mut Context, failure: Option<&Failure>) {
        match failure.filter(|failure| matches!(failure.class, Class::Again { .. })) {
            None => *self = Self::default(),
            Some(failure) => {
                self.unanswered = self.unanswered.saturating_add(1);
                // Those that were under way together are one try.
                if self.holds() && self.until() <= cx.now {
                    cx.back_off(&mut self.retry, None, failure);
                }
            }
        }
    }

    /// Whether reads are made one at a time.
    pub(super) fn holds(&self) -> bool {
        self.unanswered >= ENOUGH
    }

    /// When the next one may be made.
    pub(super) fn until(&self) -> Moment {
        self.retry.not_before(Moment::from_micros(0))
    }
}
