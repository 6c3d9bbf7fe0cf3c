//! `check --online`: whether Vault and the databases give what a configuration asks for.
//!
//! Receives a configuration, logs in as its agent would, reads every path, makes one lease of each
//! leased secret and logs in with it; gives a line for each of these and for each right that is
//! missing or too much. Never touches what an agent holds or publishes, and leaves nothing behind.

mod report;
mod rights;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::event::{Reading, Token};
use crate::agent::{LeasedPolicy, PolledPolicy, Refresh, SecretPolicy};
use crate::config::Config;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::postgres;
use crate::secret::Credential;
use crate::snapshot::{Connection, SecretName};
use crate::timeline::{Error, Made, go_on, span};
use crate::vault::{Capabilities, Right, Settings, Source, Vault};

use report::{Report, Verdict};
use rights::{Excess, Need, can};

/// How often a host that does not know a new login yet is tried, a second apart.
const TRIES: u32 = 5;

/// Who is meant where it is no secret.
const VAULT: &str = "(vault)";
const TOKEN: &str = "(token)";

/// Checks `config` and prints each result by `say`; `stop` becomes true when it should not go on.
/// Gives what is worst of all that the agent could not do with.
///
/// # Errors
/// When it was stopped, or the configuration names what cannot be used. What was made has ended all
/// the same.
pub async fn online(
    config: &Config,
    stop: &Cell<bool>,
    mut say: impl FnMut(&str),
) -> Result<Option<Failure>, Error> {
    let Some(settings) = &config.vault else {
        say("no secret comes from Vault: there is nothing to ask for");
        return Ok(None);
    };
    let vault = Vault::new(settings, &[0; 32], Arc::new(|_, _, _| {}));
    let vault = vault.map_err(Error::Configuration)?;
    let names = config.policy.secrets.keys().map(|name| name.len());
    let width = names.chain([VAULT.len(), TOKEN.len()]).max().unwrap_or_default();
    let report = Report::new(width, say);
    let mut check = Check { config, settings, vault, stop, report };
    let mut made = Made::default();
    let checked = match check.login(&mut made).await {
        Some(token) => check.everything(&token, &mut made).await,
        None => return Ok(check.report.worst()),
    };
    match made.end(&check.vault).await {
        Ok(()) => check.report.row(Verdict::Ok, VAULT, "what was made here is ended"),
        Err(failure) => check.report.failed(VAULT, failure),
    }
    checked.map(|()| check.report.worst())
}

struct Check<'a, S: FnMut(&str)> {
    config: &'a Config,
    settings: &'a Settings,
    vault: Vault,
    stop: &'a Cell<bool>,
    report: Report<S>,
}

impl<S: FnMut(&str)> Check<'_, S> {
    async fn login(&mut self, made: &mut Made) -> Option<Token> {
        match made.login(&self.vault).await {
            Ok(token) => {
                let lives = match token.term.ttl {
                    Some(ttl) => format!("the token lives {}", span(ttl)),
                    None => "the token never ends".to_owned(),
                };
                let text = format!("logged in to `{}`; {lives}", self.settings.address);
                self.report.row(Verdict::Ok, VAULT, &text);
                Some(token)
            }
            Err(failure) => {
                self.report.failed(VAULT, failure);
                None
            }
        }
    }

    async fn everything(&mut self, token: &Token, made: &mut Made) -> Result<(), Error> {
        let found = self.rights(made).await;
        let ends = found.as_ref().is_some_and(|found| rights::ends_leases(found, token.ours));
        let config = self.config;
        for (name, policy) in &config.policy.secrets {
            let Some(source) = config.sources.get(name) else { continue };
            go_on(self.stop)?;
            match policy {
                SecretPolicy::Leased(_) if !ends => self.spared(name, source, found.as_ref()),
                SecretPolicy::Leased(leased) => self.leased(name, leased, source, made).await?,
                SecretPolicy::Polled(polled) if polled.refresh == Refresh::Made => {
                    self.unmade(name, source, found.as_ref());
                }
                SecretPolicy::Polled(polled) => self.polled(name, polled, source, made).await?,
            }
        }
        Ok(())
    }

    /// What the token may do beside what is tried out; `None` where it may not ask.
    async fn rights(&mut self, made: &Made) -> Option<Capabilities> {
        let (needs, excess) =
            (rights::needs(self.config), rights::excess(self.config, &self.settings.auth));
        let used = self.config.sources.values().map(|source| source.right().path);
        let paths: BTreeSet<String> = needs
            .iter()
            .map(|need| need.right.path.clone())
            .chain(excess.iter().map(|excess| excess.path.clone()))
            .chain(used)
            .collect();
        let found = match self.vault.capabilities(&made.token(), paths).await {
            Ok(found) => found,
            Err(failure) if failure.class == Class::Denied => {
                let right = Right::new("update", "sys/capabilities-self");
                self.report.lacks(TOKEN, "without it nobody can see what the token may do", &right);
                self.report.note(failure);
                return None;
            }
            Err(failure) => {
                self.report.failed(TOKEN, failure);
                return None;
            }
        };
        self.needed(&found, &needs);
        if rights::is_root(&found) {
            let text = "it is root's: it may do everything, and a service needs a few paths";
            self.report.row(Verdict::TooMuch, TOKEN, text);
        } else {
            self.beyond(&found, &excess);
        }
        Some(found)
    }

    fn needed(&mut self, found: &Capabilities, needs: &[Need]) {
        let has = |need: &&Need| can(found, &need.right.path, need.right.capability);
        let (there, all) = (needs.iter().filter(has).count(), needs.len());
        if there > 0 {
            let text = format!("{there} of {all} rights to keep token and leases are there");
            self.report.row(Verdict::Ok, TOKEN, &text);
        }
        for Need { right, subject, without, optional } in needs.iter().filter(|need| !has(need)) {
            let subject = subject.as_deref().unwrap_or(TOKEN);
            if *optional {
                self.report.lacks(subject, &format!("optional; without it {without}"), right);
            } else {
                self.report.lacks(subject, &format!("without it {without}"), right);
                self.report.note(Failure::new(Class::Denied, right.to_string()));
            }
        }
    }

    fn beyond(&mut self, found: &Capabilities, excess: &[Excess]) {
        for Excess { path, capabilities, subject, why } in excess {
            let more: Vec<&str> =
                capabilities.iter().copied().filter(|one| can(found, path, one)).collect();
            if !more.is_empty() {
                let text = format!("may {} `{path}`: {why}", more.join(", "));
                self.report.row(Verdict::TooMuch, subject.as_deref().unwrap_or(TOKEN), &text);
            }
        }
        let used: BTreeSet<String> =
            self.config.sources.values().map(|source| source.right().path).collect();
        for path in used.iter().filter(|path| can(found, path, "sudo")) {
            let text = format!("may sudo `{path}`: it is only read here");
            self.report.row(Verdict::TooMuch, TOKEN, &text);
        }
    }

    async fn polled(
        &mut self,
        name: &SecretName,
        polled: &PolledPolicy,
        source: &Source,
        made: &Made,
    ) -> Result<(), Error> {
        let place = source.right().path;
        match self.vault.read(&made.token(), source, None).await {
            Ok(Reading::New { content: Granted::Fields(fields), .. }) => {
                let fields = fields.len();
                let fields =
                    if fields == 1 { "1 field".to_owned() } else { format!("{fields} fields") };
                self.report.row(Verdict::Ok, name, &format!("`{place}` read: {fields}"));
            }
            Ok(Reading::New { content: Granted::Login(login), .. }) => {
                let text = format!("`{place}` read: a login for `{}`", login.username);
                self.report.row(Verdict::Ok, name, &text);
                if let Some(connection) = &polled.connection {
                    self.database(name, connection, &login).await?;
                }
            }
            Ok(Reading::Same { .. }) => {}
            Err(failure) if failure.class == Class::Missing && !polled.required => {
                let text = format!("`{place}` is not there, and optional");
                self.report.row(Verdict::Ok, name, &text);
            }
            Ok(Reading::Leased(failure)) | Err(failure) => self.refused(name, source, failure),
        }
        Ok(())
    }

    /// A certificate would live to its own end, so none is made.
    fn unmade(&mut self, name: &SecretName, source: &Source, found: Option<&Capabilities>) {
        let right = source.right();
        match found {
            Some(found) if can(found, &right.path, right.capability) => {
                let text = format!("`{}` may be used; no certificate is made here", right.path);
                self.report.row(Verdict::Ok, name, &text);
            }
            Some(_) => {
                let text = format!("`{}` may not be used", right.path);
                self.report.lacks(name, &text, &right);
                self.report.note(Failure::new(Class::Denied, text));
            }
            None => {
                let text = format!("`{}` is not tried, and nobody can see the right", right.path);
                self.report.row(Verdict::Missing, name, &text);
                self.report.note(Failure::new(Class::Denied, text));
            }
        }
    }

    /// A lease that could not be ended is not made.
    fn spared(&mut self, name: &SecretName, source: &Source, found: Option<&Capabilities>) {
        let right = source.right();
        let text = format!("`{}` is not tried: the token could not end the lease", right.path);
        match found {
            Some(found) if !can(found, &right.path, right.capability) => {
                self.report.lacks(name, &text, &right);
            }
            Some(_) | None => self.report.row(Verdict::Missing, name, &text),
        }
        self.report.note(Failure::new(Class::Denied, text));
    }

    async fn leased(
        &mut self,
        name: &SecretName,
        leased: &LeasedPolicy,
        source: &Source,
        made: &mut Made,
    ) -> Result<(), Error> {
        let grant = match made.issue(&self.vault, source).await {
            Ok(grant) => grant,
            Err(failure) => {
                self.refused(name, source, failure);
                return Ok(());
            }
        };
        let lives = span(grant.duration);
        let user = grant.login().map(|login| format!(": `{}`", login.username));
        let place = source.right().path;
        let text = format!("`{place}` gives a lease of {lives}{}", user.unwrap_or_default());
        self.report.row(Verdict::Ok, name, &text);
        if let (Some(connection), Some(credential)) = (&leased.connection, grant.login()) {
            self.database(name, connection, credential).await?;
        }
        // What does not end now is tried again last of all, also by the end of its token.
        let _ = made.end_leases(&self.vault).await;
        Ok(())
    }

    async fn database(
        &mut self,
        name: &SecretName,
        connection: &Connection,
        credential: &Credential,
    ) -> Result<(), Error> {
        let hosts = connection.hosts.join(",");
        let place = format!("{hosts}:{}/{}", connection.port, connection.dbname);
        let mut tries = 0;
        loop {
            go_on(self.stop)?;
            tries += 1;
            match postgres::probe(connection, credential).await {
                Ok(_) => {
                    self.report.row(Verdict::Ok, name, &format!("its login works at `{place}`"));
                    return Ok(());
                }
                // A replica hears of a new login later.
                Err(failure)
                    if matches!(failure.class, Class::Again { .. })
                        && connection.hosts.len() > 1
                        && tries < TRIES =>
                {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(failure) => {
                    self.report.failed(name, failure);
                    return Ok(());
                }
            }
        }
    }

    /// What Vault does not give.
    fn refused(&mut self, name: &SecretName, source: &Source, failure: Failure) {
        if failure.class != Class::Denied {
            return self.report.failed(name, failure);
        }
        self.report.lacks(name, &failure.text, &source.right());
        self.report.note(failure);
    }
}
