//! Two things to put in front of a server: a gate that can be shut, and an HTTP proxy that answers
//! chosen requests by itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::bao;

/// Passes bytes on, until it is shut: then its port refuses connections.
pub struct Gate {
    pub address: SocketAddr,
    upstream: String,
    running: Option<AbortHandle>,
}

impl Gate {
    /// A gate in front of `upstream`, open.
    pub async fn before(upstream: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut gate = Self { address, upstream: upstream.into(), running: None };
        gate.serve(listener);
        gate
    }

    fn serve(&mut self, listener: TcpListener) {
        let upstream = self.upstream.clone();
        let task = tokio::spawn(async move {
            // Owned by this task: with it all its connections end.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let upstream = upstream.clone();
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        splice(client, server).await;
                    }
                });
            }
        });
        self.running = Some(task.abort_handle());
    }

    /// Refuses connections and cuts those that are open.
    pub async fn shut(&mut self) {
        self.running.take().unwrap().abort();
        let address = self.address;
        super::eventually("the gate is shut", super::secs(5), async || {
            TcpStream::connect(address).await.is_err().then_some(())
        })
        .await;
    }

    /// Lets connections through again, on the same port.
    pub async fn open(&mut self) {
        let address = self.address;
        let listener = super::eventually("the gate's port", super::secs(5), async || {
            TcpListener::bind(address).await.ok()
        })
        .await;
        self.serve(listener);
    }
}

async fn splice(client: TcpStream, server: TcpStream) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    tokio::select! {
        () = pump(&client, &server) => {}
        () = pump(&server, &client) => {}
    }
}

/// Bytes from one socket to the other until either is done.
async fn pump(from: &TcpStream, to: &TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while from.readable().await.is_ok() {
        let mut chunk = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        while !chunk.is_empty() {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(chunk) {
                Ok(count) => chunk = &chunk[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Asks the server.
    Pass,
    /// Answers this status by itself; the server never hears of it.
    Answer(u16),
    /// Asks the server and keeps its answer back for so long.
    Late(std::time::Duration),
}

type Rule = Box<dyn Fn(&str, &str) -> Verdict + Send>;

/// An HTTP proxy in front of OpenBao.
#[derive(Clone)]
pub struct Proxy {
    pub address: String,
    rule: Arc<Mutex<Rule>>,
    seen: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Vec<Value>>>,
}

impl Proxy {
    /// A proxy that passes everything.
    pub async fn before(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            rule: Arc::new(Mutex::new(Box::new(|_, _| Verdict::Pass))),
            seen: Arc::default(),
            answers: Arc::default(),
        };
        let (shared, client) = (proxy.clone(), bao::client());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, client, upstream) = (shared.clone(), client.clone(), upstream.clone());
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        let (shared, client, upstream) =
                            (shared.clone(), client.clone(), upstream.clone());
                        async move {
                            Ok::<_, Infallible>(shared.answer(request, &client, &upstream).await)
                        }
                    }),
                ));
            }
        });
        proxy
    }

    /// Decides by method and path from here on.
    pub fn rule(&self, rule: impl Fn(&str, &str) -> Verdict + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Paths that hold `part`, one for each request that was answered.
    pub fn seen(&self, part: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|path| path.contains(part)).cloned().collect()
    }

    /// Every text that stands at `pointer` in an answer of Vault.
    pub fn answered(&self, pointer: &str) -> Vec<String> {
        let answers = self.answers.lock().unwrap();
        let texts = answers.iter().filter_map(|answer| answer.pointer(pointer)?.as_str());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: &reqwest::Client,
        upstream: &str,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let verdict = (self.rule.lock().unwrap())(head.method.as_str(), &path);
        let (status, body) = match verdict {
            Verdict::Answer(status) => (status, Bytes::from_static(b"{\"errors\":[\"proxy\"]}")),
            Verdict::Pass | Verdict::Late(_) => {
                let target = head.uri.path_and_query().unwrap();
                let mut headers = head.headers.clone();
                headers.remove("host");
                let sent = client
                    .request(head.method.clone(), format!("{upstream}{target}"))
                    .headers(headers)
                    .body(body.collect().await.map(|all| all.to_bytes()).unwrap_or_default())
                    .send()
                    .await;
                match sent {
                    Ok(answer) => {
                        (answer.status().as_u16(), answer.bytes().await.unwrap_or_default())
                    }
                    Err(_) => (502, Bytes::new()),
                }
            }
        };
        self.answers.lock().unwrap().extend(serde_json::from_slice::<Value>(&body));
        if let Verdict::Late(span) = verdict {
            tokio::time::sleep(span).await;
        }
        self.seen.lock().unwrap().push(path);
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }
}
