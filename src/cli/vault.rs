//! `leasehold vault`.
//!
//! Receives the flags, prints what is to be done to Vault and PostgreSQL, does it where somebody
//! agrees, or proves that it was done. Never takes a password from the command line, nor prints one.

use std::cell::Cell;
use std::io::{BufRead as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::bootstrap::plan::Plan;
use crate::bootstrap::wanted::Wanted;
use crate::bootstrap::{self, Servers, proof};
use crate::cli::trial::{logged_in, run, say};
use crate::cli::{ApplyArguments, Exit, PlanArguments, ProveArguments, print, unread};
use crate::config;
use crate::config::bootstrap::Bootstrap;
use crate::config::environment::Environment;
use crate::error::Failure;
use crate::postgres;
use crate::secret::{Credential, Secret};
use crate::timeline::{Error, Made, go_on};
use crate::vault::credential_file;

/// Whoever answers otherwise did not agree.
const AGREED: &str = "yes";

/// How often it is looked whether somebody answered.
const LOOK: Duration = Duration::from_millis(50);

/// Prints what would be done.
pub(super) fn plan(arguments: &PlanArguments, environment: &Environment) -> Exit {
    with_file(&arguments.config, environment, async |file, servers, _, stop| {
        let plan = bootstrap::look(servers, &file.wanted, arguments.reset_root, stop).await?;
        show(&file.wanted, &plan);
        Ok(match (plan.conflicts.is_empty(), plan.is_done()) {
            (false, _) => Exit::Configuration,
            (true, true) => Exit::Done,
            (true, false) => Exit::Found,
        })
    })
}

/// Does it.
pub(super) fn apply(arguments: &ApplyArguments, environment: &Environment) -> Exit {
    let ApplyArguments { plan: PlanArguments { config, reset_root }, yes } = arguments;
    with_file(config, environment, async |file, servers, _, stop| {
        let wanted = &file.wanted;
        let plan = bootstrap::look(servers, wanted, *reset_root, stop).await?;
        show(wanted, &plan);
        if !plan.conflicts.is_empty() {
            return Ok(Exit::Configuration);
        }
        let left = |plan: &Plan| if plan.is_done() { Exit::Done } else { Exit::Found };
        if plan.steps.is_empty() {
            return Ok(left(&plan));
        }
        if !yes && !agreed(stop).await? {
            say("nothing is changed");
            return Ok(Exit::TryAgain);
        }
        let first = || first_password(wanted, environment);
        let rest = bootstrap::apply(servers, wanted, &plan, first, stop, say).await?;
        bootstrap::lines(wanted, &rest).iter().for_each(|line| say(line));
        Ok(left(&rest))
    })
}

/// Proves that it was done.
pub(super) fn prove(arguments: &ProveArguments, environment: &Environment) -> Exit {
    let path = arguments.config.display().to_string();
    with_file(&arguments.config, environment, async |file, servers, made, stop| {
        let report = proof::prove(servers, &file.wanted, &path, made, stop).await?;
        report.lines().iter().for_each(|line| say(line));
        Ok(if report.failed() == 0 { Exit::Done } else { Exit::Found })
    })
}

fn show(wanted: &Wanted, plan: &Plan) {
    bootstrap::lines(wanted, plan).iter().for_each(|line| say(line));
}

/// Does `work` with the file at `path`, logged in to Vault; what was made for that ends with it.
fn with_file(
    path: &Path,
    environment: &Environment,
    work: impl AsyncFnOnce(&Bootstrap, &Servers<'_>, &mut Made, &Cell<bool>) -> Result<Exit, Error>,
) -> Exit {
    let file = match config::bootstrap::load(path, environment) {
        Ok(file) => file,
        Err(error) => return unread(&error, "name the file with `--config`"),
    };
    file.warnings.iter().for_each(|warning| print(&format!("warning: {warning}")));
    run(async |stop| {
        let superuser = superuser(&file.wanted, environment).map_err(Error::Configuration)?;
        logged_in(&file.vault, async |vault, made| {
            let servers = Servers { vault, token: made.token(), superuser };
            work(&file, &servers, made, stop).await
        })
        .await
    })
}

/// Who sets the database up, by the file's password, else by libpq's variables.
fn superuser(wanted: &Wanted, environment: &Environment) -> Result<Credential, Failure> {
    let postgres = &wanted.postgres;
    let username = postgres.superuser.clone();
    let variables = (environment.get("PGPASSWORD"), environment.get("PGPASSFILE"));
    let password = match (&postgres.password_file, variables) {
        (Some(file), _) => credential_file("superuser's password", file)?,
        (None, (Some(password), _)) => Secret::new(password.to_owned()),
        (None, (None, Some(file))) => {
            postgres::password(Path::new(file), &postgres.connection, &username)?
        }
        // The server may want none.
        (None, (None, None)) => Secret::new(String::new()),
    };
    Ok(Credential { username, password })
}

/// What Vault's role has until Vault makes a password of its own.
fn first_password(wanted: &Wanted, environment: &Environment) -> Result<Secret, Failure> {
    match (&wanted.database.password_file, environment.get("VAULT_ADMIN_PASSWORD")) {
        (Some(file), _) => {
            let read = credential_file("first password of Vault's role", file);
            read.map_err(|failure| {
                failure.hint("without `database.password_file` a random one is made")
            })
        }
        (None, Some(password)) => Ok(Secret::new(password.to_owned())),
        (None, None) => Secret::random(),
    }
}

/// Whether somebody answers that it should be done. A signal is no answer.
async fn agreed(stop: &Cell<bool>) -> Result<bool, Error> {
    say(&format!("\nanswer `{AGREED}` to have this done; anything else changes nothing"));
    while !is_answered() {
        go_on(stop)?;
        tokio::time::sleep(LOOK).await;
    }
    let mut line = String::new();
    // What cannot be read is no agreement.
    let read = std::io::stdin().lock().take(64).read_line(&mut line);
    Ok(read.is_ok() && line.trim() == AGREED)
}

/// Whether there is a line to read, or will never be one.
fn is_answered() -> bool {
    let input = std::io::stdin();
    let mut asked = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    match poll(&mut asked, PollTimeout::ZERO) {
        Ok(ready) => ready > 0,
        Err(Errno::EINTR) => false,
        Err(_) => true,
    }
}
