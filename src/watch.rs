//! Notices that somebody changed the publish directory, or files that secrets come from.
//!
//! Receives what the kernel says of the directories, gives a wake-up at most every 50 ms. Never says
//! what changed, nor by whom: the caller compares.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Sleep;

use crate::error::{Class, Failure};

/// One publish is a dozen changes: they are told once.
const SETTLE: Duration = Duration::from_millis(50);
/// How often to have a look where the kernel does not tell.
const POLL: Duration = Duration::from_millis(500);
/// No set is deeper.
const DEPTH: usize = 32;

/// Watches some directories.
pub struct Watch {
    what: What,
    tell: Sender<()>,
    told: Receiver<()>,
    seen: Vec<Seen>,
    source: Source,
    sleep: Option<Pin<Box<Sleep>>>,
    degraded: Option<Failure>,
}

/// What is watched.
enum What {
    /// A publish directory, the set that its link `current` points to, and directories beside it.
    Published(PathBuf, BTreeSet<PathBuf>),
    /// The directories that files are in: a file may be replaced, and so may the link `..data` that
    /// the kubelet puts beside it.
    Around(BTreeSet<PathBuf>),
}

/// One directory. It is known by its inode: another one may get its name.
#[derive(PartialEq, Eq)]
struct Seen {
    directory: PathBuf,
    inode: Option<(u64, u64)>,
    /// Whether those below are watched too.
    deep: bool,
}

/// Where wake-ups come from.
enum Source {
    /// The kernel's watches, and the one thread that reads them.
    Kernel(#[expect(dead_code, reason = "it is held, not used")] RecommendedWatcher),
    /// A timer.
    Poll,
}

impl Watch {
    /// Starts to watch a publish directory and the set in it that is visible.
    pub fn new(directory: PathBuf) -> Self {
        Self::with(directory, BTreeSet::new())
    }

    /// The same, and what is right in the directories of `beside`: a user has 128 watches of the
    /// kernel, and an agent is to need one.
    pub fn with(directory: PathBuf, beside: BTreeSet<PathBuf>) -> Self {
        Self::begin(What::Published(directory, beside))
    }

    /// Starts to watch files, wherever they are.
    pub fn around<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let directories = files.into_iter().filter_map(|file| file.parent());
        Self::begin(What::Around(directories.map(Path::to_owned).collect()))
    }

    fn begin(what: What) -> Self {
        let (tell, told) = channel(1);
        let seen = what.look();
        let (source, degraded) = match watcher(&seen, &tell) {
            Ok(watcher) => (Source::Kernel(watcher), None),
            Err(error) => (Source::Poll, Some(failure(&seen, &error))),
        };
        Self { what, tell, told, seen, source, sleep: None, degraded }
    }

    /// Waits until something below the directory may have changed since the last call. Cancelling
    /// it loses nothing. Own publishes are changes too.
    pub async fn changed(&mut self) {
        let span = match &self.source {
            Source::Kernel(_) => SETTLE,
            Source::Poll => POLL,
        };
        if self.sleep.is_none() && matches!(self.source, Source::Kernel(_)) {
            // We hold a sender, so this ends with a word only.
            self.told.recv().await;
        }
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(span))).await;
        self.sleep = None;
        // What was told meanwhile is part of this wake-up.
        while self.told.try_recv().is_ok() {}
        self.follow();
    }

    /// Why the directory is polled, once each time when that begins.
    pub fn degraded(&mut self) -> Option<Failure> {
        self.degraded.take()
    }

    /// Watches what is visible now, unless it is watched already. A change that comes before is
    /// seen by the caller, who compares afterwards. Where the kernel refused, it is asked again
    /// when there is something else to watch.
    fn follow(&mut self) {
        let seen = self.what.look();
        if seen == self.seen {
            return;
        }
        self.source = match (watcher(&seen, &self.tell), &self.source) {
            (Ok(watcher), _) => Source::Kernel(watcher),
            (Err(_), Source::Poll) => Source::Poll,
            (Err(error), Source::Kernel(_)) => {
                self.degraded = Some(failure(&seen, &error));
                Source::Poll
            }
        };
        self.seen = seen;
    }
}

impl What {
    /// Every directory that there is to watch.
    fn look(&self) -> Vec<Seen> {
        match self {
            Self::Published(directory, beside) => {
                let set = visible(directory).map(|set| Seen::look(set, true));
                let beside = beside.iter().map(|one| Seen::look(one.clone(), false));
                let here = [Seen::look(directory.clone(), false)];
                here.into_iter().chain(set).chain(beside).collect()
            }
            Self::Around(directories) => {
                directories.iter().map(|one| Seen::look(one.clone(), false)).collect()
            }
        }
    }
}

impl Seen {
    fn look(directory: PathBuf, deep: bool) -> Self {
        let inode = fs::metadata(&directory).ok().map(|found| (found.dev(), found.ino()));
        Self { directory, inode, deep }
    }
}

/// A new watcher for all of them.
fn watcher(seen: &[Seen], tell: &Sender<()>) -> notify::Result<RecommendedWatcher> {
    let tell = tell.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, may_change) {
            // Full means that a wake-up is due already.
            let _ = tell.try_send(());
        }
    })?;
    for Seen { directory, deep, .. } in seen {
        match deep {
            true => watch_below(&mut watcher, directory, DEPTH)?,
            false => watcher.watch(directory, RecursiveMode::NonRecursive)?,
        }
    }
    Ok(watcher)
}

/// Readers open files all the time, and so does whoever compares: that is no change.
fn may_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(
            ModifyKind::Any
            | ModifyKind::Data(_)
            | ModifyKind::Metadata(_)
            | ModifyKind::Name(_)
            | ModifyKind::Other,
        )
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// Each directory by itself: a recursive watch would follow links.
fn watch_below(
    watcher: &mut RecommendedWatcher,
    directory: &Path,
    depth: usize,
) -> notify::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    for entry in entries {
        let entry = entry?;
        if depth > 0 && entry.file_type()?.is_dir() {
            watch_below(watcher, &entry.path(), depth - 1)?;
        }
    }
    Ok(())
}

/// The directory behind `current`, where that leads to one below and through no other link.
fn visible(directory: &Path) -> Option<PathBuf> {
    let target = fs::read_link(directory.join("current")).ok()?;
    if !target.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let mut path = directory.to_owned();
    for part in &target {
        path.push(part);
        if !path.symlink_metadata().ok()?.is_dir() {
            return None;
        }
    }
    Some(path)
}

fn failure(seen: &[Seen], error: &notify::Error) -> Failure {
    let because = match &error.kind {
        ErrorKind::MaxFilesWatch => "the limit of watches is reached".to_owned(),
        ErrorKind::Io(error) => error.to_string(),
        ErrorKind::Generic(_)
        | ErrorKind::PathNotFound
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_) => error.to_string(),
    };
    let directory = error.paths.first().or(seen.first().map(|first| &first.directory));
    let directory = directory.map(|path| path.display().to_string()).unwrap_or_default();
    let text =
        format!("watch `{directory}`: {because}; it is looked at every {} ms", POLL.as_millis());
    let failure = Failure::new(Class::Again { after: None }, text);
    if seen.iter().any(|one| one.inode.is_none()) {
        return failure.hint("make the directory; it is watched as soon as it is there");
    }
    failure.hint("raise fs.inotify.max_user_watches and fs.inotify.max_user_instances on the node")
}
