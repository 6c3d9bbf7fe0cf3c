//! PostgreSQL: log in with a credential, count sessions, list roles.
//!
//! Receives a credential, gives a role's oid, session counts or roles, or a classed [`Failure`].
//! Never writes, but for [`setup`], which an administrator asks for. A session ends as soon as it has
//! answered, but that of a rehearsal.

mod ahead;
mod database;
mod passfile;
pub mod pgbouncer;
mod session;
pub mod setup;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch as channel;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::error::{Class, Failure, chain};
use crate::lease::RoleId;
use crate::postgres::ahead::Opened;
use crate::postgres::session::{Ending, Login};
use crate::secret::{Credential, Secret};
use crate::snapshot::Connection;

pub use database::Database;
pub use passfile::password;

// Types given ahead make each question one exchange with the server instead of three.

/// `session_user` is who logged in; a role may be set to act as its group, which `current_user`
/// would name. In a new session the view `pg_roles` takes a millisecond more.
const OWN_ROLE: &str = "SELECT pg_catalog.to_regrole(pg_catalog.quote_ident(session_user))::oid";
/// A leased role sees NULL in most other columns of foreign sessions: a filter on them counts 0.
const SESSIONS: &str = "SELECT usesysid, count(*) FROM pg_catalog.pg_stat_activity \
     WHERE usesysid = ANY ($1) AND pid <> pg_catalog.pg_backend_pid() GROUP BY usesysid";

/// Every user of the database may read this; whole seconds, as `VALID UNTIL` is written.
const ROLES: &str = "SELECT rolname::text, \
     CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil)::bigint END, \
     extract(epoch FROM pg_catalog.now())::bigint \
     FROM pg_catalog.pg_roles WHERE rolname LIKE $1 ORDER BY rolname";

/// A role of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// `VALID UNTIL`; `None` where its password never ends.
    pub valid_until: Option<Timestamp>,
    /// What the database's clock showed when it was asked.
    pub asked: Timestamp,
}

/// Nobody rehearses longer.
const LONGEST_HELD: Duration = Duration::from_secs(86_400);

/// Logs in with `credential` on every host of `connection` and gives the role's oid. Hosts that
/// cannot be reached do not matter as long as one can.
///
/// # Errors
/// `Denied` when a host answers SQLSTATE 28P01, 28000 or 3D000, which speak of the credential, and
/// none accepts it. Anything else (unreachable, too many connections, starting up, time-out) is
/// `Again`; so is the refusal of one host where another accepts: a replica knows a new role later.
/// `Missing` and `Ours` speak of the CA file.
pub async fn probe(connection: &Connection, credential: &Credential) -> Result<RoleId, Failure> {
    let ending = Ending::default();
    let role = probe_early(connection, credential, Opened::new(), &ending, || ()).await;
    ending.wait().await;
    role
}

/// As [`probe`], with connections that are open already, and not waiting for the sessions' end.
/// `accepted` hears where the only host took the login, before the role is known.
async fn probe_early(
    connection: &Connection,
    credential: &Credential,
    mut ahead: Opened,
    ending: &Ending,
    accepted: impl Fn(),
) -> Result<RoleId, Failure> {
    let alone = connection.hosts.len() == 1;
    let mut found: Option<RoleId> = None;
    let (mut refused, mut unreached) = (None, None);
    for host in &connection.hosts {
        let doing = doing("log in to", connection, credential, host);
        let login = Login { connection, credential, host, doing: &doing };
        let asked = login.ask_early(ahead.remove(host), ending, async |client| {
            if alone {
                accepted();
            }
            client.query_typed_one(OWN_ROLE, &[]).await?.try_get::<_, Option<RoleId>>(0)
        });
        match asked.await {
            Ok(None) => {
                let text = format!("{doing}: the role is gone");
                unreached = Some(Failure::new(Class::Again { after: None }, text));
            }
            Ok(Some(role)) if found.is_some_and(|other| other != role) => {
                let text = format!("{doing}: the role has another oid than on the hosts before");
                let hint = "the hosts of one connection must be one cluster";
                return Err(Failure::new(Class::Ours, text).hint(hint));
            }
            Ok(role) => found = role,
            Err(failure) => match failure.class {
                Class::Again { .. } | Class::Unclear => unreached = Some(failure),
                Class::Denied => refused = Some(failure),
                Class::Missing | Class::Gone | Class::Conflict | Class::Ours => {
                    return Err(failure);
                }
            },
        }
    }
    match (found, refused) {
        (Some(role), None) => Ok(role),
        (Some(_), Some(refused)) => {
            let text = format!("{}; another host accepts it", refused.text);
            Err(Failure::new(Class::Again { after: None }, text).hint(
                "see how far this replica lags behind; the new login is published once it knows it",
            ))
        }
        (None, refused) => Err(refused.or(unreached).unwrap_or_else(no_host)),
    }
}

/// Counts, on every host, the sessions of `roles`, without our own. A role with no session counts
/// 0.
///
/// # Errors
/// As [`probe`], but every host must answer: a session on the one that does not may be the last.
pub async fn count(
    connection: &Connection,
    credential: &Credential,
    roles: &[RoleId],
) -> Result<Vec<BTreeMap<RoleId, u64>>, Failure> {
    let mut counts = Vec::with_capacity(connection.hosts.len());
    for host in &connection.hosts {
        let doing = doing("count sessions on", connection, credential, host);
        let login = Login { connection, credential, host, doing: &doing };
        let rows = login.ask(async |client| {
            let rows = client.query_typed(SESSIONS, &[(&roles, Type::OID_ARRAY)]).await?;
            rows.iter().map(session_count).collect()
        });
        let seen: Vec<(RoleId, u64)> = rows.await?;
        let mut of_host: BTreeMap<RoleId, u64> = roles.iter().map(|role| (*role, 0)).collect();
        of_host.extend(seen);
        counts.push(of_host);
    }
    if counts.is_empty() { Err(no_host()) } else { Ok(counts) }
}

/// The roles whose names are `like` that pattern of SQL, on the first host that answers.
///
/// # Errors
/// As [`probe`], where no host answers.
pub async fn roles(
    connection: &Connection,
    credential: &Credential,
    like: &str,
) -> Result<Vec<Role>, Failure> {
    let mut last = no_host();
    for host in &connection.hosts {
        let doing = doing("list the roles on", connection, credential, host);
        let login = Login { connection, credential, host, doing: &doing };
        let rows = login.ask(async |client| {
            let rows = client.query_typed(ROLES, &[(&like, Type::TEXT)]).await?;
            rows.iter().map(role).collect()
        });
        match rows.await {
            Ok(found) => return Ok(found),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn role(row: &tokio_postgres::Row) -> Result<Role, tokio_postgres::Error> {
    let valid_until: Option<i64> = row.try_get(1)?;
    Ok(Role {
        name: row.try_get(0)?,
        valid_until: valid_until.map(time),
        asked: time(row.try_get(2)?),
    })
}

/// A server's last year is 294276, which is past the last that we can tell, and its first is not
/// before ours.
fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// Keeps a session on the first host open until `closed` becomes true, as a service would.
///
/// # Errors
/// When it cannot be opened, or broke off meanwhile.
pub async fn hold(
    connection: &Connection,
    credential: &Credential,
    closed: &channel::Receiver<bool>,
) -> Result<(), Failure> {
    let host = connection.hosts.first().ok_or_else(no_host)?;
    let doing = doing("hold a session on", connection, credential, host);
    let login = Login { connection, credential, host, doing: &doing };
    let held = login.ask_within(LONGEST_HELD, async |client| {
        client.query_one(OWN_ROLE, &[]).await?;
        // A sender that is gone has closed it too.
        let _ = closed.clone().wait_for(|closed| *closed).await;
        client.query_one(OWN_ROLE, &[]).await.map(drop)
    });
    held.await
}

fn session_count(row: &tokio_postgres::Row) -> Result<(RoleId, u64), tokio_postgres::Error> {
    let count: i64 = row.try_get(1)?;
    Ok((row.try_get(0)?, u64::try_from(count).unwrap_or(0)))
}

fn doing(what: &str, connection: &Connection, credential: &Credential, host: &str) -> String {
    let Connection { port, dbname, .. } = connection;
    format!("{what} `{host}:{port}/{dbname}` as `{}`", credential.username)
}

fn no_host() -> Failure {
    Failure::new(Class::Ours, "connect to the database: the connection names no host")
}

/// What the database or the way to it answered.
fn failure(doing: &str, password: &Secret, error: &tokio_postgres::Error) -> Failure {
    let Some(answer) = error.as_db_error() else {
        let failure =
            Failure::new(Class::Again { after: None }, format!("{doing}: {}", chain(error)));
        return match tls::hint(error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
    };
    let message = said(answer.message(), password);
    let text = format!("{doing}: {message} ({})", answer.code().code());
    let failure = Failure::new(class(answer.code()), text);
    match hint(answer.code()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A server that asked for the password may repeat it. An empty one is in every text.
fn said(message: &str, password: &Secret) -> String {
    let password = password.expose();
    if !password.is_empty() && message.contains(password) {
        return "(text withheld)".to_owned();
    }
    message.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn hint(state: &SqlState) -> Option<&'static str> {
    Some(match state.code() {
        "53300" => "raise the limit of connections, or let the services hold fewer",
        "57P01" | "57P02" | "57P03" => "the database starts or stops: wait until it is up",
        "28P01" | "28000" => {
            "compare the role's creation statements in Vault with the database's `pg_hba.conf`"
        }
        "3D000" => "`connection.dbname` must name a database that is there",
        _ => return None,
    })
}

fn class(state: &SqlState) -> Class {
    let of_the_credential = [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::INVALID_CATALOG_NAME,
    ];
    if of_the_credential.contains(state) { Class::Denied } else { Class::Again { after: None } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_repeats_the_password_is_withheld() {
        for (password, shown) in [("", "no \"pw\" here"), ("pw", "(text withheld)")] {
            let password = Secret::new(password.to_owned());
            assert_eq!(said("no \"pw\"\n here", &password), shown);
        }
    }

    #[test]
    fn a_time_past_the_last_that_we_can_tell_is_the_last() {
        let last = 9_224_318_015_999; // 294276-12-31T23:59:59Z
        for (seconds, shown) in [(0, Timestamp::UNIX_EPOCH), (last, Timestamp::MAX)] {
            assert_eq!(time(seconds), shown);
        }
        // 4713-11-24 BC, with which a server begins.
        assert_eq!(time(-210_866_803_200).as_second(), -210_866_803_200);
    }

    #[test]
    fn only_three_states_speak_of_the_credential() {
        for code in ["28P01", "28000", "3D000"] {
            assert_eq!(class(&SqlState::from_code(code)), Class::Denied, "{code}");
        }
        for code in ["53300", "57P03", "57P01", "42501", "08006", "XX000"] {
            assert_eq!(class(&SqlState::from_code(code)), Class::Again { after: None }, "{code}");
        }
    }
}
