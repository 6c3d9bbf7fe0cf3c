//! One session: opened, used for one question, and ended.
//!
//! Receives where and as whom, and the question; gives the answer, and the session to [`Ending`].
//! Never leaves a session behind that a later count could take for the app's.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as Tls;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::{Client, Config, Error};

use crate::error::{Class, Failure};
use crate::postgres::{failure, tls};
use crate::secret::Credential;
use crate::snapshot::{Connection, SslMode};

const TIMEOUT: Duration = Duration::from_secs(5);
const UNREACHED: &str =
    "see whether the database runs, and whether this machine reaches what `connection` names";

/// Where a session is opened, and as whom.
pub(super) struct Login<'a> {
    pub(super) connection: &'a Connection,
    pub(super) credential: &'a Credential,
    pub(super) host: &'a str,
    /// What it is for, for the error's text.
    pub(super) doing: &'a str,
}

impl Login<'_> {
    /// Asks `question` in a session of its own that has ended when this returns.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        self.ask_within(TIMEOUT, question).await
    }

    /// As [`Login::ask`], for `limit` at most.
    pub(super) async fn ask_within<T>(
        &self,
        limit: Duration,
        question: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let ending = Ending::default();
        let answer = self.answer(limit, None, &ending, question).await;
        ending.wait().await;
        answer
    }

    /// As [`Login::ask`], but the answer does not wait for the session's end, and `ahead` is used
    /// where it is a connection that still works.
    pub(super) async fn ask_early<T>(
        &self,
        ahead: Option<TcpStream>,
        ending: &Ending,
        question: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        self.answer(TIMEOUT, ahead, ending, question).await
    }

    async fn answer<T>(
        &self,
        limit: Duration,
        ahead: Option<TcpStream>,
        ending: &Ending,
        question: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let Self { connection, credential, host, doing } = *self;
        // libpq too speaks no TLS through a socket of this machine.
        let connector = if host.starts_with('/') { None } else { tls::connector(connection)? };
        let mut config = Config::new();
        config
            .user(&credential.username)
            .password(credential.password.expose())
            .dbname(&connection.dbname)
            .application_name("leasehold");
        let over_tls = config
            .clone()
            .ssl_mode(match connection.sslmode {
                SslMode::Disable | SslMode::Allow | SslMode::Prefer => Tls::Prefer,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Tls::Require,
            })
            .to_owned();
        config.ssl_mode(Tls::Disable);
        let again = Class::Again { after: None };
        let ending = (ending, limit);

        let connect = || TcpStream::connect((host, connection.port));
        let try_once = async |stream| {
            let Some(mut connector) = connector.clone() else {
                return ask(&config, stream, NoTls, ending, &question).await;
            };
            let connect_tls =
                MakeTlsConnect::<Closing<TcpStream>>::make_tls_connect(&mut connector, host)
                    .map_err(|never| match never {})?;
            ask(&over_tls, stream, connect_tls, ending, &question).await
        };
        let asked = async {
            if host.starts_with('/') {
                let path = Path::new(host).join(format!(".s.PGSQL.{}", connection.port));
                let stream = UnixStream::connect(path).await.map_err(Stopped::Unreached)?;
                return ask(&config, stream, NoTls, ending, &question).await;
            }
            if let Some(stream) = ahead {
                match try_once(stream).await {
                    // Nothing was said: it may have been closed since it was opened.
                    Err(Stopped::Unreached(_)) => {}
                    Err(Stopped::Refused(error)) if error.code().is_none() => {}
                    Err(Stopped::Refused(error)) if may_go_plain(connection.sslmode, &error) => {}
                    answered => return answered,
                }
            }
            match try_once(connect().await.map_err(Stopped::Unreached)?).await {
                Err(Stopped::Refused(error)) if may_go_plain(connection.sslmode, &error) => {
                    let stream = connect().await.map_err(Stopped::Unreached)?;
                    ask(&config, stream, NoTls, ending, &question).await
                }
                other => other,
            }
        };
        match timeout(limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Stopped::Unreached(error))) => {
                Err(Failure::new(again, format!("{doing}: {error}")).hint(UNREACHED))
            }
            Ok(Err(Stopped::Refused(error))) => Err(failure(doing, &credential.password, &error)),
            Err(_) => {
                let text = format!("{doing}: no answer within {} s", limit.as_secs());
                Err(Failure::new(again, text).hint(UNREACHED))
            }
        }
    }
}

/// Sessions that have answered, until they have ended.
#[derive(Default)]
pub(super) struct Ending(Mutex<JoinSet<()>>);

impl Ending {
    fn add(&self, session: impl Future<Output = ()> + Send + 'static) {
        let mut sessions = self.sessions();
        while sessions.try_join_next().is_some() {}
        sessions.spawn(session);
    }

    /// Waits until all of them have.
    pub(super) async fn wait(&self) {
        let mut sessions = std::mem::take(&mut *self.sessions());
        while sessions.join_next().await.is_some() {}
    }

    fn sessions(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Stopped {
    Unreached(io::Error),
    Refused(Error),
}

/// As in libpq, the weak modes try again without TLS; a wrong password stays wrong.
fn may_go_plain(sslmode: SslMode, error: &Error) -> bool {
    use tokio_postgres::error::SqlState;
    let final_answer =
        error.code().is_some_and(|code| *code != SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    match sslmode {
        SslMode::Allow | SslMode::Prefer => !final_answer,
        SslMode::Disable | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => false,
    }
}

async fn ask<S, C, T>(
    config: &Config,
    stream: S,
    tls: C,
    (ending, limit): (&Ending, Duration),
    question: &impl AsyncFn(&Client) -> Result<T, Error>,
) -> Result<T, Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: TlsConnect<Closing<S>>,
    C::Stream: Send + 'static,
{
    let connected = config.connect_raw(Closing { stream, written: false }, tls).await;
    let (client, session) = connected.map_err(Stopped::Refused)?;
    // It ends when the client is gone. For that it has as long again as for the answer.
    ending.add(async move {
        let _ended = timeout(2 * limit, session).await;
    });
    question(&client).await.map_err(Stopped::Refused)
}

/// A stream whose shutdown waits until the other side has closed too. PostgreSQL does that after
/// the session has left `pg_stat_activity`.
pub(super) struct Closing<S> {
    stream: S,
    written: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Closing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Closing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.written = true;
        }
        loop {
            let mut space = [0; 256];
            let mut rest = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
