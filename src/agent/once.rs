//! The end of an agent that publishes once, as `init` does, or that has to publish before it is of
//! use, as with `exec`.
//!
//! Hears what the operator is told, gives whether enough is published, or why it never will be.
//! Never waits for what no further try can change, and leaves every lease to the next process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Agent, Until};
use crate::agent::context::Context;
use crate::agent::polled::Polled;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::snapshot::SecretName;
use crate::time::Moment;

/// A refusal may come of a standby that lags a login; one that is repeated after so long is meant.
const MEANT: Duration = Duration::from_secs(3);

/// Why what was to be published once is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// Somebody said stop.
    Stopped,
    /// The directory does not take it.
    Unpublishable(Failure),
    /// Vault or a database does not give it, or the policy asks for what is not there.
    Unobtainable(Failure),
}

/// An agent that has so long to publish.
pub(super) struct Once {
    within: Duration,
    deadline: Moment,
    obstacles: BTreeMap<Subject, Obstacle>,
    /// Whose token or lease Vault could not be asked about.
    silent: BTreeSet<Subject>,
    /// Whether it goes on once it has published.
    goes_on: bool,
}

/// What an obstacle is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Login,
    Secret(SecretName),
    Set,
}

/// Something that went wrong last.
struct Obstacle {
    failure: Failure,
    verdict: Verdict,
    since: Moment,
    heard: Moment,
}

/// Whether another try may go better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passing,
    /// It may not, where this one is repeated for a while.
    Refused,
    Final,
}

impl Verdict {
    fn of(failure: &Failure) -> Self {
        match failure.class {
            Class::Denied => Self::Refused,
            Class::Missing | Class::Ours => Self::Final,
            Class::Again { .. } | Class::Unclear | Class::Gone | Class::Conflict => Self::Passing,
        }
    }

    /// A login that Vault refused once is tried again before that is believed.
    fn of_login(failure: &Failure) -> Self {
        match Self::of(failure) {
            Self::Refused => Self::Passing,
            other @ (Self::Passing | Self::Final) => other,
        }
    }

    /// A directory that refuses goes on refusing.
    fn of_set(failure: &Failure) -> Self {
        match Self::of(failure) {
            Self::Refused => Self::Final,
            other @ (Self::Passing | Self::Final) => other,
        }
    }
}

impl Once {
    pub(super) fn new(until: Until, now: Moment) -> Option<Self> {
        let (within, goes_on) = match until {
            Until::Stopped => return None,
            Until::Published { within } => (within, false),
            Until::Unpublished { within } => (within, true),
        };
        Some(Self {
            within,
            deadline: now + within,
            obstacles: BTreeMap::new(),
            silent: BTreeSet::new(),
            goes_on,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "of the whole catalogue these matter here")]
    fn hear(&mut self, now: Moment, record: &Record) {
        let of = |secret: &SecretName| Subject::Secret(secret.clone());
        match record {
            Record::SessionOpened { .. } => {
                self.obstacles.remove(&Subject::Login);
                // Another token may be allowed what the last one was not.
                self.obstacles.values_mut().for_each(|obstacle| obstacle.since = now);
            }
            Record::LoginFailed { failure, .. } => {
                self.note(now, Subject::Login, failure, Verdict::of_login(failure));
            }
            Record::LoginRefused { failure } => {
                self.note(now, Subject::Login, failure, Verdict::Final);
            }
            Record::ReadFailed { secret, failure, .. }
            | Record::IssueFailed { secret, failure, .. }
            | Record::ProbeFailed { secret, failure } => {
                self.note(now, of(secret), failure, Verdict::of(failure));
            }
            Record::ReadStopped { secret, failure }
            | Record::CredentialRefused { secret, failure, .. } => {
                self.note(now, of(secret), failure, Verdict::Final);
            }
            Record::SessionLookupFailed { .. } => {
                self.silent.insert(Subject::Login);
            }
            Record::LookupFailed { secret, .. } => {
                self.silent.insert(of(secret));
            }
            Record::BudgetSpent { secret, .. } => {
                let text = format!("issue for `{secret}`: the budget for new logins is spent");
                let failure = Failure::new(Class::Conflict, text)
                    .hint("the log says what became of the logins before; it refills with time");
                self.note(now, of(secret), &failure, Verdict::Passing);
            }
            Record::ValueRead { secret, .. }
            | Record::LeaseIssued { secret, .. }
            | Record::CredentialProved { secret, .. } => {
                self.obstacles.remove(&of(secret));
            }
            Record::RehearsalFailed { failure, .. } | Record::PublishFailed { failure, .. } => {
                self.note(now, Subject::Set, failure, Verdict::of_set(failure));
            }
            Record::IssueRequested { .. } | Record::Published { .. } => {
                self.obstacles.remove(&Subject::Set);
            }
            _ => {}
        }
    }

    fn note(&mut self, now: Moment, subject: Subject, failure: &Failure, verdict: Verdict) {
        let before = self.obstacles.remove(&subject).filter(|before| before.verdict == verdict);
        let since = before.map_or(now, |before| before.since);
        let obstacle = Obstacle { failure: failure.clone(), verdict, since, heard: now };
        self.obstacles.insert(subject, obstacle);
    }

    fn unmet(&self, subject: &Subject, failure: &Failure, late: bool) -> Unmet {
        let doing = if late {
            format!("publish within {:?}", self.within)
        } else {
            "publish once".to_owned()
        };
        let failure = Failure { text: format!("{doing}: {}", failure.text), ..failure.clone() };
        // A template that names what is not there is no fault of the directory.
        if *subject == Subject::Set && failure.class != Class::Missing {
            Unmet::Unpublishable(failure)
        } else {
            Unmet::Unobtainable(failure)
        }
    }
}

impl Agent {
    /// Ends the agent where enough is published, or nothing more will be.
    pub(super) fn step_once(&mut self, cx: &mut Context) {
        let Some(goes_on) = self.once.as_ref().map(|once| once.goes_on) else { return };
        if self.stop.is_some() {
            return;
        }
        if goes_on && self.publication.visible().is_some() {
            self.once = None;
        } else if self.enough(cx.now) {
            self.begin_stop(cx, None);
        } else if let Some(unmet) = self.given_up(cx.now) {
            self.begin_stop(cx, Some(unmet));
        }
    }

    /// Takes what the operator is told.
    pub(super) fn hear(&mut self, cx: &Context) {
        if let Some(once) = &mut self.once {
            cx.records().for_each(|record| once.hear(cx.now, record));
        }
    }

    /// When [`Agent::step_once`] gives up.
    pub(super) fn once_due(&self, now: Moment) -> Option<Moment> {
        let once = self.once.as_ref()?;
        let meant = self.binding(now).filter_map(|(subject, it)| self.meant_at(subject, it));
        Some(meant.fold(once.deadline, Moment::min))
    }

    /// Whether readers see every required secret, and Vault was asked about what an earlier process
    /// left. Where it does not answer, that does as it is.
    fn enough(&self, now: Moment) -> bool {
        let Some(once) = &self.once else { return false };
        let shown = self.publication.visible().is_some()
            && self.publication.publishing().is_none()
            && !self.differs(now)
            && self.view(now).ready();
        let away = self.session.token().is_none() && once.obstacles.contains_key(&Subject::Login);
        let asked = || {
            let token = !self.session.in_doubt() || once.silent.contains(&Subject::Login);
            let token = token || !self.uses_vault();
            let mut leased = self.leased.iter().filter(|(_, secret)| secret.required());
            token
                && self.polled.values().all(|secret| secret.answered().is_some())
                && leased.all(|(name, secret)| {
                    secret.checked() || once.silent.contains(&Subject::Secret(name.clone()))
                })
        };
        shown && (away || asked())
    }

    fn given_up(&self, now: Moment) -> Option<Unmet> {
        let once = self.once.as_ref()?;
        let meant = self.binding(now).filter_map(|(subject, obstacle)| {
            Some((self.meant_at(subject, obstacle)?, subject, &obstacle.failure))
        });
        if let Some((_, subject, failure)) = meant.min_by_key(|(at, ..)| *at) {
            return Some(once.unmet(subject, failure, false));
        }
        (once.deadline <= now).then(|| {
            let last = self.binding(now).max_by_key(|(_, obstacle)| obstacle.heard);
            match last {
                Some((subject, obstacle)) => once.unmet(subject, &obstacle.failure, true),
                None => {
                    let nothing = Failure::new(Class::Again { after: None }, "no answer came")
                        .hint("see whether Vault and the database are up, or allow more time");
                    once.unmet(&Subject::Login, &nothing, true)
                }
            }
        })
    }

    /// The obstacles that hold back what is to be published.
    fn binding(&self, now: Moment) -> impl Iterator<Item = (&Subject, &Obstacle)> {
        let all = self.once.iter().flat_map(|once| &once.obstacles);
        all.filter(move |(subject, _)| match subject {
            Subject::Login => self.session.token().is_none(),
            Subject::Set => true,
            Subject::Secret(name) => {
                let polled = self.polled.get(name);
                let leased = self.leased.get(name);
                let shown = self.publication.shown().get(name);
                polled
                    .is_some_and(|secret| secret.required() && secret.version(now, shown).is_none())
                    || leased
                        .is_some_and(|secret| secret.required() && !secret.view(now, shown).valid)
            }
        })
    }

    /// Since when no further try is worth waiting for.
    fn meant_at(&self, subject: &Subject, obstacle: &Obstacle) -> Option<Moment> {
        match obstacle.verdict {
            Verdict::Passing => None,
            // A token that is no longer one is refused too.
            Verdict::Refused if self.session.in_doubt() => None,
            Verdict::Refused => {
                // Of a polled secret the operator hears once.
                let polled = match subject {
                    Subject::Secret(name) => self.polled.get(name),
                    Subject::Login | Subject::Set => None,
                };
                let last = polled.and_then(Polled::answered).unwrap_or(obstacle.heard);
                (last >= obstacle.since + MEANT).then_some(last)
            }
            Verdict::Final => Some(obstacle.since),
        }
    }
}
