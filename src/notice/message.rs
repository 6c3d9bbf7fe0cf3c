//! What a target is told over HTTP: a CloudEvents 1.0 event, signed as Standard Webhooks asks.
//!
//! Receives the notice and the facts of this agent, gives body and headers. Never holds a secret,
//! only names, versions and times.

use std::path::Path;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::agent::command::Notice;
use crate::error::{Class, Failure};
use crate::notice::Context;
use crate::secret::hex;
use crate::time::Clock;

/// One event, ready to be sent.
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    pub(super) signature: Option<Signature>,
}

/// The three headers of Standard Webhooks.
pub(super) struct Signature {
    pub(super) id: String,
    /// Wall clock seconds of this try.
    pub(super) timestamp: u64,
    pub(super) signature: String,
}

#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    r#type: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    generation: u64,
    secrets: Vec<ChangedSecret<'a>>,
    files: &'a [String],
    directory: &'a str,
}

#[derive(Serialize)]
struct ChangedSecret<'a> {
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_ends_at: Option<String>,
}

/// The event for `notice`, as of now.
pub(super) fn compose(
    context: &Context,
    notice: &Notice,
    clock: &Clock,
    key_file: Option<&Path>,
) -> Result<Message, Failure> {
    let key = key_file.map(signing_key).transpose()?;
    let now = clock.now();
    let id = event_id(&context.instance, notice);
    let secrets = notice
        .secrets
        .iter()
        .map(|secret| ChangedSecret {
            name: &secret.name,
            version: &secret.version,
            expires_at: secret.expires.map(|at| clock.rfc3339(at)),
            previous_ends_at: secret.previous_ends.map(|at| clock.rfc3339(at)),
        })
        .collect();
    let event = Event {
        specversion: "1.0",
        id: &id,
        source: format!("/leasehold/{}", uri_segment(&context.instance)),
        r#type: "io.leasehold.published.v1",
        time: clock.rfc3339(now),
        subject: match notice.secrets.as_slice() {
            [only] => Some(&only.name),
            _ => None,
        },
        datacontenttype: "application/json",
        data: Data {
            generation: notice.generation.0,
            secrets,
            files: &context.files,
            directory: &context.directory,
        },
    };
    let body = serde_json::to_vec(&event)
        .map_err(|error| Failure::new(Class::Ours, format!("write the notice: {error}")))?;
    let timestamp = clock.wall_micros(now) / 1_000_000;
    let signature = key.map(|key| sign(&key, id, timestamp, &body));
    Ok(Message { body, signature })
}

/// The same for every try of one notice, so that a receiver can tell a repetition.
fn event_id(instance: &str, notice: &Notice) -> String {
    let mut text = format!("{instance}\0{}", notice.generation);
    for secret in &notice.secrets {
        text.push_str(&format!("\0{}\0{}", secret.name, secret.version));
    }
    hex(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16])
}

fn sign(key: &hmac::Key, id: String, timestamp: u64, body: &[u8]) -> Signature {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    let signature = format!("v1,{}", BASE64_STANDARD.encode(context.sign()));
    Signature { id, timestamp, signature }
}

/// The key in `file`: after `whsec_` base64, as the standard writes keys; else the text itself.
fn signing_key(file: &Path) -> Result<hmac::Key, Failure> {
    let refuse = |class, why: &str| {
        Failure::new(class, format!("read the signing key `{}`: {why}", file.display()))
    };
    // A pipe would hold everything up.
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(refuse(Class::Ours, "it is no file"));
    }
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        refuse(if missing { Class::Missing } else { Class::Ours }, &error.to_string())
    })?;
    let text = text.trim();
    let bytes = Zeroizing::new(match text.strip_prefix("whsec_") {
        Some(encoded) => BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| refuse(Class::Ours, "what follows `whsec_` is not base64"))?,
        None => text.as_bytes().to_vec(),
    });
    if bytes.is_empty() {
        return Err(refuse(Class::Missing, "it is empty"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// `text` as one segment of a URI.
fn uri_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests;
