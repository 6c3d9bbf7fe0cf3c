//! The end of the agent: what the stop policy asks for, within its time.

use super::{Agent, OnStop, Unmet};
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::leased::Leased;
use crate::audit::event::Record;
use crate::time::Moment;

/// A stop that is under way.
pub(super) struct Stop {
    pub(super) deadline: Moment,
    /// From here on the tokens are revoked whatever is still under them.
    pub(super) tokens_at: Moment,
    pub(super) exited: bool,
    /// Why it stops before everything is published that it was to publish.
    unmet: Option<Unmet>,
}

impl Agent {
    pub(super) fn begin_stop(&mut self, cx: &mut Context, unmet: Option<Unmet>) {
        if self.stop.is_some() {
            return;
        }
        let leases = self.leases();
        cx.record(Record::Stopping { leases });
        self.stop = Some(Stop {
            deadline: cx.now + self.stop_timeout,
            tokens_at: cx.now + self.stop_timeout / 2,
            exited: false,
            unmet,
        });
        let on_stop = self.on_stop;
        for secret in self.leased.values_mut().chain(self.retired.values_mut()) {
            match on_stop {
                OnStop::Drain => secret.drain_all(cx, true),
                OnStop::Revoke => secret.end_all(cx),
                OnStop::Keep => {}
            }
        }
    }

    pub(super) fn step_stop(&mut self, cx: &mut Context) {
        let leases = self.leases();
        let all = self.leased.values().chain(self.retired.values());
        let idle = all.clone().all(|secret| !secret.issuing());
        let settled = { all }.all(Leased::settled);
        let quiet = self.all_leased().all(|secret| !secret.busy());
        let needs_vault = self.needs_vault();
        let Some(stop) = &mut self.stop else { return };
        let done = match self.on_stop {
            OnStop::Keep => quiet,
            OnStop::Drain => settled,
            OnStop::Revoke => {
                let over = (leases == 0 && idle) || cx.now >= stop.tokens_at;
                over && !(self.session.end_all() && needs_vault)
            }
        };
        if (done || cx.now >= stop.deadline) && !stop.exited {
            stop.exited = true;
            let unmet = stop.unmet.clone();
            let haunted: Vec<_> = self.all_leased().filter_map(|secret| secret.haunts()).collect();
            haunted.into_iter().for_each(|id| self.session.haunt(cx, id));
            self.all_leased().for_each(|secret| secret.abandon(cx));
            cx.record(Record::Stopped { leases });
            cx.dirty();
            cx.push(Command::Exit { unmet });
        }
    }
}
