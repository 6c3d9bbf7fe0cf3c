//! The HTTP listeners.
//!
//! Receives connections, gives short answers to `GET` and `HEAD`. Never reads a body, never
//! answers a page in a browser, and never lets one caller hold more than its share.

pub mod probes;
pub mod scrape;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::{Class, Failure};
use crate::logs;

/// A connection counts from its accept to its end; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 64;

/// No probe and no scrape has more.
const MOST_HEADERS: usize = 48;

/// Request line and headers together.
const MOST_HEADER_BYTES: usize = 16 * 1024;

/// A slower caller is not one of ours.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// One answer, and then the connection ends: this bounds a reader that does not read.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long connections under way may take when the listener stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What is answered to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 200, 503 and the like.
    pub status: StatusCode,
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Page {
    /// A line of text.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() + "\n" }
    }
}

/// The answer to a path, `None` where there is nothing.
pub type Answer = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

/// Whose `Host` headers are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    /// Anybody's.
    Any,
    /// An address or `localhost`. A page in a browser that has its own name point at this machine
    /// (DNS rebinding) sends that name.
    Local,
}

/// A port that is taken and not served yet.
pub struct Listener {
    name: &'static str,
    listener: TcpListener,
    address: SocketAddr,
    hosts: Hosts,
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
        Ok(Self { name, listener, address, hosts })
    }

    /// The address, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, then lets the connections under way end. Says in the log where.
    pub async fn serve(self, answer: Answer, stop: impl Future<Output = ()>) {
        logs::listening(self.name, self.address);
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.accept(&room) => accepted,
            };
            let (stream, place) = accepted;
            let (answer, hosts) = (answer.clone(), self.hosts);
            connections.spawn(async move {
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, answer, hosts))
                    .await;
                drop(place);
            });
        }
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
    }

    /// The next connection. An error is about one connection or about a shortage that passes, as
    /// of file descriptors: neither ends the listener.
    async fn accept(
        &self,
        room: &Arc<Semaphore>,
    ) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
        let place = room.clone().acquire_owned().await.ok();
        let mut pause = Duration::from_millis(10);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    let text = format!("accept on `{}`: {error}", self.address);
                    logs::accept_failed(self.name, &Failure::new(Class::Ours, text));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
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

async fn connection(stream: TcpStream, answer: Answer, hosts: Hosts) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = response(&request, &answer, hosts);
        async move { Ok::<_, Infallible>(response) }
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

fn response<B: Body>(request: &Request<B>, answer: &Answer, hosts: Hosts) -> Response<Full<Bytes>> {
    let page = page(request, answer, hosts);
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn page<B: Body>(request: &Request<B>, answer: &Answer, hosts: Hosts) -> Page {
    // A browser says where the page comes from; kubelet and Prometheus do not.
    if request.headers().contains_key(ORIGIN) {
        return Page::text(StatusCode::FORBIDDEN, "not for browsers");
    }
    if hosts == Hosts::Local && !is_local(request.headers()) {
        return Page::text(StatusCode::MISDIRECTED_REQUEST, "not the name of this machine");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Page::text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD");
    }
    if request.body().size_hint().exact() != Some(0) {
        return Page::text(StatusCode::PAYLOAD_TOO_LARGE, "no body");
    }
    answer(request.uri().path())
        .unwrap_or_else(|| Page::text(StatusCode::NOT_FOUND, "nothing here"))
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
