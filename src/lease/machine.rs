//! The life of one lease: kept renewed, drained to a deadline, or ended at once.
//!
//! One request is under way at a time. A lease that drains is never lengthened: its deadline is
//! in the state before the first shortening is sent, and every request after it asks only for what
//! is left.

use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::error::{Class, Failure};
use crate::lease::schedule::{self, Retry};
use crate::lease::{ChildToken, Grant, LeaseTerm, RoleId};
use crate::secret::Secret;
use crate::snapshot::Version;
use crate::time::Moment;

/// Vault counts whole seconds, and its queue takes a moment: what may differ without meaning.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What was asked for in whole seconds is not less than the deadline by more than this, unless the
/// lease's longest life cut it.
const ROUNDING: Duration = Duration::from_millis(100);

/// A standby that lags may not know a younger lease yet: Vault is asked again before it is given up.
const STANDBY_LAG: Duration = Duration::from_secs(10);

/// After this long past its end a lease that Vault cannot be asked about is taken for ended: the
/// database refuses its login by its own clock.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// One lease that Vault gave us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// What Vault gave.
    pub grant: Grant,
    /// Where it came from, as the policy said then.
    pub source: String,
    /// The session under whose token it lives.
    pub session: u64,
    /// The token of its own between it and the session's, where Vault gives one.
    #[serde(default)]
    pub child: Option<ChildToken>,
    /// When the issue was sent.
    pub issued: Moment,
    /// When it was answered: Vault made the lease between the two.
    #[serde(default)]
    answered: Option<Moment>,
    /// The database role's oid, once the login was proved.
    pub role: Option<RoleId>,
    /// When it ends unless it is renewed, by its own term and by its child token's.
    pub expires: Moment,
    /// By its own term.
    own: Moment,
    /// Between 0 and 1: where in its spread this lease is replaced.
    pub spread: f64,
    /// Whether Vault no longer knows it, or it ran out, or its token died.
    pub lost: bool,
    /// What the last answer gave, from its own request on.
    pub term: Duration,
    maximum: Maximum,
    goal: Goal,
    renew_at: Moment,
    seen: Moment,
    /// A renewal beyond any maximum was sent, and the normal term is not yet back: until Vault
    /// has answered nobody knows when it ends.
    put_back: bool,
    #[serde(skip)]
    version: OnceLock<Version>,
    /// It is let run out, taken for lost: an answer that shows it alive takes that back.
    #[serde(default)]
    fading: bool,
    #[serde(skip)]
    asked: Option<(Op, Ask)>,
    #[serde(skip)]
    retry: Retry,
    #[serde(skip)]
    doubted: bool,
}

/// The longest that renewals can carry a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Maximum {
    Unknown,
    At(Moment),
    Unlearnable,
}

/// What is to become of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Goal {
    Keep,
    Drain { deadline: Moment, for_stop: bool, sent: bool, checked: bool },
    End { denied: bool, sent: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Renew,
    Measure,
    PutBack,
    Shorten,
    Lookup,
    Revoke,
    /// Makes the child token last.
    Prolong,
}

/// What an answer, or the passing of time, meant for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing that anybody needs to know.
    Quiet,
    /// Renewed for so long.
    Renewed(Duration),
    /// Not renewed; tried again.
    RenewalFailed(Failure),
    /// Vault could not be asked about it; tried again.
    LookFailed(Failure),
    /// Its longest life is known: so much is left.
    Learned(Duration),
    /// Its longest life cannot be known.
    Unlearnable(Failure),
    /// It is gone though it should live.
    Lost(String),
    /// It ends this much before its grace.
    Short(Duration),
    /// Not shortened; tried again.
    DrainFailed(Failure),
    /// It has ended as it should.
    Ended,
    /// Not ended; tried again.
    EndFailed(Failure),
    /// We may not revoke; it is shortened to a second.
    RevokeDenied(Failure),
    /// Its child token cannot be made to last, and it ends with it.
    ChildEnds(Failure),
}

impl Lease {
    /// The lease of `grant`, whose request was sent at `sent`.
    pub fn new(cx: &mut Context, grant: Grant, source: &str, session: u64, sent: Moment) -> Self {
        let (renew_at, spread) =
            (schedule::renew_at(sent, grant.duration, cx.jitter()), cx.jitter());
        Self {
            source: source.to_owned(),
            session,
            child: None,
            issued: sent,
            answered: Some(cx.now),
            role: None,
            expires: sent + grant.duration,
            own: sent + grant.duration,
            spread,
            lost: false,
            term: grant.duration,
            maximum: Maximum::Unknown,
            goal: Goal::Keep,
            renew_at,
            seen: sent,
            put_back: false,
            version: OnceLock::new(),
            fading: false,
            asked: None,
            retry: Retry::default(),
            doubted: false,
            grant,
        }
    }

    /// It was made under `child`, and ends with it at the latest.
    pub fn live_under(&mut self, child: Option<ChildToken>) {
        self.child = child;
        self.ends(self.own);
    }

    fn ends(&mut self, own: Moment) {
        self.own = own;
        self.expires = self.child_end().map_or(own, |child| own.min(child));
    }

    /// When it ends unless it is renewed, by what readers are told: a child token that is being
    /// made to last does not count.
    pub fn told_end(&self) -> Moment {
        if self.fleeting() { self.own } else { self.expires }
    }

    /// When it must be replaced however its renewals fare.
    pub fn last_chance(&self) -> Moment {
        let usual = schedule::give_up_at(self.told_end(), self.term);
        match self.child_end().filter(|_| self.fleeting()) {
            Some(end) => usual.min(end - schedule::CHILD_TERM / 4),
            None => usual,
        }
    }

    /// Whether its child token has only the life that it was born with.
    fn fleeting(&self) -> bool {
        self.child.as_ref().is_some_and(|child| !child.lasting)
    }

    fn child_end(&self) -> Option<Moment> {
        self.child.as_ref().and_then(|child| child.expires)
    }

    /// How it may be shown.
    pub fn hash(&self) -> String {
        self.version().to_string()
    }

    /// The same, to tell one value of a secret from the next.
    pub fn version(&self) -> &Version {
        self.version.get_or_init(|| self.grant.lease_id.short_hash().into())
    }

    /// The latest moment to which renewals can carry it, as far as is known.
    pub fn end(&self) -> Option<Moment> {
        let own = match self.maximum {
            Maximum::At(end) => Some(end),
            Maximum::Unknown | Maximum::Unlearnable => {
                (!self.grant.renewable).then_some(self.expires)
            }
        };
        let with_child = self.child_end().filter(|_| !self.fleeting());
        own.into_iter().chain(with_child).min()
    }

    /// Whether its login should work at `now`.
    pub fn works(&self, now: Moment) -> bool {
        !self.lost && now < self.expires
    }

    /// Until when it drains, where it drains.
    pub fn deadline(&self) -> Option<Moment> {
        match self.goal {
            Goal::Drain { deadline, .. } => Some(deadline),
            Goal::Keep | Goal::End { .. } => None,
        }
    }

    /// Whether it is only kept.
    pub fn kept(&self) -> bool {
        self.goal == Goal::Keep
    }

    /// Whether its end is settled even if we die now: shortened, verified, or over.
    pub fn settled(&self) -> bool {
        match self.goal {
            Goal::Keep | Goal::End { .. } => false,
            Goal::Drain { sent, .. } => sent,
        }
    }

    /// From now on it works until `deadline` and then ends.
    pub fn drain(&mut self, cx: &mut Context, deadline: Moment, for_stop: bool) {
        if self.kept() {
            self.goal = Goal::Drain { deadline, for_stop, sent: false, checked: false };
            self.retry = Retry::default();
            cx.dirty();
        }
    }

    /// It ends now.
    pub fn terminate(&mut self, cx: &mut Context) {
        if !matches!(self.goal, Goal::End { .. }) {
            self.goal = Goal::End { denied: false, sent: false };
            self.retry = Retry::default();
            cx.dirty();
        }
    }

    /// It was lost: whatever is left of it is let run out, and ended only if it does not. Vault
    /// tells whole seconds, so a login may live a second longer than was thought.
    pub fn fade(&mut self, cx: &mut Context) {
        if self.kept() {
            let deadline = cx.now + TOLERANCE;
            self.goal = Goal::Drain { deadline, for_stop: false, sent: true, checked: true };
            self.fading = true;
            self.retry = Retry::default();
            cx.dirty();
        }
    }

    /// It was taken for lost, and Vault says that it lives: it is ended by evidence like any other.
    fn recover(&mut self, now: Moment, end: Moment) {
        if std::mem::take(&mut self.fading) && now < end {
            (self.lost, self.goal, self.renew_at) = (false, Goal::Keep, now);
            self.ends(end);
        }
    }

    /// Its token is said to be dead, and it with it. That may be wrong, and a login that lives is
    /// ended by evidence only: Vault is asked about it before it is let go.
    pub fn doubt(&mut self, cx: &mut Context) {
        self.lost = false;
        self.doubted = true;
        self.retry = Retry::default();
        cx.dirty();
    }

    /// It is visible in a new process, whatever the old one had begun with it: it is kept, if it
    /// still lives.
    pub fn revive(&mut self, now: Moment) {
        if !self.kept() {
            self.goal = Goal::Keep;
            self.doubted = true;
            self.renew_at = now;
        }
    }

    /// Goes on in a new process: a drain that only served the old process's stop is taken back,
    /// any other is looked up before anything is sent. Whether it ran out meanwhile.
    pub fn adopt(&mut self, now: Moment) -> bool {
        if let Goal::Drain { for_stop: true, .. } = self.goal {
            self.goal = Goal::Keep;
            self.renew_at = now;
        }
        self.doubted |= matches!(self.goal, Goal::Drain { sent: false, .. });
        let newly = !self.lost && self.ran_out(now);
        self.lost |= newly;
        newly
    }

    fn ran_out(&self, now: Moment) -> bool {
        !self.open_ended() && now >= self.expires
    }

    /// Whether a request that may have lengthened it has no answer yet: nobody knows when it ends.
    fn open_ended(&self) -> bool {
        self.put_back
            || self.asked.is_some_and(|(_, ask)| match ask {
                Ask::Renew | Ask::Measure | Ask::PutBack | Ask::Prolong => true,
                Ask::Shorten | Ask::Lookup | Ask::Revoke => false,
            })
    }

    /// When it is taken for ended unasked. A renewal whose answer we never had may have carried it
    /// further, so there is time to ask once it was found to be over.
    fn forget_at(&self) -> Moment {
        self.deadline().map_or(self.expires, |deadline| deadline.max(self.expires)) + FORGET_AFTER
    }

    fn learnable(&self) -> bool {
        self.maximum == Maximum::Unknown && self.grant.renewable
    }

    /// Whether a renewal would still gain anything.
    fn renewable(&self) -> bool {
        self.grant.renewable
            && self.end().is_none_or(|end| self.expires + Duration::from_secs(1) < end)
    }

    /// The next request and when it is due. `measure`: its longest life may be learned now;
    /// `lookup`: how often Vault is asked.
    fn next(&self, measure: bool, lookup: Duration) -> (Moment, Ask) {
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
    fn unshortenable(&mut self, cx: &mut Context) -> Turn {
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

    fn send(&mut self, cx: &mut Context, ask: Ask, token: Secret) {
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
    fn left_to_ask(&self, now: Moment) -> Duration {
        let left = self.deadline().map_or(Duration::ZERO, |deadline| now.until(deadline));
        let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Duration::from_secs(whole.max(1))
    }

    /// Whether `op` is this lease's.
    pub fn waits_for(&self, op: Op) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == op)
    }

    /// Takes the answer to a renewal or a lookup.
    pub fn seen(
        &mut self,
        cx: &mut Context,
        sent: Moment,
        result: Result<LeaseTerm, Failure>,
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
            (ask, Err(failure)) => self.refused(cx, ask, failure),
        }
    }

    fn renewed(&mut self, cx: &mut Context, ask: Ask, sent: Moment, ttl: Duration) -> Turn {
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

    fn measured(&mut self, sent: Moment, ttl: Duration) -> Turn {
        self.ends(sent + ttl);
        self.maximum = Maximum::At(self.own);
        Turn::Learned(ttl)
    }

    fn shortened(&mut self, sent: Moment, ttl: Duration) -> Turn {
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

    fn looked_up(&mut self, cx: &mut Context, sent: Moment, ttl: Duration) -> Turn {
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
                    self.renew_at = self.renew_at.min(cx.now);
                }
            }
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

    fn refused(&mut self, cx: &mut Context, ask: Ask, failure: Failure) -> Turn {
        // Past its end nothing is urgent.
        let left = Some(cx.now.until(self.expires)).filter(|left| !left.is_zero());
        cx.back_off(&mut self.retry, left, &failure);
        let kept = self.kept();
        if failure.class == Class::Gone && (ask != Ask::Prolong || kept) {
            return self.gone(cx.now, ask);
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
                Class::Denied | Class::Missing | Class::Gone | Class::Conflict | Class::Ours => {
                    if let Some(child) = &mut self.child {
                        child.lasting = true;
                    }
                    Turn::ChildEnds(failure)
                }
            },
        }
    }

    fn gone(&mut self, now: Moment, ask: Ask) -> Turn {
        match self.goal {
            _ if ask == Ask::Lookup && self.may_be_unknown(now) => {
                self.doubted |= self.kept();
                self.retry.failed(now, Duration::from_secs(1));
                Turn::Quiet
            }
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

    /// Whether a standby may not have heard of it yet.
    fn may_be_unknown(&self, now: Moment) -> bool {
        let born = self.answered.unwrap_or(self.issued);
        now < self.expires.min(born + STANDBY_LAG)
    }

    fn revoke_failed(&mut self, failure: Failure) -> Turn {
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
