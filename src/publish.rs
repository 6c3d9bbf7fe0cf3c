//! The publish directory: all files of a generation become visible in one rename.
//!
//! Receives a [`Rendering`], gives a [`Visible`]. Never shows a partial set and never leaves the
//! directory that it was given.

mod directory;
mod failure;
mod names;
mod open;
mod replace;
mod set;
mod tmpfs;

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::agent::event::Visible;
use crate::error::{Class, Failure};
use crate::publish::directory::Directory;
use crate::publish::names::{CURRENT, GENERATIONS, GenerationName, STATUS};
use crate::publish::set::Owner;
use crate::render::Rendering;
use crate::snapshot::Generation;
use crate::time::Moment;

/// Where to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory that the app mounts.
    pub directory: PathBuf,
    /// Allow a directory that is not memory-backed.
    pub allow_disk: bool,
    /// Allow a directory that others may write.
    pub allow_writers: bool,
    /// How long a generation that is no longer pointed to is kept for readers that still have it.
    pub keep: Duration,
}

/// The directory, opened, checked and swept.
///
/// # How a set becomes visible
///
/// What readers see if the process dies after a step is in brackets. Nothing depends on a step
/// that follows: the next [`Publisher::open`] sweeps, the next publish does the rest.
///
/// 1. Give up the room that was kept. \[old set]
/// 2. Make `.generations/new-<random>`, mode 0700. \[old set; `open` sweeps it]
/// 3. Write every file there, with its last mode. \[old set; swept]
/// 4. Open the directory to readers and call it `.generations/<number>-<random>`. \[old set; swept,
///    as its number is higher than the visible one; a repair's is kept like an old generation]
/// 5. Put right the links by which files are found under names that stay: `app.env ->
///    current/app.env`, `db -> current/db`. \[old set; a new name leads nowhere yet]
/// 6. Make a link to the new directory under a random name. \[old set; `open` sweeps it]
/// 7. Rename it to `current`. **This is the moment.** \[new set, and so from here on]
/// 8. Remove links to names that the set no longer has. \[they lead nowhere]
/// 9. Remove old generations, all but the last two and those that `current` showed within
///    [`Settings::keep`]. \[they take space]
/// 10. Keep room for one more set. \[the next rehearsal does]
///
/// A step up to 7 that fails is a failed publish: what was made is removed and the old set stays.
/// A step behind 7 that fails is done again at the next publish.
pub struct Publisher {
    settings: Settings,
    root: Directory,
    in_memory: bool,
    directory_mode: u32,
    visible: Option<GenerationName>,
    /// What `visible` holds, once this process has published or recognised it.
    shown: Option<(Rendering, Owner)>,
    /// The highest number that is known to have been used.
    last: Generation,
    past: Vec<Past>,
    hook: Option<Box<dyn FnMut(Step) + Send>>,
}

/// A generation that readers may still have open.
struct Past {
    name: GenerationName,
    /// When it was last pointed to, or when that was first asked.
    since: Option<Moment>,
}

/// The steps of [`Publisher`], for a test that ends the process behind one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// (1)
    RoomGivenUp,
    /// (2)
    DirectoryMade,
    /// (3)
    FilesWritten,
    /// (4)
    Sealed,
    /// (5)
    NamesLinked,
    /// (6)
    CurrentPrepared,
    /// (7)
    MadeVisible,
    /// (8)
    NamesUnlinked,
    /// (9)
    PastRemoved,
    /// (10)
    RoomKept,
}

impl Publisher {
    /// Makes the directory where it is missing, checks it, sweeps what a killed process left.
    ///
    /// # Errors
    /// When it cannot be made, is not memory-backed, or others may write it.
    pub fn open(settings: Settings) -> Result<Self, Failure> {
        let open::Found { root, in_memory, directory_mode, visible, past, last } =
            open::open(&settings)?;
        let past = past.into_iter().map(|name| Past { name, since: None }).collect();
        let (shown, hook) = (None, None);
        Ok(Self { settings, root, in_memory, directory_mode, visible, shown, last, past, hook })
    }

    /// Calls `hook` behind each step. A hook that panics leaves the directory as a killed process
    /// would: nothing is undone on unwinding.
    pub fn at_step(&mut self, hook: impl FnMut(Step) + Send + 'static) {
        self.hook = Some(Box::new(hook));
    }

    /// Keeps a generation so long from now on for readers that still have it.
    pub fn keep(&mut self, span: Duration) {
        self.settings.keep = span;
    }

    /// The generation that is visible now; zero when there is none.
    pub fn generation(&self) -> Generation {
        self.visible.as_ref().map_or(Generation(0), |name| name.generation)
    }

    /// Whether this process has published or recognised what is visible.
    pub fn has_published(&self) -> bool {
        self.shown.is_some()
    }

    /// Tries whether a set of this size could be published, and keeps room for it.
    ///
    /// # Errors
    /// `Again` when there is too little room, else what [`Publisher::publish`] would say.
    pub fn rehearse(&mut self, rendering: &Rendering) -> Result<(), Failure> {
        names::check_paths(rendering)?;
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(self.root.fd(), ".", access, AtFlags::EACCESS)
            .map_err(|errno| self.failure("write", errno))?;
        self.clear_the_way(rendering)?;
        tmpfs::keep_room(&self.generations()?, rendering)
            .map_err(|errno| self.failure("keep room for the next set", errno))
    }

    /// Makes `rendering` visible as `generation`, or finds it visible already and says under which
    /// number. A number that was used before is replaced by the next one.
    ///
    /// # Errors
    /// `Again` when there is too little room, `Denied` when the directory cannot be written, `Ours`
    /// for paths that cannot be; then readers see what they saw before.
    pub fn publish(
        &mut self,
        now: Moment,
        generation: Generation,
        rendering: Rendering,
    ) -> Result<Visible, Failure> {
        names::check_paths(&rendering)?;
        if let Some(visible) = &self.visible
            && let Some(owner) = self.recognise(visible, &rendering)
        {
            let generation = visible.generation;
            self.shown = Some((rendering, owner));
            self.tidy(now);
            return Ok(Visible { generation, changed: false });
        }
        let generation = generation.max(self.last.next());
        self.replace(now, generation, rendering)
    }

    /// The first file that is not as it was published.
    pub fn drift(&self) -> Option<String> {
        match (&self.visible, &self.shown) {
            (Some(visible), Some((rendering, owner))) => {
                self.difference(visible, rendering, *owner)
            }
            (None, _) | (_, None) => None,
        }
    }

    /// Puts the visible generation back as it was published, in a new directory.
    ///
    /// # Errors
    /// Those of [`Publisher::publish`]; `Ours` when this process has published nothing yet.
    pub fn repair(&mut self, now: Moment) -> Result<Visible, Failure> {
        match &self.shown {
            Some((rendering, _)) => self.replace(now, self.generation(), rendering.clone()),
            None => Err(Failure::new(Class::Ours, "repair: nothing was published yet")),
        }
    }

    /// Replaces `status.json`.
    ///
    /// # Errors
    /// `Again` when there is too little room, `Denied` when the directory cannot be written.
    pub fn write_status(&mut self, json: &[u8]) -> Result<(), Failure> {
        let temporary = names::temporary()?;
        self.root
            .create(&temporary, 0o644, json, !self.in_memory)
            .and_then(|()| self.root.rename(&temporary, STATUS))
            .map_err(|errno| {
                // Best effort: the failure at hand matters more, and `open` sweeps.
                let _ = self.root.remove(temporary.as_str());
                self.failure(&format!("write `{STATUS}`"), errno)
            })
    }

    /// Whether exactly `rendering` is what readers see, and then whose files they are.
    fn recognise(&self, visible: &GenerationName, rendering: &Rendering) -> Option<Owner> {
        let stat = self.root.directory(visible.target()).and_then(|set| set.stat()).ok()?;
        let uid = rustix::process::geteuid().as_raw();
        let owner = Owner { uid, gid: stat.st_gid };
        self.difference(visible, rendering, owner).is_none().then_some(owner)
    }

    fn difference(
        &self,
        visible: &GenerationName,
        rendering: &Rendering,
        owner: Owner,
    ) -> Option<String> {
        if self.root.link(CURRENT).is_none_or(|link| link != visible.target()) {
            return Some(CURRENT.to_owned());
        }
        let stable = names::stable(rendering).into_iter().find(|name| {
            self.root.link(name).is_none_or(|link| link != names::stable_target(name))
        });
        let generations = self.root.directory(GENERATIONS).and_then(|found| found.stat());
        if generations.is_ok_and(|stat| stat.st_mode & 0o777 != set::DIRECTORY_MODE) {
            return Some(GENERATIONS.to_owned());
        }
        match (stable, self.root.directory(visible.target())) {
            (Some(name), _) => Some(name.to_owned()),
            (None, Ok(set)) => set::difference(&set, rendering, owner),
            (None, Err(_)) => Some(CURRENT.to_owned()),
        }
    }

    fn generations(&self) -> Result<Directory, Failure> {
        open::generations(&self.root, self.directory_mode, &self.settings)
    }

    /// On a disk a rename may be stored before what it makes visible.
    fn sync(&self, directory: &Directory) -> rustix::io::Result<()> {
        if self.in_memory { Ok(()) } else { rustix::fs::fsync(directory.fd()) }
    }

    fn failure(&self, doing: &str, errno: Errno) -> Failure {
        failure::failure(doing, &self.settings.directory, errno)
    }

    fn reached(&mut self, step: Step) {
        if let Some(hook) = &mut self.hook {
            hook(step);
        }
    }
}
