//! The steps of a publish, numbered as [`Publisher`] lists them.
//!
//! Receives a rendering and its number, makes it what readers see. Never undoes anything on
//! unwinding, so that a panic behind a step is as good as a kill there.

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::agent::event::Visible;
use crate::error::{Class, Failure};
use crate::publish::names::{self, CURRENT, GenerationName};
use crate::publish::set::{self, Owner};
use crate::publish::{Past, Publisher, Step, tmpfs};
use crate::render::Rendering;
use crate::snapshot::Generation;
use crate::time::Moment;

impl Publisher {
    /// All steps.
    pub(super) fn replace(
        &mut self,
        now: Moment,
        generation: Generation,
        rendering: Rendering,
    ) -> Result<Visible, Failure> {
        let name = GenerationName::new(generation)?;
        let mut placed = Vec::new();
        let owner = self.make_visible(&name, &rendering, &mut placed).inspect_err(|_| {
            self.discard(&name, &placed);
        })?;
        if let Some(name) = self.visible.replace(name) {
            self.past.push(Past { name, since: Some(now) });
        }
        self.last = self.last.max(generation);
        self.shown = Some((rendering, owner));
        self.tidy(now);
        Ok(Visible { generation, changed: true })
    }

    /// Steps 1 to 7. `placed` gets the stable names that were not there before.
    fn make_visible(
        &mut self,
        name: &GenerationName,
        rendering: &Rendering,
        placed: &mut Vec<String>,
    ) -> Result<Owner, Failure> {
        let generations = self.generations()?;
        // (1)
        tmpfs::give_up_room(&generations).map_err(|errno| self.failure("make room", errno))?;
        self.reached(Step::RoomGivenUp);
        // (2)
        let unfinished = name.unfinished();
        let making = format!("make `{unfinished}`");
        let directory = generations
            .make_directory(&unfinished)
            .map_err(|errno| self.failure(&making, errno))?;
        self.reached(Step::DirectoryMade);
        // (3)
        set::write(&directory, rendering, self.directory_mode, !self.in_memory)
            .map_err(|(path, errno)| self.failure(&format!("write `{path}`"), errno))?;
        self.reached(Step::FilesWritten);
        // (4)
        let owner = directory
            .set_mode(self.directory_mode)
            .and_then(|()| generations.rename(&unfinished, &name.to_string()))
            .and_then(|()| self.sync(&generations))
            .and_then(|()| directory.stat())
            .map(|stat| Owner { uid: stat.st_uid, gid: stat.st_gid })
            .map_err(|errno| self.failure(&making, errno))?;
        self.reached(Step::Sealed);
        // (5)
        self.clear_the_way(rendering)?;
        for stable in names::stable(rendering) {
            let target = names::stable_target(stable);
            if self.root.link(stable).is_some_and(|link| link == target) {
                continue;
            }
            if self.root.kind(stable).is_ok_and(|kind| kind.is_none()) {
                placed.push(stable.to_owned());
            }
            self.place_link(stable, &target, None)?;
        }
        self.reached(Step::NamesLinked);
        // (6) and (7)
        self.place_link(CURRENT, &name.target(), Some(Step::CurrentPrepared))?;
        self.reached(Step::MadeVisible);
        Ok(owner)
    }

    /// Undoes steps 1 to 6. Best effort: the failure at hand matters more, and `open` sweeps.
    fn discard(&mut self, name: &GenerationName, placed: &[String]) {
        for stable in placed {
            let _ = self.root.remove(stable.as_str());
        }
        if let Ok(generations) = self.generations() {
            let _ = generations.remove_tree(&name.unfinished());
            let _ = generations.remove_tree(&name.to_string());
            if let Some((rendering, _)) = &self.shown {
                let _ = tmpfs::keep_room(&generations, rendering);
            }
        }
    }

    /// Steps 8 to 10. What fails is tried again at the next publish.
    pub(super) fn tidy(&mut self, now: Moment) {
        let Some((rendering, _)) = &self.shown else { return };
        // (8)
        let stable = names::stable(rendering);
        for name in self.root.names().unwrap_or_default() {
            let target = names::stable_target(&name);
            let ours = self.root.link(&name).is_some_and(|link| link == target);
            if ours && !stable.contains(name.as_str()) {
                let _ = self.root.remove(name.as_str());
            }
        }
        self.reached(Step::NamesUnlinked);
        // (9)
        let Ok(generations) = self.generations() else { return };
        let newest = self.past.len().saturating_sub(1);
        let mut index = 0;
        self.past.retain_mut(|past| {
            let is_newest = index == newest;
            index += 1;
            let since = *past.since.get_or_insert(now);
            let kept = is_newest || now.since(since) < self.settings.keep;
            kept || generations.remove_tree(&past.name.to_string()).is_err()
        });
        self.reached(Step::PastRemoved);
        // (10)
        if let Some((rendering, _)) = &self.shown {
            let _ = tmpfs::keep_room(&generations, rendering);
        }
        self.reached(Step::RoomKept);
    }

    /// Makes `name` a link to `target`, whatever it was before.
    fn place_link(&mut self, name: &str, target: &str, made: Option<Step>) -> Result<(), Failure> {
        let temporary = names::temporary()?;
        let linking = format!("link `{name}`");
        self.root.make_link(&temporary, target).map_err(|errno| self.failure(&linking, errno))?;
        if let Some(step) = made {
            self.reached(step);
        }
        self.root
            .rename(&temporary, name)
            .inspect_err(|_| {
                let _ = self.root.remove(temporary.as_str());
            })
            .map_err(|errno| self.failure(&linking, errno))?;
        // The link is there: it is too late to fail.
        let _ = self.sync(&self.root);
        Ok(())
    }

    /// Removes empty directories where links shall be; one with something in it is not ours to
    /// remove.
    pub(super) fn clear_the_way(&self, rendering: &Rendering) -> Result<(), Failure> {
        for name in names::stable(rendering).into_iter().chain([CURRENT]) {
            let looking = format!("replace `{name}`");
            let kind = self.root.kind(name).map_err(|errno| self.failure(&looking, errno))?;
            if kind != Some(FileType::Directory) {
                continue;
            }
            self.root.remove_empty(name).map_err(|errno| match errno {
                Errno::NOTEMPTY => {
                    let directory = self.settings.directory.display();
                    let text =
                        format!("publish `{name}` below `{directory}`: a directory is in the way");
                    Failure::new(Class::Ours, text)
                        .hint("remove it, or choose another name in publish.files")
                }
                errno => self.failure(&looking, errno),
            })?;
        }
        Ok(())
    }
}
