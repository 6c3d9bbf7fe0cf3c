//! Changes of the publish directory are noticed, by the kernel's word or by looking.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use leasehold::snapshot::Generation;
use leasehold::watch::Watch;
use rustix::process::{Resource, Rlimit};

use crate::support::{Place, again, first, is_inner, second, seconds};

const SOON: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(300);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

async fn wakes(watch: &mut Watch) -> bool {
    tokio::time::timeout(SOON, watch.changed()).await.is_ok()
}

/// Takes what is still to be told.
async fn settle(watch: &mut Watch) {
    while tokio::time::timeout(QUIET, watch.changed()).await.is_ok() {}
}

#[test]
fn changes_wake_and_reads_do_not() {
    let place = Place::new();
    let (path, mut publisher) = (place.path(), place.open());
    let mut watch = Watch::new(path.clone());
    assert_eq!(watch.degraded(), None);
    runtime().block_on(async {
        publisher.publish(seconds(1), Generation(1), first()).unwrap();
        assert!(wakes(&mut watch).await, "a first publish");
        settle(&mut watch).await;

        for round in 0..2 {
            let tampers: [(&str, &dyn Fn()); 6] = [
                ("content", &|| fs::write(path.join("app.env"), "x").unwrap()),
                ("nested", &|| fs::write(path.join("db/pg_service.conf"), "x").unwrap()),
                ("mode", &|| {
                    let mode = PermissionsExt::from_mode(0o444);
                    fs::set_permissions(path.join("db/pg_service.conf"), mode).unwrap();
                }),
                ("missing", &|| fs::remove_file(path.join("current/app.env")).unwrap()),
                ("more", &|| fs::write(path.join("db/more"), "x").unwrap()),
                ("link", &|| fs::remove_file(path.join("app.env")).unwrap()),
            ];
            for (what, tamper) in tampers {
                tamper();
                assert!(wakes(&mut watch).await, "{what} in round {round}");
                settle(&mut watch).await;
            }
            // Another set: it is the one that must be watched from here on.
            publisher.publish(seconds(2), Generation(2), second()).unwrap();
            assert!(wakes(&mut watch).await);
            settle(&mut watch).await;
        }

        for _ in 0..3 {
            assert_eq!(publisher.drift(), None);
            fs::read(path.join("app.env")).unwrap();
            fs::read_dir(path.join("db")).unwrap().for_each(drop);
        }
        let woken = tokio::time::timeout(QUIET, watch.changed()).await;
        assert!(woken.is_err(), "reading is no change");
    });
}

#[test]
fn many_changes_are_told_together_and_cancelling_loses_none() {
    let place = Place::new();
    let (path, mut publisher) = (place.path(), place.open());
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let mut watch = Watch::new(path.clone());
    runtime().block_on(async {
        for number in 0..100 {
            fs::write(path.join("app.env"), number.to_string()).unwrap();
        }
        // Asked again and again for less time than it takes to settle.
        let mut asked = 0;
        while tokio::time::timeout(Duration::from_millis(5), watch.changed()).await.is_err() {
            asked += 1;
            assert!(asked < 1000, "never told");
        }
        let mut told = 1;
        while tokio::time::timeout(QUIET, watch.changed()).await.is_ok() {
            told += 1;
        }
        assert!(told < 20, "100 changes were told {told} times");
    });
}

#[test]
fn a_directory_that_comes_back_is_watched() {
    let place = Place::new();
    let path = place.path();
    place.open().publish(seconds(1), Generation(1), first()).unwrap();
    let mut watch = Watch::new(path.clone());
    runtime().block_on(async {
        fs::remove_dir_all(&path).unwrap();
        assert!(wakes(&mut watch).await);
        assert!(watch.degraded().is_some_and(|failure| failure.hint.is_some()));
        let mut publisher = place.open();
        publisher.publish(seconds(1), Generation(1), first()).unwrap();
        assert!(wakes(&mut watch).await);
        settle(&mut watch).await;
        assert_eq!(watch.degraded(), None);
        fs::write(path.join("db/pg_service.conf"), "x").unwrap();
        assert!(wakes(&mut watch).await);
    });
}

#[test]
fn a_planted_link_is_not_followed() {
    let place = Place::new();
    let path = place.path();
    let elsewhere = place.root.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("deep")).unwrap();
    fs::create_dir(&path).unwrap();
    for target in ["../elsewhere", "inside"] {
        symlink("../elsewhere", path.join("inside")).ok();
        fs::remove_file(path.join("current")).ok();
        symlink(target, path.join("current")).unwrap();
        let mut watch = Watch::new(path.clone());
        runtime().block_on(async {
            settle(&mut watch).await;
            fs::write(elsewhere.join("x"), target).unwrap();
            fs::write(elsewhere.join("deep/x"), target).unwrap();
            let woken = tokio::time::timeout(QUIET, watch.changed()).await;
            assert!(woken.is_err(), "{target}");
        });
    }
}

#[test]
fn where_the_kernel_refuses_it_looks() {
    const NAME: &str = "watch::where_the_kernel_refuses_it_looks";
    if !is_inner() {
        assert!(again(NAME).status().unwrap().success());
        return;
    }
    let place = Place::new();
    let (path, mut publisher) = (place.path(), place.open());
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    let runtime = runtime();
    let before = rustix::process::getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(3), maximum: before.maximum };
    rustix::process::setrlimit(Resource::Nofile, none).unwrap();
    let mut watch = Watch::new(path.clone());
    let failure = watch.degraded().expect("no word of it");
    assert!(failure.text.contains("every 500 ms"), "{failure}");
    assert_eq!(watch.degraded(), None, "said twice");
    runtime.block_on(async {
        assert!(wakes(&mut watch).await);
        assert!(wakes(&mut watch).await, "it looks again and again");
        assert!(tokio::time::timeout(QUIET, watch.changed()).await.is_err(), "a busy loop");
        assert_eq!(watch.degraded(), None, "said twice");

        rustix::process::setrlimit(Resource::Nofile, before).unwrap();
        publisher.publish(seconds(2), Generation(2), second()).unwrap();
        assert!(wakes(&mut watch).await);
        settle(&mut watch).await;
        fs::write(path.join("db/pg_service.conf"), "x").unwrap();
        assert!(wakes(&mut watch).await);
        settle(&mut watch).await;
        assert_eq!(watch.degraded(), None);
    });
}
