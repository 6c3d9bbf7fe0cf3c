//! Roles and schemas of the database.
//!
//! Receives what is wanted and what there is, adds what is missing to the plan. Never drops a role or
//! a schema, and takes from a role only what lets it do more than is wanted.

use crate::bootstrap::plan::{Action, Plan, Sign};
use crate::bootstrap::wanted::Wanted;
use crate::postgres::setup::{Attributes, Standing, quoted};

pub(super) fn plan(plan: &mut Plan, wanted: &Wanted, found: &Standing) {
    for group in wanted.postgres.groups.keys() {
        role(plan, found, group, &GROUP);
    }
    role(plan, found, &wanted.database.admin, &ADMIN);
    memberships(plan, wanted, found);
    schemas(plan, wanted, found);
}

/// How a role should be, and what a person reads of it.
struct Shape {
    login: bool,
    createrole: bool,
    what: &'static str,
}

const GROUP: Shape = Shape { login: false, createrole: false, what: "holds rights, cannot log in" };
const ADMIN: Shape = Shape { login: true, createrole: true, what: "Vault's login; no superuser" };

fn role(plan: &mut Plan, found: &Standing, name: &str, shape: &Shape) {
    let words = words(shape, found.roles.get(name).unwrap_or(&Attributes::default()));
    let what = format!("role {} ({})", quoted(name), shape.what);
    if !found.roles.contains_key(name) {
        // Between the look and this somebody else may have made it.
        let statement = format!(
            "DO $leasehold$ BEGIN CREATE ROLE {name} {words}; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN \
             ALTER ROLE {name} {words}; END $leasehold$",
            name = quoted(name),
            words = if words.is_empty() { "NOLOGIN".to_owned() } else { words.join(" ") },
        );
        return plan.step(Sign::New, what, Vec::new(), Action::Sql(vec![statement]));
    }
    if !words.is_empty() {
        let details = words.iter().map(|word| format!("+ {word}")).collect();
        let statement = format!("ALTER ROLE {} {}", quoted(name), words.join(" "));
        plan.step(Sign::Drift, what, details, Action::Sql(vec![statement]));
    }
}

/// What a role lacks or has too much, in SQL's words. Only what differs is named: who is no superuser
/// may not even say `NOSUPERUSER`.
fn words(shape: &Shape, found: &Attributes) -> Vec<&'static str> {
    let mut words = Vec::new();
    let mut must = |is: bool, wanted: bool, yes: &'static str, no: &'static str| {
        if is != wanted {
            words.push(if wanted { yes } else { no });
        }
    };
    must(found.login, shape.login, "LOGIN", "NOLOGIN");
    must(found.createrole, shape.createrole, "CREATEROLE", "NOCREATEROLE");
    must(found.superuser, false, "SUPERUSER", "NOSUPERUSER");
    must(found.createdb, false, "CREATEDB", "NOCREATEDB");
    must(found.replication, false, "REPLICATION", "NOREPLICATION");
    must(found.bypassrls, false, "BYPASSRLS", "NOBYPASSRLS");
    words
}

/// From PostgreSQL 16 on nobody makes members of a role without its admin option.
fn memberships(plan: &mut Plan, wanted: &Wanted, found: &Standing) {
    let admin = &wanted.database.admin;
    let missing: Vec<&String> = wanted
        .postgres
        .groups
        .keys()
        .filter(|group| found.members.get(&((*group).clone(), admin.clone())) != Some(&true))
        .collect();
    if missing.is_empty() {
        return;
    }
    let sign = if missing.len() == wanted.postgres.groups.len() { Sign::New } else { Sign::Drift };
    let what = format!("{} may make members of", quoted(admin));
    let details = missing.iter().map(|group| format!("+ {}", quoted(group))).collect();
    let groups: Vec<String> = missing.iter().map(|group| quoted(group)).collect();
    let statement = format!("GRANT {} TO {} WITH ADMIN OPTION", groups.join(", "), quoted(admin));
    plan.step(sign, what, details, Action::Sql(vec![statement]));
}

fn schemas(plan: &mut Plan, wanted: &Wanted, found: &Standing) {
    let postgres = &wanted.postgres;
    if !found.schemas.contains_key(&postgres.schema) {
        let text = format!("schema {} is not there", quoted(&postgres.schema));
        plan.conflicts.push(format!("{text}: `postgres.schema` must name that of the tables"));
    }
    for schema in &postgres.apart {
        let name = quoted(schema);
        let what = format!("schema {name} (no group can enter it)");
        if !found.schemas.contains_key(schema) {
            let statement = format!("CREATE SCHEMA IF NOT EXISTS {name}");
            plan.step(Sign::New, what, Vec::new(), Action::Sql(vec![statement]));
            continue;
        }
        let (mut details, mut from) = (Vec::new(), Vec::new());
        if found.schemas.get(schema) == Some(&true) {
            details.push("- everybody may enter it".to_owned());
            from.push("PUBLIC".to_owned());
        }
        for group in postgres.groups.keys().filter(|group| found.enters(group, schema)) {
            let own = ["USAGE", "CREATE"].iter().any(|word| found.is_granted(group, schema, word));
            if own {
                details.push(format!("- {} may enter it", quoted(group)));
                from.push(quoted(group));
            } else if from.is_empty() {
                let text = "may enter it by what it is a member of";
                plan.waiting.push(format!("schema {name}: {} {text}", quoted(group)));
            }
        }
        if !from.is_empty() {
            let statement = format!("REVOKE ALL ON SCHEMA {name} FROM {}", from.join(", "));
            plan.step(Sign::Drift, what, details, Action::Sql(vec![statement]));
        }
    }
}
