//! A service's hook: an HTTP endpoint of the test that answers notices as it is told to.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use leasehold::time::Moment;
use serde_json::Value;
use tokio::net::TcpListener;

use super::now;

/// One notice that arrived.
#[derive(Clone, Debug)]
pub struct Told {
    pub at: Moment,
    pub body: Value,
}

/// The endpoint.
#[derive(Clone)]
pub struct Hook {
    pub url: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Hook {
    /// Answers every notice with `status` after `delay`.
    pub async fn answering(status: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Self {
            url: format!("http://{}/-/secrets", listener.local_addr().unwrap()),
            told: Arc::default(),
        };
        let shared = hook.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = shared.clone();
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        let shared = shared.clone();
                        async move { Ok::<_, Infallible>(shared.take(request, status, delay).await) }
                    }),
                ));
            }
        });
        hook
    }

    async fn take(
        &self,
        request: Request<Incoming>,
        status: u16,
        delay: Duration,
    ) -> Response<Empty<Bytes>> {
        let at = now();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.told.lock().unwrap().push(Told { at, body });
        tokio::time::sleep(delay).await;
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    /// Every notice so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Notices of which one secret is a subject.
    pub fn told_of(&self, secret: &str) -> Vec<Told> {
        let names = |told: &Told| {
            let secrets = told.body["data"]["secrets"].as_array().cloned().unwrap_or_default();
            secrets.iter().any(|one| one["name"] == secret)
        };
        self.told().into_iter().filter(names).collect()
    }
}

/// What a hook does instead of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Manners {
    /// Takes the request and says nothing.
    Silent,
    /// Takes the request and resets the connection.
    Resets,
    /// Answers 500, and never comes to the end of it.
    Endless,
}

/// The URL of a hook that behaves like that.
pub async fn ill_mannered(manners: Manners) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/-/secrets", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // Unread bytes make a reset of the closing.
                let _ = stream.readable().await;
                match manners {
                    Manners::Resets => {}
                    Manners::Silent => std::future::pending().await,
                    Manners::Endless => {
                        let mut part: &[u8] = b"HTTP/1.1 500 Oops\r\nx-more: more\r\n\r\n";
                        while stream.writable().await.is_ok() {
                            match stream.try_write(part) {
                                Ok(_) => part = &[b'x'; 1024],
                                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                                Err(_) => break,
                            }
                        }
                    }
                }
            });
        }
    });
    url
}
