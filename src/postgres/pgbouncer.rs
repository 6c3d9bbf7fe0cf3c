//! PgBouncer's admin console.
//!
//! Receives where it is, has it read its files anew, and gives whether all its connections to the
//! database are of the logins that stand there now. Never closes one that is in use: PgBouncer does
//! that itself at the end of the transaction.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_postgres::tls::NoTls;
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage, SimpleQueryRow};

use crate::error::{Class, Failure, chain};
use crate::secret::Secret;

/// How often the connections are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// PgBouncer's own database, where it takes commands.
const CONSOLE: &str = "pgbouncer";

/// No password is longer.
const LONGEST: u64 = 4096;

const AGAIN: Class = Class::Again { after: None };

/// Where the console is.
pub struct At<'a> {
    /// A host of this machine, or the directory of a socket.
    pub host: &'a str,
    /// The port that clients use too.
    pub port: u16,
    /// One of PgBouncer's `admin_users`.
    pub user: &'a str,
}

impl At<'_> {
    /// Has PgBouncer load its files again, and waits until no connection of an earlier login is left.
    ///
    /// # Errors
    /// `Again` when it does not answer, or such connections are left after `limit`; `Denied` when it
    /// does not take the user, its password, or the command; `Missing` and `Ours` speak of
    /// `password_file`.
    pub async fn reload(
        &self,
        password_file: Option<&Path>,
        limit: Duration,
    ) -> Result<(), Failure> {
        let last = Cell::new(None);
        let password = password_file.map(|file| self.password(file)).transpose()?;
        let unreached = |error: io::Error| {
            self.failed(AGAIN, &error.to_string())
                .hint("see whether PgBouncer runs, and listens where `pgbouncer` says")
        };
        let asked = async {
            if self.host.starts_with('/') {
                let path = Path::new(self.host).join(format!(".s.PGSQL.{}", self.port));
                let stream = UnixStream::connect(path).await.map_err(unreached)?;
                self.ask(stream, password.as_ref(), &last).await
            } else {
                let stream = TcpStream::connect((self.host, self.port)).await.map_err(unreached)?;
                self.ask(stream, password.as_ref(), &last).await
            }
        };
        timeout(limit, asked).await.unwrap_or_else(|_| {
            let Some(left) = last.get() else {
                return Err(self.failed(AGAIN, "it does not answer in time"));
            };
            let text = format!("connections of an earlier login in use: {left}");
            Err(self.failed(AGAIN, &text).hint(
                "each ends with its transaction, or with its client where `pool_mode` is `session`",
            ))
        })
    }

    async fn ask<S>(
        &self,
        stream: S,
        password: Option<&Secret>,
        last: &Cell<Option<usize>>,
    ) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = Config::new();
        config.user(self.user).dbname(CONSOLE);
        if let Some(password) = password {
            config.password(password.expose());
        }
        let connected = config.connect_raw(stream, NoTls).await;
        let (client, connection) = connected.map_err(|error| self.refused(&error))?;
        tokio::select! {
            done = self.command(&client, last) => done,
            ended = connection => Err(match ended {
                Ok(()) => self.failed(AGAIN, "it closed the connection"),
                Err(error) => self.refused(&error),
            }),
        }
    }

    /// Shows in `last` how many connections are left.
    async fn command(&self, client: &Client, last: &Cell<Option<usize>>) -> Result<(), Failure> {
        client.simple_query("RELOAD").await.map_err(|error| self.refused(&error))?;
        loop {
            let left = self.left(client).await?;
            if left == 0 {
                return Ok(());
            }
            last.set(Some(left));
            sleep(LOOK).await;
        }
    }

    /// Connections that PgBouncer will close, since what they were made with has changed. It names the
    /// new user for them too.
    async fn left(&self, client: &Client) -> Result<usize, Failure> {
        let servers = client.simple_query("SHOW SERVERS").await;
        let servers = servers.map_err(|error| self.refused(&error))?;
        let mut left = 0;
        for row in rows(&servers) {
            let Ok(needed) = row.try_get("close_needed") else {
                let text = "it does not say which connections it will close";
                return Err(self.failed(Class::Ours, text).hint("PgBouncer 1.9 and later does"));
            };
            left += usize::from(needed == Some("1"));
        }
        Ok(left)
    }

    fn password(&self, file: &Path) -> Result<Secret, Failure> {
        let read = || {
            let mut text = String::new();
            File::open(file)?.take(LONGEST).read_to_string(&mut text)?;
            Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
        };
        read().map_err(|error: io::Error| {
            let missing = error.kind() == ErrorKind::NotFound;
            let class = if missing { Class::Missing } else { Class::Ours };
            self.failed(class, &format!("read `{}`: {error}", file.display()))
        })
    }

    /// An answer of PgBouncer that is an error.
    fn refused(&self, error: &Error) -> Failure {
        let Some(refusal) = error.as_db_error() else {
            return self.failed(AGAIN, &chain(error));
        };
        let failure = self.failed(Class::Denied, refusal.message());
        failure.hint("the user has to be in `admin_users`, and its password in `auth_file`")
    }

    fn failed(&self, class: Class, why: &str) -> Failure {
        let Self { host, port, .. } = self;
        Failure::new(class, format!("reload PgBouncer at {host} port {port}: {why}"))
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        Some(row)
    })
}
