//! Whoever may write the directory breaks its files at most.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use leasehold::error::Class;
use leasehold::publish::{Publisher, Settings};
use leasehold::snapshot::Generation;

use crate::support::{
    Place, assert_tidy, bytes, first, names, second, seconds, settings, tree, visible,
};

/// A directory that everybody may write, beside one that must stay as it is.
struct Scene {
    place: Place,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path()).unwrap();
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let scene = Self { place };
        fs::create_dir_all(scene.victim().join("db")).unwrap();
        fs::write(scene.victim().join("app.env"), "victim").unwrap();
        fs::write(scene.victim().join("db/pg_service.conf"), "victim").unwrap();
        scene
    }

    fn victim(&self) -> std::path::PathBuf {
        self.place.root.path().join("victim")
    }

    fn settings(&self) -> Settings {
        Settings { allow_writers: true, ..settings(&self.place.path()) }
    }

    fn open(&self) -> Publisher {
        Publisher::open(self.settings()).unwrap()
    }

    fn assert_unharmed(&self, case: &str) {
        let victim = tree(&self.victim());
        assert_eq!(victim.keys().collect::<Vec<_>>(), ["app.env", "db/pg_service.conf"], "{case}");
        assert!(victim.values().all(|bytes| bytes == b"victim"), "{case}");
    }
}

#[test]
fn planted_links_lead_nowhere() {
    let cases: &[(&str, &str)] = &[
        ("current", "../victim"),
        ("current", ".generations/../../victim"),
        ("current", ".generations/99999-0123456789abcdef"),
        ("app.env", "../victim/app.env"),
        ("db", "../victim/db"),
        ("gone", "../victim"),
        (".generations", "../victim"),
        ("status.json", "../victim/app.env"),
        (".new-0123456789abcdef", "../victim/app.env"),
    ];
    for &(name, target) in cases {
        let scene = Scene::new();
        let path = scene.place.path();
        symlink(target, path.join(name)).unwrap();
        let mut publisher = scene.open();
        publisher.rehearse(&first()).unwrap();
        let shown = publisher.publish(seconds(1), Generation(1), first()).unwrap();
        assert_eq!(shown.generation, Generation(1), "{name}");
        publisher.write_status(b"{}").unwrap();
        scene.assert_unharmed(name);
        assert_eq!(visible(&path, &[&first()]), Some(0), "{name}");
        assert_tidy(&path, &first());
        assert!(!path.join("status.json").is_symlink());

        // The same once more, while a process holds the directory.
        fs::rename(path.join(name), scene.place.root.path().join("aside")).ok();
        symlink(target, path.join(name)).unwrap();
        publisher.write_status(b"{}").unwrap();
        publisher.publish(seconds(100), Generation(2), second()).unwrap();
        publisher.publish(seconds(200), Generation(3), first()).unwrap();
        scene.assert_unharmed(name);
        assert_eq!(visible(&path, &[&first()]), Some(0), "{name}");
        assert_eq!(publisher.drift(), None, "{name}");
    }
}

#[test]
fn links_inside_a_set_are_drift_and_are_not_followed() {
    let scene = Scene::new();
    let path = scene.place.path();
    let mut publisher = scene.open();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let set = path.join("current").canonicalize().unwrap();

    fs::remove_dir_all(set.join("db")).unwrap();
    symlink("../../../victim/db", set.join("db")).unwrap();
    assert!(publisher.drift().unwrap().starts_with("db"));
    publisher.repair(seconds(2)).unwrap();
    assert_eq!(publisher.drift(), None);

    // The tampered set is removed when its time has come: the link, not what it leads to.
    publisher.publish(seconds(100), Generation(2), second()).unwrap();
    publisher.publish(seconds(200), Generation(3), first()).unwrap();
    assert!(!set.exists());
    scene.assert_unharmed("removal");
}

#[test]
fn a_generation_that_is_a_link_is_not_entered() {
    let scene = Scene::new();
    let path = scene.place.path();
    let mut publisher = scene.open();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let set = path.join("current").canonicalize().unwrap();
    fs::remove_dir_all(&set).unwrap();
    symlink("../../victim", &set).unwrap();
    assert_eq!(publisher.drift().as_deref(), Some("current"));
    drop(publisher);

    let mut publisher = scene.open();
    publisher.publish(seconds(2), Generation(2), second()).unwrap();
    publisher.publish(seconds(100), Generation(3), first()).unwrap();
    publisher.publish(seconds(200), Generation(4), second()).unwrap();
    scene.assert_unharmed("generation");
    assert_eq!(tree(&path.join("current")), bytes(&second()));
    assert_tidy(&path, &second());
}

#[test]
fn a_link_in_the_place_of_the_directory_is_refused() {
    let place = Place::new();
    let elsewhere = place.root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink("elsewhere", place.path()).unwrap();
    let Err(refused) = Publisher::open(place.settings()) else { panic!("it was entered") };
    assert!(refused.text.ends_with("it is a link"), "{refused}");
    assert_eq!(names(&elsewhere), [] as [String; 0]);
}

#[test]
fn a_pipe_does_not_keep_us_waiting() {
    let scene = Scene::new();
    let path = scene.place.path();
    let mut publisher = scene.open();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let file = path.join("current/app.env");
    fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    assert_eq!(publisher.drift().as_deref(), Some("app.env"));
    publisher.repair(seconds(2)).unwrap();
    assert_eq!(publisher.drift(), None);
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let scene = Scene::new();
    let path = scene.place.path();
    fs::create_dir(path.join("app.env")).unwrap();
    fs::create_dir(path.join("db")).unwrap();
    fs::write(path.join("db/precious"), "x").unwrap();
    fs::write(path.join("other"), "x").unwrap();
    symlink("current", path.join("link")).unwrap();
    let mut publisher = scene.open();
    for failure in [
        publisher.rehearse(&first()).unwrap_err(),
        publisher.publish(seconds(1), Generation(1), first()).unwrap_err(),
    ] {
        assert_eq!(failure.class, Class::Ours);
        assert!(failure.text.contains("`db`"), "{failure}");
        assert!(failure.text.contains("in the way"), "{failure}");
    }
    assert_eq!(fs::read(path.join("db/precious")).unwrap(), b"x");
    assert!(!path.join("current").exists());
    assert!(names(&path.join(".generations")).is_empty());

    fs::remove_dir_all(path.join("db")).unwrap();
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    assert_eq!(visible(&path, &[&first()]), Some(0));
    assert!(Path::new(&path).join("other").is_file() && path.join("link").is_symlink());
}
