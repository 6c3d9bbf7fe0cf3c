//! The Vault token and its life: the parent of every lease.
//!
//! Receives answers to logins and to what was asked about tokens, gives the token to use and the
//! sessions that died. Never issues or renews a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::{LoginFailure, Op, Token, TokenTerm};
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::schedule::{self, Retry};
use crate::secret::{Secret, stored};
use crate::time::Moment;

/// Vault locks a whole role after five refusals, so one credential gets two.
const REFUSALS: u32 = 2;

/// How often a refused credential's file is looked at again.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// A token is dead when Vault does not know it so many times in a row, so far apart.
const STRIKES: u32 = 2;
const STRIKE_WAIT: Duration = Duration::from_secs(1);

/// Names one token of ours, to say which leases live under it.
pub type SessionId = u64;

/// The sessions: the one in use, and those whose leases have not all ended.
pub struct Session {
    kept: Kept,
    login: Option<Op>,
    retry: Retry,
    /// Told once for each credential.
    told_refused: BTreeSet<String>,
}

/// What the next process takes over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    up: Option<Up>,
    old: Vec<Up>,
    refused: BTreeMap<String, u32>,
    last_id: SessionId,
}

/// One token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Up {
    id: SessionId,
    #[serde(with = "stored")]
    token: Secret,
    ours: bool,
    opened: Moment,
    expires: Option<Moment>,
    term: Duration,
    renewable: bool,
    renew_at: Moment,
    life: Life,
    put_back: bool,
    seen: Moment,
    looked_up: bool,
    #[serde(skip)]
    ending: bool,
    #[serde(skip)]
    asked: Option<(Op, Ask)>,
    #[serde(skip)]
    retry: Retry,
    #[serde(skip)]
    doubted: bool,
    /// Answers in a row that did not know the token: a standby may lag a login.
    #[serde(skip)]
    strikes: u32,
}

/// The longest that renewals can carry a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Life {
    Unknown,
    Limited,
    Endless,
    Ends(Moment),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Renew,
    Measure,
    PutBack,
    Lookup,
    Revoke,
}

/// What the session needs to know of the rest.
pub struct Surroundings {
    /// Whether a generation is visible; what can wait until then does.
    pub started: bool,
    /// How often Vault is asked whether the token lives.
    pub lookup: Duration,
    /// How long a successor must be up before a token ends, for leases to be replaced.
    pub overlap: Duration,
    /// Sessions that still have leases.
    pub in_use: BTreeSet<SessionId>,
    /// When the first lease in use ends.
    pub first_expiry: Option<Moment>,
}

/// What the rest needs to know of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Quiet,
    /// This session is dead, and every lease under it.
    Died(SessionId),
}

impl Up {
    fn new(cx: &mut Context, id: SessionId, token: Token, sent: Moment) -> Self {
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
            ending: false,
            asked: None,
            retry: Retry::default(),
            doubted: false,
            strikes: 0,
        }
    }

    fn end(&self) -> Option<Moment> {
        match self.life {
            Life::Ends(end) => Some(end),
            Life::Unknown | Life::Limited | Life::Endless => None,
        }
    }

    /// Whether a renewal would still gain anything.
    fn gains(&self) -> bool {
        let Some(expires) = self.expires else { return false };
        self.renewable && self.end().is_none_or(|end| expires + Duration::from_secs(1) < end)
    }

    fn next(&self, around: &Surroundings) -> (Moment, Ask) {
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
            // A lookup that keeps failing must not stand before a renewal that is due.
            let look = (self.retry.not_before(self.seen + around.lookup), Ask::Lookup);
            if self.gains() && self.renew_at <= look.0 { (self.renew_at, Ask::Renew) } else { look }
        };
        (self.retry.not_before(due), ask)
    }

    /// When its successor should log in.
    fn replace_at(&self, around: &Surroundings) -> Option<Moment> {
        let end = self.end()?;
        Some(schedule::replace_at(self.opened, end, self.term, around.overlap, 0.0))
    }

    fn step(&mut self, cx: &mut Context, around: &Surroundings) {
        if self.asked.is_some() {
            return;
        }
        let (due, ask) = self.next(around);
        if due > cx.now {
            return;
        }
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
    fn seen(&mut self, cx: &mut Context, sent: Moment, result: Result<TokenTerm, Failure>) -> bool {
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
            Ask::Measure => {
                self.life = self.expires.map_or(Life::Endless, Life::Ends);
            }
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
        let left = self.expires.map(|end| cx.now.until(end));
        cx.back_off(&mut self.retry, left, &failure);
        let final_no = matches!(failure.class, Class::Denied | Class::Ours | Class::Missing);
        match ask {
            Ask::Renew => {
                self.doubted |= final_no;
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
            Ask::PutBack if final_no => self.put_back = false,
            Ask::Lookup | Ask::Measure | Ask::PutBack | Ask::Revoke => {}
        }
        true
    }
}

impl Session {
    /// Goes on from what an earlier process left.
    pub fn adopt(mut kept: Kept, now: Moment) -> Self {
        let alive = |up: &Up| up.expires.is_none_or(|end| now < end);
        kept.up = kept.up.filter(alive);
        kept.old.retain(alive);
        Self { told_refused: BTreeSet::new(), kept, login: None, retry: Retry::default() }
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// The token to use and the session that it is of.
    pub fn token(&self) -> Option<(SessionId, &Secret)> {
        self.kept.up.as_ref().map(|up| (up.id, &up.token))
    }

    /// When the token in use ends unless it is renewed.
    pub fn expires(&self) -> Option<Moment> {
        self.kept.up.as_ref().and_then(|up| up.expires)
    }

    /// The latest moment to which renewals can carry the token of session `id`, where there is
    /// one.
    pub fn end_of(&self, id: SessionId) -> Option<Moment> {
        let mut all = self.kept.up.iter().chain(&self.kept.old);
        all.find(|up| up.id == id).and_then(Up::end)
    }

    /// Whether session `id` has a token that is not known to be dead.
    pub fn alive(&self, id: SessionId) -> bool {
        self.kept.up.iter().chain(&self.kept.old).any(|up| up.id == id)
    }

    fn wants_login(&self, around: &Surroundings) -> Option<Moment> {
        if self.login.is_some() {
            return None;
        }
        match &self.kept.up {
            None => Some(self.retry.not_before(Moment::from_micros(0))),
            Some(up) => up.replace_at(around).map(|at| self.retry.not_before(at)),
        }
    }

    /// When [`Session::step`] has something to do.
    pub fn due(&self, around: &Surroundings, stopping: bool) -> Option<Moment> {
        let all = self.kept.up.iter().chain(&self.kept.old);
        let requests =
            all.clone().filter(|up| up.asked.is_none()).map(|up| up.next(around).0).min();
        let ends = all.filter_map(|up| up.expires).min();
        let login = if stopping { None } else { self.wants_login(around) };
        let idle = self
            .kept
            .old
            .iter()
            .any(|up| !up.ending && up.asked.is_none() && !around.in_use.contains(&up.id))
            .then_some(Moment::from_micros(0));
        [requests, ends, login, idle].into_iter().flatten().min()
    }

    /// Sends what is due and gives the sessions that ran out.
    pub fn step(
        &mut self,
        cx: &mut Context,
        around: &Surroundings,
        stopping: bool,
    ) -> Vec<SessionId> {
        let died = self.run_out(cx);
        for up in &mut self.kept.old {
            up.ending |= !around.in_use.contains(&up.id);
        }
        let before = self.kept.old.len();
        // A token that somebody else made is theirs to end.
        self.kept.old.retain(|up| up.ours || !up.ending);
        if self.kept.old.len() < before {
            cx.dirty();
        }
        for up in self.kept.up.iter_mut().chain(&mut self.kept.old) {
            up.step(cx, around);
        }
        if !stopping && self.wants_login(around).is_some_and(|at| at <= cx.now) {
            if let Some(expires) = self.expires().filter(|_| self.retry.attempt == 0) {
                cx.record(Record::SessionEnding { remaining: cx.now.until(expires) });
            }
            let op = cx.op();
            self.login = Some(op);
            let refused = self.kept.refused.iter().filter(|(_, n)| **n >= REFUSALS);
            let refused = refused.map(|(hash, _)| hash.clone()).collect();
            cx.push(Command::Login { op, refused });
        }
        died
    }

    fn run_out(&mut self, cx: &mut Context) -> Vec<SessionId> {
        let now = cx.now;
        let over = |up: &Up| up.expires.is_some_and(|end| end <= now);
        let mut died: Vec<SessionId> =
            self.kept.old.iter().filter(|up| over(up)).map(|up| up.id).collect();
        self.kept.old.retain(|up| !over(up));
        if let Some(up) = self.kept.up.take_if(|up| over(up)) {
            cx.record(Record::SessionLost { cause: "the token ran out".to_owned() });
            died.push(up.id);
        }
        if !died.is_empty() {
            cx.dirty();
        }
        died
    }

    /// Takes the answer to a login.
    pub fn logged_in(
        &mut self,
        cx: &mut Context,
        op: Op,
        sent: Moment,
        result: Result<Token, LoginFailure>,
        around: &Surroundings,
    ) {
        if self.login != Some(op) {
            return;
        }
        self.login = None;
        match result {
            Ok(token) if token.term.ttl == Some(Duration::ZERO) => {
                let failure = Failure::new(Class::Gone, "log in: the token has run out")
                    .hint("put a token that lives into the token file");
                self.login_failed(cx, failure, None, around);
            }
            Ok(token) if self.in_use(&token) => {
                // A file that somebody else keeps still has the token that we have.
                let left = self.expires().map(|end| cx.now.until(end));
                let again = Failure::new(Class::Again { after: None }, "the same token");
                cx.back_off(&mut self.retry, left, &again);
            }
            Ok(token) => {
                // Until the new token is seen to work the next login waits.
                let new = Failure::new(Class::Again { after: None }, "a new token");
                cx.back_off(&mut self.retry, None, &new);
                cx.record(Record::SessionOpened {
                    ttl: token.term.ttl,
                    renewable: token.term.renewable,
                });
                self.kept.last_id += 1;
                let up = Up::new(cx, self.kept.last_id, token, sent);
                self.kept.refused.clear();
                self.told_refused.clear();
                self.kept.old.extend(self.kept.up.replace(up));
                cx.dirty();
            }
            Err(LoginFailure { failure, credential }) => {
                self.login_failed(cx, failure, credential, around);
            }
        }
    }

    fn in_use(&self, token: &Token) -> bool {
        self.kept.up.as_ref().is_some_and(|up| up.token == token.secret)
    }

    fn login_failed(
        &mut self,
        cx: &mut Context,
        failure: Failure,
        credential: Option<String>,
        around: &Surroundings,
    ) {
        if let (Class::Denied, Some(hash)) = (failure.class, credential) {
            let times = self.kept.refused.entry(hash.clone()).or_insert(0);
            if *times < REFUSALS {
                *times += 1;
                cx.dirty();
            }
            if *times >= REFUSALS {
                self.retry.failed(cx.now, REFUSED_WAIT);
                if self.told_refused.insert(hash) {
                    cx.record(Record::LoginRefused { failure });
                }
                return;
            }
        }
        let left = around.first_expiry.map(|end| cx.now.until(end)).filter(|left| !left.is_zero());
        let retry_in = cx.back_off(&mut self.retry, left, &failure);
        cx.record(Record::LoginFailed { failure, retry_in });
    }

    /// Takes an answer about a token.
    pub fn seen(
        &mut self,
        cx: &mut Context,
        op: Op,
        sent: Moment,
        result: Result<TokenTerm, Failure>,
    ) -> Turn {
        let cause = result.as_ref().err().map(|failure| failure.text.clone()).unwrap_or_default();
        let all = self.kept.up.iter_mut().chain(&mut self.kept.old);
        for up in all {
            if up.asked.is_some_and(|(asked, _)| asked == op) {
                let good = result.is_ok();
                if up.seen(cx, sent, result) {
                    if good {
                        self.retry = Retry::default();
                    }
                    return Turn::Quiet;
                }
                let id = up.id;
                cx.record(Record::SessionLost { cause });
                self.kept.up.take_if(|up| up.id == id);
                self.kept.old.retain(|up| up.id != id);
                return Turn::Died(id);
            }
        }
        Turn::Quiet
    }

    /// Takes the answer to a revocation of a token.
    pub fn revoked(&mut self, cx: &mut Context, op: Op, result: Result<(), Failure>) {
        let matches = |up: &Up| up.asked.is_some_and(|(asked, _)| asked == op);
        let again = result
            .as_ref()
            .err()
            .is_some_and(|failure| matches!(failure.class, Class::Again { .. } | Class::Unclear));
        if let (true, Err(failure)) = (again, &result) {
            for up in self.kept.up.iter_mut().chain(&mut self.kept.old).filter(|up| matches(up)) {
                up.asked = None;
                let left = up.expires.map(|end| cx.now.until(end));
                cx.back_off(&mut up.retry, left, failure);
            }
            return;
        }
        cx.dirty();
        let before = self.kept.old.len() + usize::from(self.kept.up.is_some());
        self.kept.up.take_if(|up| matches(up));
        self.kept.old.retain(|up| !matches(up));
        if self.kept.old.len() + usize::from(self.kept.up.is_some()) < before {
            cx.record(Record::SessionEnded);
        }
    }

    /// Asks Vault at once whether the token in use lives: another request was denied.
    pub fn doubt(&mut self) {
        if let Some(up) = &mut self.kept.up {
            up.doubted |= up.looked_up || up.life == Life::Unknown;
        }
    }

    /// Lets every token of ours go, whatever is still under it; `true` until all are gone.
    pub fn end_all(&mut self) -> bool {
        self.kept.old.extend(self.kept.up.take_if(|up| up.ours));
        for up in &mut self.kept.old {
            up.ending |= up.ours;
        }
        self.kept.old.iter().any(|up| up.ours)
    }
}
