//! The names in a publish directory.
//!
//! Receives names found there, gives what they stand for. Never takes a name for ours that is not
//! exactly as we make them.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::rand;

use crate::error::{Class, Failure};
use crate::render::Rendering;
use crate::secret::hex;
use crate::snapshot::Generation;

/// The link to what is visible.
pub(super) const CURRENT: &str = "current";
/// Holds a directory for each generation.
pub(super) const GENERATIONS: &str = ".generations";
/// What people and probes read.
pub(super) const STATUS: &str = "status.json";
/// In [`GENERATIONS`]: room for one more set.
pub(super) const RESERVE: &str = "reserve";

/// Beyond this a number in a name is not one that we counted to.
const LARGEST: u64 = 1 << 53;

/// The name of a generation's directory. The random part keeps apart a set and its repair, and
/// cannot be guessed by whoever would like to be there first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GenerationName {
    /// The number.
    pub(super) generation: Generation,
    tag: String,
}

impl GenerationName {
    /// A new name for `generation`.
    pub(super) fn new(generation: Generation) -> Result<Self, Failure> {
        random().map(|tag| Self { generation, tag })
    }

    /// What the directory is called until it is whole.
    pub(super) fn unfinished(&self) -> String {
        format!("{UNFINISHED}{}", self.tag)
    }

    /// What [`CURRENT`] says when this is visible.
    pub(super) fn target(&self) -> String {
        format!("{GENERATIONS}/{self}")
    }

    /// The name that a directory in [`GENERATIONS`] has.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (number, tag) = name.split_once('-')?;
        let generation = Generation(number.parse().ok().filter(|number| *number <= LARGEST)?);
        let parsed = Self { generation, tag: tag.to_owned() };
        (is_tag(tag) && parsed.to_string() == name).then_some(parsed)
    }

    /// The name that [`CURRENT`] points to.
    pub(super) fn parse_target(target: &str) -> Option<Self> {
        Self::parse(target.strip_prefix(GENERATIONS)?.strip_prefix('/')?)
    }
}

impl fmt::Display for GenerationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.tag)
    }
}

const UNFINISHED: &str = "new-";
const TEMPORARY: &str = ".new-";

/// A new name for a link or file that is about to replace another.
pub(super) fn temporary() -> Result<String, Failure> {
    random().map(|tag| format!("{TEMPORARY}{tag}"))
}

/// Whether a killed process left this in the publish directory.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(is_tag)
}

/// Whether a killed process left this in [`GENERATIONS`].
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_prefix(UNFINISHED).is_some_and(is_tag)
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes)
        .map_err(|_| Failure::new(Class::Ours, "name a file: the system has no randomness"))?;
    Ok(hex(&bytes))
}

fn is_tag(tag: &str) -> bool {
    tag.len() == 16 && tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The names in the publish directory under which a set's files are always found: links to the
/// same name in [`CURRENT`].
pub(super) fn stable(rendering: &Rendering) -> BTreeSet<&str> {
    rendering.files.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}

/// What the stable link `name` says.
pub(super) fn stable_target(name: &str) -> String {
    format!("{CURRENT}/{name}")
}

/// Refuses paths that lead out of the set, clash with each other, or with names of ours.
pub(super) fn check_paths(rendering: &Rendering) -> Result<(), Failure> {
    for path in rendering.files.keys() {
        let problem = if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "every part of it must be a name"
        } else if path.contains('\0') || path.split('/').any(|part| part.len() > 255) {
            "a part of it is no name that a file can have"
        } else if path.split('/').count() > 16 {
            "it is deeper than 16 directories"
        } else if path.split('/').next().is_some_and(is_ours) {
            "this name is taken by the publish directory itself"
        } else if parents(path).any(|parent| rendering.files.contains_key(parent)) {
            "another file has the name of its directory"
        } else {
            continue;
        };
        let text = format!("publish `{path}`: {problem}");
        return Err(Failure::new(Class::Ours, text).hint("choose another name in publish.files"));
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    matches!(name, CURRENT | GENERATIONS | STATUS) || name.starts_with(TEMPORARY)
}

/// `a/b/c` has the parents `a` and `a/b`.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
