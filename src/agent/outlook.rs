//! What the agent is about to do, for people.
//!
//! Read out of the parts when somebody asks: kept beside the view it would change with every poll.

use super::Agent;
use crate::agent::command::TargetName;
use crate::snapshot::SecretName;
use crate::time::Moment;

/// One thing that is due, unless something happens before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// When; what is due already waits for something else, as for an answer.
    pub at: Moment,
    /// What.
    pub step: Step,
}

/// What may be due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Log in to Vault.
    Login,
    /// Renew the token.
    RenewToken,
    /// Renew the lease of a secret.
    Renew(SecretName),
    /// Replace it by another.
    Replace(SecretName),
    /// The one before it ends.
    EndOld(SecretName),
    /// Read a polled secret.
    Read(SecretName),
    /// Publish.
    Publish,
    /// Tell a target.
    Tell(TargetName),
}

impl Agent {
    /// Everything that is due, the soonest first.
    pub fn outlook(&self, now: Moment) -> Vec<Next> {
        if self.stop.is_some() {
            return Vec::new();
        }
        let mut all = Vec::new();
        let mut note = |at: Option<Moment>, step: Step| {
            all.extend(at.map(|at| Next { at, step }));
        };
        if self.uses_vault() {
            let (login, renewal) = self.session.outlook(&self.around_session(now));
            note(login, Step::Login);
            note(renewal, Step::RenewToken);
        }
        for (name, secret) in &self.leased {
            note(secret.renewal(), Step::Renew(name.clone()));
            let replacement = secret.replacement(now, &self.around_leased(name));
            note(replacement, Step::Replace(name.clone()));
            note(secret.last_end(), Step::EndOld(name.clone()));
        }
        for (name, secret) in &self.polled {
            note(secret.due(), Step::Read(name.clone()));
        }
        let visible = self.publication.visible();
        note(self.publication.due(self.publishable(now).as_ref()), Step::Publish);
        for (name, target) in &self.targets {
            note(target.due(visible), Step::Tell(name.clone()));
        }
        all.sort_by_key(|next| next.at);
        all
    }
}
