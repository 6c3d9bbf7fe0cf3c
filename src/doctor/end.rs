//! Ends leases that nobody owns.
//!
//! Receives a report and which of its leases, gives what became of each; for users without a lease
//! the statements that end them. Never ends a lease that has an owner, and believes that one has
//! ended only when Vault no longer knows it.

use std::cell::Cell;

use crate::config::Config;
use crate::doctor::compare::Belongs;
use crate::doctor::{Report, go_on, vault};
use crate::error::{Class, Failure};
use crate::logs::visible;
use crate::secret::Secret;
use crate::timeline::Error;
use crate::vault::Vault;

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
    match vault.lease_times(token, id).await {
        Err(failure) if failure.class == Class::Gone => Ok(()),
        Err(failure) => Err(failure),
        Ok(_) => {
            let text = format!("revoke lease {}: vault still knows it", id.short_hash());
            Err(Failure::new(Class::Again { after: None }, text).hint("look into Vault's own log"))
        }
    }
}

/// What a database's administrator runs to end the users that have no lease.
pub fn statements(report: &Report) -> Vec<String> {
    let users = report.sources.iter().flat_map(|source| &source.compared.users);
    let lost = users.filter(|row| row.belongs == Belongs::NoLease);
    lost.map(|row| visible(&statement(&row.user.name))).collect()
}

fn statement(user: &str) -> String {
    let (name, text) = (user.replace('"', "\"\""), user.replace('\'', "''"));
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
        let text = statement("o'x\"; DROP ROLE \"y");
        assert!(text.starts_with("ALTER ROLE \"o'x\"\"; DROP ROLE \"\"y\" NOLOGIN; "), "{text}");
        assert!(text.contains("usename = 'o''x\"; DROP ROLE \"y'; "), "{text}");
    }
}
