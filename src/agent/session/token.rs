//! One token: kept renewed, its longest life learned, let go in the end.
//!
//! One request is under way at a time. A token that somebody else made is renewed by its own term
//! and never ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SessionId, Surroundings};
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::{Op, Token, TokenTerm};
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::schedule::{self, Retry};
use crate::secret::{Secret, stored};
use crate::time::Moment;

/// A token is dead when Vault does not know it so many times in a row, so far apart.
const STRIKES: u32 = 2;
const STRIKE_WAIT: Duration = Duration::from_secs(1);

/// One token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Up {
    pub(super) id: SessionId,
    #[serde(with = "stored")]
    pub(super) token: Secret,
    pub(super) ours: bool,
    pub(super) opened: Moment,
    pub(super) expires: Option<Moment>,
    pub(super) term: Duration,
    pub(super) renewable: bool,
    pub(super) renew_at: Moment,
    pub(super) life: Life,
    pub(super) put_back: bool,
    pub(super) seen: Moment,
    pub(super) looked_up: bool,
    /// Whether it is ours to end (no batch token, which ends only by itself) and nothing was asked for
    /// under it.
    #[serde(default)]
    pub(super) unused: bool,
    /// A lease that nobody knows may be under it and ends with it: a successor logs in, and once what
    /// is known under it has been replaced it is let go, not before then.
    #[serde(default)]
    pub(super) haunted: Option<Moment>,
    #[serde(skip)]
    pub(super) ending: bool,
    #[serde(skip)]
    pub(super) asked: Option<(Op, Ask)>,
    #[serde(skip)]
    pub(super) retry: Retry,
    #[serde(skip)]
    pub(super) doubted: bool,
    /// Answers in a row that did not know the token: a standby may lag a login.
    #[serde(skip)]
    pub(super) strikes: u32,
}

/// The longest that renewals can carry a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Life {
    Unknown,
    Limited,
    Endless,
    Ends(Moment),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Renew,
    Measure,
    PutBack,
    Lookup,
    Revoke,
}

impl Up {
    pub(super) fn new(cx: &mut Context, id: SessionId, token: Token, sent: Moment) -> Self {
        let term = token.term.ttl.unwrap_or(Duration::MAX);
        let expires = token.term.ttl.map(|ttl| sent + ttl);
        let life = match (expires, token.term.renewable, token.term.periodic) {
            (None, ..) | (Some(_), true, Some(true)) => Life::Endless,
            // Somebody else's token is not stretched to learn how far it goes.
            (Some(_), true, _) if !token.ours => Life::Endless,
            (Some(end), false, _) => Life::Ends(end),
            (Some(_), true, Some(false)) => Life::Limited,
            (Some(_), true, None) => Life::Unknown,
        };
        Self {
            id,
            token: token.secret,
            ours: token.ours,
            opened: sent,
            expires,
            term,
            renewable: token.term.renewable && expires.is_some(),
            renew_at: schedule::renew_at(sent, term, cx.jitter()),
            life,
            put_back: false,
            seen: sent,
            looked_up: false,
            unused: token.ours && token.term.renewable,
            haunted: None,
            ending: false,
            asked: None,
            retry: Retry::default(),
            doubted: false,
            strikes: 0,
        }
    }

    pub(super) fn end(&self) -> Option<Moment> {
        match self.life {
            Life::Ends(end) => Some(end),
            Life::Unknown | Life::Limited | Life::Endless => None,
        }
    }

    /// Whether a renewal would still gain anything.
    pub(super) fn gains(&self) -> bool {
        let Some(expires) = self.expires else { return false };
        self.renewable && self.end().is_none_or(|end| expires + Duration::from_secs(1) < end)
    }

    /// The next request and when it is due.
    pub(super) fn next(&self, around: &Surroundings) -> Option<(Moment, Ask)> {
        let at_once = Moment::from_micros(0);
        let (due, ask) = if self.ending {
            (at_once, Ask::Revoke)
        } else if self.doubted {
            (at_once, Ask::Lookup)
        } else if self.put_back {
            (at_once, Ask::PutBack)
        } else if around.started && self.life == Life::Unknown {
            (at_once, Ask::Lookup)
        } else if around.started && self.life == Life::Limited {
            (at_once, Ask::Measure)
        } else {
            // Who may ask about a lease under it learns by that whether the token lives.
            let proved = self.looked_up && around.proved.contains(&self.id);
            let renew = self.gains().then_some((self.renew_at, Ask::Renew));
            // A lookup that keeps failing must not stand before a renewal that is due.
            let look = self.retry.not_before(self.seen + around.lookup);
            let look = (!proved).then_some((look, Ask::Lookup));
            match (renew, look) {
                (Some(renew), Some(look)) => {
                    if renew.0 <= look.0 {
                        renew
                    } else {
                        look
                    }
                }
                (renew, look) => renew.or(look)?,
            }
        };
        Some((self.retry.not_before(due), ask))
    }

    /// When it may be let go once nothing is under it that is known.
    pub(super) fn released_at(&self) -> Moment {
        self.haunted.unwrap_or(Moment::from_micros(0))
    }

    /// When its successor should log in.
    pub(super) fn replace_at(&self, around: &Surroundings) -> Option<Moment> {
        if self.haunted.is_some() {
            return Some(Moment::from_micros(0));
        }
        let end = self.end()?;
        Some(schedule::replace_at(self.opened, end, self.term, around.overlap, 0.0))
    }

    pub(super) fn step(&mut self, cx: &mut Context, around: &Surroundings) {
        if self.asked.is_some() {
            return;
        }
        let Some((_, ask)) = self.next(around).filter(|(due, _)| *due <= cx.now) else { return };
        let op = cx.op();
        self.asked = Some((op, ask));
        let token = self.token.clone();
        let command = match ask {
            Ask::Renew | Ask::PutBack => {
                let increment = self.ours.then_some(self.term);
                Command::RenewToken { op, token, increment }
            }
            Ask::Measure => {
                self.put_back = true;
                cx.dirty();
                let increment = Some(schedule::BEYOND_ANY_MAXIMUM);
                Command::RenewToken { op, token, increment }
            }
            Ask::Lookup => Command::LookupToken { op, token },
            Ask::Revoke => Command::RevokeToken { op, token },
        };
        cx.push(command);
    }

    /// Takes an answer; `false` when the token turned out to be dead.
    pub(super) fn seen(
        &mut self,
        cx: &mut Context,
        sent: Moment,
        result: Result<TokenTerm, Failure>,
    ) -> bool {
        let Some((_, ask)) = self.asked.take() else { return true };
        cx.dirty();
        match result {
            Ok(term) => {
                let overdue = self.gains() && self.renew_at <= cx.now;
                if ask != Ask::PutBack && !(ask == Ask::Lookup && overdue) {
                    self.retry = Retry::default();
                }
                self.strikes = 0;
                self.seen = sent;
                self.answered(cx, ask, sent, term);
                true
            }
            Err(failure) => self.refused(cx, ask, failure),
        }
    }

    fn answered(&mut self, cx: &mut Context, ask: Ask, sent: Moment, term: TokenTerm) {
        self.expires = term.ttl.map(|ttl| sent + ttl);
        match ask {
            Ask::Lookup => {
                self.looked_up = true;
                self.doubted = false;
                if self.life == Life::Unknown {
                    self.life = match (term.renewable, term.periodic, self.expires) {
                        (_, _, None) | (true, Some(true), _) => Life::Endless,
                        (true, ..) => Life::Limited,
                        (false, _, Some(end)) => Life::Ends(end),
                    };
                }
            }
            Ask::Measure => self.life = self.expires.map_or(Life::Endless, Life::Ends),
            Ask::Renew | Ask::PutBack => {
                self.put_back = false;
                let ttl = term.ttl.unwrap_or(self.term);
                self.renew_at = schedule::renew_at(sent, ttl, cx.jitter());
                if ask == Ask::Renew {
                    cx.record(Record::SessionRenewed { ttl: term.ttl });
                }
            }
            Ask::Revoke => {}
        }
        if self.put_back {
            // What was measured is about to be cut to its term.
            self.expires = self.expires.map(|end| end.min(sent + self.term));
        }
    }

    /// Whether its time is up. While a request that may have lengthened it has no answer nobody
    /// knows.
    pub(super) fn over(&self, now: Moment) -> bool {
        !self.open_ended() && self.expires.is_some_and(|end| end <= now)
    }

    fn open_ended(&self) -> bool {
        self.put_back
            || self.asked.is_some_and(|(_, ask)| match ask {
                Ask::Renew | Ask::Measure | Ask::PutBack => true,
                Ask::Lookup | Ask::Revoke => false,
            })
    }

    /// When [`Up::over`] may become true unless something is answered.
    pub(super) fn ends(&self) -> Option<Moment> {
        self.expires.filter(|_| !self.open_ended())
    }

    fn refused(&mut self, cx: &mut Context, ask: Ask, failure: Failure) -> bool {
        let dead = match failure.class {
            Class::Gone => true,
            // With no right to look up, the first answer says so; later it means a dead token.
            Class::Denied => ask == Ask::Lookup && self.looked_up,
            Class::Again { .. }
            | Class::Missing
            | Class::Conflict
            | Class::Unclear
            | Class::Ours => false,
        };
        if dead {
            self.strikes += 1;
            self.doubted = true;
            self.retry.failed(cx.now, STRIKE_WAIT);
            return self.strikes < STRIKES;
        }
        // Past its end, as far as we know, nothing is urgent.
        let left = self.expires.map(|end| cx.now.until(end)).filter(|left| !left.is_zero());
        cx.back_off(&mut self.retry, left, &failure);
        let final_no = matches!(failure.class, Class::Denied | Class::Ours | Class::Missing);
        match ask {
            Ask::Renew => {
                self.doubted |= final_no;
                if final_no && self.ours {
                    // Its successor logs in before it ends, with time for the leases under it.
                    self.life = self.expires.map_or(self.life, Life::Ends);
                }
                cx.record(Record::SessionRenewalFailed { failure });
            }
            Ask::Lookup if final_no => {
                self.doubted = false;
                self.seen = cx.now;
                if self.life == Life::Unknown {
                    self.life = if self.renewable { Life::Limited } else { Life::Endless };
                }
            }
            Ask::Measure if final_no => {
                self.put_back = false;
                self.life = self.expires.map_or(Life::Endless, Life::Ends);
            }
            Ask::PutBack if final_no => {
                // It has what was measured, unless an earlier try was carried out.
                self.put_back = false;
                self.doubt();
            }
            Ask::Lookup => cx.record(Record::SessionLookupFailed { failure }),
            Ask::Measure | Ask::PutBack | Ask::Revoke => {}
        }
        true
    }

    /// Asks Vault at once whether it lives, unless it may not be asked.
    pub(super) fn doubt(&mut self) {
        self.doubted |= self.looked_up || self.life == Life::Unknown;
    }
}
