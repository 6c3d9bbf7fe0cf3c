//! What is due for a lease: the next request, and what time alone decides.

use std::time::Duration;

use super::{Ask, FORGET_AFTER, Goal, Lease, Maximum, ROUNDING, Turn};
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::error::{Class, Failure};
use crate::lease::schedule;
use crate::secret::Secret;
use crate::time::Moment;

impl Lease {
    /// When it is taken for ended unasked. A renewal whose answer we never had may have carried it
    /// further, by a whole term where it is to be ended or was taken for lost.
    pub(super) fn forget_at(&self) -> Moment {
        let end = self.deadline().map_or(self.expires, |deadline| deadline.max(self.expires));
        let unsure = self.fading || matches!(self.goal, Goal::End { .. });
        let renewed = if unsure { self.grant.duration } else { Duration::ZERO };
        end + renewed.max(FORGET_AFTER)
    }

    pub(super) fn learnable(&self) -> bool {
        self.maximum == Maximum::Unknown && self.grant.renewable
    }

    /// Whether a renewal would still gain anything.
    pub(super) fn renewable(&self) -> bool {
        self.grant.renewable
            && self.end().is_none_or(|end| self.expires + Duration::from_secs(1) < end)
    }

    /// The next request and when it is due. `measure`: its longest life may be learned now;
    /// `lookup`: how often Vault is asked.
    pub(super) fn next(&self, measure: bool, lookup: Duration) -> (Moment, Ask) {
        let at_once = Moment::from_micros(0);
        let (due, ask) = match self.goal {
            _ if self.doubted => (at_once, Ask::Lookup),
            Goal::Keep if self.fleeting() => (at_once, Ask::Prolong),
            Goal::Keep if self.put_back => (at_once, Ask::PutBack),
            Goal::Keep if measure && self.learnable() => (at_once, Ask::Measure),
            Goal::Keep => {
                // A look that keeps failing must not stand before a renewal that is due.
                let look = schedule::look_at(self.issued, self.seen, lookup, self.spread);
                let look = (self.retry.not_before(look), Ask::Lookup);
                let renew = (self.renew_at, Ask::Renew);
                if self.renewable() && renew.0 <= look.0 { renew } else { look }
            }
            Goal::Drain { sent: false, .. } => (at_once, Ask::Shorten),
            Goal::Drain { deadline, .. }
                if self.fleeting() && self.child_end().is_some_and(|end| end < deadline) =>
            {
                (at_once, Ask::Prolong)
            }
            Goal::Drain { checked: false, .. } => (at_once, Ask::Lookup),
            Goal::Drain { deadline, .. } => (deadline + Duration::from_secs(1), Ask::Lookup),
            Goal::End { denied: false, .. } => (at_once, Ask::Revoke),
            Goal::End { sent: false, .. } => (at_once, Ask::Shorten),
            Goal::End { .. } => (self.expires, Ask::Lookup),
        };
        (self.retry.not_before(due), ask)
    }

    /// When [`Lease::step`] has something to do.
    pub fn due(&self, online: bool, measure: bool, lookup: Duration) -> Option<Moment> {
        let ends = match self.goal {
            Goal::Keep => (!self.lost).then_some(self.expires),
            Goal::Drain { .. } | Goal::End { .. } => Some(self.forget_at()),
        }
        .filter(|_| !self.open_ended());
        let request = (online && self.asked.is_none() && !(self.lost && self.kept()))
            .then(|| self.next(measure, lookup).0);
        [ends, request].into_iter().flatten().min()
    }

    /// Sends what is due, and notes what the time alone has decided.
    pub fn step(
        &mut self,
        cx: &mut Context,
        token: Option<&Secret>,
        measure: bool,
        lookup: Duration,
    ) -> Turn {
        if self.kept() && !self.lost && self.ran_out(cx.now) {
            self.lost = true;
            cx.dirty();
            return Turn::Lost("it ran out".to_owned());
        }
        if !self.kept() && !self.open_ended() && cx.now >= self.forget_at() {
            return Turn::Ended;
        }
        let Some(token) = token else { return Turn::Quiet };
        if self.asked.is_some() || (self.lost && self.kept()) {
            return Turn::Quiet;
        }
        let (due, ask) = self.next(measure, lookup);
        if due > cx.now {
            return Turn::Quiet;
        }
        if ask == Ask::Shorten && !self.grant.renewable {
            return self.unshortenable(cx);
        }
        self.send(cx, ask, token.clone());
        Turn::Quiet
    }

    /// Vault shortens by a renewal only. What cannot be renewed works until its own end, and is
    /// ended after its grace only where we may revoke.
    pub(super) fn unshortenable(&mut self, cx: &mut Context) -> Turn {
        cx.dirty();
        let failure = Failure::new(Class::Ours, "shorten the lease: it cannot be renewed")
            .hint("it ends by itself, or by us where the policy lets us revoke it");
        match &mut self.goal {
            Goal::Drain { deadline, .. } if cx.now >= *deadline => {
                self.goal = Goal::End { denied: false, sent: false };
                Turn::Quiet
            }
            Goal::Drain { deadline, sent, checked, .. } => {
                (*sent, *checked) = (true, true);
                let missing = self.expires.until(*deadline);
                if missing > ROUNDING { Turn::Short(missing) } else { Turn::DrainFailed(failure) }
            }
            Goal::End { sent, .. } => {
                *sent = true;
                Turn::Quiet
            }
            Goal::Keep => Turn::Quiet,
        }
    }

    pub(super) fn send(&mut self, cx: &mut Context, ask: Ask, token: Secret) {
        let op = cx.op();
        self.asked = Some((op, ask));
        let lease = self.grant.lease_id.clone();
        let renew = |increment| Command::RenewLease {
            op,
            lease: lease.clone(),
            increment,
            token: token.clone(),
        };
        let command = match ask {
            Ask::Renew | Ask::PutBack => renew(self.grant.duration),
            Ask::Measure => {
                self.put_back = true;
                cx.dirty();
                renew(schedule::BEYOND_ANY_MAXIMUM)
            }
            Ask::Shorten => Command::ShortenLease {
                op,
                lease: lease.clone(),
                increment: self.left_to_ask(cx.now),
                token: token.clone(),
            },
            Ask::Lookup => Command::LookupLease { op, lease: lease.clone(), token: token.clone() },
            Ask::Revoke => Command::RevokeLease { op, lease: lease.clone(), token: token.clone() },
            Ask::Prolong => Command::RenewToken {
                op,
                token: self.child.as_ref().map_or(token, |child| child.token.clone()),
                increment: Some(schedule::BEYOND_ANY_MAXIMUM),
            },
        };
        cx.push(command);
    }

    /// What a shortening asks for: what is left until the deadline, in whole seconds, at least one.
    pub(super) fn left_to_ask(&self, now: Moment) -> Duration {
        let left = self.deadline().map_or(Duration::ZERO, |deadline| now.until(deadline));
        let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Duration::from_secs(whole.max(1))
    }
}
