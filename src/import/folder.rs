//! Secrets that are in a KV engine already, at one path or below it.
//!
//! Receives a path, gives what is there with the way to it. Never follows more than a folder that
//! a person could have filled.

use std::cell::Cell;

use crate::error::{Class, Failure};
use crate::import::told;
use crate::secret::Secret;
use crate::snapshot::Fields;
use crate::timeline::{Error, go_on};
use crate::vault::{Place, Vault};

/// More secrets than that are not somebody's folder.
const MOST: usize = 10_000;

/// What is at `path`; of a folder, whose path ends with a slash, all below it, each with the path
/// from there on.
///
/// # Errors
/// `Missing` where nothing is.
pub async fn folder(
    vault: &Vault,
    token: &Secret,
    path: &str,
    stop: &Cell<bool>,
) -> Result<Vec<(String, Fields)>, Error> {
    let place = vault.place(token, path).await.map_err(told)?;
    let below = match path.ends_with('/') {
        true => below(vault, token, &place, stop).await?,
        false => vec![String::new()],
    };
    let mut found = Vec::new();
    for rest in below {
        go_on(stop)?;
        let place = joined(&place, &rest);
        let kept = vault.kept(token, &place).await.map_err(Error::Failed)?;
        // One that is deleted is listed all the same.
        if !kept.fields.is_empty() {
            found.push((rest, kept.fields));
        }
    }
    if found.is_empty() {
        let text = format!("read `{path}`: there is nothing");
        let failure = Failure::new(Class::Missing, text);
        return Err(Error::Failed(failure.hint("a folder's path ends with a slash")));
    }
    Ok(found)
}

fn joined(place: &Place, rest: &str) -> Place {
    let path = format!("{}/{rest}", place.path);
    Place { path: path.trim_matches('/').to_owned(), ..place.clone() }
}

async fn below(
    vault: &Vault,
    token: &Secret,
    top: &Place,
    stop: &Cell<bool>,
) -> Result<Vec<String>, Error> {
    let (mut folders, mut secrets) = (vec![String::new()], Vec::new());
    while let Some(folder) = folders.pop() {
        go_on(stop)?;
        let names = match vault.names(token, &joined(top, &folder)).await {
            Ok(names) => names,
            Err(failure) if failure.class == Class::Missing => continue,
            Err(failure) => return Err(Error::Failed(failure)),
        };
        for name in names {
            let path = format!("{folder}{name}");
            if name.ends_with('/') { folders.push(path) } else { secrets.push(path) }
        }
        if secrets.len() + folders.len() > MOST {
            let text = format!("list `{}/{}`: there are more than {MOST}", top.mount, top.path);
            let failure = Failure::new(Class::Ours, text);
            return Err(Error::Failed(failure.hint("take it one folder after the other")));
        }
    }
    secrets.sort();
    Ok(secrets)
}
