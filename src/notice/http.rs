//! One `POST` to a loopback URL.
//!
//! Receives the URL and a message, gives whether the answer was 2xx. Never leaves this machine,
//! never follows a redirect, and never shows what was answered beside the status.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::{Class, Failure, chain};
use crate::notice::message::Message;

const MAX_ANSWER: usize = 64 * 1024;
/// A longer `Retry-After` is not believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// How long an acknowledged answer's body is listened to, so that the app sees no broken
/// connection.
const LINGER: Duration = Duration::from_secs(1);

/// Sends `message` once.
pub(super) async fn post(url: &str, message: Message, limit: Duration) -> Result<(), Failure> {
    let target = Target::parse(url)?;
    let mut progress = Progress::Unsent;
    let exchanged = timeout(limit, target.exchange(message, &mut progress)).await;
    let class = match progress {
        // The rest of the answer does not matter.
        Progress::Answered(verdict) => return verdict,
        Progress::Sent => Class::Unclear,
        Progress::Unsent => Class::Again { after: None },
    };
    exchanged.unwrap_or_else(|_| {
        Err(target.failure(class, format!("no answer within {} ms", limit.as_millis())))
    })
}

enum Progress {
    Unsent,
    Sent,
    Answered(Result<(), Failure>),
}

struct Target {
    host: String,
    port: u16,
    authority: String,
    path: String,
    /// The URL as it may be shown: its query may hold something confidential.
    shown: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, Failure> {
        let shown = url.split(['?', '#']).next().unwrap_or_default();
        let shown = match shown.rsplit_once('@') {
            Some((_, behind)) => format!("http://{behind}"),
            None => shown.to_owned(),
        };
        let refuse = |why: &str| {
            Failure::new(Class::Ours, format!("notify `{shown}`: {why}"))
                .hint("write the URL like `http://127.0.0.1:8000/-/secrets`")
        };
        let uri: Uri = url.trim().parse().map_err(|_| refuse("it is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse("only http:// to this machine is spoken"));
        }
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it names a user; sign the notices instead"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refuse("it names no host"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { host, port, authority: authority.to_string(), path, shown })
    }

    fn failure(&self, class: Class, why: impl AsRef<str>) -> Failure {
        Failure::new(class, format!("notify `{}`: {}", self.shown, why.as_ref()))
            .hint("see whether the app listens there and answers 2xx within `timeout`")
    }

    async fn exchange(&self, message: Message, progress: &mut Progress) -> Result<(), Failure> {
        let stream = self.connect().await?;
        let again = |why: String| self.failure(Class::Again { after: None }, why);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| again(chain(&error)))?;
        let request = self.request(message)?;
        let asked = async {
            *progress = Progress::Sent;
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| self.failure(Class::Unclear, chain(&error)))?;
            *progress = Progress::Answered(self.judge(&response));
            let _ = timeout(LINGER, drain(response.into_body())).await;
            Ok(())
        };
        let mut asked = std::pin::pin!(asked);
        tokio::select! {
            biased;
            result = &mut asked => result,
            // The answer may have been read before its connection ended.
            _ = connection => asked.await,
        }
    }

    /// Connects to what was resolved and looked at, not to the name again.
    async fn connect(&self) -> Result<TcpStream, Failure> {
        let again =
            |error: io::Error| self.failure(Class::Again { after: None }, error.to_string());
        let found = lookup_host((self.host.as_str(), self.port)).await.map_err(again)?;
        let addresses: Vec<SocketAddr> = found.collect();
        if let Some(other) = addresses.iter().find(|at| !at.ip().to_canonical().is_loopback()) {
            let why = format!("`{}` is `{}`, which is not this machine", self.host, other.ip());
            return Err(self
                .failure(Class::Ours, why)
                .hint("notices go to loopback addresses only, like 127.0.0.1"));
        }
        TcpStream::connect(addresses.as_slice()).await.map_err(again)
    }

    fn request(&self, message: Message) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("leasehold/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header(CONNECTION, "close");
        if let Some(signature) = message.signature {
            request = request
                .header("webhook-id", signature.id)
                .header("webhook-timestamp", signature.timestamp)
                .header("webhook-signature", signature.signature);
        }
        request
            .body(Full::new(Bytes::from(message.body)))
            .map_err(|error| self.failure(Class::Ours, error.to_string()))
    }

    fn judge(&self, response: &Response<Incoming>) -> Result<(), Failure> {
        let status = response.status();
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|count| Duration::from_secs(count).min(MAX_RETRY_AFTER));
        if status.is_success() {
            return Ok(());
        }
        let failure = self.failure(Class::Again { after }, format!("the app answered {status}"));
        Err(if status.is_redirection() {
            failure.hint("redirects are not followed: name the final URL")
        } else if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            failure.hint("compare `signing_key_file` with the key of the app")
        } else {
            failure
        })
    }
}

async fn drain(mut body: Incoming) {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > MAX_ANSWER {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_are_taken_and_their_secrets_are_not_shown() {
        let target = Target::parse("http://[::1]:8000/-/secrets?key=hunter2").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 8000));
        assert_eq!(target.path, "/-/secrets?key=hunter2");
        assert_eq!(target.shown, "http://[::1]:8000/-/secrets");
        assert_eq!(Target::parse("http://localhost").unwrap().port, 80);
        for bad in ["", "https://127.0.0.1/", "/hook", "unix:/x", "http://me:hunter2@127.0.0.1/"] {
            let failure = Target::parse(bad).err().unwrap();
            assert_eq!(failure.class, Class::Ours, "{bad}");
            assert!(!failure.text.contains("hunter2"), "{failure}");
        }
    }
}
