//! The Vault token, from the login to its end: every lease lives under one.
//!
//! Receives answers to logins and to what was asked about tokens, gives the token to use and the
//! sessions that died. Never issues or renews a lease.

mod token;
mod undoing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::{LoginFailure, Op, Token, TokenTerm, Unwrapped};
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::schedule::{self, Retry};
use crate::secret::Secret;
use crate::time::Moment;

use token::Up;

/// Vault locks a whole role after five refusals, so one credential gets two.
const REFUSALS: u32 = 2;

/// How long a credential that was refused waits for its second try, since a standby may not know it
/// yet, and how often its file is looked at for another one.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// Names one token of ours, to say which leases live under it.
pub type SessionId = u64;

/// The sessions: the one in use, and those whose leases have not all ended.
pub struct Session {
    kept: Kept,
    login: Option<Op>,
    retry: Retry,
    doubted: Option<Doubted>,
    /// Told once for each credential.
    told_refused: BTreeSet<String>,
    /// Whether tokens of this policy make child tokens, as far as is known.
    children: bool,
    /// Whether they may end themselves, as far as is known.
    revocable: bool,
}

/// A credential that Vault refused, and may take once something is mended there.
struct Doubted {
    credential: String,
    refusals: u32,
    not_before: Moment,
    /// Whether the login under way leaves it alone.
    spared: bool,
}

/// What the next process takes over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    up: Option<Up>,
    old: Vec<Up>,
    refused: BTreeMap<String, u32>,
    #[serde(default)]
    unwrapped: Option<Unwrapped>,
    last_id: SessionId,
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
    /// Sessions with a lease that Vault is asked about: its answer tells of the token too.
    pub proved: BTreeSet<SessionId>,
    /// When the first lease in use ends, as far as is known.
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

impl Session {
    /// Goes on from what an earlier process left.
    pub fn adopt(mut kept: Kept, now: Moment) -> Self {
        let alive = |up: &Up| !up.over(now);
        kept.up = kept.up.filter(alive);
        kept.old.retain(alive);
        Self {
            told_refused: BTreeSet::new(),
            kept,
            login: None,
            retry: Retry::default(),
            doubted: None,
            children: true,
            revocable: true,
        }
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

    /// When the token of session `id` ends unless it is renewed.
    pub fn expires_of(&self, id: SessionId) -> Option<Moment> {
        let mut all = self.kept.up.iter().chain(&self.kept.old);
        all.find(|up| up.id == id).and_then(|up| up.expires)
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

    /// Whether each lease gets a child token of its own.
    pub fn bears_children(&self) -> bool {
        self.children
    }

    /// Vault gives no child tokens; asked again after the next login, whose policy may differ.
    pub fn no_children(&mut self, cx: &mut Context, failure: Failure) {
        if std::mem::replace(&mut self.children, false) {
            cx.record(Record::NoChildTokens { failure });
        }
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
        let idle = all.clone().filter(|up| up.asked.is_none());
        let requests = idle.filter_map(|up| up.next(around)).map(|(due, _)| due).min();
        let ends = all.filter_map(Up::ends).min();
        let login = if stopping { None } else { self.wants_login(around) };
        let idle = self
            .kept
            .old
            .iter()
            .filter(|up| !up.ending && up.asked.is_none() && !around.in_use.contains(&up.id))
            .map(Up::released_at)
            .min();
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
            up.ending |= !around.in_use.contains(&up.id) && up.released_at() <= cx.now;
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
            let ends =
                self.kept.up.as_ref().filter(|up| up.haunted.is_none() && self.retry.attempt == 0);
            if let Some(expires) = ends.and_then(|up| up.expires) {
                cx.record(Record::SessionEnding { remaining: cx.now.until(expires) });
            }
            let op = cx.op();
            self.login = Some(op);
            let refused = self.left_alone(cx.now);
            let unwrapped = self.kept.unwrapped.clone();
            cx.push(Command::Login { op, refused, unwrapped });
        }
        died
    }

    /// Credentials that are not sent now.
    fn left_alone(&mut self, now: Moment) -> Vec<String> {
        let lasting = self.kept.refused.iter().filter(|(_, n)| **n >= REFUSALS);
        let mut all: Vec<String> = lasting.map(|(hash, _)| hash.clone()).collect();
        if let Some(doubted) = &mut self.doubted {
            doubted.spared = now < doubted.not_before;
            all.extend(doubted.spared.then(|| doubted.credential.clone()));
        }
        all
    }

    fn run_out(&mut self, cx: &mut Context) -> Vec<SessionId> {
        let now = cx.now;
        let over = |up: &Up| up.over(now);
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

    /// Takes a secret id that was unwrapped; the login with it follows once it is in the state,
    /// since it cannot be had again.
    pub fn unwrapped(&mut self, cx: &mut Context, op: Op, unwrapped: Unwrapped) {
        if self.login == Some(op) {
            self.login = None;
            self.kept.unwrapped = Some(unwrapped);
            cx.record(Record::SecretIdUnwrapped);
            cx.dirty();
        }
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
                self.login_failed(cx, failure, around);
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
                let mut up = Up::new(cx, self.kept.last_id, token, sent);
                // A second answer that is lost is no reason for a third login.
                up.unused &= self.kept.up.as_ref().is_none_or(|old| old.haunted.is_none());
                self.children = true;
                self.kept.refused.clear();
                self.doubted = None;
                self.told_refused.clear();
                self.kept.old.extend(self.kept.up.replace(up));
                cx.dirty();
            }
            Err(LoginFailure { failure, credential: Some(credential), lasting })
                if failure.class == Class::Denied =>
            {
                self.login_refused(cx, failure, credential, lasting);
            }
            Err(LoginFailure { failure, .. }) => self.login_failed(cx, failure, around),
        }
    }

    fn in_use(&self, token: &Token) -> bool {
        self.kept.up.as_ref().is_some_and(|up| up.token == token.secret)
    }

    fn login_refused(
        &mut self,
        cx: &mut Context,
        failure: Failure,
        credential: String,
        lasting: bool,
    ) {
        self.retry.failed(cx.now, REFUSED_WAIT);
        let refusals = match lasting {
            true => self.refused_for_good(cx, &credential),
            false => self.refused_for_now(cx, &credential),
        };
        if refusals < REFUSALS {
            cx.record(Record::LoginFailed { failure, retry_in: REFUSED_WAIT });
        } else if self.told_refused.insert(credential) {
            cx.record(Record::LoginRefused { failure });
        }
    }

    fn refused_for_good(&mut self, cx: &mut Context, credential: &str) -> u32 {
        let refusals = self.kept.refused.entry(credential.to_owned()).or_insert(0);
        if *refusals < REFUSALS {
            *refusals += 1;
            cx.dirty();
        }
        *refusals
    }

    fn refused_for_now(&mut self, cx: &mut Context, credential: &str) -> u32 {
        let known = self.doubted.take().filter(|doubted| doubted.credential == credential);
        let mut doubted = known.unwrap_or_else(|| Doubted {
            credential: credential.to_owned(),
            refusals: 0,
            not_before: cx.now,
            spared: false,
        });
        if !std::mem::take(&mut doubted.spared) {
            let wait = schedule::retry_after(doubted.refusals, None, cx.jitter());
            doubted.not_before = cx.now + wait;
            doubted.refusals = doubted.refusals.saturating_add(1);
        }
        let refusals = doubted.refusals;
        self.doubted = Some(doubted);
        refusals
    }

    fn login_failed(&mut self, cx: &mut Context, failure: Failure, around: &Surroundings) {
        let left = around.first_expiry.map(|end| cx.now.until(end));
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
        let in_use = self.kept.up.as_ref().map(|up| up.id);
        let all = self.kept.up.iter_mut().chain(&mut self.kept.old);
        for up in all {
            if up.asked.is_some_and(|(asked, _)| asked == op) {
                // One that is to be replaced says nothing of its successor's login.
                let good = result.is_ok() && in_use == Some(up.id) && up.haunted.is_none();
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
                let left = up.expires.map(|end| cx.now.until(end)).filter(|left| !left.is_zero());
                cx.back_off(&mut up.retry, left, failure);
            }
            return;
        }
        cx.dirty();
        self.revocable &= !result.is_err_and(|failure| failure.class == Class::Denied);
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
            up.doubt();
        }
    }

    /// When it logs in, and when the token in use is renewed.
    pub fn outlook(&self, around: &Surroundings) -> (Option<Moment>, Option<Moment>) {
        let up = self.kept.up.as_ref().filter(|up| up.gains());
        (self.wants_login(around), up.map(|up| up.retry.not_before(up.renew_at)))
    }

    /// Whether there is no token that is believed to live.
    pub fn in_doubt(&self) -> bool {
        self.kept.up.as_ref().is_none_or(|up| up.doubted)
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
