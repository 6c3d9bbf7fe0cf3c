//! Opening a publish directory: made, checked, swept, and read for what is visible.
//!
//! Receives the settings, gives what a process needs to go on where the last one was. Never
//! changes what readers see.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::{Class, Failure};
use crate::publish::Settings;
use crate::publish::directory::Directory;
use crate::publish::failure::failure;
use crate::publish::names::{CURRENT, GENERATIONS, GenerationName, is_temporary, is_unfinished};
use crate::publish::set::DIRECTORY_MODE;
use crate::publish::tmpfs::is_memory;
use crate::snapshot::Generation;

/// The directory as it was found.
pub(super) struct Found {
    /// The directory.
    pub(super) root: Directory,
    /// Whether it is in memory.
    pub(super) in_memory: bool,
    /// The mode of directories in it: with the set-group-id bit where it has that, as a volume
    /// with an `fsGroup` does, so that files get its group.
    pub(super) directory_mode: u32,
    /// What readers see.
    pub(super) visible: Option<GenerationName>,
    /// Other whole generations, oldest first.
    pub(super) past: Vec<GenerationName>,
    /// The highest number of all.
    pub(super) last: Generation,
}

/// Opens it.
pub(super) fn open(settings: &Settings) -> Result<Found, Failure> {
    let path = &settings.directory;
    if path.is_symlink() {
        let text = format!("publish directory `{}`: it is a link", path.display());
        let hint = "name the directory itself: who can replace a link can lead the agent elsewhere";
        return Err(Failure::new(Class::Ours, text).hint(hint));
    }
    let made = make(path).map_err(|error| {
        failure("make it", path, Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    let root = Directory::open(path).map_err(|errno| failure("open it", path, errno))?;
    match check(&root, settings) {
        Ok(in_memory) => sweep(root, in_memory, settings),
        Err(refused) => {
            if made {
                // Best effort: it is empty, and the refusal says the rest.
                let _ = std::fs::remove_dir(path);
            }
            Err(refused)
        }
    }
}

/// Makes `path` and what is missing above it, whatever the umask; whether there was anything to do.
/// The group of a volume goes on to what is made in it.
fn make(path: &Path) -> std::io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make(above)?;
    }
    std::fs::create_dir(path)?;
    let inherited = std::fs::metadata(path)?.permissions().mode() & Mode::SGID.as_raw_mode();
    std::fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE | inherited))?;
    Ok(true)
}

fn check(root: &Directory, settings: &Settings) -> Result<bool, Failure> {
    let path = settings.directory.display();
    let filesystem = rustix::fs::fstatfs(root.fd())
        .map_err(|errno| failure("look at the file system", &settings.directory, errno))?;
    let in_memory = is_memory(&filesystem);
    if !in_memory && !settings.allow_disk {
        let text = format!("publish directory `{path}`: not in memory (tmpfs or ramfs)");
        return Err(Failure::new(Class::Ours, text).hint(
            "mount a tmpfs there (Kubernetes: `emptyDir: {medium: Memory}`), or set \
             `publish.allow_disk: true` where secrets may lie on a disk",
        ));
    }
    let stat = root.stat().map_err(|errno| failure("look at it", &settings.directory, errno))?;
    if settings.allow_writers {
        return Ok(in_memory);
    }
    let mode = stat.st_mode & 0o7777;
    let owner = stat.st_uid;
    let writer = if mode & 0o022 != 0 {
        format!("others may write it (mode {mode:04o})")
    } else if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        format!("it belongs to another user (uid {owner})")
    } else {
        return Ok(in_memory);
    };
    let text = format!("publish directory `{path}`: {writer}");
    Err(Failure::new(Class::Ours, text).hint(
        "name a directory below it that does not exist yet: leasehold makes it with mode 0755; or \
         set `publish.allow_writers: true`",
    ))
}

/// Opens the directory of the generations, and makes it where it is missing.
pub(super) fn generations(
    root: &Directory,
    directory_mode: u32,
    settings: &Settings,
) -> Result<Directory, Failure> {
    let failed = |errno| failure(format_args!("open `{GENERATIONS}`"), &settings.directory, errno);
    let make = || {
        let made = root.make_directory(GENERATIONS)?;
        made.set_mode(directory_mode).map(|()| made)
    };
    let directory = match root.directory(GENERATIONS) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => make().map_err(failed)?,
        // Somebody put a link or a file there.
        Err(Errno::LOOP | Errno::NOTDIR) => {
            root.remove(GENERATIONS).and_then(|()| make()).map_err(failed)?
        }
        Err(errno) => return Err(failed(errno)),
    };
    let stat = directory.stat().map_err(failed)?;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    if ours && stat.st_mode & 0o777 != DIRECTORY_MODE {
        directory.set_mode(directory_mode).map_err(failed)?;
    }
    if ours {
        return Ok(directory);
    }
    let text = format!(
        "publish directory `{}`: `{GENERATIONS}` belongs to another user (uid {})",
        settings.directory.display(),
        stat.st_uid
    );
    let hint = "run every leasehold that publishes there as one user, or remove it";
    Err(Failure::new(Class::Denied, text).hint(hint))
}

fn sweep(root: Directory, in_memory: bool, settings: &Settings) -> Result<Found, Failure> {
    let failed = |doing: &'static str| move |errno| failure(doing, &settings.directory, errno);
    let stat = root.stat().map_err(failed("look at it"))?;
    let directory_mode = DIRECTORY_MODE | (stat.st_mode & Mode::SGID.as_raw_mode());
    let generations = generations(&root, directory_mode, settings)?;
    for name in root.names().map_err(failed("list it"))? {
        if is_temporary(&name) {
            root.remove(name.as_str()).map_err(failed("sweep it"))?;
        }
    }
    let mut past = Vec::new();
    for name in generations.names().map_err(failed("list the generations"))? {
        if is_unfinished(&name) {
            generations.remove_tree(&name).map_err(failed("sweep the generations"))?;
        }
        past.extend(GenerationName::parse(&name));
    }
    past.sort();
    let pointed_to = root.link(CURRENT).and_then(|target| GenerationName::parse_target(&target));
    let visible = pointed_to.filter(|name| past.contains(name));
    if let Some(visible) = &visible {
        for never_seen in past.iter().filter(|name| name.generation > visible.generation) {
            generations
                .remove_tree(&never_seen.to_string())
                .map_err(failed("sweep the generations"))?;
        }
        past.retain(|name| name != visible && name.generation <= visible.generation);
    }
    // A number that nobody saw is given again: a state that names the next one means it.
    let last = past.iter().chain(&visible).map(|name| name.generation).max().unwrap_or_default();
    Ok(Found { root, in_memory, directory_mode, visible, past, last })
}
