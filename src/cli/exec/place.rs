//! A directory in memory for one run of `exec`.
//!
//! Receives the environment, gives a directory that is gone afterwards. Never leaves one with anything
//! in it behind for longer than to the next run: one whose process was killed is swept away by that.

use std::fs::{DirBuilder, File, OpenOptions, metadata, read_dir, remove_dir_all, rename};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;

use crate::config::environment::Environment;
use crate::error::{Class, Failure};
use crate::secret::hex;

/// Where memory is, if the user has no place of their own.
const SHARED: &str = "/dev/shm";

const PREFIX: &str = "leasehold-exec-";

/// Until it is locked it has another name, or another run could sweep it away.
const UNLOCKED: &str = "leasehold-new-";

/// The directory.
pub(super) struct Place {
    path: PathBuf,
    /// Locked for as long as this process lives.
    _lock: File,
}

impl Place {
    /// Makes it below the user's own directory in memory, else where all have theirs.
    pub(super) fn make(environment: &Environment) -> Result<Self, Failure> {
        let own = environment.get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| {
            metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
        });
        let parent = own.unwrap_or_else(|| PathBuf::from(SHARED));
        sweep(&parent);
        make_below(&parent).map_err(|error| {
            let text = format!("make a private directory in `{}`: {error}", parent.display());
            Failure::new(Class::Ours, text)
                .hint("set `XDG_RUNTIME_DIR` to a directory in memory that you may write to")
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The next run tries again.
        let _ = remove_dir_all(&self.path);
    }
}

fn make_below(parent: &Path) -> io::Result<Place> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let name = hex(&random);
    let unlocked = parent.join(format!("{UNLOCKED}{name}"));
    DirBuilder::new().mode(0o700).create(&unlocked)?;
    let lock = open(&unlocked)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    let path = parent.join(format!("{PREFIX}{name}"));
    rename(&unlocked, &path)?;
    Ok(Place { path, _lock: lock })
}

/// Removes what runs left that were killed.
fn sweep(parent: &Path) {
    let Ok(entries) = read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw());
        if !ours {
            continue;
        }
        let path = entry.path();
        // Held until it is gone.
        let Ok(lock) = open(&path) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Another run may be at it.
            let _ = remove_dir_all(path);
        }
    }
}

fn open(directory: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(directory)
}
