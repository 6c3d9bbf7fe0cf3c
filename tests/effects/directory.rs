//! What stands in a publish directory, whose it is, and for how long.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use leasehold::error::Class;
use leasehold::publish::Publisher;
use leasehold::render::Rendering;
use leasehold::snapshot::Generation;

use crate::support::{
    Place, again, assert_tidy, bytes, file, first, is_inner, names, require_root, second, seconds,
    set, settings, tree, visible,
};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn a_publish_looks_as_documented() {
    let place = Place::new();
    let (path, mut publisher) = (place.path(), place.open());
    assert_eq!(publisher.generation(), Generation(0));
    let shown = publisher.publish(seconds(1), Generation(17), first()).unwrap();
    assert_eq!((shown.generation, shown.changed), (Generation(17), true));
    publisher.write_status(b"{}").unwrap();

    let current = fs::read_link(path.join("current")).unwrap();
    let current = current.to_str().unwrap();
    let tag = current.strip_prefix(".generations/17-").unwrap();
    assert!(tag.len() == 16 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()), "{current}");
    for name in ["app.env", "db", "gone"] {
        assert_eq!(fs::read_link(path.join(name)).unwrap(), Path::new("current").join(name));
    }
    assert_eq!(fs::read(path.join("db/pg_service.conf")).unwrap(), b"db/pg_service.conf one");
    assert_eq!(fs::read(path.join("status.json")).unwrap(), b"{}");
    assert_eq!(mode(&path.join("status.json")), 0o644);
    assert_tidy(&path, &first());

    let shown = publisher.publish(seconds(2), Generation(18), second()).unwrap();
    assert_eq!((shown.generation, shown.changed), (Generation(18), true));
    assert_tidy(&path, &second());
    assert_eq!(names(&path.join(".generations")).len(), 3, "two sets and the room");
}

#[test]
fn the_same_set_is_not_published_twice() {
    let place = Place::new();
    let mut publisher = place.open();
    publisher.publish(seconds(1), Generation(4), first()).unwrap();
    let before = names(&place.path().join(".generations"));
    let again = publisher.publish(seconds(2), Generation(5), first()).unwrap();
    assert_eq!((again.generation, again.changed), (Generation(4), false));
    drop(publisher);
    let mut publisher = place.open();
    let again = publisher.publish(seconds(3), Generation(5), first()).unwrap();
    assert_eq!((again.generation, again.changed), (Generation(4), false));
    assert_eq!(names(&place.path().join(".generations")), before);

    let mut other_mode = first();
    other_mode.files.get_mut("app.env").unwrap().mode = 0o400;
    let again = publisher.publish(seconds(4), Generation(5), other_mode).unwrap();
    assert_eq!((again.generation, again.changed), (Generation(5), true));
}

#[test]
fn numbers_only_grow() {
    let place = Place::new();
    let mut publisher = place.open();
    publisher.publish(seconds(1), Generation(9), first()).unwrap();
    let shown = publisher.publish(seconds(2), Generation(3), second()).unwrap();
    assert_eq!(shown.generation, Generation(10));
    drop(publisher);
    let mut publisher = place.open();
    assert_eq!(publisher.generation(), Generation(10));
    fs::remove_file(place.path().join("current")).unwrap();
    drop(publisher);
    publisher = place.open();
    assert_eq!(publisher.generation(), Generation(0));
    let shown = publisher.publish(seconds(3), Generation(1), first()).unwrap();
    assert_eq!(shown.generation, Generation(11));
}

#[test]
fn a_set_is_kept_for_its_readers() {
    let place = Place::new();
    let mut publisher = place.open();
    let numbers = |place: &Place| {
        let names = names(&place.path().join(".generations"));
        let numbers = names.iter().filter_map(|name| name.split_once('-')?.0.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        numbers
    };
    let mut publish = |at: u64, number: u64| {
        let rendering = set(&["a"], &number.to_string());
        publisher.publish(seconds(at), Generation(number), rendering).unwrap();
    };
    publish(0, 1);
    publish(100, 2);
    publish(110, 3);
    publish(120, 4);
    assert_eq!(numbers(&place), [1, 2, 3, 4]);
    publish(159, 5);
    assert_eq!(numbers(&place), [1, 2, 3, 4, 5], "1 was pointed to until 100");
    publish(161, 6);
    assert_eq!(numbers(&place), [2, 3, 4, 5, 6]);
    publish(1000, 7);
    assert_eq!(numbers(&place), [6, 7]);
    publish(2000, 7);
    assert_eq!(numbers(&place), [6, 7], "the last two stay, however old");
    drop(publisher);

    let mut publisher = place.open();
    publisher.publish(seconds(2000), Generation(8), set(&["a"], "8")).unwrap();
    assert_eq!(numbers(&place), [6, 7, 8], "a new process cannot know since when");
    publisher.publish(seconds(2060), Generation(9), set(&["a"], "9")).unwrap();
    assert_eq!(numbers(&place), [8, 9], "and counts from its first publish");
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    const NAME: &str = "directory::modes_are_exact_whatever_the_umask";
    if !is_inner() {
        assert!(again(NAME).status().unwrap().success());
        return;
    }
    for umask in [0o000, 0o077, 0o777] {
        let place = Place::new();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let deeper = place.path().join("deeper");
        let mut publisher = Publisher::open(settings(&deeper)).unwrap();
        let mut rendering = Rendering::default();
        for mode in [0o400, 0o440, 0o600, 0o644] {
            rendering.files.insert(format!("d/{mode:o}"), file(b"x", mode));
        }
        publisher.publish(seconds(1), Generation(1), rendering).unwrap();
        publisher.write_status(b"{}").unwrap();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        for (path, expected) in [
            ("..", 0o755),
            ("", 0o755),
            (".generations", 0o755),
            ("current/", 0o755),
            ("current/d", 0o755),
            ("current/d/400", 0o400),
            ("current/d/440", 0o440),
            ("current/d/600", 0o600),
            ("current/d/644", 0o644),
            ("status.json", 0o644),
        ] {
            let found = mode(&deeper.join(path));
            assert_eq!(found, expected, "{path:?} with umask {umask:o}: {found:o}");
        }
        assert_eq!(publisher.drift(), None);
    }
}

#[test]
fn files_get_the_group_of_a_volume() {
    require_root();
    let place = Place::new();
    let path = place.path();
    fs::create_dir(&path).unwrap();
    chown(&path, None, Some(4242)).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o2755)).unwrap();
    for path in [path.clone(), path.join("below/it")] {
        let mut publisher = Publisher::open(settings(&path)).unwrap();
        publisher.publish(seconds(1), Generation(1), first()).unwrap();
        for file in bytes(&first()).keys() {
            assert_eq!(fs::metadata(path.join(file)).unwrap().gid(), 4242, "{file}");
        }
        assert_eq!(publisher.drift(), None);
    }
}

#[test]
fn every_kind_of_drift_is_seen_and_repaired() {
    require_root();
    type Tamper = fn(&Path);
    let cases: [(&str, &str, Tamper); 13] = [
        ("content", "app.env", |path| fs::write(path.join("app.env"), "app.env two").unwrap()),
        ("longer", "app.env", |path| fs::write(path.join("app.env"), "app.env onee").unwrap()),
        ("missing", "app.env", |path| fs::remove_file(path.join("current/app.env")).unwrap()),
        ("nested", "db/pg_service.conf", |path| {
            fs::remove_file(path.join("db/pg_service.conf")).unwrap();
        }),
        ("too many", "db/x", |path| fs::write(path.join("db/x"), "").unwrap()),
        ("mode", "app.env", |path| {
            fs::set_permissions(path.join("app.env"), PermissionsExt::from_mode(0o444)).unwrap();
        }),
        ("owner", "app.env", |path| chown(path.join("app.env"), Some(4242), None).unwrap()),
        ("group", "app.env", |path| chown(path.join("app.env"), None, Some(4242)).unwrap()),
        ("type", "app.env", |path| {
            let file = path.join("current/app.env");
            fs::rename(&file, path.join("current/elsewhere")).unwrap();
            symlink("elsewhere", file).unwrap();
        }),
        ("closed", "db", |path| {
            fs::set_permissions(path.join("db"), PermissionsExt::from_mode(0o700)).unwrap();
        }),
        ("name", "db", |path| fs::remove_file(path.join("db")).unwrap()),
        ("current", "current", |path| fs::remove_file(path.join("current")).unwrap()),
        ("all", "current", |path| {
            for name in names(path) {
                let path = path.join(name);
                let link = path.is_symlink();
                if link { fs::remove_file(path) } else { fs::remove_dir_all(path) }.unwrap();
            }
        }),
    ];
    for (case, expected, tamper) in cases {
        let place = Place::new();
        let (path, mut publisher) = (place.path(), place.open());
        publisher.publish(seconds(1), Generation(5), first()).unwrap();
        assert_eq!(publisher.drift(), None, "{case}");
        tamper(&path);
        let drift = publisher.drift().unwrap_or_else(|| panic!("{case}: not seen"));
        if case == "type" {
            assert!(["app.env", "elsewhere"].contains(&drift.as_str()), "{case}: {drift}");
        } else {
            assert_eq!(drift, expected, "{case}");
        }
        let repaired = publisher.repair(seconds(2)).unwrap();
        assert_eq!((repaired.generation, repaired.changed), (Generation(5), true), "{case}");
        assert_eq!(publisher.drift(), None, "{case}");
        assert_eq!(visible(&path, &[&first()]), Some(0), "{case}");
        assert_tidy(&path, &first());
    }
}

#[test]
fn nothing_published_cannot_be_repaired() {
    let place = Place::new();
    let mut publisher = place.open();
    assert_eq!(publisher.drift(), None);
    assert_eq!(publisher.repair(seconds(1)).unwrap_err().class, Class::Ours);
}

#[test]
fn directories_that_others_may_write_or_a_disk_holds_are_refused() {
    require_root();
    let place = Place::new();
    let path = place.path();
    fs::create_dir(&path).unwrap();
    let refused = |path: &Path| {
        let failure = Publisher::open(settings(path)).err().unwrap();
        assert!(failure.hint.is_some(), "{failure}");
        failure.text
    };
    for mode in [0o777, 0o1777, 0o775, 0o757] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert!(refused(&path).contains(&format!("others may write it (mode {mode:04o})")));
        let allowed = leasehold::publish::Settings { allow_writers: true, ..settings(&path) };
        assert!(Publisher::open(allowed).is_ok());
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    chown(&path, Some(4242), None).unwrap();
    assert!(refused(&path).contains("belongs to another user (uid 4242)"));
    chown(&path, Some(0), None).unwrap();
    assert!(Publisher::open(settings(&path)).is_ok());
    chown(path.join(".generations"), Some(4242), None).unwrap();
    assert!(refused(&path).contains("`.generations` belongs to another user (uid 4242)"));

    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = disk.path().join("live");
    assert!(refused(&path).contains("not in memory"));
    assert!(!path.exists(), "a refused directory was left behind");
    let allowed = leasehold::publish::Settings { allow_disk: true, ..settings(&path) };
    let mut publisher = Publisher::open(allowed).unwrap();
    publisher.rehearse(&first()).unwrap();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    publisher.publish(seconds(2), Generation(2), second()).unwrap();
    assert_eq!(publisher.drift(), None);
    assert_eq!(tree(&path.join("current")), bytes(&second()));
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let place = Place::new();
    let mut publisher = place.open();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let long = "x".repeat(256);
    for paths in [
        &["../x"][..],
        &["/etc/x"],
        &["a//b"],
        &["a/./b"],
        &["a/"],
        &[""],
        &["current"],
        &["current/x"],
        &["status.json"],
        &[".generations/1"],
        &[".new-x"],
        &["a\0b"],
        &["a", "a/b"],
        &[&long],
    ] {
        let rendering = set(paths, "x");
        for failure in [
            publisher.rehearse(&rendering).unwrap_err(),
            publisher.publish(seconds(2), Generation(2), rendering).unwrap_err(),
        ] {
            assert_eq!(failure.class, Class::Ours, "{paths:?}: {failure}");
        }
        assert_eq!(visible(&place.path(), &[&first()]), Some(0));
        assert_tidy(&place.path(), &first());
    }
}
