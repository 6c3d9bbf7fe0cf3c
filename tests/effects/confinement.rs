//! What the kernel lets a confined process do, tried by one.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use leasehold::process::{Confined, Reach, confine, harden};
use nix::errno::Errno;
use nix::sys::prctl::{get_dumpable, get_no_new_privs};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{getppid, mkfifo};

use crate::support::{Place, again, is_inner};

#[test]
fn nothing_is_touched_but_what_is_named() {
    const NAME: &str = "confinement::nothing_is_touched_but_what_is_named";
    if !is_inner() {
        assert!(again(NAME).status().unwrap().success());
        return;
    }
    let place = Place::new();
    let at = |path: &str| place.root.path().join(path);
    for directory in ["read", "write", "other"] {
        fs::create_dir(at(directory)).unwrap();
        fs::write(at(directory).join("file"), directory).unwrap();
    }
    symlink(at("other/file"), at("read/link")).unwrap();
    let open = fs::File::open(at("other/file")).unwrap();
    let mut reach = Reach::default();
    reach.read_system();
    reach.read(&at("read/file"));
    reach.writes.insert(at("write"));
    let confined = confine(&reach);
    assert!(!matches!(confined, Confined::Not(_)), "this kernel cannot: {confined:?}");

    // As others replace a file.
    assert_eq!(fs::read_to_string(at("read/file")).unwrap(), "read");
    fs::read("/etc/hosts").unwrap();
    fs::read("/proc/self/stat").unwrap();
    // A static program has no other way to randomness for some libraries.
    fs::File::open("/dev/urandom").unwrap();
    // As a set is published.
    fs::create_dir(at("write/new")).unwrap();
    fs::write(at("write/new/file"), "x").unwrap();
    fs::rename(at("write/new"), at("write/set")).unwrap();
    symlink("set", at("write/current")).unwrap();
    assert_eq!(fs::read_to_string(at("write/current/file")).unwrap(), "x");
    fs::write(at("write/file"), "shorter").unwrap();
    fs::remove_dir_all(at("write/set")).unwrap();
    assert!(open.metadata().is_ok(), "what is open stays open");

    let refused = |what: &str, result: Result<(), Error>| {
        let kind = result.err().map(|error| error.kind());
        let wanted = [ErrorKind::PermissionDenied, ErrorKind::CrossesDevices];
        assert!(kind.is_some_and(|kind| wanted.contains(&kind)), "{what}: {kind:?}");
    };
    let read = |path: &Path| fs::read(path).map(drop);
    refused("read elsewhere", read(&at("other/file")));
    refused("list elsewhere", fs::read_dir(at("other")).map(drop));
    refused("read through a link", read(&at("read/link")));
    symlink(at("other/file"), at("write/link")).unwrap();
    refused("read through our own link", read(&at("write/link")));
    refused("write through our own link", fs::write(at("write/link"), ""));
    refused("write what is read", fs::write(at("read/file"), ""));
    refused("write a new file beside it", fs::write(at("read/new"), ""));
    refused("remove what is read", fs::remove_file(at("read/file")));
    refused("make a directory", fs::create_dir(at("other/new")));
    refused("carry a file out", fs::rename(at("write/file"), at("other/new")));
    refused("make a pipe", mkfifo(&at("write/pipe"), Mode::S_IRWXU).map_err(Error::from));
    refused("run a program", Command::new("/bin/true").status().map(drop));
    assert_eq!(kill(getppid(), None), Err(Errno::EPERM), "a signal leaves");
}

#[test]
fn memory_is_kept_private() {
    const NAME: &str = "confinement::memory_is_kept_private";
    if !is_inner() {
        assert!(again(NAME).status().unwrap().success());
        return;
    }
    harden().unwrap();
    assert!(!get_dumpable().unwrap());
    assert!(get_no_new_privs().unwrap());
    assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
    assert_eq!(umask(Mode::empty()), Mode::S_IRWXG | Mode::S_IRWXO);
}

#[test]
fn signals_leave_where_they_are_meant_to() {
    const NAME: &str = "confinement::signals_leave_where_they_are_meant_to";
    if !is_inner() {
        assert!(again(NAME).status().unwrap().success());
        return;
    }
    confine(&Reach { signals: true, ..Reach::default() });
    assert_eq!(kill(getppid(), None), Ok(()));
    assert!(fs::read("/etc/hosts").is_err(), "not confined");
}
