//! The addresses that are listened at.
//!
//! Receives what the configuration wants, takes what is new of it before anything else is changed,
//! and lets go of what is wanted no more. Never touches a listener that stays.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::Listen;
use crate::error::Failure;
use crate::server::{Answer, Listener};

/// All listeners of the process.
pub(super) struct Listeners {
    /// What each answers, by its name.
    answers: BTreeMap<&'static str, Answer>,
    open: BTreeMap<&'static str, Open>,
    serving: JoinSet<()>,
}

/// One that is served, at the address that the configuration names.
struct Open {
    address: SocketAddr,
    /// Dropped, it stops.
    _stop: oneshot::Sender<()>,
}

/// Addresses that were taken and are not served yet.
pub(super) struct Taken(Vec<(&'static str, SocketAddr, Listener)>);

fn wanted(listen: &Listen) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let all = [("probes", listen.probes), ("metrics", listen.metrics)];
    all.into_iter().filter_map(|(name, address)| Some((name, address?)))
}

impl Listeners {
    pub(super) fn new(answers: impl IntoIterator<Item = (&'static str, Answer)>) -> Self {
        let answers = answers.into_iter().collect();
        Self { answers, open: BTreeMap::new(), serving: JoinSet::new() }
    }

    /// Takes every address that is not served already.
    ///
    /// # Errors
    /// When one is taken or not ours; then none is taken.
    pub(super) async fn take(&self, listen: &Listen) -> Result<Taken, Failure> {
        let mut taken = Vec::new();
        for (name, address) in wanted(listen) {
            if self.open.get(name).is_some_and(|open| open.address == address) {
                continue;
            }
            let listener = Listener::bind(name, address).await.map_err(|failure| {
                match self.open.values().any(|open| open.address.port() == address.port()) {
                    true => failure.hint("the port is still ours; a restart lets go of it first"),
                    false => failure,
                }
            })?;
            taken.push((name, address, listener));
        }
        Ok(Taken(taken))
    }

    /// Serves what was taken for `listen`, and no longer what that has not.
    pub(super) fn serve(&mut self, listen: &Listen, Taken(taken): Taken) {
        for (name, address, listener) in taken {
            let Some(answer) = self.answers.get(name).cloned() else { continue };
            let (stop, stopped) = oneshot::channel();
            // Nothing is ever sent.
            let stopped = async { drop(stopped.await) };
            self.serving.spawn(listener.serve(answer, stopped));
            self.open.insert(name, Open { address, _stop: stop });
        }
        let stays = |name: &str| wanted(listen).any(|(wanted, _)| wanted == name);
        self.open.retain(|name, _| stays(name));
        while self.serving.try_join_next().is_some() {}
    }

    /// Ends all of them.
    pub(super) async fn shutdown(&mut self) {
        self.serving.shutdown().await;
    }
}
