//! The life of one lease: kept renewed, drained to a deadline, or ended at once.
//!
//! One request is under way at a time. A lease that drains is never lengthened: its deadline is
//! in the state before the first shortening is sent, and every request after it asks only for what
//! is left.

mod answers;
mod check;
mod outlook;
mod requests;

use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::error::Failure;
use crate::lease::schedule::{self, Retry};
use crate::lease::{ChildToken, Grant, RoleId};
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

impl Maximum {
    fn is_past(self, now: Moment) -> bool {
        match self {
            Self::At(end) => end <= now,
            Self::Unknown | Self::Unlearnable => false,
        }
    }
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
        if self.fleeting() { self.own } else { self.expires.min(self.own) }
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
            self.may_live(cx.now);
            cx.dirty();
        }
    }

    /// What is to be ended, or was taken for lost, may live though it ran out by our count: it is not
    /// forgotten before Vault was asked.
    fn may_live(&mut self, now: Moment) {
        if self.fading || matches!(self.goal, Goal::End { .. }) {
            self.expires = self.expires.max(now);
        }
    }

    /// It was lost: what is left of it is let run out, and then Vault is asked, which may say that
    /// it lives. Vault tells whole seconds, so a login may live a second longer than was thought.
    pub fn fade(&mut self, cx: &mut Context) {
        if self.kept() {
            let deadline = cx.now + TOLERANCE;
            self.goal = Goal::Drain { deadline, for_stop: false, sent: true, checked: true };
            self.fading = true;
            self.retry = Retry::default();
            cx.dirty();
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
    /// still lives. A shortening that was sent may have been carried out, so until Vault has said
    /// more it ends at its deadline.
    pub fn revive(&mut self, now: Moment) {
        if !self.kept() {
            if let Some(deadline) = self.deadline() {
                let (before, soon) = (self.expires, now + TOLERANCE);
                self.ends(self.own.min(if deadline > now { deadline } else { soon }));
                // Readers are told the deadline; it is not taken for lost before Vault was asked.
                self.expires = self.expires.max(soon.min(before));
            }
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
        self.may_live(now);
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
}
