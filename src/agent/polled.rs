//! A secret that is one value at a time: stored by Vault or in a file, or made by Vault to last for
//! a while. Looked at now and then, read when it changed, made anew before it ends.
//!
//! Receives readings, gives the last good value. A failing read never takes a value away.

mod making;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::{Op, Reading};
use crate::agent::polled::making::Making;
use crate::agent::publication::Versions;
use crate::agent::view::SecretView;
use crate::agent::{PolledPolicy, Refresh};
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::lease::schedule::{self, Retry};
use crate::secret::Secret;
use crate::snapshot::{SecretName, Value, Version};
use crate::time::Moment;

/// The part of the pause between two polls that one may be early. As it is also how far polls of
/// one agent drift apart, all that have the same pause come to be asked together: many secrets
/// need one wake-up, and answers that find a warm processor.
const SPREAD: f64 = 0.05;

/// A polled secret.
pub struct Polled {
    name: SecretName,
    policy: PolledPolicy,
    held: Option<Held>,
    /// What readers see until they see what is held.
    before: Option<Held>,
    /// Of one that Vault makes.
    making: Option<Making>,
    asked: Option<Op>,
    /// When it is to be read; `None`: never again, since what is there is leased, and one more
    /// answer would be one more lease.
    read_at: Option<Moment>,
    /// When this process was answered last.
    answered: Option<Moment>,
    retry: Retry,
    /// Whether there was an answer, good or bad.
    settled: bool,
    /// Why the last read failed; told once until it changes.
    failure: Option<Failure>,
    /// Whether it may have changed since it was asked for.
    changed: bool,
    /// Whether somebody asked for it, and it was not read since.
    wished: bool,
    told_end: bool,
}

/// What the next process takes over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    #[serde(default)]
    held: Option<Held>,
    #[serde(default)]
    before: Option<Held>,
    #[serde(default)]
    making: Option<Making>,
}

/// One value.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    source: String,
    version: Version,
    content: Granted,
    obtained: Moment,
    /// When it ends, or somebody replaces it, where that is known.
    ends: Option<Moment>,
}

impl Polled {
    /// Goes on from what an earlier process left, where that is of the same source.
    pub fn adopt(
        cx: &mut Context,
        name: SecretName,
        policy: PolledPolicy,
        kept: Option<Kept>,
    ) -> Self {
        let Kept { held, before, making } = kept.unwrap_or_default();
        let [held, before] =
            [held, before].map(|held| held.filter(|held| held.source == policy.source));
        let mut adopted = Self {
            name,
            settled: held.is_some(),
            held,
            before,
            making: None,
            asked: None,
            read_at: Some(Moment::from_micros(0)),
            answered: None,
            retry: Retry::default(),
            failure: None,
            changed: false,
            wished: false,
            told_end: false,
            policy,
        };
        if adopted.is_made() {
            adopted.making = Some(Making::adopt(cx, making));
            adopted.read_at = adopted.remake_at(cx).or(adopted.read_at);
            adopted.tell_spent(cx);
        }
        adopted
    }

    /// Where the value comes from.
    pub fn source(&self) -> &str {
        &self.policy.source
    }

    /// Goes on by another policy of the same source.
    pub fn follow(&mut self, now: Moment, policy: PolledPolicy) {
        if let (Some(at), Refresh::Asked(poll) | Refresh::Local(poll)) =
            (&mut self.read_at, policy.refresh)
        {
            *at = (*at).min(now + poll);
        }
        self.policy = policy;
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Option<Kept> {
        let Self { held, before, making, .. } = self;
        let any = held.is_some() || making.is_some();
        let kept = || Kept { held: held.clone(), before: before.clone(), making: making.clone() };
        any.then(kept)
    }

    /// Whether nothing is published without it.
    pub fn required(&self) -> bool {
        self.policy.required
    }

    /// Whether it comes from this machine, and not from Vault.
    pub fn is_local(&self) -> bool {
        match self.policy.refresh {
            Refresh::Local(_) => true,
            Refresh::Asked(_) | Refresh::Made => false,
        }
    }

    /// Whether the last read failed.
    pub fn failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether there was an answer, good or bad.
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// When Vault, asked by this process, answered last or did not.
    pub fn answered(&self) -> Option<Moment> {
        self.answered
    }

    /// Whether this process asked, and had an answer or none. Of what Vault made before there is
    /// nothing to ask.
    pub fn heard(&self) -> bool {
        self.answered.is_some() || (self.is_made() && self.held.is_some())
    }

    fn is_made(&self) -> bool {
        self.policy.refresh == Refresh::Made
    }

    /// Whether `held` works, as far as is known. One that somebody replaces works until then, and
    /// nobody tells when that was.
    fn lives(&self, held: &Held, now: Moment) -> bool {
        !self.is_made() || held.ends.is_none_or(|end| now < end)
    }

    /// The last good value: what ended stays with readers who see it, and goes to nobody else.
    fn to_show(&self, now: Moment, shown: Option<&Version>) -> Option<&Held> {
        let new = self.held.as_ref().filter(|held| self.lives(held, now));
        new.or_else(|| self.shown(shown))
    }

    /// What readers see.
    fn shown(&self, shown: Option<&Version>) -> Option<&Held> {
        let mut both = self.held.iter().chain(&self.before);
        both.find(|held| shown == Some(&held.version))
    }

    /// The version of the last good value; `shown` is what readers see.
    pub fn version(&self, now: Moment, shown: Option<&Version>) -> Option<&Version> {
        self.to_show(now, shown).map(|held| &held.version)
    }

    /// The last good value.
    pub fn value(&self, now: Moment, shown: Option<&Version>) -> Option<Value> {
        let held = self.to_show(now, shown)?;
        Some(Value {
            version: held.version.clone(),
            expires: held.ends,
            previous_ends: None,
            content: held.content.content(Vec::new(), self.policy.connection.clone()),
        })
    }

    /// When [`Polled::step`] has something to do.
    pub fn due(&self) -> Option<Moment> {
        let at = self.retry.not_before(self.read_at.filter(|_| !self.asking())?);
        Some(self.making.as_ref().map_or(at, |making| at.max(making.allowed_at())))
    }

    /// Whether it is being read.
    pub fn asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Asks where it is due, or soon will be: this is called when a poll of any secret is due, and
    /// what comes along needs no wake-up of its own. Without a `token` only a file can be read.
    pub fn step(&mut self, cx: &mut Context, token: Option<&Secret>) {
        let soon = match self.policy.refresh {
            Refresh::Asked(poll) | Refresh::Local(poll) => schedule::portion(poll, SPREAD),
            Refresh::Made => Duration::ZERO,
        };
        let token = token.filter(|_| !self.is_local());
        let can = token.is_some() || self.is_local();
        if !can || self.due().is_none_or(|at| at > cx.now + soon) {
            return;
        }
        let (op, secret) = (cx.op(), self.name.clone());
        self.asked = Some(op);
        let command = match (&mut self.making, token) {
            (Some(making), Some(token)) => {
                making.asked(cx);
                Command::Make { op, secret, token: token.clone() }
            }
            (_, token) => {
                let known = self.held.as_ref().map(|held| held.version.clone());
                Command::Read { op, secret, known, token: token.cloned() }
            }
        };
        cx.push(command);
    }

    /// The file that it comes from may have changed.
    pub fn changed(&mut self) {
        self.changed = self.asking();
        self.read_at = Some(Moment::from_micros(0));
        self.retry = Retry::default();
    }

    /// It is asked for with the next step, unless what failed keeps its pause.
    pub fn refresh(&mut self, now: Moment) {
        self.wished = true;
        if !self.is_made() {
            self.read_at = self.read_at.map(|at| at.min(now));
        }
    }

    /// Whether it was asked for since it was last read.
    pub fn takes_wish(&mut self) -> bool {
        std::mem::take(&mut self.wished)
    }

    /// Whether it waits for `op`.
    pub fn waits_for(&self, op: Op) -> bool {
        self.asked == Some(op)
    }

    /// Takes a reading; `shown` is what readers see. It is kept for the next process where this one
    /// has `published`; before that the next process may as well read it itself.
    pub fn read(
        &mut self,
        cx: &mut Context,
        sent: Moment,
        result: Result<Reading, Failure>,
        shown: &Versions,
        published: bool,
    ) {
        self.asked = None;
        self.settled = true;
        self.answered = Some(cx.now);
        let usual = self.poll_at(cx);
        self.count_made(cx, &result);
        match result {
            Ok(Reading::Leased(failure)) => {
                self.read_at = None;
                self.failure = Some(failure.clone());
                cx.record(Record::ReadStopped { secret: self.name.clone(), failure });
            }
            Ok(Reading::New { version, content, left }) => {
                cx.record(Record::ValueRead {
                    secret: self.name.clone(),
                    version: version.clone(),
                });
                let (source, obtained) = (self.policy.source.clone(), cx.now);
                let ends = left.map(|left| sent + left);
                let new = Held { source, version, content, obtained, ends };
                let shown = shown.get(&self.name);
                let old = self.held.replace(new).filter(|old| shown == Some(&old.version));
                self.before = old.or(self.before.take());
                self.told_end = false;
                if published {
                    cx.dirty();
                }
                self.succeeded(cx, usual);
            }
            Ok(Reading::Same { left }) => {
                if let Some(held) = &mut self.held {
                    held.ends = left.map(|left| end(held.ends, sent, left));
                }
                self.succeeded(cx, usual);
            }
            Err(failure) => self.failed(cx, failure, usual),
        }
        if std::mem::take(&mut self.changed) {
            self.changed();
        }
    }

    /// The next poll, spread, so that a fleet does not ask together; `None` for what is made.
    fn poll_at(&self, cx: &mut Context) -> Option<Moment> {
        match self.policy.refresh {
            Refresh::Asked(poll) | Refresh::Local(poll) => {
                Some(cx.now + schedule::portion(poll, 1.0 - SPREAD * cx.jitter()))
            }
            Refresh::Made => None,
        }
    }

    /// When another one is made.
    fn remake_at(&self, cx: &mut Context) -> Option<Moment> {
        let held = self.held.as_ref()?;
        Some(schedule::remake_at(held.obtained, held.ends?, cx.jitter()))
    }

    fn count_made(&mut self, cx: &mut Context, result: &Result<Reading, Failure>) {
        let Some(making) = &mut self.making else { return };
        match result {
            Ok(Reading::New { left, .. }) => making.answered(cx, true, *left),
            Ok(Reading::Same { .. } | Reading::Leased(_)) => making.answered(cx, true, None),
            Err(failure) => making.answered(cx, failure.class == Class::Unclear, None),
        }
    }

    fn succeeded(&mut self, cx: &mut Context, usual: Option<Moment>) {
        self.retry = Retry::default();
        self.failure = None;
        let ends = self.held.as_ref().and_then(|held| held.ends);
        self.read_at = match (usual, ends) {
            (None, _) => self.remake_at(cx),
            (Some(usual), Some(ends)) => {
                Some(usual.min(schedule::look_for_successor_at(cx.now, ends)))
            }
            (Some(usual), None) => Some(usual),
        };
    }

    fn failed(&mut self, cx: &mut Context, failure: Failure, usual: Option<Moment>) {
        let remaining = self.end_at().map(|end| cx.now.until(end)).filter(|left| !left.is_zero());
        cx.back_off(&mut self.retry, remaining, &failure);
        self.read_at = Some(cx.now);
        // Vault works and has nothing better: it is asked at the usual pace, and sooner
        // at first while there is no value yet.
        if let (Class::Missing | Class::Ours, Some(usual)) = (failure.class, usual) {
            self.retry.no_later_than(usual);
            if self.held.is_some() {
                self.read_at = Some(usual);
            }
        }
        if self.failure.as_ref() != Some(&failure) {
            self.failure = Some(failure.clone());
            let (secret, stale) = (self.name.clone(), self.held.is_some());
            cx.record(Record::ReadFailed { secret, failure, stale });
        }
        self.tell_spent(cx);
    }

    /// Says once why one that is wanted is not made.
    fn tell_spent(&mut self, cx: &mut Context) {
        let wanted = self.read_at.is_some_and(|at| at <= cx.now);
        if let Some(making) = self.making.as_mut().filter(|_| wanted) {
            making.tell_spent(cx, &self.name);
        }
    }

    /// The end of what was made.
    fn end_at(&self) -> Option<Moment> {
        self.held.as_ref().filter(|_| self.is_made()).and_then(|held| held.ends)
    }

    /// When [`Polled::step_end`] has something to say.
    pub fn end_due(&self) -> Option<Moment> {
        self.end_at().filter(|_| !self.told_end)
    }

    /// Says once that what is held has ended with nothing to follow it.
    pub fn step_end(&mut self, cx: &mut Context) {
        if let Some(held) = self.held.as_ref().filter(|held| !self.lives(held, cx.now))
            && !self.told_end
        {
            let (secret, version) = (self.name.clone(), held.version.clone());
            cx.record(Record::ValueEnded { secret, version });
            self.told_end = true;
        }
    }

    /// Readers see `shown`.
    pub fn visible(&mut self, shown: Option<&Version>) {
        self.before.take_if(|before| shown != Some(&before.version));
    }

    /// How it shows.
    pub fn view(&self, now: Moment, shown: Option<&Version>) -> SecretView {
        let seen = self.shown(shown);
        let valid = match seen {
            Some(held) => self.lives(held, now),
            None => shown.is_some(),
        };
        let login = seen.and_then(|held| held.content.login());
        SecretView {
            required: self.policy.required,
            valid,
            stale: self.failure.is_some(),
            version: shown.cloned(),
            obtained: seen.map(|held| held.obtained),
            expires: seen.and_then(|held| held.ends),
            username: login.map(|login| login.username.clone()),
            budget: self.making.as_ref().map_or(0, |making| making.left(now)),
            ..SecretView::default()
        }
    }
}

/// The end of a value that is still the same and has `left`. Nothing is left of one that is overdue,
/// each time anew.
fn end(known: Option<Moment>, sent: Moment, left: Duration) -> Moment {
    match known {
        Some(known) if left.is_zero() => known.min(sent),
        Some(_) | None => sent + left,
    }
}
