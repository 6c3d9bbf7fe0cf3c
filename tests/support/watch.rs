//! Logs in with the credentials of a run all the time and notes what the database said.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold::time::Moment;
use tokio::task::JoinHandle;

use super::agent::Journal;
use super::now;
use super::postgres::{Login, Postgres, met_its_end, refused};
use super::world::{World, login_in};

const EVERY: Duration = Duration::from_millis(200);

/// What is known of one login.
#[derive(Clone, Debug)]
pub struct Known {
    pub login: Login,
    pub published: Moment,
    /// When the evidence that ends it was logged.
    pub confirmed: Option<Moment>,
    /// The last time it worked and the first time it was refused, after the evidence.
    pub worked: Option<Moment>,
    pub refused: Option<Moment>,
    /// When it met its end on the way, before it was refused: from then on it did not work.
    pub ended: Option<Moment>,
}

/// The watch; it ends when dropped.
pub struct Watch {
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    failures: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Watches the logins that are published from here on. With `published` also tries the one
    /// that is visible, each time on a connection of its own; without it only those that are on
    /// their way out, since a session of ours would be a session of the old user.
    pub fn start(world: &World, published: bool) -> Self {
        let (known, failures) = (Arc::default(), Arc::default());
        let eyes = Eyes {
            file: world.published("db/pg_service.conf"),
            dbname: world.name.clone(),
            postgres: world.postgres.clone(),
            journal: world.journal.clone(),
            known: Arc::clone(&known),
            failures: Arc::clone(&failures),
        };
        let task = tokio::spawn(async move {
            loop {
                eyes.look();
                if published {
                    eyes.try_published().await;
                }
                eyes.try_leaving().await;
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { known, failures, task }
    }

    /// Every login that was published, oldest first.
    pub fn known(&self) -> Vec<Known> {
        let mut all: Vec<Known> = self.known.lock().unwrap().values().cloned().collect();
        all.sort_by_key(|known| known.published);
        all
    }

    /// What the published login was refused with, each time.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// Fails where a login that had evidence against it was refused before `grace` had passed, and
    /// before the agent was `stopped`, which ends every login.
    pub fn assert_kept(&self, grace: Duration, stopped: Moment) {
        for known in self.known() {
            let (Some(confirmed), Some(refused)) = (known.confirmed, known.refused) else {
                continue;
            };
            let lived = confirmed.until(refused);
            let kept = lived >= grace || refused >= stopped;
            assert!(kept, "refused {lived:?} after the evidence: {known:?}");
        }
    }

    /// Fails unless every login that had evidence against it worked for `grace` more and was
    /// refused within `limit` after, and `at_least` so many were.
    pub fn assert_grace(&self, grace: Duration, limit: Duration, at_least: usize) {
        let mut judged = 0;
        for known in self.known() {
            let Some(confirmed) = known.confirmed else { continue };
            let Some(refused) = known.refused else {
                assert!(now() <= confirmed + grace + limit, "still works: {known:?}");
                continue;
            };
            let lived = confirmed.until(refused);
            assert!(lived >= grace, "refused {lived:?} after the evidence: {known:?}");
            assert!(lived <= grace + limit, "worked {lived:?} after the evidence: {known:?}");
            assert!(known.worked.is_some(), "never worked after the evidence: {known:?}");
            judged += 1;
        }
        assert!(judged >= at_least, "{judged} of {at_least} logins had their whole grace");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Eyes {
    file: std::path::PathBuf,
    dbname: String,
    postgres: Postgres,
    journal: Journal,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Eyes {
    /// Notes the published login, and the evidence against those before it.
    fn look(&self) {
        let mut known = self.known.lock().unwrap();
        if let Some(login) = login_in(&self.file) {
            known.entry(login.user.clone()).or_insert_with(|| Known {
                login,
                published: now(),
                confirmed: None,
                worked: None,
                ended: None,
                refused: None,
            });
        }
        let issued = self.journal.all("lease_issued");
        for confirmed in self.journal.all("confirmed") {
            let lease = confirmed.text("lease");
            let user = issued.iter().find(|line| line.text("lease") == lease);
            if let Some(known) = user.and_then(|user| known.get_mut(user.text("username"))) {
                known.confirmed.get_or_insert(confirmed.at);
            }
        }
    }

    async fn try_published(&self) {
        let Some(login) = login_in(&self.file) else { return };
        if let Err(text) = self.postgres.try_login(&login, &self.dbname).await {
            self.failures.lock().unwrap().push(format!("{}: {text}", login.user));
        }
    }

    async fn try_leaving(&self) {
        let leaving: Vec<Login> = {
            let known = self.known.lock().unwrap();
            let leaving = known.values().filter(|one| one.confirmed.is_some());
            leaving.filter(|one| one.refused.is_none()).map(|one| one.login.clone()).collect()
        };
        for login in leaving {
            let tried = now();
            let result = self.postgres.try_login(&login, &self.dbname).await;
            let mut known = self.known.lock().unwrap();
            let one = known.get_mut(&login.user).unwrap();
            match result {
                Ok(()) => one.worked = Some(tried),
                Err(state) if met_its_end(&state) => {
                    one.ended.get_or_insert(now());
                }
                Err(state) if refused(&state) => one.refused = one.ended.or_else(|| Some(now())),
                Err(text) => self.failures.lock().unwrap().push(format!("{}: {text}", login.user)),
            }
        }
    }
}
