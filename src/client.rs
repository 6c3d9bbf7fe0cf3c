//! One question to a listener of ours, on a TCP port or a Unix socket.
//!
//! Receives where and what, gives status and body. Never keeps a connection, never follows a
//! redirect, and never listens to more than a little.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::error::{Class, Failure, chain};

/// No answer of ours is longer.
const LONGEST: usize = 4 << 20;

/// Where a listener of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A port.
    Tcp {
        /// A name or an address.
        host: String,
        /// Its number.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl From<SocketAddr> for Place {
    /// An address to listen at, as it is reached from this machine.
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        Self::Tcp { host: ip.to_string(), port: address.port() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, 503 and the like.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Whether it is 2xx.
    pub fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Asks `method` `path` at `place`, where `token` shows who asks, for at most `limit`.
///
/// # Errors
/// `Again` when nobody listens or answers in time, `Denied` when the socket may not be opened.
pub async fn ask(
    place: &Place,
    method: Method,
    path: &str,
    token: Option<&str>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let request = request(place, method, path, token)?;
    let exchanged = tokio::time::timeout(limit, async {
        match place {
            Place::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                exchange(place, stream.map_err(|error| unreached(place, &error))?, request).await
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                exchange(place, stream.map_err(|error| unreached(place, &error))?, request).await
            }
        }
    });
    exchanged.await.unwrap_or_else(|_| {
        let why = format!("no answer within {} ms", limit.as_millis());
        Err(failure(Class::Again { after: None }, place, &why))
    })
}

fn failure(class: Class, place: &Place, why: &str) -> Failure {
    Failure::new(class, format!("ask the agent at `{place}`: {why}"))
}

fn unreached(place: &Place, error: &io::Error) -> Failure {
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    if nobody.contains(&error.kind()) {
        return failure(Class::Again { after: None }, place, "nobody listens there")
            .hint("see whether `leasehold run` runs, with the same configuration");
    }
    let why = error.to_string();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return failure(Class::Denied, place, &why).hint(
            "ask as the agent's user or as root; others need `listen.api_uids`, and a socket in a \
             directory that they may enter",
        );
    }
    failure(Class::Again { after: None }, place, &why)
}

fn request(
    place: &Place,
    method: Method,
    path: &str,
    token: Option<&str>,
) -> Result<Request<Empty<Bytes>>, Failure> {
    let host = match place {
        Place::Tcp { .. } => place.to_string(),
        Place::Unix(_) => "localhost".to_owned(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    // What cannot stand in a request line or a header; the token is not shown.
    request.body(Empty::new()).map_err(|error| failure(Class::Ours, place, &error.to_string()))
}

async fn exchange<S>(
    place: &Place,
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: &(dyn std::error::Error + 'static)| {
        failure(Class::Again { after: None }, place, &chain(error))
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| broken(&*error))?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    let mut asked = std::pin::pin!(asked);
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        // The answer may have been read before its connection ended.
        _ = connection => asked.await,
    }
}
