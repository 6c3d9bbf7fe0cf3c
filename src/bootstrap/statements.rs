//! What Vault runs in the database to make, renew and end a login.
//!
//! Receives the group that logins are members of and the role that Vault logs in as, gives the
//! statements. Each may be repeated: Vault does so when it was cut off.

use serde_json::Value;

use crate::bootstrap::wanted::{Database, DatabaseRole};
use crate::postgres::setup::{literal, quoted};
use crate::vault::Setting;

/// The setting of `role`.
pub(super) fn setting(database: &Database, role: &DatabaseRole) -> Setting {
    let lines = |lines: Vec<String>| Value::from(lines);
    Setting::from_iter([
        ("db_name".to_owned(), Value::from(database.name.as_str())),
        ("default_ttl".to_owned(), Value::from(role.default_ttl.as_secs())),
        ("max_ttl".to_owned(), Value::from(role.max_ttl.as_secs())),
        ("creation_statements".to_owned(), lines(creation(database, role))),
        ("renew_statements".to_owned(), lines(renewal())),
        ("revocation_statements".to_owned(), lines(revocation(role))),
    ])
}

/// A login acts as its group, so that what it makes belongs to the group and outlives it; and Vault's
/// role is a member of it, without which it could not end its sessions.
fn creation(database: &Database, role: &DatabaseRole) -> Vec<String> {
    let (group, admin) = (&role.group, quoted(&database.admin));
    vec![
        format!(
            "CREATE ROLE \"{{{{name}}}}\" WITH LOGIN PASSWORD '{{{{password}}}}' \
             VALID UNTIL '{{{{expiration}}}}' IN ROLE {};",
            quoted(group)
        ),
        format!("ALTER ROLE \"{{{{name}}}}\" SET role = {};", literal(group)),
        format!("GRANT \"{{{{name}}}}\" TO {admin};"),
    ]
}

fn renewal() -> Vec<String> {
    vec!["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}';".to_owned()]
}

/// Sessions of a role that is gone stay open and fail at every query, so they end first. A login acts
/// as its group and so owns nothing; where it made something as itself all the same, that becomes the
/// group's, and where even that cannot be, it can at least log in no more: all is one transaction, and
/// what failed here would undo the `NOLOGIN`.
fn revocation(role: &DatabaseRole) -> Vec<String> {
    let group = quoted(&role.group);
    vec![
        "SET LOCAL lock_timeout = '5s';".to_owned(),
        format!(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname='{{{{name}}}}') THEN \
             EXECUTE 'ALTER ROLE \"{{{{name}}}}\" NOLOGIN'; \
             PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE usename='{{{{name}}}}' AND pid<>pg_backend_pid(); \
             BEGIN EXECUTE 'DROP ROLE \"{{{{name}}}}\"'; \
             EXCEPTION WHEN dependent_objects_still_exist THEN \
             BEGIN EXECUTE {reassign}; EXECUTE 'DROP OWNED BY \"{{{{name}}}}\"'; \
             EXECUTE 'DROP ROLE \"{{{{name}}}}\"'; \
             EXCEPTION WHEN OTHERS THEN NULL; END; END; END IF; END $$;",
            reassign = literal(&format!("REASSIGN OWNED BY \"{{{{name}}}}\" TO {group}")),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_of_any_kind_stay_names() {
        let database = Database {
            mount: "database".to_owned(),
            name: "novacore-postgres".to_owned(),
            url: String::new(),
            admin: "vault-admin".to_owned(),
            password_file: None,
            roles: BTreeMap::new(),
        };
        let role = DatabaseRole {
            group: "o'neil".to_owned(),
            default_ttl: Duration::from_secs(86_400),
            max_ttl: Duration::from_secs(259_200),
        };
        let found = setting(&database, &role);
        assert_eq!(found["default_ttl"], Value::from(86_400));
        assert_eq!(found["max_ttl"], Value::from(259_200));
        let text = |index: usize| found["creation_statements"][index].as_str().unwrap();
        assert!(text(0).ends_with("IN ROLE \"o'neil\";"), "{}", text(0));
        assert_eq!(text(1), "ALTER ROLE \"{{name}}\" SET role = 'o''neil';");
        assert_eq!(text(2), "GRANT \"{{name}}\" TO \"vault-admin\";");
    }
}
