//! A report for a person.
//!
//! Receives a report, gives lines: the verdict first, then what has no owner, then the rest in
//! numbers. Never shows a name in which something could steer a terminal.

use jiff::Timestamp;

use crate::doctor::compare::{Belongs, LeaseRow, Owner, Plan, UserRow};
use crate::doctor::{Checked, Report, Users, name};
use crate::logs::visible;
use crate::timeline::span;

/// The lines; `now` is what times are told from.
pub fn table(report: &Report, now: Timestamp) -> Vec<String> {
    let mut lines = vec![verdict(report)];
    for source in &report.sources {
        lines.push(String::new());
        lines.extend(of_source(source, now));
    }
    lines.push(String::new());
    lines.extend(notes(report));
    lines.iter().map(|line| visible(line)).collect()
}

fn verdict(report: &Report) -> String {
    let sum = |of: fn(&Checked) -> usize| report.sources.iter().map(of).sum();
    let leases: usize = sum(|source| source.compared.lost_leases());
    let users: usize = sum(|source| source.compared.lost_users());
    match (leases, users) {
        // What was not seen is not said to be in order.
        (0, 0) if report.failure().is_some() => {
            "no lease is without an owner; users could not be looked at".to_owned()
        }
        (0, 0) => "nothing is without an owner".to_owned(),
        (leases, 0) => format!("without an owner: {}", count(leases, "lease")),
        (0, users) => format!("without an owner: {} with no lease", count(users, "user")),
        (leases, users) => format!(
            "without an owner: {}, and {} with no lease",
            count(leases, "lease"),
            count(users, "user")
        ),
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Sorts what has no owner to the top.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Nobody,
    Unclear,
    Young,
    Draining,
    Ending,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Unclear => "unclear",
            Self::Young => "young",
            Self::Draining => "draining",
            Self::Ending => "ending",
        }
    }
}

type Row = (Kind, [String; 4]);

fn of_source(source: &Checked, now: Timestamp) -> Vec<String> {
    let leases = source.compared.leases.iter().filter_map(|row| lease(row, now));
    let users = source.compared.users.iter().filter_map(|row| user(row, now));
    let mut rows: Vec<Row> = leases.chain(users).collect();
    rows.sort_by_key(|(kind, _)| *kind);
    let secrets: Vec<String> = source.secrets.iter().map(|name| format!("`{name}`")).collect();
    let mut lines = vec![format!("{} for {}", source.path, secrets.join(", "))];
    let line = |owner: &str, [lease, issued, ends, user]: &[String; 4]| {
        format!("  {owner:<8}  {lease:<16}  {issued:<20}  {ends:<11}  {user}")
    };
    if !rows.is_empty() {
        lines.push(line("OWNER", &["LEASE", "ISSUED", "ENDS", "USER"].map(str::to_owned)));
    }
    lines.extend(rows.iter().map(|(kind, cells)| line(kind.word(), cells)));
    lines.push(format!("  {}", totals(source)));
    lines
}

fn lease(row: &LeaseRow, now: Timestamp) -> Option<Row> {
    let times = row.lease.times;
    let none = || "-".to_owned();
    let (kind, ends) = match &row.owner {
        Owner::Nobody => (Kind::Nobody, times.and_then(|times| times.expires)),
        Owner::Young => (Kind::Young, times.and_then(|times| times.expires)),
        Owner::Agent(Plan::Draining(until), _) => (Kind::Draining, Some(*until)),
        Owner::Agent(Plan::Ending, _) => (Kind::Ending, None),
        Owner::Agent(Plan::Held, _) => return None,
    };
    let issued = times.map_or_else(none, |times| shown(times.issued));
    let ends = ends.map_or_else(none, |ends| relative(ends, now));
    Some((kind, [row.lease.hash.clone(), issued, ends, row.user.clone().unwrap_or_else(none)]))
}

/// A user of a lease stands beside its lease.
fn user(row: &UserRow, now: Timestamp) -> Option<Row> {
    let kind = match &row.belongs {
        Belongs::NoLease => Kind::Nobody,
        Belongs::Unclear => Kind::Unclear,
        Belongs::Young => Kind::Young,
        Belongs::Agent | Belongs::Lease(_) => return None,
    };
    let lease = if kind == Kind::Unclear { "?" } else { "none" };
    let made = name::made(&row.user.name).map_or_else(|| "-".to_owned(), shown);
    let ends = row.user.valid_until.map_or_else(|| "never".to_owned(), |at| relative(at, now));
    Some((kind, [lease.to_owned(), made, ends, row.user.name.clone()]))
}

fn shown(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    let apart = span(at.duration_since(now).unsigned_abs());
    if at < now { format!("{apart} ago") } else { format!("in {apart}") }
}

fn totals(source: &Checked) -> String {
    let leases = &source.compared.leases;
    let held = leases.iter().filter(|row| matches!(row.owner, Owner::Agent(Plan::Held, _)));
    let leases = format!("{}, {} held by an agent", count(leases.len(), "lease"), held.count());
    let users = match &source.users {
        Users::Like(like) => {
            format!("{} like `{like}`", count(source.compared.users.len(), "user"))
        }
        Users::Unasked(why) => format!("users were not looked at: {why}"),
        Users::Failed(_) => "users could not be looked at".to_owned(),
    };
    format!("{leases}; {users}")
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    match &report.states[..] {
        [] => {}
        [one] => notes.push(format!("an agent is known by its state in {one}")),
        many => notes.push(format!("agents are known by {} states", many.len())),
    }
    if let Some(directory) = &report.stateless {
        notes.push(format!("no agent has a state in {directory}"));
    }
    let sum = |of: fn(&Checked) -> usize| -> usize { report.sources.iter().map(of).sum() };
    if sum(|source| source.compared.lost_leases()) > 0 {
        notes.push(
            "what is nobody's here may be an agent's in another pod: `--state` names its state"
                .to_owned(),
        );
    }
    let surplus = sum(|source| source.compared.surplus);
    if surplus > 0 {
        notes.push(format!("at least {} of those unclear with no lease", count(surplus, "user")));
    }
    if sum(|source| source.compared.lost_users()) > 0 {
        notes.push(
            "a user with no lease may be another role's, if that is named alike: `--users` says \
             how this one's are"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
