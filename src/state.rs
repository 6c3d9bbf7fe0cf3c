//! What the next process takes over, in one file.
//!
//! Receives what the agent keeps, gives it back after a restart. The directory is ours alone
//! (0700, memory-backed), locked for the life of the process; the file is 0600 and replaced in one
//! rename.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::agent::Kept;
use crate::error::{Class, Failure};
use crate::secret::{Secret, stored};
use crate::time::Epoch;

const VERSION: u32 = 1;
const FILE: &str = "state.json";
const NEW_FILE: &str = "state.json.new";
const LOCK: &str = "lock";

/// Where the state lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Memory-backed, ours alone.
    pub directory: PathBuf,
    /// Allow a directory that is not memory-backed.
    pub allow_disk: bool,
}

/// The state directory, checked and locked.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    key: Secret,
    /// Holds the lock until the process ends.
    _lock: File,
}

/// What a state file holds.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u32,
    epoch: Epoch,
    /// Keys the hashes that we show or remember; random, made with the first state.
    #[serde(with = "stored")]
    key: Secret,
    agent: std::borrow::Cow<'a, Kept>,
}

/// What an earlier process left.
#[derive(Debug)]
pub struct Found {
    /// The scale of its moments.
    pub epoch: Epoch,
    /// What its agent kept.
    pub agent: Kept,
}

/// Why the state directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds it.
    Locked(Failure),
    /// Anything else.
    Unusable(Failure),
}

impl Store {
    /// Makes the directory where it is missing, checks and locks it, and reads what is there.
    ///
    /// # Errors
    /// `Locked` while another process runs on it; `Unusable` when it is not ours alone, not
    /// memory-backed, or holds a file that cannot be read (which is left as it is).
    pub fn open(settings: &Settings) -> Result<(Self, Option<Found>), OpenError> {
        let directory = &settings.directory;
        prepare(settings).map_err(OpenError::Unusable)?;
        let lock = lock(directory)?;
        let found = read(directory, us()).map_err(OpenError::Unusable)?;
        let (key, found) = match found {
            Some(Stored { key, epoch, agent, .. }) => {
                (key, Some(Found { epoch, agent: agent.into_owned() }))
            }
            None => (Secret::random().map_err(OpenError::Unusable)?, None),
        };
        Ok((Self { directory: directory.clone(), key, _lock: lock }, found))
    }

    /// Keys the hashes by which refused credentials and published files are known again.
    pub fn key(&self) -> &[u8] {
        self.key.expose().as_bytes()
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written; the file before it stays.
    pub fn write(&self, epoch: &Epoch, agent: &Kept) -> Result<(), Failure> {
        let stored = Stored {
            version: VERSION,
            epoch: epoch.clone(),
            key: self.key.clone(),
            agent: std::borrow::Cow::Borrowed(agent),
        };
        let (new, path) = (self.directory.join(NEW_FILE), self.directory.join(FILE));
        let write = || -> std::io::Result<()> {
            let bytes = Zeroizing::new(serde_json::to_vec(&stored)?);
            let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
            let mut file = match create() {
                // Never write through what somebody may have put there before the directory was
                // closed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    std::fs::remove_file(&new)?;
                    create()?
                }
                other => other?,
            };
            file.write_all(&bytes)?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|error| {
            Failure::new(
                Class::Again { after: None },
                format!("write the state to `{}`: {error}", path.display()),
            )
            .hint("give the state directory room and let only this user write it")
        })
    }
}

fn prepare(settings: &Settings) -> Result<(), Failure> {
    let directory = &settings.directory;
    let shown = directory.display();
    let above = directory.parent().map_or(Ok(()), make_passable);
    let made = above.and_then(|()| match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    });
    made.map_err(|error| {
        Failure::new(Class::Ours, format!("make the state directory `{shown}`: {error}"))
            .hint("mount a memory-backed volume there that this user may write")
    })?;
    let meta = std::fs::symlink_metadata(directory).map_err(|error| {
        Failure::new(Class::Ours, format!("look at the state directory `{shown}`: {error}"))
    })?;
    if meta.is_symlink() {
        return Err(Failure::new(Class::Ours, format!("the state directory `{shown}` is a link"))
            .hint(
                "name the directory itself: who can replace a link can lead the agent elsewhere",
            ));
    }
    let (owner, us) = (meta.uid(), us());
    if owner != us {
        let text = format!("the state directory `{shown}` belongs to uid {owner}, we are uid {us}");
        return Err(Failure::new(Class::Ours, text).hint(
            "run every Leasehold of a pod as one user; where the mount belongs to root, name a \
             directory below it that does not exist yet",
        ));
    }
    if meta.mode() & 0o077 != 0 {
        close_to_others(directory)?;
    }
    if !settings.allow_disk && !memory_backed(directory) {
        let text = format!("the state directory `{shown}` is not in memory");
        return Err(Failure::new(Class::Ours, text)
            .hint("mount a tmpfs there, or set `state.allow_disk: true` for development"));
    }
    Ok(())
}

/// Makes `path` and what is missing above it, whatever the umask. Others may pass: the service's
/// files may be below it too.
fn make_passable(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_passable)?;
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// What is ours but open we close.
fn close_to_others(directory: &Path) -> Result<(), Failure> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(|error| {
        let shown = directory.display();
        Failure::new(Class::Ours, format!("close the state directory `{shown}` to others: {error}"))
            .hint("let the state directory belong to this user with mode 0700")
    })
}

fn memory_backed(directory: &Path) -> bool {
    use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    statfs(directory).is_ok_and(|found| {
        let kind = found.filesystem_type();
        kind == TMPFS_MAGIC || kind == RAMFS_MAGIC
    })
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let unusable = |error: std::io::Error| {
        let text = format!("lock the state directory by `{}`: {error}", path.display());
        OpenError::Unusable(Failure::new(Class::Ours, text))
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text =
                format!("another process holds the state directory `{}`", directory.display());
            let failure = Failure::new(Class::Again { after: None }, text);
            Err(OpenError::Locked(
                failure
                    .hint("stop the other Leasehold, or give this one its own `state.directory`"),
            ))
        }
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn us() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// What the agent of `directory` keeps, while it may be running; nothing where there is no file.
/// Takes no lock: the file is replaced as a whole. Root reads what belongs to the directory's owner.
///
/// # Errors
/// When there is a file that cannot be read, of another version among others.
pub fn look(directory: &Path) -> Result<Option<Found>, Failure> {
    let owner = match std::fs::metadata(directory) {
        Ok(meta) if us() == 0 => meta.uid(),
        Ok(_) | Err(_) => us(),
    };
    let found = read(directory, owner).map_err(|failure| {
        failure.hint(
            "ask as the agent's user, with the Leasehold that wrote it: without its state the \
             agent's leases would be taken for nobody's",
        )
    })?;
    Ok(found.map(|Stored { epoch, agent, .. }| Found { epoch, agent: agent.into_owned() }))
}

fn read(directory: &Path, owner: u32) -> Result<Option<Stored<'static>>, Failure> {
    let path = directory.join(FILE);
    let mut bytes = Zeroizing::new(Vec::new());
    match read_of(owner, &path, &mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("read the state from `{}`: {error}", path.display());
            return Err(Failure::new(Class::Ours, text));
        }
    }
    let unreadable = |what: String| {
        let text = format!("read the state from `{}`: {what}", path.display());
        Failure::new(Class::Ours, text)
            .hint("its leases end by themselves; move the file away to start anew, with new leases")
    };
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    // A serde error could quote what it stumbled over, so only its place is told.
    let place = |error: serde_json::Error| {
        unreadable(format!("not as we wrote it (line {}, column {})", error.line(), error.column()))
    };
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(place)?;
    if version != VERSION {
        return Err(unreadable(format!("version {version}, this program knows version {VERSION}")));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(place)
}

/// Follows no link and takes no file of somebody else: it decides what is renewed and ended.
fn read_of(owner: u32, path: &Path, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut file = File::from(open(path, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != owner {
        return Err(std::io::Error::new(ErrorKind::InvalidData, "it is no file of ours"));
    }
    file.read_to_end(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    fn settings() -> (tempfile::TempDir, Settings) {
        let base = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let directory = base.path().join("state");
        (base, Settings { directory, allow_disk: false })
    }

    #[test]
    fn what_was_written_is_found_again() {
        let (_base, settings) = settings();
        let clock = Clock::resume(None);
        let (store, found) = Store::open(&settings).expect("opened");
        assert!(found.is_none());
        let epoch = clock.epoch();
        store.write(&epoch, &Kept::default()).expect("written");
        let key = store.key().to_vec();
        drop(store);
        let (store, found) = Store::open(&settings).expect("opened again");
        assert_eq!(found.expect("a state").epoch, epoch);
        assert_eq!(store.key(), key);
        let meta = std::fs::metadata(settings.directory.join(FILE)).expect("the file");
        assert_eq!(meta.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_process_is_told_to_wait() {
        let (_base, settings) = settings();
        let _store = Store::open(&settings).expect("opened");
        assert!(matches!(Store::open(&settings), Err(OpenError::Locked(_))));
    }

    #[test]
    fn a_state_that_cannot_be_read_is_left_as_it_is_and_not_quoted() {
        let (_base, settings) = settings();
        drop(Store::open(&settings).expect("opened"));
        let path = settings.directory.join(FILE);
        for text in ["{\"version\":1,\"key\":\"canary", "{\"version\":9}", "canary"] {
            std::fs::write(&path, text).expect("written");
            let Err(OpenError::Unusable(failure)) = Store::open(&settings) else {
                panic!("opened {text}");
            };
            assert!(!failure.to_string().contains("canary"), "{failure}");
            assert!(failure.hint.is_some());
            assert_eq!(std::fs::read_to_string(&path).expect("the file"), text);
        }
    }

    #[test]
    fn a_look_needs_no_lock_and_changes_nothing() {
        let (_base, settings) = settings();
        assert!(look(&settings.directory).expect("no directory").is_none());
        let (store, _) = Store::open(&settings).expect("opened");
        assert!(look(&settings.directory).expect("no file").is_none());
        let epoch = Clock::resume(None).epoch();
        store.write(&epoch, &Kept::default()).expect("written");
        let found = look(&settings.directory).expect("read").expect("a state");
        assert_eq!(found.epoch, epoch);
        std::fs::write(settings.directory.join(FILE), "{\"version\":9}").expect("written");
        let failure = look(&settings.directory).expect_err("another version");
        assert!(failure.text.contains("version 9, this program knows version 1"), "{failure}");
        assert!(failure.to_string().contains("the Leasehold that wrote it"), "{failure}");
    }

    #[test]
    fn a_directory_on_disk_is_refused() {
        let base = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on disk");
        let settings = Settings { directory: base.path().join("state"), allow_disk: false };
        let Err(OpenError::Unusable(failure)) = Store::open(&settings) else { panic!("opened") };
        assert!(failure.text.ends_with("is not in memory"), "{failure}");
        Store::open(&Settings { allow_disk: true, ..settings }).expect("opened");
    }

    #[test]
    fn a_link_that_was_planted_is_not_followed() {
        let (base, settings) = settings();
        let (store, _) = Store::open(&settings).expect("opened");
        let elsewhere = base.path().join("elsewhere");
        std::fs::write(&elsewhere, "theirs").expect("written");
        for name in [NEW_FILE, FILE] {
            std::os::unix::fs::symlink(&elsewhere, settings.directory.join(name)).expect("linked");
        }
        store.write(&Clock::resume(None).epoch(), &Kept::default()).expect("written");
        assert_eq!(std::fs::read_to_string(&elsewhere).expect("the file"), "theirs");
        drop(store);
        std::fs::remove_file(settings.directory.join(FILE)).expect("removed");
        std::os::unix::fs::symlink(&elsewhere, settings.directory.join(FILE)).expect("linked");
        assert!(matches!(Store::open(&settings), Err(OpenError::Unusable(_))));
        std::fs::rename(&settings.directory, base.path().join("real")).expect("moved");
        std::os::unix::fs::symlink("real", &settings.directory).expect("linked");
        let Err(OpenError::Unusable(failure)) = Store::open(&settings) else { panic!("opened") };
        assert!(failure.text.ends_with("is a link"), "{failure}");
    }
}
