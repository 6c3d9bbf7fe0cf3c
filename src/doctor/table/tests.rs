use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::doctor::compare::{Compared, Known, Lease, compare};
use crate::postgres::Role;
use crate::vault::LeaseTimes;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn lease(hash: &str, ago: i64) -> Lease {
    let (issued, expires) = (at(NOW - ago), Some(at(NOW - ago + 3600)));
    let age = Duration::from_secs(ago.unsigned_abs());
    Lease { hash: hash.to_owned(), times: Some(LeaseTimes { issued, expires, age }) }
}

/// One that an agent knows, so that Vault was not asked.
fn theirs(hash: &str) -> Lease {
    Lease { hash: hash.to_owned(), times: None }
}

fn user(name: &str, left: Option<i64>) -> Role {
    let valid_until = left.map(|left| at(NOW + left));
    Role { name: name.to_owned(), valid_until, asked: at(NOW) }
}

fn report(compared: Compared) -> Report {
    let source = Checked {
        path: "database/creds/app".to_owned(),
        secrets: vec!["db".into()],
        users: Users::Like("v-%-app-%".to_owned()),
        compared,
    };
    let states = vec!["/state".to_owned()];
    Report { sources: vec![source], states, stateless: None, ids: BTreeMap::new() }
}

fn compared(leases: Vec<Lease>, users: Vec<Role>) -> Compared {
    let known = |hash: &str, plan| Known {
        hash: hash.to_owned(),
        user: Some(format!("v-{hash}")),
        state: "/state".to_owned(),
        plan,
    };
    let known = [known("held", Plan::Held), known("draining", Plan::Draining(at(NOW + 90)))];
    compare(leases, users, &known, Duration::from_secs(120))
}

#[test]
fn a_verdict_a_row_for_each_and_no_name_that_steers_a_terminal() {
    let leases = vec![theirs("held"), lease("young", 5), theirs("draining"), lease("nobody", 3000)];
    let users = vec![
        user("v-held", Some(900)),
        user(&format!("v-approle-app-x-{}", NOW - 3000), Some(605)),
        user(&format!("v-\u{1b}[2J\u{202e}-{}", NOW - 9000), Some(-5400)),
    ];
    let said = table(&report(compared(leases, users)), at(NOW));
    let wanted = [
        "without an owner: 1 lease, and 1 user with no lease",
        "",
        "database/creds/app for `db`",
        "  OWNER     LEASE             ISSUED                ENDS         USER",
        "  nobody    nobody            2027-01-15T07:10:00Z  in 10m       v-approle-app-x-1799997000",
        "  nobody    none              2027-01-15T05:30:00Z  1h30m ago    v-\\u{1b}[2J\\u{202e}-1799991000",
        "  young     young             2027-01-15T07:59:55Z  in 59m55s    -",
        "  draining  draining          -                     in 1m30s     v-draining",
        "  4 leases, 1 held by an agent; 3 users like `v-%-app-%`",
        "",
        "an agent is known by its state in /state",
    ];
    assert_eq!(said[..wanted.len()], wanted, "{}", said.join("\n"));
    assert_eq!(said.len(), wanted.len() + 2);
}

#[test]
fn the_verdict_counts_what_there_is() {
    let none = || user("app", None);
    for (leases, users, verdict) in [
        (vec![], vec![], "nothing is without an owner"),
        (vec![theirs("held"), lease("a", 5)], vec![], "nothing is without an owner"),
        (vec![lease("a", 900)], vec![none()], "without an owner: 1 lease"),
        (vec![lease("a", 900), lease("b", 800)], vec![none()], "without an owner: 2 leases"),
        (vec![], vec![none()], "without an owner: 1 user with no lease"),
    ] {
        let said = table(&report(compared(leases, users)), at(NOW));
        assert_eq!(said[0], verdict);
    }
}
