//! A process that dies behind any step of a publish leaves the old set or the new, never a mix.

use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Stdio;

use leasehold::publish::Step;
use leasehold::snapshot::Generation;

use crate::support::{
    Place, again, assert_tidy, first, is_inner, second, seconds, set, tree, visible,
};

const STEPS: [Step; 10] = [
    Step::RoomGivenUp,
    Step::DirectoryMade,
    Step::FilesWritten,
    Step::Sealed,
    Step::NamesLinked,
    Step::CurrentPrepared,
    Step::MadeVisible,
    Step::NamesUnlinked,
    Step::PastRemoved,
    Step::RoomKept,
];

/// From here on readers see the new set.
fn is_visible_after(step: Step) -> bool {
    match step {
        Step::RoomGivenUp
        | Step::DirectoryMade
        | Step::FilesWritten
        | Step::Sealed
        | Step::NamesLinked
        | Step::CurrentPrepared => false,
        Step::MadeVisible | Step::NamesUnlinked | Step::PastRemoved | Step::RoomKept => true,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    First,
    Second,
    Repair,
}

#[test]
fn the_steps_come_in_their_order() {
    let place = Place::new();
    let (told, steps) = std::sync::mpsc::channel();
    let mut publisher = place.open();
    publisher.at_step(move |step| told.send(step).unwrap());
    publisher.publish(seconds(1), Generation(1), first()).unwrap();
    drop(publisher);
    assert_eq!(steps.iter().collect::<Vec<_>>(), STEPS);
}

#[test]
fn a_death_behind_each_step_is_healed() {
    for step in STEPS {
        for doing in [Doing::First, Doing::Second, Doing::Repair] {
            dies(doing, step);
        }
    }
}

fn dies(doing: Doing, fatal: Step) {
    let case = format!("{doing:?} {fatal:?}");
    let (place, old, new) = (Place::new(), first(), second());
    let path = place.path();
    let mut publisher = place.open();
    match doing {
        Doing::First => {}
        Doing::Second | Doing::Repair => {
            let shown = publisher.publish(seconds(1), Generation(7), old.clone()).unwrap();
            assert_eq!((shown.generation, shown.changed), (Generation(7), true), "{case}");
        }
    }
    let tampered = {
        let mut tampered = old.clone();
        if doing == Doing::Repair {
            fs::write(path.join("app.env"), "tampered").unwrap();
            tampered.files.insert("app.env".to_owned(), crate::support::file(b"tampered", 0o440));
        }
        tampered
    };

    publisher.at_step(move |step| {
        if step == fatal {
            resume_unwind(Box::new("killed"));
        }
    });
    let death = catch_unwind(AssertUnwindSafe(|| match doing {
        Doing::First | Doing::Second => publisher.publish(seconds(2), Generation(8), new.clone()),
        Doing::Repair => publisher.repair(seconds(2)),
    }));
    assert!(death.is_err(), "{case}: it lived");
    drop(publisher);

    let (before, after) = match doing {
        Doing::First => (None, Some(&new)),
        Doing::Second => (Some(&old), Some(&new)),
        Doing::Repair => (Some(&tampered), Some(&old)),
    };
    let expected = if is_visible_after(fatal) { after } else { before };
    assert_eq!(
        visible(&path, expected.as_slice()),
        expected.map(|_| 0),
        "{case}: readers see the wrong set"
    );

    let mut next = place.open();
    let shown = match (doing, is_visible_after(fatal)) {
        (Doing::First, false) => Generation(0),
        (Doing::First, true) | (Doing::Second, true) => Generation(8),
        (Doing::Second, false) | (Doing::Repair, _) => Generation(7),
    };
    assert_eq!(next.generation(), shown, "{case}");
    assert_eq!(visible(&path, expected.as_slice()), expected.map(|_| 0), "{case}: open changed it");

    let target = if doing == Doing::Repair { &old } else { &new };
    next.rehearse(target).unwrap();
    let healed = next.publish(seconds(3), shown.next(), target.clone()).unwrap();
    assert_eq!(healed.changed, !is_visible_after(fatal), "{case}");
    assert!(healed.generation >= shown, "{case}: backwards");
    assert_eq!(next.generation(), healed.generation, "{case}");
    assert_eq!(visible(&path, &[target]), Some(0), "{case}");
    assert_eq!(next.drift(), None, "{case}");
    assert_tidy(&path, target);
    let again = next.publish(seconds(4), healed.generation.next(), target.clone()).unwrap();
    assert_eq!((again.generation, again.changed), (healed.generation, false), "{case}");
}

/// The same by SIGKILL, wherever it strikes.
#[test]
fn a_killed_process_leaves_a_whole_set() {
    const NAME: &str = "crash::a_killed_process_leaves_a_whole_set";
    const DIRECTORY: &str = "LEASEHOLD_TEST_DIRECTORY";
    if is_inner() {
        let directory = std::path::PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
        let settings = crate::support::settings(&directory);
        let mut publisher = leasehold::publish::Publisher::open(settings).unwrap();
        for _ in 0..10_000 {
            let number = publisher.generation().next();
            let rendering = set(&["a", "b/c", "b/d"], &number.to_string());
            publisher.publish(seconds(number.0), number, rendering).unwrap();
            println!("published {number}");
        }
        return;
    }
    let place = Place::new();
    let mut last = 0;
    for round in 1..=30 {
        let mut child = again(NAME)
            .env(DIRECTORY, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let published = lines.filter(|line| line.as_ref().is_ok_and(|l| l.contains("published ")));
        let told = published.take(round % 7 + 1).last().unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let told: u64 = told.rsplit(' ').next().unwrap().parse().unwrap();
        let seen = tree(&place.path().join("current"));
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["a", "b/c", "b/d"]);
        let mut numbers = seen.iter().map(|(path, bytes)| {
            let text = std::str::from_utf8(bytes).unwrap();
            text.strip_prefix(&format!("{path} ")).unwrap().parse::<u64>().unwrap()
        });
        let number = numbers.next().unwrap();
        assert!(numbers.all(|other| other == number), "a mix: {seen:?}");
        assert!(number >= told && number > last, "{number} after {told} and {last}");
        last = number;

        let publisher = place.open();
        assert_eq!(publisher.generation(), Generation(number));
        assert_tidy(&place.path(), &set(&["a", "b/c", "b/d"], ""));
    }
}
