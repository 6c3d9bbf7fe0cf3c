//! What the groups may do with tables and sequences, now and with those that are made later.
//!
//! Receives what is wanted and what there is, adds what differs to the plan: grants that are missing,
//! and grants to a group that it should not have. Never touches a grant to anybody else.

use std::collections::{BTreeMap, BTreeSet};

use crate::bootstrap::plan::{Action, Plan, Sign};
use crate::bootstrap::wanted::{Group, ON_SEQUENCES, Tables, Wanted};
use crate::postgres::setup::{Grant, LaterGrant, Standing, quoted};

pub(super) fn plan(plan: &mut Plan, wanted: &Wanted, found: &Standing) {
    let schema = &wanted.postgres.schema;
    for (name, group) in &wanted.postgres.groups {
        entry(plan, schema, (name, group), found);
        if let Tables::Only(tables) = &group.tables {
            for table in tables.iter().filter(|table| !found.relations.contains_key(*table)) {
                plan.waiting.push(format!(
                    "table {}.{} is not there: what {} may do with it is granted by the next \
                     `apply`",
                    quoted(schema),
                    quoted(table),
                    quoted(name)
                ));
            }
        }
        on_relations(plan, schema, (name, group), found);
        later(plan, wanted, (name, group), found);
    }
    above(plan, found);
    let owners = wanted.postgres.owners.iter().filter(|owner| !found.roles.contains_key(*owner));
    for owner in owners {
        plan.waiting.push(format!(
            "role {} is not there: its later tables are granted by the next `apply`",
            quoted(owner)
        ));
    }
}

fn entry(plan: &mut Plan, schema: &str, (name, group): (&str, &Group), found: &Standing) {
    if !found.schemas.contains_key(schema) {
        return;
    }
    let pair = (schema.to_owned(), name.to_owned());
    let mut grant = |word: &str, verb: &str| {
        let what = format!("role {} may {verb} schema {}", quoted(name), quoted(schema));
        let statement = format!("GRANT {word} ON SCHEMA {} TO {}", quoted(schema), quoted(name));
        plan.step(Sign::New, what, Vec::new(), Action::Sql(vec![statement]));
    };
    let everybody = !found.roles.contains_key(name) && found.schemas.get(schema) == Some(&true);
    if !everybody && !found.users.contains(&pair) {
        grant("USAGE", "use");
    }
    if group.creates && !found.creators.contains(&pair) {
        grant("CREATE", "make tables in");
    }
    if !group.creates && found.is_granted(name, schema, "CREATE") {
        let what = format!("role {} in schema {}", quoted(name), quoted(schema));
        let details = vec!["- CREATE".to_owned()];
        let statement = format!("REVOKE CREATE ON SCHEMA {} FROM {}", quoted(schema), quoted(name));
        plan.step(Sign::Drift, what, details, Action::Sql(vec![statement]));
    }
}

/// What a group is a member of it may do too, and its logins with it.
fn above(plan: &mut Plan, found: &Standing) {
    for (group, role) in &found.above {
        let (group, role) = (quoted(group), quoted(role));
        plan.waiting.push(format!(
            "role {group} is a member of {role} and may do all that it may: `REVOKE {role} FROM \
             {group}` takes that back"
        ));
    }
}

/// Privileges by what they are on.
type By<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// On what is there.
fn on_relations(plan: &mut Plan, schema: &str, (name, group): (&str, &Group), found: &Standing) {
    let (mut wanted, mut given) = (By::new(), By::new());
    for (relation, facts) in &found.relations {
        // The owner may do everything, and has no grants.
        if facts.owner == name {
            continue;
        }
        let named = match &group.tables {
            Tables::All => true,
            Tables::Only(tables) => tables.contains(relation),
        };
        let privileges: BTreeSet<&str> = match facts.sequence {
            true => ON_SEQUENCES.into(),
            false if named => group.privileges.iter().map(String::as_str).collect(),
            false => BTreeSet::new(),
        };
        wanted.insert(relation, privileges);
    }
    for Grant { relation, privilege, .. } in found.grants.iter().filter(|one| one.group == name) {
        if wanted.contains_key(relation.as_str()) {
            given.entry(relation).or_default().insert(privilege);
        }
    }
    let (come, gone) = (less(&wanted, &given), less(&given, &wanted));
    let sign = if given.is_empty() { Sign::New } else { Sign::Drift };
    let kind = |relation: &str| {
        let sequence = found.relations.get(relation).is_some_and(|facts| facts.sequence);
        if sequence { "SEQUENCE " } else { "" }
    };
    let statement = |verb: &str, link: &str, on: &str, privileges: &BTreeSet<&str>| {
        format!(
            "{verb} {} ON {}{}.{} {link} {}",
            joined(privileges),
            kind(on),
            quoted(schema),
            quoted(on),
            quoted(name)
        )
    };
    let granted = come.iter().map(|(on, privileges)| statement("GRANT", "TO", on, privileges));
    let revoked = gone.iter().map(|(on, privileges)| statement("REVOKE", "FROM", on, privileges));
    let statements: Vec<String> = granted.chain(revoked).collect();
    let what = format!("rights of {} in schema {}", quoted(name), quoted(schema));
    add(plan, (sign, what), "on", (&come, &gone), statements);
}

/// On what will be made.
fn later(plan: &mut Plan, all: &Wanted, (name, group): (&str, &Group), found: &Standing) {
    let postgres = &all.postgres;
    let on_tables: BTreeSet<&str> = match &group.tables {
        Tables::All => group.privileges.iter().map(String::as_str).collect(),
        Tables::Only(_) => BTreeSet::new(),
    };
    let wanted = [(false, on_tables), (true, BTreeSet::from(ON_SEQUENCES))];
    for (sequences, wanted) in wanted {
        let kind = if sequences { "SEQUENCES" } else { "TABLES" };
        let own: Vec<&LaterGrant> = found
            .later
            .iter()
            .filter(|one| one.group == name && one.sequences == sequences)
            .collect();
        let (mut come, mut gone) = (By::new(), By::new());
        for owner in postgres.owners.iter().filter(|owner| found.roles.contains_key(*owner)) {
            let given: BTreeSet<&str> = own
                .iter()
                .filter(|one| one.owner == *owner)
                .map(|one| one.privilege.as_str())
                .collect();
            let missing: BTreeSet<&str> = wanted.difference(&given).copied().collect();
            if !missing.is_empty() {
                come.insert(owner, missing);
            }
        }
        // By whomever: of what is made later the group would have more than it should.
        for one in own.iter().filter(|one| !wanted.contains(one.privilege.as_str())) {
            gone.entry(&one.owner).or_default().insert(&one.privilege);
        }
        let sign = if own.is_empty() { Sign::New } else { Sign::Drift };
        let statement = |verb: &str, link: &str, owner: &str, privileges: &BTreeSet<&str>| {
            format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} {verb} {} ON {kind} {link} {}",
                quoted(owner),
                quoted(&postgres.schema),
                joined(privileges),
                quoted(name)
            )
        };
        let granted = come.iter().map(|(of, privileges)| statement("GRANT", "TO", of, privileges));
        let revoked =
            gone.iter().map(|(of, privileges)| statement("REVOKE", "FROM", of, privileges));
        let statements: Vec<String> = granted.chain(revoked).collect();
        let later = kind.to_lowercase();
        let what = format!("rights of {} on {later} that are made later", quoted(name));
        add(plan, (sign, what), "on those of", (&come, &gone), statements);
    }
}

fn add(
    plan: &mut Plan,
    (sign, what): (Sign, String),
    link: &str,
    (come, gone): (&By<'_>, &By<'_>),
    statements: Vec<String>,
) {
    if statements.is_empty() {
        return;
    }
    let details = details('+', link, come).into_iter().chain(details('-', link, gone)).collect();
    plan.step(sign, what, details, Action::Sql(statements));
}

/// What `from` has beyond `other`.
fn less<'a>(from: &By<'a>, other: &By<'a>) -> By<'a> {
    let none = BTreeSet::new();
    let rest = from.iter().map(|(on, privileges)| {
        let known = other.get(on).unwrap_or(&none);
        (*on, privileges.difference(known).copied().collect::<BTreeSet<&str>>())
    });
    rest.filter(|(_, privileges)| !privileges.is_empty()).collect()
}

/// A line for each set of privileges, with all that it is on.
fn details(mark: char, link: &str, by: &By<'_>) -> Vec<String> {
    let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (on, privileges) in by {
        lines.entry(joined(privileges)).or_default().push(on);
    }
    let line = |(privileges, on): (String, Vec<&str>)| {
        format!("{mark} {privileges} {link} {}", on.join(", "))
    };
    lines.into_iter().map(line).collect()
}

fn joined(privileges: &BTreeSet<&str>) -> String {
    privileges.iter().copied().collect::<Vec<_>>().join(", ")
}
