//! How often a value may be made: out of a budget that survives a crash loop.
//!
//! Receives that one is asked for and how that went, gives when the next may be. Never asks itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::context::Context;
use crate::audit::event::Record;
use crate::lease::schedule::Budget;
use crate::snapshot::SecretName;
use crate::time::Moment;

/// What was made so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Making {
    budget: Budget,
    /// Whether one was asked for whose answer is not in the state.
    under_way: bool,
    #[serde(skip)]
    told_spent: bool,
}

impl Making {
    /// Goes on from what an earlier process left. What it asked for and never heard of is spent.
    pub(super) fn adopt(cx: &mut Context, kept: Option<Self>) -> Self {
        let mut making = kept.unwrap_or_else(|| Self {
            budget: Budget::full(cx.now),
            under_way: false,
            told_spent: false,
        });
        if making.under_way {
            making.answered(cx, true, None);
        }
        making
    }

    /// When one may be asked for.
    pub(super) fn allowed_at(&self) -> Moment {
        self.budget.next(Moment::from_micros(0), 0)
    }

    /// Says once that none may be asked for, where that is so.
    pub(super) fn tell_spent(&mut self, cx: &mut Context, secret: &SecretName) {
        if self.left(cx.now) == 0 && !std::mem::replace(&mut self.told_spent, true) {
            let retry_in = cx.now.until(self.allowed_at());
            cx.record(Record::BudgetSpent { secret: secret.clone(), retry_in });
        }
    }

    /// How many may be asked for at once.
    pub(super) fn left(&self, now: Moment) -> u32 {
        self.budget.left(now)
    }

    /// One is asked for.
    pub(super) fn asked(&mut self, cx: &mut Context) {
        self.under_way = true;
        cx.dirty();
    }

    /// There is an answer: whether one was `made`, or may have been, and how long it lives.
    pub(super) fn answered(&mut self, cx: &mut Context, made: bool, life: Option<Duration>) {
        self.under_way = false;
        if made {
            self.budget.spend(cx.now, life);
        }
        self.told_spent &= life.is_none();
        cx.dirty();
    }
}
