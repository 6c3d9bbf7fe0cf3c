//! What Vault grants to this configuration.
//!
//! Receives a Vault, gives its terms. Where the policy does not show a role, one login is made,
//! stretched as far as it goes, and ended. Never makes one without saying so first.

use std::cell::Cell;
use std::time::Duration;

use crate::agent::SecretPolicy;
use crate::agent::event::Token;
use crate::config::Config;
use crate::error::{Class, Failure};
use crate::lease::schedule::BEYOND_ANY_MAXIMUM;
use crate::secret::Secret;
use crate::snapshot::SecretName;
use crate::timeline::table::span;
use crate::timeline::{Error, LeaseTerms, Made, Terms, TokenTerms, go_on};
use crate::vault::{Source, Vault};

/// Asks for all that the forecast needs.
pub(super) async fn learn(
    vault: &Vault,
    config: &Config,
    stop: &Cell<bool>,
    made: &mut Made,
    say: &mut impl FnMut(&str),
) -> Result<Terms, Error> {
    let token = made.login(vault).await.map_err(Error::Failed)?;
    say(&format!("logged in to `{}`", config.vault().map_err(Error::Failed)?.address));
    let mut terms = Terms { token: unlimited(&token), leases: Default::default() };
    for (name, policy) in &config.policy.secrets {
        let (SecretPolicy::Leased(leased), Some(source)) = (policy, config.sources.get(name))
        else {
            continue;
        };
        go_on(stop)?;
        let found = match vault.role_terms(&token.secret, source).await {
            Ok(role) => LeaseTerms { ttl: role.ttl, renewable: true, longest: Some(role.longest) },
            Err(_) => {
                say(&format!(
                    "`{name}`: the policy does not show the role behind `{}` and its mount: one \
                     login is made, and ended at once",
                    leased.source
                ));
                try_out(vault, &token.secret, source, made).await.map_err(Error::Failed)?
            }
        };
        say(&lease_text(name, &found));
        terms.leases.insert(name.clone(), found);
    }
    terms.token = token_terms(vault, &token).await.map_err(Error::Failed)?;
    say(&token_text(&terms.token));
    Ok(terms)
}

/// Makes a login and ends it.
async fn try_out(
    vault: &Vault,
    token: &Secret,
    source: &Source,
    made: &mut Made,
) -> Result<LeaseTerms, Failure> {
    let grant = made.issue(vault, source).await?;
    let longest = match grant.renewable {
        true => vault.renew_lease(token, &grant.lease_id, BEYOND_ANY_MAXIMUM).await,
        false => Err(Failure::new(Class::Denied, "it cannot be renewed")),
    };
    let (ttl, renewable) = (grant.duration, grant.renewable);
    let longest = match longest {
        Ok(term) => Some(written(term.ttl)),
        Err(failure) => match failure.class {
            // The agent would live with that.
            Class::Denied | Class::Missing | Class::Ours => None,
            Class::Again { .. } | Class::Unclear | Class::Gone | Class::Conflict => {
                return Err(failure);
            }
        },
    };
    made.end_leases(vault).await?;
    Ok(LeaseTerms { ttl, renewable, longest })
}

fn unlimited(token: &Token) -> TokenTerms {
    let (ttl, renewable) = (token.term.ttl, token.term.renewable);
    TokenTerms { ttl, renewable, longest: None, ours: token.ours }
}

async fn token_terms(vault: &Vault, token: &Token) -> Result<TokenTerms, Failure> {
    let mut terms = unlimited(token);
    if !terms.renewable {
        terms.longest = terms.ttl;
        return Ok(terms);
    }
    // Somebody else's token is not stretched; the agent relies on its being kept fresh.
    let periodic = match token.term.periodic {
        Some(periodic) => periodic,
        None => vault.lookup_token(&token.secret).await?.periodic == Some(true),
    };
    if !periodic && token.ours {
        let term = vault.renew_token(&token.secret, Some(BEYOND_ANY_MAXIMUM)).await?;
        terms.longest = term.ttl.map(written);
    }
    Ok(terms)
}

/// What somebody wrote as the longest life of which `left` was left at once: Vault's answer may have
/// lost a second, so it is the rounder one of two.
fn written(left: Duration) -> Duration {
    let round =
        |seconds: u64| [86_400, 3600, 60, 10, 5, 2, 1].map(|unit| seconds.is_multiple_of(unit));
    let seconds = left.as_secs();
    let more = seconds.saturating_add(1);
    Duration::from_secs(if round(more) > round(seconds) { more } else { seconds })
}

fn lease_text(name: &SecretName, terms: &LeaseTerms) -> String {
    let ttl = span(terms.ttl);
    match terms.longest {
        _ if !terms.renewable => format!("`{name}`: a login lives {ttl}, and is not renewed"),
        Some(longest) => {
            format!("`{name}`: a login lives {ttl}, and {} with renewals", span(longest))
        }
        None => format!("`{name}`: a login lives {ttl}; vault refuses to renew it"),
    }
}

fn token_text(terms: &TokenTerms) -> String {
    match (terms.ttl, terms.longest) {
        (None, _) => "the token never ends".to_owned(),
        (Some(ttl), _) if !terms.renewable => {
            format!("the token lives {}, and is not renewed", span(ttl))
        }
        (Some(ttl), None) => format!("the token lives {}, and is renewed without end", span(ttl)),
        (Some(ttl), Some(longest)) => {
            format!("the token lives {}, and {} with renewals", span(ttl), span(longest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_was_lost_on_the_way_is_found() {
        for (left, longest) in [
            (19, 20),
            (20, 20),
            (29, 30),
            (3599, 3600),
            (3600, 3600),
            (259_199, 259_200),
            (28_799, 28_800),
            (7, 8),
            (45, 45),
        ] {
            assert_eq!(written(Duration::from_secs(left)), Duration::from_secs(longest), "{left}");
        }
    }
}
