//! One role of the database engine, from its login to its end.
//!
//! Receives the role, makes a login, asks what it may do, renews it, shortens it, and revokes it while
//! a session of it is open. Never goes on with a login that did not work: the rows say up to where.

use std::time::Duration;

use tokio::sync::watch;

use crate::bootstrap::Servers;
use crate::bootstrap::proof::matrix::compare;
use crate::bootstrap::proof::{LATER, Mending, Report};
use crate::bootstrap::wanted::{DatabaseRole, Wanted};
use crate::error::{Class, Failure};
use crate::lease::{Grant, RoleId};
use crate::postgres;
use crate::postgres::setup::powers;
use crate::secret::Credential;
use crate::snapshot::Connection;
use crate::timeline::{Made, span};
use crate::vault::{Source, Vault};

/// How often something that takes a moment is looked at, and how long between.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(250);

/// What a lease is shortened to; long enough for the trials behind it.
const SHORT: Duration = Duration::from_secs(60);

pub(super) struct Trial<'a> {
    pub(super) servers: &'a Servers<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) name: &'a str,
    pub(super) role: &'a DatabaseRole,
    pub(super) mending: &'a Mending,
}

impl Trial<'_> {
    /// Tries it all.
    pub(super) async fn run(&self, report: &mut Report, made: &mut Made) {
        let source = Source::Database {
            mount: self.wanted.database.mount.clone(),
            role: self.name.to_owned(),
        };
        let grant = match made.issue(self.vault(), &source).await {
            Ok(grant) => grant,
            // As the database says it, through Vault.
            Err(failure) if failure.text.contains("password authentication failed") => {
                return report.refused(self.name, &failure, &self.mending.reset);
            }
            Err(failure) => return report.refused(self.name, &failure, &self.mending.apply),
        };
        let Some(login) = grant.login().cloned() else {
            let text = "its answer has no login";
            return report.bad(self.name, text, &self.mending.apply);
        };
        report.ok(self.name, format!("gives a login for {}", span(grant.duration)));
        let id = match postgres::probe(self.connection(), &login).await {
            Ok(id) => id,
            Err(failure) => return report.refused(self.name, &failure, &self.mending.apply),
        };
        report.ok(self.name, "its login works");
        self.matrix(&login, report).await;
        self.terms(&grant, report).await;
        self.end(&grant, &login, id, report).await;
        // What did not end is tried again, and told by whoever ends all that was made.
        let _ = made.end_leases(self.vault()).await;
    }

    fn vault(&self) -> &Vault {
        self.servers.vault
    }

    fn connection(&self) -> &Connection {
        &self.wanted.postgres.connection
    }

    async fn matrix(&self, login: &Credential, report: &mut Report) {
        let postgres = &self.wanted.postgres;
        let schemas: Vec<String> =
            postgres.apart.iter().chain([&postgres.schema]).cloned().collect();
        let found = match powers(self.connection(), login, &schemas).await {
            Ok(found) => found,
            Err(failure) => return report.refused(self.name, &failure, &self.mending.apply),
        };
        let Some(group) = postgres.groups.get(&self.role.group) else { return };
        let compared = compare(postgres, group, LATER, &found);
        if compared.lacking.is_empty() && compared.beyond.is_empty() {
            let text = format!(
                "may do what it should with {} tables and sequences, and no more",
                compared.seen
            );
            report.ok(self.name, text);
        }
        for text in compared.lacking {
            report.bad(self.name, text, &self.mending.apply);
        }
        for text in compared.beyond {
            report.bad(self.name, text, &self.mending.revoke);
        }
    }

    /// Renewing and shortening.
    async fn terms(&self, grant: &Grant, report: &mut Report) {
        let (vault, token, lease) = (self.vault(), &self.servers.token, &grant.lease_id);
        let wanted = self.role.default_ttl;
        match vault.renew_lease(token, lease, wanted).await {
            Ok(term) if term.ttl + Duration::from_secs(5) >= wanted => {
                report.ok(self.name, format!("is renewed to {}", span(term.ttl)));
            }
            Ok(term) => {
                let text = format!("is renewed to {}, not {}", span(term.ttl), span(wanted));
                report.bad(self.name, text, &self.mending.apply);
            }
            Err(failure) => report.refused(self.name, &failure, &self.mending.apply),
        }
        let shortened = match vault.renew_lease(token, lease, SHORT).await {
            Ok(_) => vault.lookup_lease(token, lease).await,
            Err(failure) => Err(failure),
        };
        match shortened {
            Ok(term) if term.ttl <= SHORT => report.ok(self.name, "is shortened to a minute"),
            Ok(term) => {
                let text = format!("is shortened to {}, not {}", span(term.ttl), span(SHORT));
                report.bad(self.name, text, &self.mending.apply);
            }
            Err(failure) => report.refused(self.name, &failure, &self.mending.apply),
        }
    }

    /// Revokes it beside an open session, and looks at what is left.
    async fn end(&self, grant: &Grant, login: &Credential, id: RoleId, report: &mut Report) {
        let (close, closed) = watch::channel(false);
        let session = postgres::hold(self.connection(), login, &closed);
        let revoked = async {
            let opened = self.counts(id, |sessions| sessions > 0).await;
            let revoked = self.vault().revoke_lease(&self.servers.token, &grant.lease_id).await;
            let left = self.counts(id, |sessions| sessions == 0).await;
            let _ = close.send(true);
            (opened, revoked, left)
        };
        let (_broken_off, (opened, revoked, left)) = tokio::join!(session, revoked);
        if let Err(failure) = opened {
            report.refused(self.name, &failure, &self.mending.apply);
        }
        match revoked {
            Ok(()) => report.ok(self.name, "its lease is revoked"),
            Err(failure) => report.refused(self.name, &failure, &self.mending.apply),
        }
        match left {
            Ok(()) => report.ok(self.name, "no session of it is left"),
            Err(failure) => report.refused(self.name, &failure, &self.mending.apply),
        }
        match postgres::probe(self.connection(), login).await {
            Err(failure) if failure.class == Class::Denied => {
                report.ok(self.name, "its login is refused");
            }
            Ok(_) => report.bad(self.name, "its login still works", &self.mending.apply),
            Err(failure) => report.refused(self.name, &failure, &self.mending.apply),
        }
        self.gone(login, report).await;
    }

    /// Waits until the number of sessions on all hosts is as it should be.
    async fn counts(&self, id: RoleId, good: impl Fn(u64) -> bool) -> Result<(), Failure> {
        let mut last = 0;
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            let hosts = postgres::count(self.connection(), &self.servers.superuser, &[id]).await?;
            last = hosts.iter().flat_map(|host| host.values()).sum();
            if good(last) {
                return Ok(());
            }
        }
        let text = format!("{last} sessions of its login are there");
        Err(Failure::new(Class::Again { after: None }, text))
    }

    async fn gone(&self, login: &Credential, report: &mut Report) {
        // What is not a letter may stand for others here; the names are compared below.
        let like = &login.username;
        let found = postgres::roles(self.connection(), &self.servers.superuser, like).await;
        match found {
            Ok(roles) if roles.iter().all(|role| role.name != login.username) => {
                report.ok(self.name, "its user is gone");
            }
            Ok(_) => {
                let text = format!("its user `{}` is still there", login.username);
                report.bad(self.name, text, &self.mending.apply);
            }
            Err(failure) => report.refused(self.name, &failure, &self.mending.apply),
        }
    }
}
