//! One session: opened, used for one question, and over before the answer is given.
//!
//! Receives where and as whom, and the question. Never leaves a session behind that a later count
//! could take for the app's.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
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

/// Asks `question` on `host`, in a session of its own that has ended when this returns.
pub(super) async fn open<T>(
    connection: &Connection,
    credential: &Credential,
    host: &str,
    doing: &str,
    question: impl AsyncFn(&Client) -> Result<T, Error>,
) -> Result<T, Failure> {
    open_for(TIMEOUT, connection, credential, host, doing, question).await
}

/// As [`open`], for `limit` at most.
pub(super) async fn open_for<T>(
    limit: Duration,
    connection: &Connection,
    credential: &Credential,
    host: &str,
    doing: &str,
    question: impl AsyncFn(&Client) -> Result<T, Error>,
) -> Result<T, Failure> {
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

    let asked = async {
        if host.starts_with('/') {
            let path = Path::new(host).join(format!(".s.PGSQL.{}", connection.port));
            let stream = UnixStream::connect(path).await.map_err(Stopped::Unreached)?;
            return ask(&config, stream, NoTls, &question).await;
        }
        let connect = || TcpStream::connect((host, connection.port));
        let stream = connect().await.map_err(Stopped::Unreached)?;
        let Some(mut connector) = connector else {
            return ask(&config, stream, NoTls, &question).await;
        };
        let connect_tls =
            MakeTlsConnect::<Closing<TcpStream>>::make_tls_connect(&mut connector, host)
                .map_err(|never| match never {})?;
        let first = ask(&over_tls, stream, connect_tls, &question).await;
        match first {
            Err(Stopped::Refused(error)) if may_go_plain(connection.sslmode, &error) => {
                let stream = connect().await.map_err(Stopped::Unreached)?;
                ask(&config, stream, NoTls, &question).await
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
    question: &impl AsyncFn(&Client) -> Result<T, Error>,
) -> Result<T, Stopped>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: TlsConnect<Closing<S>>,
{
    let connected = config.connect_raw(Closing { stream, written: false }, tls).await;
    let (client, connection) = connected.map_err(Stopped::Refused)?;
    let asked = async move {
        let answer = question(&client).await;
        drop(client);
        answer
    };
    let (answer, _ended) = tokio::join!(asked, connection);
    answer.map_err(Stopped::Refused)
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
