//! A report for a script.
//!
//! Receives a report, gives one JSON document. Never changes what a field means: scripts depend on
//! it.

use jiff::Timestamp;
use serde::Serialize;

use crate::doctor::compare::{Belongs, LeaseRow, Owner, Plan, UserRow};
use crate::doctor::{Report, Users};

#[derive(Serialize)]
struct Document<'a> {
    without_owner: usize,
    states: &'a [String],
    sources: Vec<Source<'a>>,
}

#[derive(Serialize)]
struct Source<'a> {
    path: &'a str,
    secrets: Vec<&'a str>,
    leases_without_owner: usize,
    users_without_lease: usize,
    leases: Vec<Lease<'a>>,
    /// The pattern that users were looked for by; null where they were not.
    users_like: Option<&'a str>,
    users_unseen_because: Option<String>,
    users: Vec<User<'a>>,
}

#[derive(Serialize)]
struct Lease<'a> {
    lease: &'a str,
    owner: &'static str,
    state: Option<&'a str>,
    issued: Option<String>,
    ends: Option<String>,
    user: Option<&'a str>,
}

#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    owner: &'static str,
    lease: Option<&'a str>,
    valid_until: Option<String>,
}

/// The document.
pub fn json(report: &Report) -> String {
    let sources = report.sources.iter().map(|source| {
        let (like, unseen) = match &source.users {
            Users::Like(like) => (Some(like.as_str()), None),
            Users::Unasked(why) => (None, Some((*why).to_owned())),
            Users::Failed(failure) => (None, Some(failure.text.clone())),
        };
        Source {
            path: &source.path,
            secrets: source.secrets.iter().map(|name| &**name).collect(),
            leases_without_owner: source.compared.lost_leases(),
            users_without_lease: source.compared.lost_users(),
            leases: source.compared.leases.iter().map(lease).collect(),
            users_like: like,
            users_unseen_because: unseen,
            users: source.compared.users.iter().map(user).collect(),
        }
    });
    let document = Document {
        without_owner: report.lost(),
        states: &report.states,
        sources: sources.collect(),
    };
    // Texts and numbers only: there is nothing that it could refuse.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn lease(row: &LeaseRow) -> Lease<'_> {
    let times = row.lease.times;
    let (owner, state, until) = match &row.owner {
        Owner::Nobody => ("nobody", None, None),
        Owner::Young => ("young", None, None),
        Owner::Agent(Plan::Held, state) => ("held", Some(state.as_str()), None),
        Owner::Agent(Plan::Draining(until), state) => {
            ("draining", Some(state.as_str()), Some(*until))
        }
        Owner::Agent(Plan::Ending, state) => ("ending", Some(state.as_str()), None),
    };
    Lease {
        lease: &row.lease.hash,
        owner,
        state,
        issued: times.map(|times| text(times.issued)),
        ends: until.or(times.and_then(|times| times.expires)).map(text),
        user: row.user.as_deref(),
    }
}

fn user(row: &UserRow) -> User<'_> {
    let (owner, lease) = match &row.belongs {
        Belongs::Agent => ("agent", None),
        Belongs::Lease(lease) => ("lease", Some(lease.as_str())),
        Belongs::Unclear => ("unclear", None),
        Belongs::Young => ("young", None),
        Belongs::NoLease => ("nobody", None),
    };
    User { user: &row.user.name, owner, lease, valid_until: row.user.valid_until.map(text) }
}

fn text(at: Timestamp) -> String {
    format!("{at:.0}")
}
