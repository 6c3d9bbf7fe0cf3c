//! A directory with no room, or that cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use leasehold::error::{Class, Failure};
use leasehold::publish::Publisher;
use leasehold::render::Rendering;
use leasehold::snapshot::Generation;
use rustix::process::Uid;

use crate::support::{
    Mount, Place, assert_tidy, file, first, require_root, second, seconds, set, settings, visible,
};

/// One file of `blocks` blocks, filled with `byte`.
fn big(blocks: usize, byte: u8) -> Rendering {
    let mut rendering = Rendering::default();
    rendering.files.insert("big".to_owned(), file(&vec![byte; blocks * 4096], 0o440));
    rendering
}

fn fill(path: &Path) {
    let mut filler = fs::File::create(path).unwrap();
    let error = std::io::copy(&mut std::io::repeat(0), &mut filler).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

fn assert_full(failure: &Failure) {
    assert_eq!(failure.class, Class::Again { after: None }, "{failure}");
    assert!(failure.text.contains("No space left"), "{failure}");
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("free space")), "{failure}");
}

#[test]
fn a_full_tmpfs_is_noticed_before_and_harms_nothing() {
    let mount = Mount::new("size=256k");
    let path = mount.path();
    let mut publisher = Publisher::open(settings(&path)).unwrap();
    publisher.rehearse(&big(8, 1)).unwrap();
    publisher.publish(seconds(1), Generation(1), big(8, 1)).unwrap();
    let filler = mount.0.path().join("filler");
    fill(&filler);

    // The room that was kept is enough for one more set of this size, and no more.
    publisher.rehearse(&big(8, 2)).unwrap();
    assert_full(&publisher.rehearse(&big(12, 2)).unwrap_err());
    publisher.publish(seconds(2), Generation(2), big(8, 2)).unwrap();
    assert_eq!(visible(&path, &[&big(8, 2)]), Some(0));
    assert_eq!(publisher.drift(), None);
    assert_full(&publisher.rehearse(&big(8, 3)).unwrap_err());
    assert_full(&publisher.publish(seconds(3), Generation(3), big(30, 3)).unwrap_err());
    assert_eq!(visible(&path, &[&big(8, 2)]), Some(0));
    assert_eq!(publisher.generation(), Generation(2));
    assert_eq!(publisher.drift(), None);
    assert_tidy(&path, &big(8, 2));
    fill(&mount.0.path().join("filler2"));
    assert_full(&publisher.write_status(&[b' '; 9000]).unwrap_err());
    assert_tidy(&path, &big(8, 2));

    fs::remove_file(&filler).unwrap();
    publisher.rehearse(&big(8, 3)).unwrap();
    publisher.publish(seconds(200), Generation(3), big(8, 3)).unwrap();
    assert_eq!(visible(&path, &[&big(8, 3)]), Some(0));
    assert_tidy(&path, &big(8, 3));
}

#[test]
fn a_tmpfs_without_files_left_is_noticed_before() {
    let mount = Mount::new("size=1m,nr_inodes=40");
    let path = mount.path();
    let mut publisher = Publisher::open(settings(&path)).unwrap();
    publisher.rehearse(&first()).unwrap();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let fillers: Vec<_> = (0..40)
        .map(|number| mount.0.path().join(format!("filler{number}")))
        .take_while(|path| fs::File::create(path).is_ok())
        .collect();
    assert_full(&publisher.rehearse(&second()).unwrap_err());
    assert_full(&publisher.publish(seconds(2), Generation(2), second()).unwrap_err());
    assert_eq!(visible(&path, &[&first()]), Some(0));
    assert_tidy(&path, &first());
    fillers.iter().for_each(|path| fs::remove_file(path).unwrap());
    publisher.rehearse(&second()).unwrap();
    publisher.publish(seconds(2), Generation(2), second()).unwrap();
}

#[test]
fn a_read_only_directory_says_so() {
    let mount = Mount::new("size=1m");
    let path = mount.path();
    let mut publisher = Publisher::open(settings(&path)).unwrap();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    mount.remount("ro");
    for failure in [
        publisher.rehearse(&second()).unwrap_err(),
        publisher.publish(seconds(2), Generation(2), second()).unwrap_err(),
        publisher.write_status(b"{}").unwrap_err(),
    ] {
        assert_eq!(failure.class, Class::Denied, "{failure}");
        assert!(failure.text.contains("Read-only file system"), "{failure}");
        assert!(failure.hint.is_some());
    }
    assert_eq!(visible(&path, &[&first()]), Some(0));
    mount.remount("rw");
    assert_tidy(&path, &first());
    publisher.publish(seconds(2), Generation(2), second()).unwrap();
    assert_eq!(visible(&path, &[&second()]), Some(0));
}

#[test]
fn a_directory_that_is_not_writable_says_so() {
    require_root();
    let place = Place::new();
    fs::set_permissions(place.root.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = place.path();
    let mut publisher = place.open();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();

    // File access of this one thread as another user.
    let other = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        assert!(fs::write(path.join("x"), "").is_err(), "still root");
        for failure in [
            publisher.rehearse(&second()).unwrap_err(),
            publisher.publish(seconds(2), Generation(2), second()).unwrap_err(),
        ] {
            assert_eq!(failure.class, Class::Denied, "{failure}");
            assert!(failure.text.contains("Permission denied"), "{failure}");
            assert!(failure.hint.is_some());
        }
        let failure = Publisher::open(settings(&path.join("deeper"))).err().unwrap();
        assert_eq!(failure.class, Class::Denied, "{failure}");
    });
    other.join().unwrap();
    assert!(rustix::process::geteuid() == Uid::ROOT);
    assert_eq!(visible(&place.path(), &[&first()]), Some(0));
    assert_tidy(&place.path(), &first());
}

#[test]
fn a_directory_that_was_removed_says_so() {
    let place = Place::new();
    let mut publisher = place.open();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    fs::remove_dir_all(place.path()).unwrap();
    assert_eq!(publisher.drift().as_deref(), Some("current"));
    let failure = publisher.repair(seconds(2)).unwrap_err();
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("restart")), "{failure}");
    assert_eq!(publisher.generation(), Generation(1));
    let mut publisher = place.open();
    publisher.publish(seconds(3), Generation(2), set(&["a"], "x")).unwrap();
    assert_eq!(visible(&place.path(), &[&set(&["a"], "x")]), Some(0));
}
