//! `vault bootstrap`: Vault and PostgreSQL made as a file says, and kept so.
//!
//! Receives what is wanted, looks at what there is, gives the steps between the two or takes them.
//! Never touches what the file does not name, never takes back anything that it did, and shows no
//! password: the one that it sets at first is Vault's alone at the end.
//!
//! What is decided is in [`plan`](mod@plan), which knows neither server; `observe` and `apply` ask them
//! and change them. [`proof`] tries out what came of it, for `vault doctor`.

mod apply;
mod compare;
mod lines;
mod observe;
pub mod plan;
pub mod policy;
pub mod proof;
mod statements;
pub mod wanted;

use std::cell::Cell;
use std::time::Duration;

use crate::bootstrap::plan::{Action, Plan};
use crate::bootstrap::wanted::Wanted;
use crate::error::{Class, Failure};
use crate::secret::{Credential, Secret};
use crate::timeline::Error;
use crate::vault::Vault;

pub use lines::lines;

/// How often what was done is looked at, a second apart: a standby of Vault's lags.
const LOOKS: u32 = 4;

/// Both servers, and who we are to them.
pub struct Servers<'a> {
    /// Vault.
    pub vault: &'a Vault,
    /// An operator's token there.
    pub token: Secret,
    /// A superuser of the database.
    pub superuser: Credential,
}

/// What has to be done. With `reset_root` that is a new password for Vault's role too.
///
/// # Errors
/// When one of the servers refuses or does not answer.
pub async fn look(
    servers: &Servers<'_>,
    wanted: &Wanted,
    reset_root: bool,
    stop: &Cell<bool>,
) -> Result<Plan, Error> {
    let found = observe::observe(servers, wanted, stop).await?;
    Ok(plan::plan(wanted, &found, reset_root))
}

/// Does it, says so of each step, and looks whether it took; gives what is left for a person.
///
/// # Errors
/// At the first step that cannot be done; those before it are done, and the next run does the rest.
pub async fn apply(
    servers: &Servers<'_>,
    wanted: &Wanted,
    plan: &Plan,
    first_password: impl FnOnce() -> Result<Secret, Failure>,
    stop: &Cell<bool>,
    say: impl FnMut(&str),
) -> Result<Plan, Error> {
    apply::steps(servers, wanted, plan, first_password, stop, say).await?;
    let mut rest = look(servers, wanted, false, stop).await?;
    for _ in 1..LOOKS {
        if rest.steps.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        rest = look(servers, wanted, false, stop).await?;
    }
    if let Some(text) = rest.conflicts.first() {
        return Err(Error::Failed(Failure::new(Class::Ours, text.clone())));
    }
    let Some(step) = rest.steps.first() else { return Ok(rest) };
    let details = step.details.join("; ");
    let text = format!("{}: it was set, and is not as it should be ({details})", step.what);
    let hint = match step.action {
        Action::Write { .. } => {
            "a field that Vault does not know is dropped without a word: compare its name with \
             Vault's documentation"
        }
        Action::Sql(_) | Action::Connect { .. } | Action::Rotate => {
            "somebody else may have changed it meanwhile: run it again"
        }
    };
    Err(Error::Failed(Failure::new(Class::Ours, text).hint(hint)))
}
