//! The one place where requests to Vault leave and answers come in.
//!
//! Receives a typed request, gives the parsed answer or a classed [`Failure`]. Adds token,
//! namespace, time-outs and bounds to each; never shows what it sent or received.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use rustify::endpoint::Endpoint;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::date::{Date, Now};
use crate::error::{Class, Failure, chain};
use crate::secret::Secret;
use crate::time::{Clock, Moment};
use crate::vault::answer::Envelope;
use crate::vault::error::{Operation, absence, classify, errors, label, one_line, quotable};
use crate::vault::rights::Right;
use crate::vault::{Observer, Settings, advice, names, tls};

/// No answer that we ask for is near this; a larger one is not Vault's.
const MAX_BODY: usize = 1024 * 1024;
/// A longer `Retry-After` is not believed: it would be an outage by header.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// No answer has told the time yet.
const UNHEARD: i64 = i64::MIN;

/// The way to one Vault.
pub(super) struct Wire {
    address: String,
    namespace: Option<HeaderValue>,
    clients: tls::Clients,
    clock: Clock,
    /// How far Vault's calendar is ahead of our scale of moments, in milliseconds.
    ahead: AtomicI64,
    observer: Observer,
}

/// One request apart from its content.
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    /// What is being done and on what, for the error's text: ``issue `database/creds/app` ``.
    pub(super) doing: String,
    /// By which token; none for a login.
    pub(super) token: Option<&'a Secret>,
    /// What else is sent and must not be quoted back.
    pub(super) hidden: Vec<&'a Secret>,
}

impl Call<'_> {
    /// A failure of this call.
    pub(super) fn failure(&self, class: Class, why: impl AsRef<str>) -> Failure {
        Failure::new(class, format!("{}: {}", self.doing, why.as_ref()))
    }
}

struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

struct Reply {
    status: u16,
    retry_after: Option<Duration>,
    location: Option<String>,
    /// `Err` says why the body could not be read to its end.
    body: Result<Zeroizing<Vec<u8>>, String>,
}

impl Wire {
    pub(super) fn new(settings: &Settings, observer: Observer) -> Result<Self, Failure> {
        let address = names::address(&settings.address)?;
        Ok(Self {
            namespace: names::namespace(&settings.namespace)?,
            clients: tls::Clients::new(&address, settings)?,
            address,
            clock: Clock::resume(None),
            ahead: AtomicI64::new(UNHEARD),
            observer,
        })
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What the wall clock shows, since 1970.
    pub(super) fn wall(&self) -> Duration {
        Duration::from_micros(self.clock.wall_micros(self.clock.now()))
    }

    /// The present by our clock and by that of Vault, as the last answer told it, to the second.
    pub(super) fn present(&self) -> Now {
        let own = i64::try_from(self.wall().as_millis()).unwrap_or(i64::MAX);
        let own = Date::from_millis(own);
        match self.ahead.load(Ordering::Relaxed) {
            UNHEARD => Now::of(own, own),
            ahead => Now::of(own, Date::from_millis(ahead.saturating_add(self.millis()))),
        }
    }

    fn millis(&self) -> i64 {
        i64::try_from(self.clock.now().as_micros() / 1000).unwrap_or(i64::MAX)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn tls_files(&self) -> Option<Result<(), Failure>> {
        self.clients.news()
    }

    /// Sends `endpoint` once and reads the answer.
    pub(super) async fn send<E: Endpoint, T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        endpoint: &E,
    ) -> Result<Envelope<T>, Failure> {
        let begun = self.clock.now();
        let result = self.ask(call, endpoint).await;
        let outcome = result.as_ref().map_or_else(|failure| label(failure.class), |_| "ok");
        (self.observer)(call.operation.name(), outcome, self.clock.now().since(begun));
        result
    }

    async fn ask<E: Endpoint, T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        endpoint: &E,
    ) -> Result<Envelope<T>, Failure> {
        let mut outgoing = self.outgoing(call, endpoint)?;
        let mut reply = self.exchange(call, &outgoing).await?;
        if let Some(url) = same_server(&outgoing.url, &reply) {
            outgoing.url = url;
            reply = self.exchange(call, &outgoing).await?;
        }
        if !(200..300).contains(&reply.status) {
            return Err(refused(call, endpoint, &outgoing.url, &reply));
        }
        let body = reply.body.map_err(|why| {
            call.failure(call.operation.unreadable(), format!("vault's answer broke off: {why}"))
                .hint(advice::NO_SENSE)
        })?;
        if body.is_empty() {
            return Ok(Envelope::default());
        }
        // The parser's message may quote the body; only its place is told.
        serde_json::from_slice(&body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            call.failure(
                call.operation.unreadable(),
                format!("vault's answer makes no sense at {place}"),
            )
            .hint(advice::NO_SENSE)
        })
    }

    fn outgoing<E: Endpoint>(&self, call: &Call<'_>, endpoint: &E) -> Result<Outgoing, Failure> {
        let ours = |why: String| call.failure(Class::Ours, why);
        let built =
            endpoint.request(&self.address).map_err(|_| ours("it makes no request".to_owned()))?;
        let (parts, body) = built.into_parts();
        let body = Zeroizing::new(body);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = Url::parse(&format!("{}/v1{path}", self.address))
            .map_err(|error| ours(format!("it makes no URL: {error}")))?;
        let mut headers = HeaderMap::new();
        // Vault's own proxies refuse requests without it: a page in a browser cannot set it.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", namespace.clone());
        }
        if let Some(token) = call.token {
            let header = names::token(token).map_err(|failure| ours(failure.text))?;
            headers.insert("x-vault-token", header);
        }
        Ok(Outgoing { method: parts.method, url, headers, body })
    }

    async fn exchange(&self, call: &Call<'_>, outgoing: &Outgoing) -> Result<Reply, Failure> {
        let mut response = self
            .clients
            .client()
            .request(outgoing.method.clone(), outgoing.url.clone())
            .headers(outgoing.headers.clone())
            .timeout(call.operation.timeout())
            .body(outgoing.body.to_vec())
            .send()
            .await
            .map_err(|error| self.unanswered(call, error))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER)
            .and_then(|text| text.trim().parse().ok())
            .map(|count| Duration::from_secs(count).min(MAX_RETRY_AFTER));
        let location = header(LOCATION).map(str::to_owned);
        if let Some(told) = header(DATE).and_then(|text| jiff::fmt::rfc2822::parse(text).ok()) {
            let ahead = Date::from(told.timestamp()).as_millis().saturating_sub(self.millis());
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        let status = response.status().as_u16();
        Ok(Reply { status, retry_after, location, body: bounded(&mut response).await })
    }

    fn unanswered(&self, call: &Call<'_>, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let address = &self.address;
        // TLS that breaks later may break behind a request that was heard; but a server that does
        // not accept our certificate, which shows later, has not heard it.
        let refusal = match error.is_connect() {
            true => tls::refusal(&error),
            false => tls::refusal_of_ours(&error),
        };
        if let Some((why, hint)) = refusal {
            let again = Class::Again { after: None };
            return call.failure(again, format!("no connection to `{address}`: {why}")).hint(hint);
        }
        let why = root(&error);
        if error.is_connect() {
            let again = Class::Again { after: None };
            let text = format!("no connection to `{address}`: {why}");
            return call.failure(again, text).hint(advice::NO_ANSWER);
        }
        if error.is_builder() {
            return call.failure(Class::Ours, chain(&error));
        }
        let why = if error.is_timeout() {
            format!("no answer within {} s", call.operation.timeout().as_secs())
        } else {
            format!("no answer, the connection broke: {why}")
        };
        call.failure(call.operation.unanswered(), format!("{why}, from `{address}`"))
            .hint(advice::NO_ANSWER)
    }
}

async fn bounded(response: &mut Response) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = Zeroizing::new(Vec::new());
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY => {
                return Err(format!("it is larger than {MAX_BODY} bytes"));
            }
            Ok(Some(chunk)) => {
                // Growing by itself, the buffer would leave copies behind.
                if body.capacity() < body.len() + chunk.len() {
                    let mut larger = Vec::with_capacity(2 * (body.len() + chunk.len()));
                    larger.extend_from_slice(&body);
                    body = Zeroizing::new(larger);
                }
                body.extend_from_slice(&chunk);
            }
            Err(error) => return Err(root(&error.without_url())),
        }
    }
}

/// Where a standby sends us, if that is the address that we trust with the token.
fn same_server(asked: &Url, reply: &Reply) -> Option<Url> {
    if !matches!(reply.status, 307 | 308) {
        return None;
    }
    let url = asked.join(reply.location.as_deref()?).ok()?;
    (url.origin() == asked.origin() && url.username().is_empty()).then_some(url)
}

fn refused<E: Endpoint>(call: &Call<'_>, endpoint: &E, asked: &Url, reply: &Reply) -> Failure {
    let body = reply.body.as_ref().map_or(&[][..], |body| body.as_slice());
    let errors = errors(body);
    let class = classify(call.operation, reply.status, &errors, reply.retry_after);
    if (300..400).contains(&reply.status) {
        let elsewhere = reply
            .location
            .as_deref()
            .and_then(|location| asked.join(location).ok())
            .map_or_else(|| "nowhere".to_owned(), |url| url.origin().ascii_serialization());
        let why = format!(
            "vault sends us on ({}) to `{}`; the token goes to the configured address only",
            reply.status,
            one_line(&elsewhere)
        );
        return call
            .failure(class, why)
            .hint("set `vault.address` to the active node, or to a balancer that finds it");
    }
    let secrets: Vec<&str> =
        call.token.iter().chain(&call.hidden).map(|secret| secret.expose()).collect();
    let why = absence(body)
        .or_else(|| quotable(&errors, &secrets))
        .map_or_else(String::new, |text| format!(": {text}"));
    let failure = call.failure(class, format!("vault answered {}{why}", reply.status));
    if let Operation::Login(method) = call.operation
        && let Some(hint) = method.advice(reply.status, class, &why, &path(endpoint))
    {
        return failure.hint(hint);
    }
    match class {
        Class::Denied if reply.status == 500 => failure.hint(advice::NOT_RENEWED),
        Class::Denied => failure.hint(policy_line(endpoint)),
        Class::Missing => failure.hint(format!(
            "compare mount, name and `vault.namespace`: nothing is at `{}`",
            path(endpoint)
        )),
        Class::Again { .. } | Class::Unclear | Class::Ours => {
            failure.hint(advice::for_status(reply.status))
        }
        Class::Gone | Class::Conflict => failure,
    }
}

/// The line that the token's policy lacks.
fn policy_line<E: Endpoint>(endpoint: &E) -> String {
    use rustify::enums::RequestMethod;
    let capability = match endpoint.method() {
        RequestMethod::GET | RequestMethod::HEAD => "read",
        RequestMethod::LIST => "list",
        RequestMethod::DELETE => "delete",
        RequestMethod::PATCH => "patch",
        RequestMethod::POST
        | RequestMethod::PUT
        | RequestMethod::CONNECT
        | RequestMethod::OPTIONS
        | RequestMethod::TRACE => "update",
    };
    format!("the token's policy needs: {}", Right::new(capability, path(endpoint)))
}

/// Some of the library's paths begin with a blank or a slash.
fn path<E: Endpoint>(endpoint: &E) -> String {
    endpoint.path().trim().trim_start_matches('/').to_owned()
}

/// The innermost cause, which is the one that a person can act on.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(&innermost.to_string())
}
