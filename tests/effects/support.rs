//! A publish directory of its own for each test, and what stands in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leasehold::publish::{Publisher, Settings};
use leasehold::render::{RenderedFile, Rendering};
use leasehold::time::Moment;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A directory in memory, with one in it that does not exist yet.
pub(crate) struct Place {
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("leasehold-").tempdir_in("/dev/shm");
        Self { root: root.expect("the tests need a tmpfs at /dev/shm") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join("live")
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(&self.path())
    }

    pub(crate) fn open(&self) -> Publisher {
        Publisher::open(self.settings()).unwrap()
    }
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        allow_disk: false,
        allow_writers: false,
        keep: Duration::from_secs(60),
    }
}

pub(crate) fn seconds(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

pub(crate) fn file(bytes: &[u8], mode: u32) -> RenderedFile {
    RenderedFile { bytes: Zeroizing::new(bytes.to_vec()), mode }
}

/// A set in which each file says which set it is of.
pub(crate) fn set(paths: &[&str], content: &str) -> Rendering {
    let one =
        |path: &&str| ((*path).to_owned(), file(format!("{path} {content}").as_bytes(), 0o440));
    Rendering { files: paths.iter().map(one).collect() }
}

/// The two sets that most tests exchange: one path goes, one comes, two stay.
pub(crate) fn first() -> Rendering {
    set(&["app.env", "db/pg_service.conf", "gone/by/then"], "one")
}

pub(crate) fn second() -> Rendering {
    set(&["app.env", "db/pg_service.conf", "new.json"], "two")
}

/// Every file below `directory` by its path, read through whatever links there are.
pub(crate) fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(directory, "", &mut files);
    files
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

pub(crate) fn bytes(rendering: &Rendering) -> BTreeMap<String, Vec<u8>> {
    rendering.files.iter().map(|(path, file)| (path.clone(), file.bytes.to_vec())).collect()
}

/// What readers see: nothing, or exactly one of `sets`, by its place in the list.
pub(crate) fn visible(directory: &Path, sets: &[&Rendering]) -> Option<usize> {
    let current = directory.join("current");
    if current.symlink_metadata().is_err() {
        return None;
    }
    let seen = tree(&current);
    let found = sets.iter().position(|set| bytes(set) == seen);
    assert!(found.is_some(), "a mix: {:?}", seen.keys());
    found
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Asserts that nothing but `rendering`, whole generations and the room is there.
pub(crate) fn assert_tidy(directory: &Path, rendering: &Rendering) {
    let mut expected: Vec<String> = vec![".generations".to_owned(), "current".to_owned()];
    expected.extend(rendering.files.keys().map(|path| path.split('/').next().unwrap().to_owned()));
    expected.sort();
    expected.dedup();
    let found: Vec<String> =
        names(directory).into_iter().filter(|name| name != "status.json").collect();
    assert_eq!(found, expected);
    for name in names(&directory.join(".generations")) {
        let whole = name
            .split_once('-')
            .is_some_and(|(number, tag)| number.parse::<u64>().is_ok() && tag.len() == 16);
        assert!(whole || name == "reserve", "left behind: {name}");
    }
}

pub(crate) fn require_root() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "this test mounts or changes owners: run it as root");
}

/// A tmpfs of its own, of a limited size, gone with the test.
pub(crate) struct Mount(pub(crate) TempDir);

impl Mount {
    pub(crate) fn new(options: &str) -> Self {
        require_root();
        let mount = Self(tempfile::tempdir().unwrap());
        mount.run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "leasehold-test"]));
        mount
    }

    pub(crate) fn remount(&self, options: &str) {
        self.run(Command::new("mount").args(["-o", &format!("remount,{options}")]));
    }

    fn run(&self, command: &mut Command) {
        let status = command.arg(self.0.path()).status();
        assert!(status.unwrap().success(), "{command:?}");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("live")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A failed test must not hide behind a second panic.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

const INNER: &str = "LEASEHOLD_TEST_INNER";

/// Whether this process is the one that [`again`] starts.
pub(crate) fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

/// The command that runs the test `name` in a process of its own, where it may change what belongs
/// to a whole process.
pub(crate) fn again(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INNER, "1");
    command.process_group(0);
    command
}
