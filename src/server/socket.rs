//! A Unix socket in the file system.
//!
//! Receives a path, gives a listener whose file is there as a whole or not at all. Never replaces
//! what is no socket of ours, or one that somebody listens on.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::error::{Class, Failure};

/// Stands behind the path while the socket is being made.
const NEW: &str = ".new";

/// The kernel takes no longer path, with `NEW` behind it.
pub const LONGEST: usize = 107 - NEW.len();

/// A socket's file; removed when this goes, unless it is another's by then.
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            // It is stale from here on, and the next process replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket at `path`; `shared`: users other than ours and root may open it. Whom of them
/// the listener answers is for it to decide.
///
/// # Errors
/// When the directory is not safe, something else is at `path`, or somebody listens there.
pub(super) fn bind(path: &Path, shared: bool) -> Result<(UnixListener, SocketFile), Failure> {
    let failed = |error: std::io::Error| refuse(path, &error.to_string());
    prepare(path, shared)?;
    check(path)?;
    let mut new = path.as_os_str().to_owned();
    new.push(NEW);
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new).map_err(failed)?;
    let mode = if shared { 0o666 } else { 0o600 };
    fs::set_permissions(&new, Permissions::from_mode(mode)).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

fn refuse(path: &Path, why: &str) -> Failure {
    let text = format!("listen on `{}` for api: {why}", path.display());
    Failure::new(Class::Ours, text).hint("choose another path in `listen.api`")
}

/// The directory, made where it is missing. Who may write there can put a socket of their own in
/// the place of ours.
fn prepare(path: &Path, shared: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| refuse(path, &error.to_string());
    let Some(directory) = path.parent() else { return Err(refuse(path, "it is no file")) };
    let mode = if shared { 0o755 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(directory) {
        // Whatever the umask is.
        Ok(()) => {
            let permissions = Permissions::from_mode(mode);
            return fs::set_permissions(directory, permissions).map_err(failed);
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let meta = fs::symlink_metadata(directory).map_err(failed)?;
    if meta.is_symlink() {
        return Err(refuse(path, &format!("`{}` is a link", directory.display())));
    }
    let open = meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0;
    if open || ![0, us()].contains(&meta.uid()) {
        let why = format!("others may write to `{}`", directory.display());
        return Err(refuse(path, &why).hint(
            "name a directory below it that does not exist yet: it is made, and belongs to this \
             user",
        ));
    }
    Ok(())
}

/// What may be at `path`: nothing, or a socket of ours that nobody listens on any more.
fn check(path: &Path) -> Result<(), Failure> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refuse(path, &error.to_string())),
    };
    if !meta.file_type().is_socket() {
        return Err(refuse(path, "something else than a socket is there"));
    }
    if meta.uid() != us() {
        return Err(refuse(path, &format!("a socket of uid {} is there", meta.uid())));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => Err(refuse(path, "another process listens there")),
        Err(error) => Err(refuse(path, &error.to_string())),
    }
}

fn us() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[tokio::test]
    async fn the_file_is_there_as_long_as_somebody_listens() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("made/api.sock");
        let (listener, file) = bind(&path, false).unwrap();
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        assert!(UnixStream::connect(&path).is_ok());
        let failure = bind(&path, false).err().unwrap();
        assert!(failure.text.ends_with("another process listens there"), "{failure}");

        // Killed, it leaves a file that the next one replaces, and that is the next one's then.
        drop(listener);
        let (_listener, next) = bind(&path, true).unwrap();
        assert_eq!(mode(&path), 0o666);
        drop(file);
        assert!(path.exists());
        drop(next);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn nothing_else_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        let failure = bind(&path, false).err().unwrap();
        assert!(failure.text.ends_with("something else than a socket is there"), "{failure}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(bind(&path, false).is_err());

        let open = place.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let failure = bind(&open.join("api.sock"), false).err().unwrap();
        assert!(failure.text.contains("others may write to"), "{failure}");
        // As in /tmp: there nobody may replace what is another's.
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        assert!(bind(&open.join("api.sock"), false).is_ok());
    }
}
