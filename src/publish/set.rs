//! One generation's files.
//!
//! Receives a directory and a rendering, writes the one into the other or finds where they differ.
//! Never follows a link.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

use crate::publish::directory::{Directory, reads};
use crate::publish::names::parents;
use crate::render::Rendering;

/// What a directory of a set has for its mode; the group bit comes from where it is.
pub(super) const DIRECTORY_MODE: u32 = 0o755;

/// No set is deeper.
const DEPTH: usize = 32;

/// Who owns every file of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// User.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
}

/// Writes every file into an empty directory.
///
/// # Errors
/// The path that could not be written, and why not.
pub(super) fn write<'a>(
    into: &Directory,
    rendering: &'a Rendering,
    directory_mode: u32,
    sync: bool,
) -> Result<(), (&'a str, Errno)> {
    for (path, file) in &rendering.files {
        let mut directory = None;
        for parent in parents(path) {
            let above = directory.as_ref().unwrap_or(into);
            let name = parent.rsplit('/').next().unwrap_or(parent);
            let below = match above.directory(name) {
                Ok(below) => below,
                Err(Errno::NOENT) => above
                    .make_directory(name)
                    .and_then(|below| below.set_mode(directory_mode).map(|()| below))
                    .map_err(|errno| (path.as_str(), errno))?,
                Err(errno) => return Err((path, errno)),
            };
            directory = Some(below);
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        directory
            .as_ref()
            .unwrap_or(into)
            .create(name, file.mode, &file.bytes, sync)
            .map_err(|errno| (path.as_str(), errno))?;
    }
    Ok(())
}

/// The first path in `set` that is not as `rendering` and `owner` say: another content, mode,
/// owner or type, missing, or too many.
pub(super) fn difference(set: &Directory, rendering: &Rendering, owner: Owner) -> Option<String> {
    let mut found = BTreeSet::new();
    if let Err(path) = collect(set, "", owner, DEPTH, &mut found) {
        return Some(path);
    }
    let mut expected = BTreeSet::new();
    for path in rendering.files.keys() {
        expected.extend(parents(path).map(|parent| format!("{parent}/")));
        expected.insert(path.clone());
    }
    if let Some(path) = found.symmetric_difference(&expected).next() {
        return Some(path.trim_end_matches('/').to_owned());
    }
    rendering.files.iter().find_map(|(path, file)| {
        let same = set.file(path).ok().is_some_and(|open| {
            let as_published = open.metadata().is_ok_and(|found| {
                found.is_file()
                    && found.mode() & 0o7777 == file.mode
                    && Owner { uid: found.uid(), gid: found.gid() } == owner
            });
            as_published && reads(open, &file.bytes)
        });
        (!same).then(|| path.clone())
    })
}

/// Every path below `directory`, that of a directory with `/` behind it; an error is a directory
/// that is not as we make them.
fn collect(
    directory: &Directory,
    path: &str,
    owner: Owner,
    depth: usize,
    found: &mut BTreeSet<String>,
) -> Result<(), String> {
    let odd = || if path.is_empty() { "current".to_owned() } else { path.to_owned() };
    let stat = directory.stat().map_err(|_| odd())?;
    let as_made = stat.st_mode & 0o777 == DIRECTORY_MODE
        && Owner { uid: stat.st_uid, gid: stat.st_gid } == owner;
    if !as_made || depth == 0 {
        return Err(odd());
    }
    for name in directory.entries().map_err(|_| odd())? {
        let path = match (path, name.to_string_lossy()) {
            ("", name) => name.into_owned(),
            (path, name) => format!("{path}/{name}"),
        };
        match directory.directory(name.as_c_str()) {
            Ok(below) => {
                collect(&below, &path, owner, depth - 1, found)?;
                found.insert(path + "/");
            }
            Err(_) => {
                found.insert(path);
            }
        }
    }
    Ok(())
}
