//! The HTTP listeners.
//!
//! Receives connections, on ports and on a Unix socket, gives short answers to whoever may ask.
//! Never reads a body, never answers a page in a browser, and never lets one caller hold more than
//! its share.

pub mod api;
pub mod jwt;
pub mod probes;
pub mod scrape;
mod socket;
pub mod status;
pub mod token;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::error::{Class, Failure};
use crate::logs;
pub use socket::LONGEST as LONGEST_SOCKET;
use socket::SocketFile;

/// A connection counts from its accept to its end. For one more the oldest that has asked nothing
/// makes room; where all have asked, it waits.
const MOST_CONNECTIONS: usize = 64;

/// No probe and no scrape has more.
const MOST_HEADERS: usize = 48;

/// Request line and headers together.
const MOST_HEADER_BYTES: usize = 16 * 1024;

/// A slower caller is not one of ours.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// One answer, and then the connection ends: this bounds a reader that does not read.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Who is not answered is told so, and keeps its place no longer.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);

/// How long connections under way may take when the listener stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What is answered to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 200, 503 and the like.
    pub status: StatusCode,
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// For the `Allow` header of a 405.
    pub allow: &'static str,
    /// For the `Cache-Control` header.
    pub cache_control: &'static str,
    /// The body.
    pub body: String,
}

impl Page {
    /// A text as it is, which nobody keeps.
    pub fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, allow: "", cache_control: "no-store", body }
    }

    /// A line of text.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into() + "\n")
    }

    /// A value as JSON.
    fn json(status: StatusCode, value: &impl Serialize) -> Self {
        // Maps with text keys always serialize.
        let text = serde_json::to_string(value).unwrap_or_default();
        Self::new(status, "application/json", text + "\n")
    }

    /// Another method than these.
    fn not_allowed(allow: &'static str) -> Self {
        Self { allow, ..Self::text(StatusCode::METHOD_NOT_ALLOWED, allow.replace(", ", " or ")) }
    }

    fn nothing() -> Self {
        Self::text(StatusCode::NOT_FOUND, "nothing here")
    }
}

/// A question that was let through.
pub struct Question {
    /// `GET` and the like.
    pub method: Method,
    /// What stands before the `?`.
    pub path: String,
    /// What stands behind it.
    pub query: String,
    /// Who asks, for the log.
    pub caller: String,
}

/// The answer to a question.
pub type Handler =
    Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Page> + Send>> + Send + Sync>;

/// The answer to a path, `None` where there is nothing.
pub type Answer = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

/// Answers `GET` and `HEAD`.
pub fn pages(answer: Answer) -> Handler {
    Arc::new(move |question| {
        let page = if [Method::GET, Method::HEAD].contains(&question.method) {
            answer(&question.path).unwrap_or_else(Page::nothing)
        } else {
            Page::not_allowed("GET, HEAD")
        };
        Box::pin(std::future::ready(page))
    })
}

/// Whose `Host` headers are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    /// Anybody's.
    Any,
    /// An address or `localhost`. A page in a browser that has its own name point at this machine
    /// (DNS rebinding) sends that name.
    Local,
}

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Callers {
    /// Whoever reaches the port.
    Any,
    /// The processes of these users, as the kernel names them.
    Users(BTreeSet<u32>),
    /// Who shows the token of this file.
    Bearers(PathBuf),
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What one connection is held to.
struct Rules {
    hosts: Hosts,
    callers: Callers,
    /// How long a connection may last.
    patience: Duration,
    handler: Handler,
}

/// A place that is taken and not served yet.
pub struct Listener {
    name: &'static str,
    socket: Socket,
    /// As it may be shown.
    address: String,
    hosts: Hosts,
    callers: Callers,
    patience: Duration,
    /// Removed with the listener.
    _file: Option<SocketFile>,
}

impl Listener {
    /// Takes `address` for `name`. The host name of a request is checked where only this machine can
    /// reach the port, but for `probes`.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(name: &'static str, address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Class::Ours, format!("listen on `{address}` for {name}: {error}"))
                .hint(format!("choose another address in `listen.{name}`"))
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let local = address.ip().is_loopback() && name != "probes";
        let hosts = if local { Hosts::Local } else { Hosts::Any };
        Ok(Self {
            name,
            socket: Socket::Tcp(listener),
            address: address.to_string(),
            hosts,
            callers: Callers::Any,
            patience: CONNECTION_TIMEOUT,
            _file: None,
        })
    }

    /// Takes the place of the API.
    ///
    /// # Errors
    /// When it is taken or not safe, or there is no token.
    pub async fn bind_api(settings: &api::Settings) -> Result<Self, Failure> {
        let patience = CONNECTION_TIMEOUT + api::LONGEST_WAIT;
        match settings {
            api::Settings::Tcp { address, token_file } => {
                token::read(token_file)?;
                let callers = Callers::Bearers(token_file.clone());
                Ok(Self { callers, patience, ..Self::bind("api", *address).await? })
            }
            api::Settings::Unix { path, uids } => {
                let (listener, file) = socket::bind(path, !uids.is_empty())?;
                let us = [0, nix::unistd::geteuid().as_raw()];
                let address = format!("unix:{}", path.display());
                Ok(Self {
                    name: "api",
                    socket: Socket::Unix(listener),
                    address,
                    hosts: Hosts::Local,
                    callers: Callers::Users(uids.iter().copied().chain(us).collect()),
                    patience,
                    _file: Some(file),
                })
            }
        }
    }

    /// The address, with its real port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Answers until `stop`, then lets the connections under way end. Says in the log where.
    pub async fn serve(self, handler: Handler, stop: impl Future<Output = ()>) {
        let Self { name, socket, address, hosts, callers, patience, _file } = self;
        let rules = Arc::new(Rules { hosts, callers, patience, handler });
        logs::listening(name, &address);
        let mut connections = Connections::default();
        let mut stop = pin!(stop);
        loop {
            let next = async {
                let stream = accept(name, &socket, &address).await;
                connections.make_room().await;
                stream
            };
            let stream = tokio::select! {
                stream = next => stream,
                () = &mut stop => break,
            };
            connections.begin(stream, rules.clone());
        }
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
            while connections.running.join_next().await.is_some() {}
        })
        .await;
    }
}

/// The connections under way.
#[derive(Default)]
struct Connections {
    running: JoinSet<()>,
    /// From the oldest on: whether it has asked.
    all: Vec<(AbortHandle, Arc<AtomicBool>)>,
}

impl Connections {
    /// Waits until there is room for one more.
    async fn make_room(&mut self) {
        while self.running.try_join_next().is_some() {}
        self.all.retain(|(task, _)| !task.is_finished());
        if self.all.len() < MOST_CONNECTIONS {
            return;
        }
        if let Some(at) = self.all.iter().position(|(_, asked)| !asked.load(Ordering::Relaxed)) {
            self.all.remove(at).0.abort();
        } else {
            self.running.join_next().await;
        }
    }

    fn begin(&mut self, stream: Stream, rules: Arc<Rules>) {
        let asked = Arc::new(AtomicBool::new(false));
        let told = asked.clone();
        let task = self.running.spawn(async move {
            let patience = rules.patience;
            let _ = tokio::time::timeout(patience, begin(stream, rules, told)).await;
        });
        self.all.push((task, asked));
    }
}

/// The next connection. An error is about one connection or about a shortage that passes, as
/// of file descriptors: neither ends the listener.
async fn accept(name: &'static str, socket: &Socket, address: &str) -> Stream {
    let mut pause = Duration::from_millis(10);
    loop {
        let accepted = match socket {
            Socket::Tcp(listener) => listener.accept().await.map(|(s, _)| Stream::Tcp(s)),
            Socket::Unix(listener) => listener.accept().await.map(|(s, _)| Stream::Unix(s)),
        };
        match accepted {
            Ok(stream) => return stream,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                let text = format!("accept on `{address}`: {error}");
                logs::accept_failed(name, &Failure::new(Class::Ours, text));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Who is at the other end.
enum Caller {
    /// Named so in the log.
    Known(String),
    /// A user whom this listener does not answer.
    Refused(u32),
}

/// `asked` becomes true with the first question of one whom the kernel does not refuse.
async fn begin(stream: Stream, rules: Arc<Rules>, asked: Arc<AtomicBool>) {
    match stream {
        Stream::Tcp(stream) => {
            let address = stream.peer_addr().map(|address| address.to_string());
            connection(stream, Caller::Known(address.unwrap_or_default()), rules, asked).await;
        }
        Stream::Unix(stream) => {
            // Whom the kernel cannot name went away.
            let Ok(peer) = stream.peer_cred() else { return };
            let caller = match &rules.callers {
                Callers::Users(users) if !users.contains(&peer.uid()) => {
                    Caller::Refused(peer.uid())
                }
                Callers::Users(_) | Callers::Any | Callers::Bearers(_) => {
                    let pid = peer.pid().map(|pid| format!(" pid {pid}")).unwrap_or_default();
                    Caller::Known(format!("uid {}{pid}", peer.uid()))
                }
            };
            let refused = matches!(caller, Caller::Refused(_));
            let connection = connection(stream, caller, rules, asked);
            if refused {
                let _ = tokio::time::timeout(REFUSED_TIMEOUT, connection).await;
            } else {
                connection.await;
            }
        }
    }
}

async fn connection<S>(stream: S, caller: Caller, rules: Arc<Rules>, asked: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let caller = Arc::new(caller);
    let service = service_fn(move |request: Request<Incoming>| {
        let (rules, caller) = (rules.clone(), caller.clone());
        asked.fetch_or(matches!(*caller, Caller::Known(_)), Ordering::Relaxed);
        async move { Ok::<_, Infallible>(response(&request, &caller, &rules).await) }
    });
    // An error here is the caller's: it went away, was too slow, or spoke no HTTP.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn response(
    request: &Request<Incoming>,
    caller: &Caller,
    rules: &Rules,
) -> Response<Full<Bytes>> {
    let page = match question(request, caller, rules) {
        Ok(question) => (rules.handler)(question).await,
        Err(refusal) => refusal,
    };
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(page.cache_control));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static(page.allow));
    }
    if page.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The question in a request, or why nobody is asked.
fn question(request: &Request<Incoming>, caller: &Caller, rules: &Rules) -> Result<Question, Page> {
    let caller = match caller {
        Caller::Known(caller) => caller.clone(),
        Caller::Refused(uid) => {
            let text = format!("uid {uid} may not ask: `listen.api_uids` does not name it");
            return Err(Page::text(StatusCode::FORBIDDEN, text));
        }
    };
    let headers = request.headers();
    // A browser says where the page comes from; kubelet, Prometheus and scripts do not.
    if headers.contains_key(ORIGIN) {
        return Err(Page::text(StatusCode::FORBIDDEN, "not for browsers"));
    }
    if rules.hosts == Hosts::Local && !is_local(headers) {
        return Err(Page::text(StatusCode::MISDIRECTED_REQUEST, "not the name of this machine"));
    }
    if let Callers::Bearers(file) = &rules.callers {
        let Ok(token) = token::read(file) else {
            let text = "the token's file cannot be used";
            return Err(Page::text(StatusCode::SERVICE_UNAVAILABLE, text));
        };
        if !token::shown(headers, &token) {
            return Err(Page::text(StatusCode::UNAUTHORIZED, "show the token"));
        }
    }
    if request.body().size_hint().exact() != Some(0) {
        return Err(Page::text(StatusCode::PAYLOAD_TOO_LARGE, "no body"));
    }
    Ok(Question {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        caller,
    })
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let Ok(authority) = host.parse::<hyper::http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
