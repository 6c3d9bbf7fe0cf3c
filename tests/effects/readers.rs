//! Readers that open `current` once never see files of two generations.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use leasehold::publish::{Publisher, Settings};
use leasehold::render::Rendering;
use leasehold::snapshot::Generation;
use leasehold::time::Clock;
use rustix::fs::{Mode, OFlags};

use crate::support::{Place, file};

const READS: u64 = 1_000_000;
const READERS: u64 = 3;
const GENERATIONS: u64 = 200;
/// Longer than a reader can be between two system calls, shorter than the test.
const KEEP: Duration = Duration::from_secs(2);

/// Two files of different lengths, full of their number.
fn numbered(number: u64) -> Rendering {
    let mut rendering = Rendering::default();
    for (path, lines) in [("app.env", 20), ("db/pg_service.conf", 300)] {
        let bytes = format!("{number:08}\n").repeat(lines);
        rendering.files.insert(path.to_owned(), file(bytes.as_bytes(), 0o444));
    }
    rendering
}

/// The number of a whole file of `lines` lines.
fn number(bytes: &[u8], lines: usize) -> u64 {
    assert_eq!(bytes.len(), lines * 9, "torn");
    assert!(bytes[9..] == bytes[..bytes.len() - 9], "torn: a line differs from the next");
    std::str::from_utf8(&bytes[..8]).unwrap().parse().unwrap()
}

#[test]
fn a_million_reads_see_whole_sets_in_order() {
    let place = Place::new();
    let mut publisher = Publisher::open(Settings { keep: KEEP, ..place.settings() }).unwrap();
    let clock = Clock::resume(None);
    publisher.publish(clock.now(), Generation(1), numbered(1)).unwrap();
    let (reads, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let directory = File::open(place.path()).unwrap();

    let read = || {
        let guard = Failed(&failed);
        let (mut buffer, mut last) = (Vec::new(), 0);
        while reads.fetch_add(2, Ordering::Relaxed) < READS {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let set = rustix::fs::openat(&directory, "current", flags, Mode::empty()).unwrap();
            let mut seen = [0; 2];
            for (seen, (path, lines)) in
                seen.iter_mut().zip([("app.env", 20), ("db/pg_service.conf", 300)])
            {
                let file = rustix::fs::openat(&set, path, OFlags::RDONLY, Mode::empty());
                buffer.clear();
                File::from(file.expect("missing")).read_to_end(&mut buffer).unwrap();
                *seen = number(&buffer, lines);
            }
            assert_eq!(seen[0], seen[1], "files of two generations");
            assert!(seen[0] >= last, "{} after {last}", seen[0]);
            last = seen[0];
        }
        std::mem::forget(guard);
        last
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        for number in 2..=GENERATIONS {
            // Spread over the whole time of the readers.
            while reads.load(Ordering::Relaxed) < number * (READS / (GENERATIONS + 5))
                && !failed.load(Ordering::Relaxed)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            let shown = publisher.publish(clock.now(), Generation(number), numbered(number));
            assert_eq!(shown.unwrap().generation, Generation(number));
        }
        for reader in readers {
            let last = reader.join().unwrap();
            assert!(last > GENERATIONS / 2, "a reader that saw nothing new: {last}");
        }
    });
    assert!(reads.load(Ordering::Relaxed) >= READS);
}

/// Says that a reader is gone, so that nobody waits for it.
struct Failed<'a>(&'a AtomicBool);

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
