//! The database that a secret's logins are for, with what is under way there.
//!
//! Receives logins one after the other. Never counts while a session of its own may still be listed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Failure;
use crate::lease::RoleId;
use crate::postgres::ahead::Ahead;
use crate::postgres::session::Ending;
use crate::secret::Credential;
use crate::snapshot::Connection;
use crate::time::Moment;

/// One database.
pub struct Database {
    connection: Arc<Connection>,
    ahead: Mutex<Option<Ahead>>,
    ending: Ending,
}

impl Database {
    /// The one at `connection`; nothing is sent there.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, ahead: Mutex::new(None), ending: Ending::default() }
    }

    /// Where it is.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Opens connections for a login that is being asked for, so that its probe finds them.
    pub fn connect_ahead(&self, now: Moment) {
        *self.ahead() = Some(Ahead::open(now, &self.connection));
    }

    /// There is no login for them after all.
    pub fn close_ahead(&self) {
        *self.ahead() = None;
    }

    /// As [`super::probe`], but a session may be there for a moment longer. `accepted` hears where
    /// the login is taken before the role is known.
    ///
    /// # Errors
    /// As [`super::probe`].
    pub async fn probe(
        &self,
        now: Moment,
        credential: &Credential,
        accepted: impl Fn(),
    ) -> Result<RoleId, Failure> {
        let ahead = self.ahead().take().map(|ahead| ahead.opened(now)).unwrap_or_default();
        super::probe_early(&self.connection, credential, ahead, &self.ending, accepted).await
    }

    /// As [`super::count`], once no probe's session is left.
    ///
    /// # Errors
    /// As [`super::count`].
    pub async fn count(
        &self,
        credential: &Credential,
        roles: &[RoleId],
    ) -> Result<Vec<BTreeMap<RoleId, u64>>, Failure> {
        self.ending.wait().await;
        super::count(&self.connection, credential, roles).await
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
