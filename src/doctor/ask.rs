//! Whom to ask, and as whom.
//!
//! Receives configuration and question, gives the paths whose leases are listed, the users of the
//! database, and the lines that an operator's policy needs. Never logs in to Vault: the agent's
//! token may not list.

use std::path::Path;
use std::sync::Arc;

use crate::agent::SecretPolicy;
use crate::config::Config;
use crate::doctor::{Login, Password, Question, Users, name};
use crate::error::{Class, Failure};
use crate::logs::visible;
use crate::postgres;
use crate::secret::{Credential, Secret};
use crate::snapshot::{Connection, SecretName};
use crate::timeline::Error;
use crate::vault::{Source, Vault};

/// A path that leases lie below, with where its logins are used.
pub(super) struct Place {
    pub(super) path: String,
    pub(super) source: Source,
    pub(super) secrets: Vec<SecretName>,
    connection: Option<Arc<Connection>>,
}

/// Every path once, however many secrets come from there.
pub(super) fn places(config: &Config, question: &Question) -> Result<Vec<Place>, Error> {
    let refuse = |text: String, hint: &str| {
        Err(Error::Configuration(Failure::new(Class::Missing, text).hint(hint)))
    };
    let mut places: Vec<Place> = Vec::new();
    let wanted = |name: &SecretName| {
        question.secrets.is_empty() || question.secrets.iter().any(|only| **only == **name)
    };
    for name in &question.secrets {
        let leased = config.sources.get(name.as_str()).and_then(Source::leases_below);
        if leased.is_none() {
            let text = format!("look for leaks of `{name}`: no leased secret is called so");
            return refuse(text, "`leasehold check` lists the secrets of the configuration");
        }
    }
    for (name, source) in config.sources.iter().filter(|(name, _)| wanted(name)) {
        let Some(path) = source.leases_below() else { continue };
        let connection = match config.policy.secrets.get(name) {
            Some(SecretPolicy::Leased(leased)) => leased.connection.clone(),
            Some(SecretPolicy::Polled(_)) | None => None,
        };
        match places.iter_mut().find(|place| place.path == path) {
            Some(place) => {
                place.secrets.push(name.clone());
                place.connection = place.connection.take().or(connection);
            }
            None => {
                let (source, secrets) = (source.clone(), vec![name.clone()]);
                places.push(Place { path, source, secrets, connection });
            }
        }
    }
    if places.is_empty() {
        let text = "look for leaks: the configuration has no leased secret".to_owned();
        return refuse(text, "a `database` has leases, and a `read` with `leased: true`");
    }
    let databases = places.iter().filter(|place| place.role().is_some()).count();
    if question.users.is_some() && databases != 1 {
        let text = format!("use `--users`: there are {databases} database roles, not one");
        return refuse(text, "choose one with `--secret`");
    }
    Ok(places)
}

impl Place {
    fn role(&self) -> Option<&str> {
        match &self.source {
            Source::Database { role, .. } => Some(role),
            Source::Static { .. }
            | Source::Kv { .. }
            | Source::Leased { .. }
            | Source::Plain { .. }
            | Source::Certificate(_) => None,
        }
    }
}

/// What the policy of an operator's token needs.
pub fn policy_lines(config: &Config) -> String {
    let below = config.sources.values().filter_map(Source::leases_below);
    let mut lines: Vec<String> = below
        .map(|path| {
            format!(
                "\n  path \"sys/leases/lookup/{path}\" {{ capabilities = [\"list\", \"sudo\"] }}"
            )
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.push("\n  path \"sys/leases/lookup\" { capabilities = [\"update\"] }".to_owned());
    format!("the policy of an operator's token needs:{}", lines.concat())
}

/// A token that Vault knows. A list that is not there and one that something else than Vault has
/// not are told apart by this.
pub(super) async fn valid(vault: &Vault, token: &Secret) -> Result<(), Error> {
    match vault.lookup_token(token).await {
        Ok(_) => Ok(()),
        // It lives; it may only not look at itself.
        Err(failure) if failure.class == Class::Denied => Ok(()),
        Err(failure) if failure.class == Class::Gone => {
            let failure = Failure { class: Class::Denied, ..failure };
            let hint = "Vault does not know this token: it has ended, or is of another Vault or \
                        namespace";
            Err(Error::Failed(failure.hint(hint)))
        }
        Err(failure) => Err(Error::Failed(failure)),
    }
}

/// The users of a role, as far as the database can be asked.
pub(super) async fn users(
    place: &Place,
    logins: &[(String, Credential)],
    question: &Question,
) -> (Users, Vec<postgres::Role>) {
    let Some(role) = place.role() else {
        return (Users::Unasked("these leases are no database users"), Vec::new());
    };
    let Some(connection) = &place.connection else {
        return (Users::Unasked("the secret has no `connection`"), Vec::new());
    };
    let like = question.users.clone().unwrap_or_else(|| name::like(role));
    let credentials = match &question.login {
        Some(login) => match credential(login, connection) {
            Ok(credential) => vec![credential],
            Err(failure) => return (Users::Failed(failure), Vec::new()),
        },
        None => {
            let here = logins.iter().filter(|(path, _)| *path == place.path);
            here.map(|(_, credential)| credential.clone()).collect()
        }
    };
    let mut refused = None;
    for credential in &credentials {
        match postgres::roles(connection, credential, &like).await {
            Ok(roles) => return (Users::Like(like), roles),
            // Another agent's login may be good where this one has just ended.
            Err(failure) if failure.class == Class::Denied => refused = Some(failure),
            Err(failure) => return (Users::Failed(failure), Vec::new()),
        }
    }
    let failure = refused.unwrap_or_else(|| {
        let text = format!(
            "list the users of `{}`: no state that was read has a login that works, and `PGUSER` \
             is not set",
            place.path
        );
        Failure::new(Class::Denied, text).hint(
            "set `PGUSER` with `PGPASSWORD` or `PGPASSFILE`, or name the state of an agent that \
             runs with `--state`",
        )
    });
    (Users::Failed(failure), Vec::new())
}

/// Users among whom one of `used` is missing are not the role's, or not all of them.
pub(super) fn complete(
    path: &str,
    used: &[(String, Credential)],
    users: Users,
    found: Vec<postgres::Role>,
) -> (Users, Vec<postgres::Role>) {
    let Users::Like(like) = &users else { return (users, found) };
    let mut names = used.iter().filter(|(of, _)| of == path).map(|(_, login)| &login.username);
    let Some(name) = names.find(|name| found.iter().all(|user| user.name != **name)) else {
        return (users, found);
    };
    let text = format!(
        "list the users of `{path}`: `{}`, which an agent uses, is none of those like `{}`",
        visible(name),
        visible(like)
    );
    let hint = "say how this role's users are called with `--users`: it may have a \
                `username_template`";
    (Users::Failed(Failure::new(Class::Missing, text).hint(hint)), Vec::new())
}

fn credential(login: &Login, connection: &Connection) -> Result<Credential, Failure> {
    let username = login.user.clone();
    let password = match &login.password {
        Password::Given(password) => password.clone(),
        Password::File(path) => postgres::password(Path::new(path), connection, &username)?,
    };
    Ok(Credential { username, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_without_one_that_an_agent_uses_are_not_judged() {
        let login = |path: &str, name: &str| {
            let password = Secret::new("secret".to_owned());
            (path.to_owned(), Credential { username: name.to_owned(), password })
        };
        let user = |name: &str| postgres::Role {
            name: name.to_owned(),
            valid_until: None,
            asked: jiff::Timestamp::UNIX_EPOCH,
        };
        let used = [login("a", "app_1"), login("b", "other")];
        for (path, listed, wanted) in [
            ("a", &["app_1", "app_2"][..], Some(2)),
            ("a", &["app_2"], None),
            ("a", &[], None),
            ("b", &["app_1"], None),
            ("c", &[], Some(0)),
        ] {
            let found = listed.iter().map(|name| user(name)).collect();
            let (users, found) = complete(path, &used, Users::Like("v-%".to_owned()), found);
            match (users, wanted) {
                (Users::Like(_), Some(count)) => assert_eq!(found.len(), count, "{path}"),
                (Users::Failed(failure), None) => {
                    assert!(failure.hint.unwrap().contains("`--users`"));
                    assert_eq!(found, [], "{path}");
                }
                (_, wanted) => panic!("{path} {listed:?}: not {wanted:?}"),
            }
        }
    }
}
