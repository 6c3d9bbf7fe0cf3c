//! `status.json`: what is visible, for people and scripts beside the app. No values.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use serde::Serialize;

use crate::agent::view::View;
use crate::render::Rendering;
use crate::secret::hex;
use crate::snapshot::Generation;
use crate::time::{Clock, Moment};

#[derive(Serialize)]
struct Status<'a> {
    generation: Generation,
    ready: bool,
    secrets: BTreeMap<&'a str, Secret<'a>>,
    files: BTreeMap<&'a str, File<'a>>,
}

#[derive(Serialize)]
struct Secret<'a> {
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    valid: bool,
    stale: bool,
}

#[derive(Serialize)]
struct File<'a> {
    fingerprint: &'a str,
}

/// For each file the keyed hash of its bytes: the same bytes show the same, and a guess of a
/// secret cannot be checked by it.
pub(super) fn fingerprints(rendering: &Rendering, key: &[u8]) -> BTreeMap<String, String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let files = rendering.files.iter();
    files
        .map(|(path, file)| (path.clone(), hex(&hmac::sign(&key, &file.bytes).as_ref()[..16])))
        .collect()
}

/// The file's text.
pub(super) fn json(view: &View, fingerprints: &BTreeMap<String, String>, clock: &Clock) -> Vec<u8> {
    let time = |moment: Moment| clock.rfc3339(moment);
    let secrets = view.secrets.iter().map(|(name, secret)| {
        let shown = Secret {
            version: secret.version.as_deref(),
            expires_at: secret.expires.map(time),
            valid: secret.valid,
            stale: secret.stale,
        };
        (&**name, shown)
    });
    let files = fingerprints.iter();
    let status = Status {
        generation: view.generation,
        ready: view.ready(),
        secrets: secrets.collect(),
        files: files.map(|(path, fingerprint)| (&**path, File { fingerprint })).collect(),
    };
    // Maps with text keys always serialize.
    let mut text = serde_json::to_vec_pretty(&status).unwrap_or_default();
    text.push(b'\n');
    text
}
