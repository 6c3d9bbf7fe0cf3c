//! What went wrong in the publish directory, for people.

use std::fmt::Display;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Class, Failure};

/// `doing` failed below `directory`.
pub(super) fn failure(doing: impl Display, directory: &Path, errno: Errno) -> Failure {
    let (class, hint) = match errno {
        Errno::NOSPC | Errno::DQUOT => (
            Class::Again { after: None },
            Some("free space there, or raise the volume's size limit (bytes, or number of files)"),
        ),
        Errno::NOMEM | Errno::NFILE | Errno::MFILE | Errno::IO | Errno::BUSY => {
            (Class::Again { after: None }, None)
        }
        Errno::ACCESS | Errno::PERM => (
            Class::Denied,
            Some("the directory must belong to the user that leasehold runs as, writable by it"),
        ),
        Errno::ROFS => {
            (Class::Denied, Some("mount it writable for leasehold, read-only only for the app"))
        }
        Errno::NOENT => (
            Class::Ours,
            Some("the directory was removed while leasehold held it; restart leasehold"),
        ),
        Errno::NOSYS => (Class::Ours, Some("Linux 5.6 or later is needed, with openat2 allowed")),
        _ => (Class::Ours, None),
    };
    let text = format!("{doing} below `{}`: {errno}", directory.display());
    let failure = Failure::new(class, text);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
