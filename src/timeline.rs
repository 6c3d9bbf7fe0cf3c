//! `check --timeline`: when each login will be renewed, replaced and ended.
//!
//! Receives a configuration, asks its Vault what it grants, gives lines for a person and whether
//! every `grace` can be kept. Never leaves behind what it had to make in order to learn that.

mod forecast;
mod made;
mod table;
mod terms;

use std::cell::Cell;
use std::time::Duration;

use crate::agent::{LeasedPolicy, SecretPolicy};
use crate::config::Config;
use crate::error::{Class, Failure};
use crate::snapshot::SecretName;
use crate::vault::Vault;

pub use forecast::{Entry, Forecast, Happening, LeaseTerms, Terms, TokenTerms, forecast};
pub use made::Made;
pub use table::span;

/// Any will do: it decides where in its spread a time lies.
const SEED: u64 = 7;

/// Why something that was tried out did not go well.
#[derive(Debug)]
pub enum Error {
    /// The configuration asks for what cannot be.
    Configuration(Failure),
    /// A state directory cannot be used.
    Directory(Failure),
    /// Somebody did not answer as they should.
    Failed(Failure),
    /// Somebody asked to stop.
    Stopped,
}

/// # Errors
/// When somebody asked to stop.
pub fn go_on(stop: &Cell<bool>) -> Result<(), Error> {
    if stop.get() { Err(Error::Stopped) } else { Ok(()) }
}

/// Prints the timeline of `config` by `say`; `stop` becomes true when it should not go on.
///
/// # Errors
/// When Vault cannot be asked, or a grace cannot be kept. What was made has ended all the same.
pub async fn timeline(
    config: &Config,
    stop: &Cell<bool>,
    mut say: impl FnMut(&str),
) -> Result<(), Error> {
    let Some(settings) = &config.vault else {
        say("no secret comes from Vault: there is nothing to foresee");
        return Ok(());
    };
    // Nothing is remembered, so the key for hashes of refused credentials may be anything.
    let vault = Vault::new(settings, &[0; 32], std::sync::Arc::new(|_, _, _| {}));
    let vault = vault.map_err(Error::Failed)?;
    let mut made = Made::default();
    let learned = terms::learn(&vault, config, stop, &mut made, &mut say).await;
    let ended = made.end(&vault).await;
    let terms = learned?;
    ended.map_err(Error::Failed)?;
    let forecast = forecast(&config.policy, &terms, SEED);
    say("");
    table::lines(&forecast).iter().for_each(|line| say(line));
    say("");
    say("times are from the start of an agent; each agent moves its own by some percent, and a");
    say("service is taken to use a new login within seconds of being told");
    let cut: Vec<String> =
        forecast.broken.iter().map(|name| broken(config, &terms, name)).collect();
    if cut.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Class::Missing, cut.join("\n"));
    Err(Error::Configuration(
        failure.hint("shorten `grace`, or raise the role's and the token's max_ttl"),
    ))
}

/// What is wrong with the grace of `name`, and the largest that can be kept.
fn broken(config: &Config, terms: &Terms, name: &SecretName) -> String {
    let with = |grace: u64| -> Option<bool> {
        let mut policy = config.policy.clone();
        leased(policy.secrets.get_mut(name)?)?.grace = Duration::from_secs(grace);
        Some(!forecast(&policy, terms, SEED).broken.contains(name))
    };
    let mut policy = config.policy.secrets.get(name).cloned();
    let grace = policy.as_mut().and_then(leased).map(|leased| leased.grace).unwrap_or_default();
    let (mut kept, mut cut) = (0, grace.as_secs());
    while cut - kept > 1 {
        let middle = kept + (cut - kept) / 2;
        if with(middle) == Some(true) { kept = middle } else { cut = middle }
    }
    let largest = match kept {
        0 => "none can".to_owned(),
        kept => format!("the largest that can is {}", span(Duration::from_secs(kept))),
    };
    format!("secrets.{name}.grace: {} cannot be kept; {largest}", span(grace))
}

fn leased(policy: &mut SecretPolicy) -> Option<&mut LeasedPolicy> {
    match policy {
        SecretPolicy::Leased(leased) => Some(leased),
        SecretPolicy::Polled(_) => None,
    }
}
