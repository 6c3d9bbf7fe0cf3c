//! What an answer means for a lease.

use std::time::Duration;

use super::{Ask, Goal, Lease, Maximum, ROUNDING, STANDBY_LAG, TOLERANCE, Turn};
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::error::{Class, Failure};
use crate::lease::LeaseTerm;
use crate::lease::schedule::{self, Retry};
use crate::time::Moment;

impl Lease {
    /// Whether `op` is this lease's.
    pub fn waits_for(&self, op: Op) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == op)
    }

    /// Takes the answer to a renewal or a lookup. `lookup`: how often Vault is asked.
    pub fn seen(
        &mut self,
        cx: &mut Context,
        sent: Moment,
        result: Result<LeaseTerm, Failure>,
        lookup: Duration,
    ) -> Turn {
        let Some((_, ask)) = self.asked.take() else { return Turn::Quiet };
        cx.dirty();
        match (ask, result) {
            (Ask::Prolong, Ok(term)) => {
                self.retry = Retry::default();
                if let Some(child) = &mut self.child {
                    (child.expires, child.lasting) = (Some(sent + term.ttl), true);
                }
                self.ends(self.own);
                Turn::Quiet
            }
            (_, Ok(term)) => {
                // A renewal that keeps failing is not tried at once for a lookup that works.
                let overdue = self.kept() && self.renewable() && self.renew_at <= cx.now;
                if ask != Ask::PutBack && !(ask == Ask::Lookup && overdue) {
                    self.retry = Retry::default();
                }
                self.seen = sent;
                self.recover(cx.now, sent + term.ttl);
                match ask {
                    Ask::Renew | Ask::PutBack => self.renewed(cx, ask, sent, term.ttl),
                    Ask::Measure => self.measured(sent, term.ttl),
                    Ask::Shorten => self.shortened(sent, term.ttl),
                    Ask::Lookup => self.looked_up(cx, sent, term.ttl),
                    Ask::Revoke | Ask::Prolong => Turn::Quiet,
                }
            }
            (Ask::Lookup, Err(failure))
                if failure.class == Class::Gone && cx.now < self.known_by(lookup) =>
            {
                let wait = cx.now.until(self.known_by(lookup)).min(Duration::from_secs(1));
                self.doubted |= self.kept();
                self.retry.failed(cx.now, wait);
                Turn::Quiet
            }
            (ask, Err(failure)) => self.refused(cx, ask, failure),
        }
    }

    pub(super) fn renewed(
        &mut self,
        cx: &mut Context,
        ask: Ask,
        sent: Moment,
        ttl: Duration,
    ) -> Turn {
        self.put_back = false;
        self.ends(sent + ttl);
        self.term = ttl;
        self.renew_at = schedule::renew_at(sent, ttl, cx.jitter());
        let truncated = ttl.saturating_add(Duration::from_secs(1)) < self.grant.duration;
        if truncated && !matches!(self.maximum, Maximum::At(_)) {
            self.maximum = Maximum::At(self.expires);
        }
        if ask == Ask::PutBack { Turn::Quiet } else { Turn::Renewed(ttl) }
    }

    pub(super) fn measured(&mut self, sent: Moment, ttl: Duration) -> Turn {
        self.ends(sent + ttl);
        self.maximum = Maximum::At(self.own);
        Turn::Learned(ttl)
    }

    pub(super) fn shortened(&mut self, sent: Moment, ttl: Duration) -> Turn {
        self.put_back = false;
        self.ends(sent + ttl);
        self.term = ttl;
        match &mut self.goal {
            Goal::Drain { sent: done, deadline, .. } => {
                *done = true;
                let missing = self.expires.until(*deadline);
                if missing > ROUNDING { Turn::Short(missing) } else { Turn::Quiet }
            }
            Goal::End { sent: done, .. } => {
                *done = true;
                Turn::Quiet
            }
            Goal::Keep => Turn::Quiet,
        }
    }

    pub(super) fn looked_up(&mut self, cx: &mut Context, sent: Moment, ttl: Duration) -> Turn {
        let found = sent + ttl;
        let doubted = std::mem::take(&mut self.doubted);
        self.put_back &= self.kept();
        match &mut self.goal {
            Goal::Keep => {
                // What a slow answer says was so when it was given, not when it was asked for.
                if cx.now + ttl + TOLERANCE < self.own {
                    self.ends(found);
                    self.renew_at = self.renew_at.min(cx.now);
                } else if doubted {
                    self.ends(self.own.max(found));
                    self.renew_at = self.renew_at.min(cx.now);
                } else if !self.put_back && found > self.own + TOLERANCE {
                    // A renewal whose answer was lost was carried out. Vault tells whole seconds.
                    self.ends(found - Duration::from_secs(1));
                }
            }
            // It was asked before the evidence: what is left is not the grace, whatever it is.
            Goal::Drain { sent: false, .. } if !doubted => {}
            Goal::Drain { deadline, sent: shortened, checked, .. } => {
                let late = found > *deadline + TOLERANCE;
                // After a restart nobody knows whether the shortening was sent: ask for what is
                // left where the lease ends early too.
                let early = doubted && found + Duration::from_secs(1) < *deadline;
                (*shortened, *checked) = (!late && !early, !late && !early);
                if !doubted {
                    self.retry.failed(cx.now, Duration::from_secs(1));
                }
                if cx.now >= *deadline + TOLERANCE {
                    self.goal = Goal::End { denied: false, sent: false };
                }
                self.ends(found);
            }
            Goal::End { sent, .. } => {
                *sent = false;
                self.retry.failed(cx.now, Duration::from_secs(1));
            }
        }
        Turn::Quiet
    }

    /// It was taken for lost, and Vault says that it lives: it is kept until the evidence.
    /// What our clock says to be over, though it cannot be, is learned anew.
    pub(super) fn recover(&mut self, now: Moment, end: Moment) {
        if std::mem::take(&mut self.fading) && now < end {
            (self.lost, self.goal, self.renew_at) = (false, Goal::Keep, now);
            if self.maximum.is_past(now) {
                self.maximum = Maximum::Unknown;
            }
            if let Some(child) = self.child.as_mut().filter(|child| child.is_past(now)) {
                (child.expires, child.lasting) = (Some(end), false);
            }
            self.ends(end);
        }
    }

    pub(super) fn refused(&mut self, cx: &mut Context, ask: Ask, failure: Failure) -> Turn {
        // Past its end nothing is urgent.
        let left = Some(cx.now.until(self.expires)).filter(|left| !left.is_zero());
        cx.back_off(&mut self.retry, left, &failure);
        let kept = self.kept();
        if failure.class == Class::Gone && (ask != Ask::Prolong || kept) {
            return self.gone(ask);
        }
        match ask {
            Ask::Renew => {
                let last = schedule::last_renewal_at(self.expires, self.term);
                if cx.now < last {
                    self.retry.no_later_than(last);
                }
                Turn::RenewalFailed(failure)
            }
            Ask::Measure => match failure.class {
                Class::Again { .. } | Class::Unclear => Turn::Quiet,
                Class::Denied | Class::Missing | Class::Gone | Class::Conflict | Class::Ours => {
                    self.maximum = Maximum::Unlearnable;
                    Turn::Unlearnable(failure)
                }
            },
            Ask::PutBack => {
                self.put_back = failure.class != Class::Denied;
                Turn::Quiet
            }
            Ask::Lookup => {
                if failure.class == Class::Denied {
                    // No right to look: live by what the renewals say.
                    self.seen = cx.now;
                    self.doubted = false;
                }
                if kept { Turn::LookFailed(failure) } else { Turn::Quiet }
            }
            Ask::Shorten => match self.goal {
                Goal::Drain { deadline, .. } if cx.now >= deadline => {
                    self.goal = Goal::End { denied: false, sent: false };
                    Turn::DrainFailed(failure)
                }
                Goal::Drain { .. } => Turn::DrainFailed(failure),
                Goal::Keep | Goal::End { .. } => Turn::EndFailed(failure),
            },
            Ask::Revoke => self.revoke_failed(failure),
            Ask::Prolong => match failure.class {
                Class::Again { .. } | Class::Unclear => Turn::Quiet,
                // This one is over; that says nothing of others.
                Class::Gone => {
                    self.lives_with_child();
                    Turn::Quiet
                }
                Class::Denied | Class::Missing | Class::Conflict | Class::Ours => {
                    self.lives_with_child();
                    Turn::ChildEnds(failure)
                }
            },
        }
    }

    /// Its child token is not asked to last any more.
    fn lives_with_child(&mut self) {
        if let Some(child) = &mut self.child {
            child.lasting = true;
        }
    }

    pub(super) fn gone(&mut self, ask: Ask) -> Turn {
        match self.goal {
            Goal::Drain { .. } | Goal::End { .. } => Turn::Ended,
            // Before a lease counts as lost, it is looked up.
            Goal::Keep if ask != Ask::Lookup => {
                self.doubted = true;
                Turn::Quiet
            }
            Goal::Keep => {
                self.lost = true;
                Turn::Lost("vault no longer knows it".to_owned())
            }
        }
    }

    /// When every standby has heard of it. Who looks often wants to hear of a revocation soon.
    fn known_by(&self, lookup: Duration) -> Moment {
        let born = self.answered.unwrap_or(self.issued);
        self.expires.min(born + lookup.min(STANDBY_LAG))
    }

    pub(super) fn revoke_failed(&mut self, failure: Failure) -> Turn {
        let first = matches!(self.goal, Goal::End { denied: false, .. });
        if failure.class == Class::Denied && first {
            self.goal = Goal::End { denied: true, sent: false };
            self.retry = Retry::default();
            return Turn::RevokeDenied(failure);
        }
        Turn::EndFailed(failure)
    }

    /// Takes the answer to a revocation.
    pub fn revoked(&mut self, cx: &mut Context, result: Result<(), Failure>) -> Turn {
        let Some((_, ask)) = self.asked.take() else { return Turn::Quiet };
        cx.dirty();
        match result {
            Ok(()) => Turn::Ended,
            Err(failure) => self.refused(cx, ask, failure),
        }
    }
}
