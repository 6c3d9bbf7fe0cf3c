//! Connections that are opened before there is a login for them.
//!
//! Receives where the database is, gives the connections that are open when they are asked for. By
//! then the server has started a process for each, which would be the login's to wait for. Never
//! waits, and never fails: what is not open in time is opened as usual.

use std::collections::HashMap;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::snapshot::Connection;
use crate::time::Moment;

/// An older one may have been given up on the way without a word.
const FRESH: Duration = Duration::from_secs(5);

/// Open connections by host.
pub(super) type Opened = HashMap<String, TcpStream>;

/// Connections that are being opened.
pub(super) struct Ahead {
    begun: Moment,
    opening: JoinSet<Option<(String, TcpStream)>>,
}

impl Ahead {
    /// Begins to connect to each host of `connection`.
    pub(super) fn open(now: Moment, connection: &Connection) -> Self {
        let mut opening = JoinSet::new();
        for host in connection.hosts.iter().filter(|host| !host.starts_with('/')) {
            let (host, port) = (host.clone(), connection.port);
            opening.spawn(async move {
                let stream = TcpStream::connect((host.as_str(), port)).await.ok()?;
                Some((host, stream))
            });
        }
        Self { begun: now, opening }
    }

    /// Those that are open and fresh; the others are closed.
    pub(super) fn opened(mut self, now: Moment) -> Opened {
        let mut opened = Opened::new();
        if now.since(self.begun) < FRESH {
            while let Some(done) = self.opening.try_join_next() {
                opened.extend(done.ok().flatten());
            }
        }
        opened
    }
}
