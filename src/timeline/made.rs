//! What was made in Vault only to try something out.
//!
//! Receives logins and issues to make, gives them, and ends them all. Never forgets one: where a
//! lease cannot be ended, its token is, and every lease ends with its token.

use std::time::Duration;

use crate::agent::event::Token;
use crate::error::{Class, Failure};
use crate::lease::Grant;
use crate::secret::Secret;
use crate::vault::{Source, Vault};

/// How often an end is tried, a second apart.
const TRIES: u32 = 5;

/// What has to be ended again.
#[derive(Default)]
pub struct Made {
    token: Option<Token>,
    leases: Vec<Secret>,
}

impl Made {
    /// Logs in.
    ///
    /// # Errors
    /// As [`Vault::login`].
    pub async fn login(&mut self, vault: &Vault) -> Result<Token, Failure> {
        let token = vault.login(&[], None).await.map_err(|login| login.failure)?;
        self.token = Some(token.clone());
        Ok(token)
    }

    /// The token of the login; before it, one that is none.
    pub fn token(&self) -> Secret {
        let token = self.token.as_ref().map(|token| token.secret.clone());
        token.unwrap_or_else(|| Secret::new(String::new()))
    }

    /// Makes a lease by the token of the login.
    ///
    /// # Errors
    /// As [`Vault::issue`].
    pub async fn issue(&mut self, vault: &Vault, source: &Source) -> Result<Grant, Failure> {
        let grant = vault.issue(&self.token(), source).await?;
        self.leases.push(grant.lease_id.clone());
        Ok(grant)
    }

    /// Ends all that was made.
    ///
    /// # Errors
    /// When something is left; the hint says until when.
    pub async fn end(&mut self, vault: &Vault) -> Result<(), Failure> {
        let leases = self.end_leases(vault).await;
        // Where a lease could not be ended its token can do it: every lease ends with its own.
        let Some(token) = self.token.take().filter(|token| token.ours) else { return leases };
        let mut last = Ok(());
        for attempt in 0..TRIES {
            pause(attempt).await;
            last = vault.revoke_token(&token.secret).await;
            if last.is_ok() {
                return Ok(());
            }
        }
        let text = "end the token that was made for this; it ends by itself with its term";
        last.map_err(|failure| failure.hint(text))
    }

    /// Ends every lease.
    ///
    /// # Errors
    /// When one is left.
    pub async fn end_leases(&mut self, vault: &Vault) -> Result<(), Failure> {
        let token = self.token();
        let mut last = Ok(());
        while let Some(lease) = self.leases.last() {
            for attempt in 0..TRIES {
                pause(attempt).await;
                last = end_lease(vault, &token, lease).await;
                if last.is_ok() {
                    break;
                }
            }
            last.clone()?;
            self.leases.pop();
        }
        last
    }
}

/// Without the right to revoke, a lease is shortened to a second.
async fn end_lease(vault: &Vault, token: &Secret, lease: &Secret) -> Result<(), Failure> {
    let mut ended = vault.revoke_lease(token, lease).await;
    if ended.as_ref().is_err_and(|failure| failure.class == Class::Denied) {
        ended = vault.renew_lease(token, lease, Duration::from_secs(1)).await.map(drop);
    }
    match ended {
        Err(failure) if failure.class == Class::Gone => Ok(()),
        other => other,
    }
}

async fn pause(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
