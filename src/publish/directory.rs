//! A directory held open, and what may be done below it.
//!
//! Receives names, gives files and links. Never resolves a name through a link or to a place
//! outside: whoever else may write here can break the files, not lead us to others.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

/// No path of ours is deeper; a deeper one is somebody's trap.
const DEPTH: usize = 32;

/// An open directory. A `name` is one part of a path, a `path` several.
pub(super) struct Directory {
    fd: OwnedFd,
}

impl Directory {
    /// Opens a directory by a path that is trusted up to its last part.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(|fd| Self { fd })
    }

    /// The descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Owner, mode and so on of the directory itself.
    pub(super) fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(&self.fd)
    }

    /// Sets the mode, whatever the umask.
    pub(super) fn set_mode(&self, mode: u32) -> Result<()> {
        rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))
    }

    fn open_below(&self, path: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let create =
            if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
        rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, create, beneath)
    }

    /// Opens a directory below.
    pub(super) fn directory(&self, path: impl rustix::path::Arg) -> Result<Self> {
        self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY).map(|fd| Self { fd })
    }

    /// Makes a directory that is ours alone.
    pub(super) fn make_directory(&self, name: &str) -> Result<Self> {
        rustix::fs::mkdirat(&self.fd, name, Mode::RWXU)?;
        self.directory(name)
    }

    /// Opens a file for reading; a pipe does not keep us waiting.
    pub(super) fn file(&self, path: &str) -> Result<File> {
        self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK).map(File::from)
    }

    /// Opens a file for writing, and makes it where it is missing.
    pub(super) fn file_to_write(&self, name: &str) -> Result<File> {
        self.open_below(name, OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK).map(File::from)
    }

    /// Makes a file that must not be there yet. Nobody else can read it before it is whole.
    pub(super) fn create(&self, name: &str, mode: u32, bytes: &[u8], sync: bool) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(self.open_below(name, flags)?);
        file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        if sync { rustix::fs::fsync(&file) } else { Ok(()) }
    }

    /// Where the link `name` points; `None` when it is no link or not there.
    pub(super) fn link(&self, name: &str) -> Option<String> {
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new()).ok()?;
        target.into_string().ok()
    }

    /// Makes a link that must not be there yet.
    pub(super) fn make_link(&self, name: &str, target: &str) -> Result<()> {
        rustix::fs::symlinkat(target, &self.fd, name)
    }

    /// Gives `from` the name `to`, in place of what has it.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
    }

    /// What `name` is, links not followed; `None` when it is not there.
    pub(super) fn kind(&self, name: &str) -> Result<Option<FileType>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Removes what is no directory; it is no failure when it is not there.
    pub(super) fn remove(&self, name: impl rustix::path::Arg) -> Result<()> {
        absent_is_fine(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()))
    }

    /// Removes an empty directory.
    pub(super) fn remove_empty(&self, name: impl rustix::path::Arg) -> Result<()> {
        absent_is_fine(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
    }

    /// Removes whatever `name` is, with all that is in it.
    pub(super) fn remove_tree(&self, name: &str) -> Result<()> {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        self.remove_below(name, DEPTH)
    }

    fn remove_below(&self, name: CString, depth: usize) -> Result<()> {
        match self.remove(name.as_c_str()) {
            Err(Errno::ISDIR) if depth > 0 => {
                let inner = self.directory(name.as_c_str())?;
                for entry in inner.entries()? {
                    inner.remove_below(entry, depth - 1)?;
                }
                self.remove_empty(name.as_c_str())
            }
            other => other,
        }
    }

    /// All names in it but `.` and `..`.
    pub(super) fn entries(&self) -> Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_owned();
            if name.as_bytes() != b"." && name.as_bytes() != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Like [`Directory::entries`], without those that are no Unicode: they are not ours.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        Ok(self.entries()?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// Whether all that is left in `file` is `bytes`.
pub(super) fn reads(file: File, bytes: &[u8]) -> bool {
    let mut read = zeroize::Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut read).is_ok() && read.as_slice() == bytes
}

fn absent_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
