//! Roles, grants and schemas, for who sets the database up.
//!
//! Receives an administrator's login, gives what there is of the roles, schemas and tables that are
//! asked for, or runs statements, all or none. Never sends a password: the server gets its verifier,
//! so that no log of it has more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use crate::error::{Class, Failure};
use crate::postgres::session::Login;
use crate::postgres::{doing, failure, no_host};
use crate::secret::{Credential, Secret};
use crate::snapshot::Connection;

/// How long a look or a change may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Two who set up at the same time come one after the other.
const ONE_AT_A_TIME: &str = "SELECT pg_catalog.pg_advisory_xact_lock(5063413)";
/// A lock that is waited for holds up everybody who comes later.
const SHORT_WAITS: &str = "SET LOCAL lock_timeout = '5s'";

const IN_RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";

const ROLES: &str = "SELECT rolname::text, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, \
     rolreplication, rolbypassrls, pg_catalog.shobj_description(oid, 'pg_authid') \
     FROM pg_catalog.pg_roles WHERE rolname::text = ANY ($1)";

/// From PostgreSQL 16 on there may be several, by several who gave them.
const MEMBERS: &str = "SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option) \
     FROM pg_catalog.pg_auth_members a \
     JOIN pg_catalog.pg_roles g ON g.oid = a.roleid \
     JOIN pg_catalog.pg_roles m ON m.oid = a.member \
     WHERE g.rolname::text = ANY ($1) AND m.rolname::text = ANY ($1) GROUP BY 1, 2";

/// What the groups, and who makes their members, are members of themselves, but for the groups and
/// their logins.
const ABOVE: &str = "SELECT DISTINCT m.rolname::text, g.rolname::text \
     FROM pg_catalog.pg_auth_members a \
     JOIN pg_catalog.pg_roles g ON g.oid = a.roleid \
     JOIN pg_catalog.pg_roles m ON m.oid = a.member \
     WHERE m.rolname::text = $2 AND NOT g.rolname::text = ANY ($1) AND NOT EXISTS (\
     SELECT 1 FROM pg_catalog.pg_auth_members b JOIN pg_catalog.pg_roles h ON h.oid = b.roleid \
     WHERE b.member = g.oid AND h.rolname::text = ANY ($1)) \
     OR m.rolname::text = ANY ($1)";

const SCHEMAS: &str = "SELECT nspname::text, \
     pg_catalog.has_schema_privilege('public', oid, 'USAGE') \
     OR pg_catalog.has_schema_privilege('public', oid, 'CREATE') \
     FROM pg_catalog.pg_namespace WHERE nspname::text = ANY ($1)";

/// By whatever way: also as everybody, or as a member of another role.
const ENTRANTS: &str = "SELECT n.nspname::text, r.rolname::text, \
     pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'), \
     pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') \
     FROM pg_catalog.pg_namespace n CROSS JOIN pg_catalog.pg_roles r \
     WHERE n.nspname::text = ANY ($1) AND r.rolname::text = ANY ($2)";

/// By a grant to themselves.
const ON_SCHEMAS: &str = "SELECT n.nspname::text, r.rolname::text, a.privilege_type::text \
     FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a \
     JOIN pg_catalog.pg_roles r ON r.oid = a.grantee AND r.oid <> n.nspowner \
     WHERE n.nspname::text = ANY ($1) AND r.rolname::text = ANY ($2)";

const RELATIONS: &str = "SELECT c.relname::text, c.relkind = 'S', o.rolname::text \
     FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_roles o ON o.oid = c.relowner \
     WHERE n.nspname::text = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')";

const GRANTS: &str = "SELECT c.relname::text, r.rolname::text, a.privilege_type::text \
     FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a \
     JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
     WHERE n.nspname::text = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
     AND r.rolname::text = ANY ($2)";

/// As SQL writes it: the word, and the column behind it.
const ON_COLUMNS: &str = "SELECT c.relname::text, r.rolname::text, \
     a.privilege_type || ' (' || pg_catalog.quote_ident(t.attname) || ')' \
     FROM pg_catalog.pg_attribute t JOIN pg_catalog.pg_class c ON c.oid = t.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) a \
     JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
     WHERE n.nspname::text = $1 AND NOT t.attisdropped AND r.rolname::text = ANY ($2)";

const DEFAULTS: &str = "SELECT o.rolname::text, r.rolname::text, d.defaclobjtype = 'S', \
     a.privilege_type::text FROM pg_catalog.pg_default_acl d \
     JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace \
     JOIN pg_catalog.pg_roles o ON o.oid = d.defaclrole \
     CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a \
     JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
     WHERE n.nspname::text = $1 AND d.defaclobjtype IN ('r', 'S') AND r.rolname::text = ANY ($2)";

const ENTERED: &str = "SELECT nspname::text, \
     pg_catalog.has_schema_privilege(oid, 'USAGE'), pg_catalog.has_schema_privilege(oid, 'CREATE') \
     FROM pg_catalog.pg_namespace WHERE nspname::text = ANY ($1)";

const ON_TABLES: &str = "SELECT n.nspname::text, c.relname::text, \
     pg_catalog.pg_get_userbyid(c.relowner) = current_user, p.word, \
     pg_catalog.has_table_privilege(c.oid, p.word) OR CASE \
     WHEN p.word IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') \
     THEN pg_catalog.has_any_column_privilege(c.oid, p.word) ELSE false END \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN pg_catalog.unnest($2) AS p(word) \
     WHERE n.nspname::text = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const ON_SEQUENCES: &str = "SELECT n.nspname::text, c.relname::text, \
     pg_catalog.pg_get_userbyid(c.relowner) = current_user, p.word, \
     pg_catalog.has_sequence_privilege(c.oid, p.word) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     CROSS JOIN pg_catalog.unnest($2) AS p(word) \
     WHERE n.nspname::text = ANY ($1) AND c.relkind = 'S'";

/// Every right that there is on a table, and on a sequence. The last came with PostgreSQL 17.
const TABLE_WORDS: [&str; 8] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"];
const MAINTAINS: &str = "SELECT pg_catalog.current_setting('server_version_num')::int >= 170000";
const SEQUENCE_WORDS: [&str; 3] = ["SELECT", "USAGE", "UPDATE"];

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Roles of whatever kind.
    pub roles: &'a [String],
    /// Those of them whose grants are of interest.
    pub groups: &'a [String],
    /// Who makes members of them.
    pub admin: &'a str,
    /// The schema with the tables.
    pub schema: &'a str,
    /// It and all others that are of interest.
    pub schemas: &'a [String],
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The roles that are there.
    pub roles: BTreeMap<String, Attributes>,
    /// Members of roles, by role and member: whether they may pass it on.
    pub members: BTreeMap<(String, String), bool>,
    /// The schemas that are there, and whether everybody may enter.
    pub schemas: BTreeMap<String, bool>,
    /// Groups and who makes their members, and the roles that these are members of themselves.
    pub above: BTreeSet<(String, String)>,
    /// Schemas, groups and what these may do there by a grant to themselves, in SQL's words.
    pub on_schemas: BTreeSet<(String, String, String)>,
    /// Schemas and the groups that may use them, by whatever way.
    pub users: BTreeSet<(String, String)>,
    /// Schemas and the groups that may create in them, by whatever way.
    pub creators: BTreeSet<(String, String)>,
    /// Everything in the schema that a grant may be on.
    pub relations: BTreeMap<String, Relation>,
    /// What the groups may do with it, by grants to them.
    pub grants: BTreeSet<Grant>,
    /// What they will be granted on what is made later.
    pub later: BTreeSet<LaterGrant>,
}

/// What a role may do by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `LOGIN`.
    pub login: bool,
    /// `SUPERUSER`.
    pub superuser: bool,
    /// `CREATEROLE`.
    pub createrole: bool,
    /// `CREATEDB`.
    pub createdb: bool,
    /// `REPLICATION`.
    pub replication: bool,
    /// `BYPASSRLS`.
    pub bypassrls: bool,
    /// Its comment.
    pub comment: Option<String>,
}

impl Standing {
    /// Whether `group` has `word` on `schema` by a grant to itself.
    pub fn is_granted(&self, group: &str, schema: &str, word: &str) -> bool {
        self.on_schemas.contains(&(schema.to_owned(), group.to_owned(), word.to_owned()))
    }

    /// Whether `group` may enter `schema`; a role that is not there yet may where everybody may.
    pub fn enters(&self, group: &str, schema: &str) -> bool {
        if !self.roles.contains_key(group) {
            return self.schemas.get(schema) == Some(&true);
        }
        let pair = (schema.to_owned(), group.to_owned());
        self.users.contains(&pair) || self.creators.contains(&pair)
    }
}

/// A table, a view or a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Whether it is a sequence.
    pub sequence: bool,
    /// Whose it is. The owner needs no grant.
    pub owner: String,
}

/// A right on something that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// To whom.
    pub group: String,
    /// On what.
    pub relation: String,
    /// In SQL's words, as `SELECT`, or `SELECT (name)` of a column.
    pub privilege: String,
}

/// A right on what will be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaterGrant {
    /// To whom.
    pub group: String,
    /// By whom it is made.
    pub owner: String,
    /// Whether it is on sequences, and not on tables.
    pub sequences: bool,
    /// In SQL's word.
    pub privilege: String,
}

/// Looks at what there is.
///
/// # Errors
/// As [`super::probe`]; `Denied` also where a catalog may not be read.
pub async fn look(
    connection: &Connection,
    credential: &Credential,
    about: &About<'_>,
) -> Result<Standing, Failure> {
    let work = async |client: &Client| look_by(client, about).await;
    on_primary(connection, credential, "look at the roles on", work).await
}

async fn look_by(client: &Client, about: &About<'_>) -> Result<Standing, Error> {
    let About { roles, groups, admin, schema, schemas } = *about;
    let texts = |list: &[String]| list.to_vec();
    let (roles, groups, schemas) = (texts(roles), texts(groups), texts(schemas));
    let mut found = Standing::default();
    for row in &ask(client, ROLES, &[(&roles, Type::TEXT_ARRAY)]).await? {
        found.roles.insert(row.try_get(0)?, attributes(row)?);
    }
    for row in &ask(client, MEMBERS, &[(&roles, Type::TEXT_ARRAY)]).await? {
        found.members.insert((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
    }
    for row in &ask(client, SCHEMAS, &[(&schemas, Type::TEXT_ARRAY)]).await? {
        found.schemas.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let both: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schemas, Type::TEXT_ARRAY), (&groups, Type::TEXT_ARRAY)];
    for row in &ask(client, ENTRANTS, &both).await? {
        let who: (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if row.try_get(2)? {
            found.users.insert(who.clone());
        }
        if row.try_get(3)? {
            found.creators.insert(who);
        }
    }
    for row in &ask(client, ON_SCHEMAS, &both).await? {
        found.on_schemas.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    }
    let both: [(&(dyn ToSql + Sync), Type); 2] =
        [(&groups, Type::TEXT_ARRAY), (&admin, Type::TEXT)];
    for row in &ask(client, ABOVE, &both).await? {
        found.above.insert((row.try_get(0)?, row.try_get(1)?));
    }
    for row in &ask(client, RELATIONS, &[(&schema, Type::TEXT)]).await? {
        let relation = Relation { sequence: row.try_get(1)?, owner: row.try_get(2)? };
        found.relations.insert(row.try_get(0)?, relation);
    }
    let within: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schema, Type::TEXT), (&groups, Type::TEXT_ARRAY)];
    for question in [GRANTS, ON_COLUMNS] {
        for row in &ask(client, question, &within).await? {
            found.grants.insert(Grant {
                relation: row.try_get(0)?,
                group: row.try_get(1)?,
                privilege: row.try_get(2)?,
            });
        }
    }
    for row in &ask(client, DEFAULTS, &within).await? {
        found.later.insert(LaterGrant {
            owner: row.try_get(0)?,
            group: row.try_get(1)?,
            sequences: row.try_get(2)?,
            privilege: row.try_get(3)?,
        });
    }
    Ok(found)
}

async fn ask(
    client: &Client,
    question: &str,
    with: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Error> {
    client.query_typed(question, with).await
}

fn attributes(row: &Row) -> Result<Attributes, Error> {
    Ok(Attributes {
        login: row.try_get(1)?,
        superuser: row.try_get(2)?,
        createrole: row.try_get(3)?,
        createdb: row.try_get(4)?,
        replication: row.try_get(5)?,
        bypassrls: row.try_get(6)?,
        comment: row.try_get(7)?,
    })
}

/// What a login may do, as the database judges it, by whatever way it came to that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// What it may do with each table and sequence, by schema and name.
    pub relations: BTreeMap<(String, String), Power>,
    /// What it may do with the schemas that are there.
    pub schemas: BTreeMap<String, Entry>,
}

/// What a login may do with a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `USAGE`.
    pub uses: bool,
    /// `CREATE`.
    pub creates: bool,
}

/// What a login may do with one table or sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// Whether it is a sequence.
    pub sequence: bool,
    /// Whether it acts as its owner, who may do everything.
    pub owned: bool,
    /// The rights that it has, in SQL's words.
    pub words: BTreeSet<String>,
}

/// Asks as `credential` what it may do in `schemas`.
///
/// # Errors
/// As [`super::probe`].
pub async fn powers(
    connection: &Connection,
    credential: &Credential,
    schemas: &[String],
) -> Result<Powers, Failure> {
    let work = async |client: &Client| powers_by(client, schemas).await;
    on_primary(connection, credential, "look at the rights on", work).await
}

async fn powers_by(client: &Client, schemas: &[String]) -> Result<Powers, Error> {
    let schemas = schemas.to_vec();
    let mut found = Powers::default();
    for row in &ask(client, ENTERED, &[(&schemas, Type::TEXT_ARRAY)]).await? {
        let entry = Entry { uses: row.try_get(1)?, creates: row.try_get(2)? };
        found.schemas.insert(row.try_get(0)?, entry);
    }
    let maintains: bool = client.query_one(MAINTAINS, &[]).await?.try_get(0)?;
    let on_tables = &TABLE_WORDS[..TABLE_WORDS.len() - usize::from(!maintains)];
    let kinds = [(ON_TABLES, on_tables, false), (ON_SEQUENCES, &SEQUENCE_WORDS[..], true)];
    for (question, words, sequence) in kinds {
        let words = words.to_vec();
        let with: [(&(dyn ToSql + Sync), Type); 2] =
            [(&schemas, Type::TEXT_ARRAY), (&words, Type::TEXT_ARRAY)];
        for row in &ask(client, question, &with).await? {
            let power = found.relations.entry((row.try_get(0)?, row.try_get(1)?)).or_default();
            power.sequence = sequence;
            power.owned = row.try_get(2)?;
            if row.try_get(4)? {
                power.words.insert(row.try_get(3)?);
            }
        }
    }
    Ok(found)
}

/// Runs `statements`, all or none of them.
///
/// # Errors
/// `Denied` where the login may not do that; else as [`super::probe`].
pub async fn change(
    connection: &Connection,
    credential: &Credential,
    statements: &[String],
) -> Result<(), Failure> {
    let mut all = vec![SHORT_WAITS, ONE_AT_A_TIME];
    all.extend(statements.iter().map(String::as_str));
    let text = format!("BEGIN;\n{};\nCOMMIT", all.join(";\n"));
    let work = async |client: &Client| client.batch_execute(&text).await;
    on_primary(connection, credential, "change roles and grants on", work).await
}

/// Gives `user` a password, after `statements`, all or none.
///
/// # Errors
/// As [`change`].
pub async fn give_password(
    connection: &Connection,
    credential: &Credential,
    (user, password): (&str, &Secret),
    statements: &[String],
) -> Result<(), Failure> {
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    let mut statements = statements.to_vec();
    statements.push(format!("ALTER ROLE {} PASSWORD {}", quoted(user), literal(&verifier)));
    change(connection, credential, &statements).await
}

/// Does `work` on the first host that takes changes.
async fn on_primary<T>(
    connection: &Connection,
    credential: &Credential,
    what: &str,
    work: impl AsyncFn(&Client) -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut last = no_host();
    for host in &connection.hosts {
        let doing = doing(what, connection, credential, host);
        let login = Login { connection, credential, host, doing: &doing };
        // An answer that is an error is judged here: what is missing is more often a right.
        let asked = login.ask_within(LIMIT, async |client| {
            if client.query_one(IN_RECOVERY, &[]).await?.try_get(0)? {
                return Ok(None);
            }
            Ok(Some(work(client).await))
        });
        match asked.await {
            Ok(Some(Ok(done))) => return Ok(done),
            Ok(Some(Err(error))) => {
                return Err(refused(failure(&doing, &credential.password, &error), &error));
            }
            Ok(None) => {
                let text = format!("{doing}: it is a standby");
                last = Failure::new(Class::Again { after: None }, text)
                    .hint("name the primary in `connection.host`");
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn refused(failure: Failure, error: &Error) -> Failure {
    let Some(state) = error.code() else { return failure };
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        let failure = Failure { class: Class::Denied, ..failure };
        return failure.hint("setting up takes a superuser, or the owner of roles and tables");
    }
    // 42 is whatever a statement itself is wrong in: the same again will fail again.
    if state.code().starts_with("42") {
        return Failure { class: Class::Ours, ..failure };
    }
    failure
}

/// `name` as an identifier.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a literal.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_one_word() {
        assert_eq!(quoted("vault-admin"), "\"vault-admin\"");
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
