//! The steps of a plan, taken.
//!
//! Receives a plan, does one step after the other and says so. Never goes on behind one that failed:
//! those that follow may need it. Each may be done again, so a run that was killed is simply repeated.

use std::cell::Cell;
use std::time::Duration;

use crate::bootstrap::Servers;
use crate::bootstrap::plan::{Action, Plan, Step};
use crate::bootstrap::wanted::Wanted;
use crate::error::{Class, Failure};
use crate::logs::visible;
use crate::postgres;
use crate::postgres::setup::{self, literal, quoted};
use crate::secret::{Credential, Secret};
use crate::timeline::{Error, go_on};
use crate::vault::Setting;

/// How often the old password is tried, a second apart: a replica hears of the new one later.
const TRIES: u32 = 10;

pub(super) async fn steps(
    servers: &Servers<'_>,
    wanted: &Wanted,
    plan: &Plan,
    first_password: impl FnOnce() -> Result<Secret, Failure>,
    stop: &Cell<bool>,
    mut say: impl FnMut(&str),
) -> Result<(), Error> {
    // Read before anything is done: a plan that cannot come to its end is better not begun.
    let connects = |step: &Step| matches!(step.action, Action::Connect { .. });
    let first = match plan.steps.iter().any(connects) {
        true => Some(first_password().map_err(Error::Configuration)?),
        false => None,
    };
    for step in &plan.steps {
        go_on(stop)?;
        take(servers, wanted, &step.action, first.as_ref()).await.map_err(Error::Failed)?;
        say(&visible(&format!("done: {}", step.what)));
    }
    Ok(())
}

async fn take(
    servers: &Servers<'_>,
    wanted: &Wanted,
    action: &Action,
    first: Option<&Secret>,
) -> Result<(), Failure> {
    let Servers { vault, token, superuser } = servers;
    let connection = &wanted.postgres.connection;
    match (action, first) {
        (Action::Sql(statements), _) => setup::change(connection, superuser, statements).await,
        (Action::Write { path, setting }, _) => {
            match vault.set(token, path, setting, None).await {
                // Somebody else was first; what they made is looked at in the end.
                Err(failure) if failure.class == Class::Conflict && is_at(&failure, path) => Ok(()),
                done => done,
            }
        }
        (Action::Connect { path, setting }, Some(first)) => {
            // Without the mark first: whoever is killed from here on begins anew.
            let user = (wanted.database.admin.as_str(), first);
            let unmarked = [mark(wanted, "NULL")];
            setup::give_password(connection, superuser, user, &unmarked).await?;
            vault.set(token, path, setting, Some(first)).await
        }
        (Action::Rotate, Some(first)) => {
            vault.set(token, &wanted.database.rotation(), &Setting::new(), None).await?;
            let old =
                Credential { username: wanted.database.admin.clone(), password: first.clone() };
            refused(wanted, &old).await?;
            let marked = [mark(wanted, &literal(&wanted.database.mark()))];
            setup::change(connection, superuser, &marked).await
        }
        (Action::Connect { .. } | Action::Rotate, None) => {
            Err(Failure::new(Class::Ours, "set up the connection: there is no first password"))
        }
    }
}

/// Whether what is in use is at the very path, and not somewhere below it.
fn is_at(failure: &Failure, path: &str) -> bool {
    let mount = path.trim_start_matches("sys/mounts/").trim_start_matches("sys/auth/");
    failure.text.ends_with(&format!(" at {mount}/"))
}

/// What is known of the password, where the next run looks for it.
fn mark(wanted: &Wanted, text: &str) -> String {
    format!("COMMENT ON ROLE {} IS {text}", quoted(&wanted.database.admin))
}

/// Waits until the database does not take the password from before.
async fn refused(wanted: &Wanted, old: &Credential) -> Result<(), Failure> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match postgres::probe(&wanted.postgres.connection, old).await {
            Err(failure) if failure.class == Class::Denied => return Ok(()),
            Err(failure) if attempt + 1 == TRIES => return Err(failure),
            Ok(_) | Err(_) => {}
        }
    }
    let text = format!(
        "rotate the password of `{}`: the database still takes the one from before",
        old.username
    );
    Err(Failure::new(Class::Ours, text)
        .hint("see whether `pg_hba.conf` asks for a password there at all"))
}
