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
use crate::server::{Handler, Listener, api};

/// All listeners of the process.
pub(super) struct Listeners {
    /// What each answers, by its name.
    answers: BTreeMap<&'static str, Handler>,
    open: BTreeMap<&'static str, Open>,
    serving: JoinSet<()>,
}

/// Where the configuration wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Port(SocketAddr),
    Api(api::Settings),
}

impl Place {
    fn port(&self) -> Option<u16> {
        match self {
            Self::Port(address) | Self::Api(api::Settings::Tcp { address, .. }) => {
                Some(address.port())
            }
            Self::Api(api::Settings::Unix { .. }) => None,
        }
    }

    /// Whether it wants what `other` has.
    fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Api(api::Settings::Unix { path, .. }),
                Self::Api(api::Settings::Unix { path: taken, .. }),
            ) => path == taken,
            _ => self.port().is_some() && self.port() == other.port(),
        }
    }

    async fn bind(&self, name: &'static str) -> Result<Listener, Failure> {
        match self {
            Self::Port(address) => Listener::bind(name, *address).await,
            Self::Api(settings) => Listener::bind_api(settings).await,
        }
    }
}

/// One that is served, where the configuration says.
struct Open {
    place: Place,
    /// Dropped, it stops.
    _stop: oneshot::Sender<()>,
}

/// Addresses that were taken and are not served yet.
pub(super) struct Taken(Vec<(&'static str, Place, Listener)>);

fn wanted(listen: &Listen) -> impl Iterator<Item = (&'static str, Place)> {
    let all = [
        ("probes", listen.probes.map(Place::Port)),
        ("metrics", listen.metrics.map(Place::Port)),
        ("api", listen.api.clone().map(Place::Api)),
    ];
    all.into_iter().filter_map(|(name, place)| Some((name, place?)))
}

impl Listeners {
    pub(super) fn new(answers: impl IntoIterator<Item = (&'static str, Handler)>) -> Self {
        let answers = answers.into_iter().collect();
        Self { answers, open: BTreeMap::new(), serving: JoinSet::new() }
    }

    /// Takes every address that is not served already.
    ///
    /// # Errors
    /// When one is taken or not ours; then none is taken.
    pub(super) async fn take(&self, listen: &Listen) -> Result<Taken, Failure> {
        let mut taken = Vec::new();
        for (name, place) in wanted(listen) {
            if self.open.get(name).is_some_and(|open| open.place == place) {
                continue;
            }
            let ours = |open: &Open| place.is_at(&open.place);
            let listener =
                place.bind(name).await.map_err(|failure| match self.open.values().any(ours) {
                    true => failure.hint("it is still ours; a restart lets go of it first"),
                    false => failure,
                })?;
            taken.push((name, place, listener));
        }
        Ok(Taken(taken))
    }

    /// Serves what was taken for `listen`, and no longer what that has not.
    pub(super) fn serve(&mut self, listen: &Listen, Taken(taken): Taken) {
        for (name, place, listener) in taken {
            let Some(answer) = self.answers.get(name).cloned() else { continue };
            let (stop, stopped) = oneshot::channel();
            // Nothing is ever sent.
            let stopped = async { drop(stopped.await) };
            self.serving.spawn(listener.serve(answer, stopped));
            self.open.insert(name, Open { place, _stop: stop });
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
