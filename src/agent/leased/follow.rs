//! What another policy means for a secret that has leases.
//!
//! Receives the policy. Never drops a request that is under way: its answer may be a lease.

use super::Leased;
use crate::agent::LeasedPolicy;
use crate::agent::context::Context;
use crate::lease::schedule::Retry;

impl Leased {
    /// Goes on by `policy`: the login in use stays, or is replaced where it is to come from
    /// elsewhere. What was on its way out stays so.
    pub fn follow(&mut self, cx: &mut Context, policy: LeasedPolicy) {
        let moved = self.policy.source != policy.source;
        if moved || self.policy.connection != policy.connection {
            // What the database before says of a login is no longer what is asked.
            (self.probe, self.count) = (None, None);
            (self.probe_retry, self.refusals) = (Retry::default(), 0);
        }
        if moved {
            self.issue_retry = Retry::default();
        }
        self.kept.grace = policy.grace;
        self.policy = policy;
        if let Some(lease) = self.kept.current.take_if(|lease| !lease.kept()) {
            self.leave(cx, lease, false);
        }
        self.end_foreign_candidate(cx);
    }

    /// Gives up a candidate that comes from elsewhere than the policy says.
    pub(super) fn end_foreign_candidate(&mut self, cx: &mut Context) {
        let source = &self.policy.source;
        if let Some(new) = self.kept.candidate.take_if(|new| new.lease.source != *source) {
            self.leave(cx, new.lease, true);
        }
    }

    /// The policy no longer has it. Its login is only renewed, until it may drain.
    pub fn retire(&mut self, cx: &mut Context) {
        // Until then readers may have it, with where it is used.
        let connection = self.policy.connection.take();
        self.policy = LeasedPolicy { connection, ..LeasedPolicy::retired(self.policy.grace) };
        (self.probe, self.count) = (None, None);
        self.end_candidate(cx);
        if self.kept.intent.is_none() {
            // The child token that was asked for ends by itself.
            self.issuing = None;
        }
    }
}
