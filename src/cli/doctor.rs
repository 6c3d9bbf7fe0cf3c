//! `leasehold doctor`.
//!
//! Receives the flags, prints what has no owner, gives whether there is any. Never decides what is
//! a leak: that is [`doctor`]'s.

use std::cell::Cell;

use jiff::Timestamp;

use crate::cli::trial::{run, say};
use crate::cli::{Exit, LeaksArguments, config_path, load, print};
use crate::config::Config;
use crate::config::environment::Environment;
use crate::doctor::{self, Login, Password, Question, Report};
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::timeline::Error;
use crate::vault::credential_file;

/// Ends every lease that nobody owns.
const ALL: &str = "all";

/// Looks for leaks.
pub(super) fn leaks(arguments: &LeaksArguments, environment: &Environment) -> Exit {
    let path = config_path(arguments.config.as_deref(), environment);
    let config = match load(&path, environment, &[]) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    run(async |stop| look(&config, arguments, environment, stop).await)
}

async fn look(
    config: &Config,
    arguments: &LeaksArguments,
    environment: &Environment,
    stop: &Cell<bool>,
) -> Result<Exit, Error> {
    let question = Question {
        token: token(config, arguments, environment)?,
        states: arguments.state.clone(),
        secrets: arguments.secret.clone(),
        settled: arguments.older_than,
        users: arguments.users.clone(),
        login: login(environment),
    };
    let report = doctor::leaks(config, &question, stop).await?;
    if arguments.json {
        say(&doctor::json(&report));
    } else {
        doctor::table(&report, Timestamp::now()).iter().for_each(|line| say(line));
    }
    let mut lost = report.lost();
    if !arguments.end.is_empty() {
        let Some(leases) = chosen(&report, &arguments.end) else { return Ok(Exit::Usage) };
        say("");
        doctor::end(config, &question.token, &report, &leases, stop, say).await?;
        lost -= leases.len();
        let statements = doctor::statements(&report);
        if !statements.is_empty() {
            say("a user with no lease is ended by the database's administrator:");
            statements.iter().for_each(|statement| say(&format!("  {statement}")));
        }
    }
    match report.failure() {
        // What is missing from the list does not make it longer than it is.
        Some(failure) if lost == 0 => Err(Error::Failed(failure.clone())),
        Some(failure) => {
            print(&failure.to_string());
            Ok(Exit::Found)
        }
        None if lost == 0 => Ok(Exit::Done),
        None => Ok(Exit::Found),
    }
}

/// Which leases to end, none twice; nothing where one of them is not there to be ended.
fn chosen(report: &Report, wanted: &[String]) -> Option<Vec<String>> {
    let lost: Vec<String> = report.lost_leases().map(str::to_owned).collect();
    let all = wanted.iter().any(|lease| lease == ALL);
    if all && report.states.is_empty() {
        print(
            "end all leases: no agent's state was read, so the logins in use would end too; \
             nothing was ended\nhint: name the agents' states with `--state`, or each lease",
        );
        return None;
    }
    let mut others = wanted.iter().filter(|lease| *lease != ALL);
    if let Some(lease) = others.find(|lease| !lost.contains(lease)) {
        let text = format!("end lease `{lease}`: it is none that nobody owns; nothing was ended");
        print(&format!("{text}\nhint: name what stands under LEASE beside `nobody`, or `all`"));
        return None;
    }
    Some(lost.into_iter().filter(|lease| all || wanted.contains(lease)).collect())
}

/// An operator's token: of the file that is named, else of the environment.
fn token(
    config: &Config,
    arguments: &LeaksArguments,
    environment: &Environment,
) -> Result<Secret, Error> {
    if let Some(path) = &arguments.token_file {
        // Whatever is wrong with the file, there is no operator's token.
        return credential_file("operator's token", path).map_err(|failure| {
            let failure = Failure { class: Class::Denied, ..failure };
            Error::Failed(failure.hint("name a file that holds an operator's token and no more"))
        });
    }
    let given = environment.get("BAO_TOKEN").or_else(|| environment.get("VAULT_TOKEN"));
    given.map(|token| Secret::new(token.trim().to_owned())).ok_or_else(|| {
        let text = "look for leaks: there is no operator's token; set `VAULT_TOKEN` or \
                    `BAO_TOKEN`, or name a file with `--token-file`";
        let failure = Failure::new(Class::Denied, text);
        Error::Failed(failure.hint(doctor::policy_lines(config)))
    })
}

/// Whom to ask the database as, by libpq's variables.
fn login(environment: &Environment) -> Option<Login> {
    let user = environment.get("PGUSER")?.to_owned();
    let password = match (environment.get("PGPASSWORD"), environment.get("PGPASSFILE")) {
        (Some(password), _) => Password::Given(Secret::new(password.to_owned())),
        (None, Some(file)) => Password::File(file.into()),
        // The server may want none.
        (None, None) => Password::Given(Secret::new(String::new())),
    };
    Some(Login { user, password })
}
