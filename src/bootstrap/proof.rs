//! `vault doctor`: whether what was set up does what it should.
//!
//! Receives what is wanted and both servers, makes one login of each role and a token of each policy,
//! tries them, ends them; gives a row for each trial, and for one that failed the command that mends
//! it. Never leaves behind what it made, nor changes anything that was there.

mod matrix;
mod policies;
mod role;

use std::cell::Cell;

use crate::bootstrap::Servers;
use crate::bootstrap::wanted::Wanted;
use crate::error::Failure;
use crate::logs::visible;
use crate::postgres::setup::{change, quoted};
use crate::timeline::{Error, Made, go_on};
use crate::vault::Setting;

/// A table that is made later than all grants, and with it a sequence. One that is left, because
/// somebody was killed, is dropped by the next who proves.
const LATER: &str = "leasehold_doctor";

/// What came of the trials.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// A role, a policy, or what joins them.
    subject: String,
    /// What was tried, and what came of it.
    what: String,
    /// Nothing where all was as it should be, else what is to be done.
    mend: Option<String>,
}

impl Report {
    /// How many trials did not go as they should.
    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.mend.is_some()).count()
    }

    /// All trials, as lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let width = self.rows.iter().map(|row| row.subject.chars().count()).max();
        let width = width.unwrap_or_default();
        let mut lines = Vec::new();
        for Row { subject, what, mend } in &self.rows {
            let verdict = if mend.is_some() { "failed" } else { "ok" };
            lines.push(format!("{verdict:<6}  {subject:<width$}  {what}"));
            lines.extend(mend.iter().map(|mend| format!("  mend: {mend}")));
        }
        lines.push(String::new());
        let (all, failed) = (self.rows.len(), self.failed());
        lines.push(match failed {
            0 => format!("{all} trials, all as it should be"),
            failed => format!("{all} trials, {failed} failed"),
        });
        lines.iter().map(|line| visible(line)).collect()
    }

    fn ok(&mut self, subject: &str, what: impl Into<String>) {
        self.rows.push(Row { subject: subject.to_owned(), what: what.into(), mend: None });
    }

    fn bad(&mut self, subject: &str, what: impl Into<String>, mend: &str) {
        let mend = Some(mend.to_owned());
        self.rows.push(Row { subject: subject.to_owned(), what: what.into(), mend });
    }

    /// What a server said no to. Its own hint comes before the command: it knows more.
    fn refused(&mut self, subject: &str, failure: &Failure, mend: &str) {
        let mend = match &failure.hint {
            Some(hint) => format!("{hint}; or {mend}"),
            None => mend.to_owned(),
        };
        self.bad(subject, failure.text.clone(), &mend);
    }
}

/// The commands that mend, with the file in them.
pub(super) struct Mending {
    /// What is not as the file says.
    apply: String,
    /// Vault's own password does not fit.
    reset: String,
    /// Somebody may do more than the file says, by a grant to the group or to everybody.
    revoke: String,
}

impl Mending {
    fn by(file: &str) -> Self {
        let apply = format!("leasehold vault bootstrap apply --config {file}");
        let everybody = "where that has nothing to do, everybody may: `REVOKE … FROM PUBLIC`";
        Self {
            reset: format!("{apply} --reset-root"),
            revoke: format!("{apply}; {everybody}"),
            apply,
        }
    }
}

/// Tries everything out. `file` is what `wanted` was read from, for the commands that mend.
///
/// # Errors
/// When it was stopped, or what it made could not be ended.
pub async fn prove(
    servers: &Servers<'_>,
    wanted: &Wanted,
    file: &str,
    made: &mut Made,
    stop: &Cell<bool>,
) -> Result<Report, Error> {
    let (mut report, mending) = (Report::default(), Mending::by(file));
    drift(servers, wanted, &mut report, &mending, stop).await?;
    logs_in(servers, wanted, &mut report, &mending).await;
    let later = later(servers, wanted, &mut report, &mending).await;
    let tried = roles(servers, wanted, &mut report, &mending, made, stop).await;
    if later {
        let drop = without_later(wanted);
        let dropped = change(&wanted.postgres.connection, &servers.superuser, &drop).await;
        if let Err(failure) = dropped {
            let drop = drop.join("; ");
            report.refused("later tables", &failure, &drop);
        }
    }
    tried?;
    policies::prove(servers, wanted, &mut report, &mending, stop).await?;
    Ok(report)
}

/// Whether everything is set as the file says.
async fn drift(
    servers: &Servers<'_>,
    wanted: &Wanted,
    report: &mut Report,
    mending: &Mending,
    stop: &Cell<bool>,
) -> Result<(), Error> {
    let plan = super::look(servers, wanted, false, stop).await?;
    for step in &plan.steps {
        let details = match &step.details[..] {
            [] => String::new(),
            details => format!(": {}", details.join("; ")),
        };
        report.bad("settings", format!("{}{details}", step.what), &mending.apply);
    }
    for text in plan.conflicts.iter().chain(&plan.waiting) {
        report.bad("settings", text.clone(), "by hand, or correct what the file says");
    }
    if plan.is_done() {
        report.ok("settings", "all is set as the file says");
    }
    Ok(())
}

/// Has Vault log in to the database anew: a session from before says nothing of its password.
async fn logs_in(
    Servers { vault, token, .. }: &Servers<'_>,
    wanted: &Wanted,
    report: &mut Report,
    mending: &Mending,
) {
    let (path, subject) = (wanted.database.reset(), &wanted.database.name);
    match vault.set(token, &path, &Setting::new(), None).await {
        Ok(()) => report.ok(subject, "Vault logs in to the database anew"),
        Err(failure) => report.refused(subject, &failure, &mending.reset),
    }
}

/// One for each who makes tables, by number.
fn later_table(wanted: &Wanted, number: usize) -> String {
    format!("{}.{}", quoted(&wanted.postgres.schema), quoted(&format!("{LATER}_{number}")))
}

/// Drops them, where they are.
fn without_later(wanted: &Wanted) -> Vec<String> {
    let numbers = 0..wanted.postgres.owners.len();
    numbers.map(|number| format!("DROP TABLE IF EXISTS {}", later_table(wanted, number))).collect()
}

/// Makes the tables that are later than all grants; whether they are there.
async fn later(
    servers: &Servers<'_>,
    wanted: &Wanted,
    report: &mut Report,
    mending: &Mending,
) -> bool {
    let mut statements = without_later(wanted);
    for (number, owner) in wanted.postgres.owners.iter().enumerate() {
        statements.push(format!("SET LOCAL ROLE {}", quoted(owner)));
        statements.push(format!("CREATE TABLE {} (id bigserial)", later_table(wanted, number)));
    }
    let made = change(&wanted.postgres.connection, &servers.superuser, &statements).await;
    match &made {
        Ok(()) if wanted.postgres.owners.is_empty() => {}
        Ok(()) => report.ok("later tables", "one of each owner was made, to see who may use it"),
        Err(failure) => report.refused("later tables", failure, &mending.apply),
    }
    made.is_ok()
}

async fn roles(
    servers: &Servers<'_>,
    wanted: &Wanted,
    report: &mut Report,
    mending: &Mending,
    made: &mut Made,
    stop: &Cell<bool>,
) -> Result<(), Error> {
    for (name, role) in &wanted.database.roles {
        go_on(stop)?;
        let trial = role::Trial { servers, wanted, name, role, mending };
        trial.run(report, made).await;
    }
    Ok(())
}
