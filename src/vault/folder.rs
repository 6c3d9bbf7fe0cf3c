//! One question for a whole folder of KV secrets, where the server can answer it: OpenBao lists
//! the metadata of all secrets of a folder, to a token that may list it.
//!
//! Receives a secret's place and the version that is known, says whether that is still so, or
//! nothing: then the secret is to be asked for by itself. Never fails, and never insists on a
//! listing that was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustify_derive::Endpoint;
use serde::Deserialize;
use tokio::sync::Mutex as Turn;

use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::snapshot::Version;
use crate::time::Moment;
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::kv::Metadata;
use crate::vault::wire::{Call, Wire};

/// Secrets of one folder from which on listing it is less work for the server.
const MANY: usize = 8;
/// The polls of one agent come together; those within this time share one answer.
const FRESH: Duration = Duration::from_millis(250);
/// How long a folder is left alone that could not be listed for now.
const TROUBLE: Duration = Duration::from_secs(600);
/// And one that this server does not list, or not for us: as good as for ever.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// The folders of which secrets were asked for.
#[derive(Default)]
pub(super) struct Folders(Mutex<BTreeMap<String, Arc<Turn<Folder>>>>);

#[derive(Default)]
struct Folder {
    polled: BTreeSet<String>,
    /// What was found, and when.
    listed: Option<(Moment, BTreeMap<String, Version>)>,
    /// Before this it is not listed again.
    not_before: Option<Moment>,
}

#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/detailed-metadata/{self.folder}", method = "LIST")]
struct ListMetadata {
    #[endpoint(skip)]
    mount: String,
    #[endpoint(skip)]
    folder: String,
}

#[derive(Deserialize)]
struct Listing {
    key_info: BTreeMap<String, Option<Metadata>>,
}

impl Folders {
    /// Whether `known` is the version of `path` in `mount`; `None` where only the secret itself
    /// can tell.
    pub(super) async fn is_current(
        &self,
        wire: &Wire,
        token: &Secret,
        (mount, path): (&str, &str),
        known: &Version,
    ) -> Option<bool> {
        // At the top there are secrets of everybody.
        let (name, secret) = path.rsplit_once('/')?;
        let place = format!("{mount}/{name}");
        let folder = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(place).or_default().clone()
        };
        let now = wire.now();
        let mut folder = folder.lock().await;
        folder.polled.insert(secret.to_owned());
        let refused = folder.not_before.is_some_and(|at| now < at);
        if folder.polled.len() < MANY || refused {
            return None;
        }
        if folder.listed.as_ref().is_none_or(|(answered, _)| now.since(*answered) > FRESH) {
            folder.listed = None;
            match list(wire, token, mount, name).await {
                Ok(found) => folder.listed = Some((wire.now(), found)),
                Err(failure) => folder.not_before = Some(wire.now() + pause(&failure)),
            }
        }
        let (_, versions) = folder.listed.as_ref()?;
        Some(versions.get(secret) == Some(known))
    }
}

/// How long a folder that could not be listed is left alone.
fn pause(failure: &Failure) -> Duration {
    match failure.class {
        Class::Again { .. } | Class::Unclear => TROUBLE,
        Class::Denied | Class::Missing | Class::Gone | Class::Conflict | Class::Ours => NEVER,
    }
}

async fn list(
    wire: &Wire,
    token: &Secret,
    mount: &str,
    folder: &str,
) -> Result<BTreeMap<String, Version>, Failure> {
    let call = Call {
        operation: Operation::ReadMetadata,
        doing: format!("list `{mount}/detailed-metadata/{folder}`"),
        token: Some(token),
        hidden: Vec::new(),
    };
    let request = ListMetadata { mount: mount.to_owned(), folder: folder.to_owned() };
    let answer: Envelope<Listing> = wire.send(&call, &request).await?;
    let all = answer.data.into_iter().flat_map(|listing| listing.key_info);
    Ok(all.filter_map(|(name, secret)| Some((name, secret?.whole(None)?))).collect())
}
