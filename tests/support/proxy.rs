//! An HTTP proxy in front of OpenBao that answers chosen requests by itself, or spoils answers.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use super::bao;

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Asks the server.
    Pass,
    /// Answers this status by itself; the server never hears of it.
    Answer(u16),
    /// The same, with so many seconds of `Retry-After`.
    AnswerRetry(u16, u64),
    /// Answers this status as a gateway does that knows nothing of Vault.
    Gateway(u16),
    /// Asks the server and keeps its answer back for so long.
    Late(std::time::Duration),
    /// Asks the server, and its answer breaks off in the middle.
    Half,
    /// Asks the server, and something else comes back as a success.
    Garbage,
    /// Asks the server, and its answer goes on for two megabytes.
    Huge,
}

/// An answer's body; a broken one ends before its length.
struct Answer {
    rest: Option<Bytes>,
    length: u64,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// What there is goes out first.
    Flushed,
    Broken,
}

impl Answer {
    fn whole(bytes: Bytes) -> Self {
        Self { length: bytes.len() as u64, rest: Some(bytes), end: End::Whole }
    }

    fn half(bytes: &Bytes) -> Self {
        let rest = Some(bytes.slice(..bytes.len() / 2));
        Self { length: bytes.len() as u64, rest, end: End::Flushed }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.rest.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Flushed => {
                self.end = End::Broken;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Broken => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
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
                        // Goes on when the asker is gone. A request that is cut off in the middle
                        // OpenBao may leave as a database user with no lease, which nobody can end.
                        tokio::spawn(
                            async move { shared.answer(request, &client, &upstream).await },
                        )
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
    ) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let verdict = (self.rule.lock().unwrap())(head.method.as_str(), &path);
        let refusal = Bytes::from_static(b"{\"errors\":[\"proxy\"]}");
        let (status, body) = match verdict {
            Verdict::Answer(status) | Verdict::AnswerRetry(status, _) => (status, refusal),
            Verdict::Gateway(status) => (status, Bytes::from_static(b"<h1>Bad Gateway</h1>")),
            Verdict::Pass | Verdict::Late(_) | Verdict::Half | Verdict::Garbage | Verdict::Huge => {
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
        let (status, body) = match verdict {
            Verdict::Half => (status, Answer::half(&body)),
            Verdict::Garbage => (200, Answer::whole(Bytes::from_static(b"<html>Welcome</html>"))),
            Verdict::Huge => {
                let padding = " ".repeat(2 * 1024 * 1024);
                (status, Answer::whole([&body[..], padding.as_bytes()].concat().into()))
            }
            Verdict::Pass
            | Verdict::Late(_)
            | Verdict::Answer(_)
            | Verdict::AnswerRetry(..)
            | Verdict::Gateway(_) => (status, Answer::whole(body)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Verdict::AnswerRetry(_, seconds) = verdict {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}
