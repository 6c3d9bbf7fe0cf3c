//! Ends leases that nobody owns.
//!
//! Receives a report and which of its leases, gives what became of each; for users without a lease
//! the statements that end them. Never ends a lease that has an owner, and believes that one has
//! ended only when Vault no longer knows it.

use std::cell::Cell;
use std::time::Duration;

use crate::config::Config;
use crate::doctor::compare::Belongs;
use crate::doctor::{Report, name, vault};
use crate::error::{Class, Failure};
use crate::logs::visible;
use crate::secret::Secret;
use crate::timeline::{Error, go_on};
use crate::vault::{LeaseTimes, Vault};

/// How often a lease that should have ended is looked up, a second apart.
const LOOKS: u32 = 10;

/// Ends these leases of `report`, and tells of each by `say`. Those that it does not know as
/// nobody's are left alone.
///
/// # Errors
/// The first lease that did not end; the others are tried all the same.
pub async fn end(
    config: &Config,
    token: &Secret,
    report: &Report,
    leases: &[String],
    stop: &Cell<bool>,
    mut say: impl FnMut(&str),
) -> Result<(), Error> {
    let vault = vault(config)?;
    let mut failed = None;
    for hash in report.lost_leases().filter(|hash| leases.iter().any(|lease| lease == hash)) {
        go_on(stop)?;
        let Some(id) = report.ids.get(hash) else { continue };
        match end_lease(&vault, token, id).await {
            Ok(()) => say(&format!("lease {hash} has ended")),
            Err(failure) => {
                say(&format!("lease {hash} has not ended"));
                failed = failed.or(Some(failure));
            }
        }
    }
    failed.map_or(Ok(()), |failure| Err(Error::Failed(failure)))
}

async fn end_lease(vault: &Vault, token: &Secret, id: &Secret) -> Result<(), Failure> {
    match vault.revoke_lease(token, id).await {
        Ok(()) => {}
        Err(failure) if failure.class == Class::Gone => return Ok(()),
        Err(failure) => return Err(failure),
    }
    if gone(async || vault.lease_times(token, id).await, Duration::from_secs(1)).await? {
        return Ok(());
    }
    let text = format!("revoke lease {}: vault still knows it", id.short_hash());
    Err(Failure::new(Class::Again { after: None }, text).hint("look into Vault's own log"))
}

/// Whether Vault forgets a lease. A standby that lags knows it for some time after its end.
async fn gone(
    look: impl AsyncFn() -> Result<LeaseTimes, Failure>,
    apart: Duration,
) -> Result<bool, Failure> {
    for attempt in 0..LOOKS {
        if attempt > 0 {
            tokio::time::sleep(apart).await;
        }
        match look().await {
            Ok(_) => {}
            Err(failure) if failure.class == Class::Gone => return Ok(true),
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}

/// What a database's administrator runs to end the users that have no lease; as comments those that
/// nothing is proposed for.
pub fn statements(report: &Report) -> Vec<String> {
    let users = report.sources.iter().flat_map(|source| &source.compared.users);
    let lost = users.filter(|row| row.belongs == Belongs::NoLease);
    lost.map(|row| visible(&statement(&row.user.name))).collect()
}

fn statement(user: &str) -> String {
    let (name, text) = (user.replace('"', "\"\""), user.replace('\'', "''"));
    if name::made(user).is_none() {
        // An agent that took it just now may not have written that down yet.
        return format!(
            "-- look at \"{name}\" by hand: its name does not tell when it was made, so it may \
             have been just now"
        );
    }
    format!(
        "ALTER ROLE \"{name}\" NOLOGIN; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{text}'; \
         DROP ROLE \"{name}\";"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_name_in_the_statement() {
        let text = statement("o'x\"; DROP ROLE \"y-1700000000");
        let beginning = "ALTER ROLE \"o'x\"\"; DROP ROLE \"\"y-1700000000\" NOLOGIN; ";
        assert!(text.starts_with(beginning), "{text}");
        assert!(text.contains("usename = 'o''x\"; DROP ROLE \"y-1700000000'; "), "{text}");
    }

    #[test]
    fn no_statement_ends_a_user_that_may_be_new() {
        for user in ["app_1", "x\nDROP ROLE y", "v-token-app-abc-17000000"] {
            let text = visible(&statement(user));
            assert!(text.starts_with("-- look at \"") && text.lines().count() == 1, "{text}");
        }
    }

    #[tokio::test]
    async fn a_lease_that_a_standby_still_knows_is_looked_up_again() {
        let times = || LeaseTimes {
            issued: jiff::Timestamp::UNIX_EPOCH,
            expires: None,
            age: Duration::ZERO,
        };
        for (known, class, wanted) in [
            (0, Class::Gone, Ok(true)),
            (3, Class::Gone, Ok(true)),
            (LOOKS, Class::Gone, Ok(false)),
            (2, Class::Denied, Err(Class::Denied)),
        ] {
            let looks = Cell::new(0);
            let look = async || {
                looks.set(looks.get() + 1);
                if looks.get() > known { Err(Failure::new(class, "no")) } else { Ok(times()) }
            };
            let found = gone(look, Duration::ZERO).await;
            assert_eq!(found.map_err(|failure| failure.class), wanted, "{known}");
        }
    }
}
