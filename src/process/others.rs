//! What `/proc` says of processes.
//!
//! Receives a name or an id, gives the process with the time at which it began; or whose children
//! are wanted, and gives their ids. Never takes an id alone for a process that we did not start: ids
//! are given away anew, an id and a beginning together are not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use rustix::process::{Pid, getpid};

use crate::error::{Class, Failure};
use crate::time::{Clock, Moment};

/// What the kernel counts the beginnings of processes in; it tells every program the same.
const TICK_MICROS: u64 = 10_000;

/// More of a command line than this does not matter for its first two words.
const LONGEST: u64 = 4096;

/// More ancestors than this mean that they changed while we looked.
const GENERATIONS: usize = 64;

/// Others get their turn after so many processes.
const AT_ONCE: usize = 64;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub pid: Pid,
    parent: i32,
    /// Ticks since the machine started.
    started: u64,
}

impl Seen {
    /// Whether both are one process.
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }

    /// The wall clock's reading when it began, in microseconds since 1970, by the clock as it is
    /// set today.
    pub fn began(&self, clock: &Clock) -> u64 {
        let micros = self.started.saturating_mul(TICK_MICROS);
        clock.wall_micros(Moment::from_micros(clock.epoch().offset.saturating_add(micros)))
    }
}

/// The only process called `name` whose parent is not called so too: of a master and its workers
/// the master. We and what we started do not count.
///
/// # Errors
/// `Again` when none runs, or several that did not start one another.
pub async fn only(name: &str) -> Result<Seen, Failure> {
    let again = Class::Again { after: None };
    let refuse = |why: String| Failure::new(again, format!("find the process `{name}`: {why}"));
    let ids = ids().map_err(|error| refuse(error.to_string()))?;
    let mut found = BTreeMap::new();
    for (count, pid) in ids.enumerate() {
        if count % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        if let Some(seen) = named(pid, name).filter(|seen| !ours(seen)) {
            found.insert(pid.as_raw_nonzero().get(), seen);
        }
    }
    let first = |seen: &&Seen| !found.contains_key(&seen.parent);
    let first: Vec<&Seen> = found.values().filter(first).collect();
    match first.as_slice() {
        [one] => Ok(**one),
        [] => Err(refuse("none runs".to_owned()).hint(
            "the app does not run, or is called otherwise, or runs in another process namespace \
             (Kubernetes: `shareProcessNamespace: true`)",
        )),
        many => {
            let ids = many.iter().take(5).map(|seen| seen.pid.to_string());
            let ids = ids.collect::<Vec<_>>().join(", ");
            let more = if many.len() > 5 { ", …" } else { "" };
            let count = many.len();
            Err(refuse(format!("{count} run, and none started the others: {ids}{more}"))
                .hint("give `pid_file` instead, or a name that only one process has"))
        }
    }
}

fn ids() -> io::Result<impl Iterator<Item = Pid>> {
    let ids = std::fs::read_dir("/proc")?;
    let ids = ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(ids.filter_map(Pid::from_raw))
}

/// Our children, those that have ended and are not waited for yet among them.
///
/// # Errors
/// When there is no `/proc`.
pub fn children() -> io::Result<Vec<Pid>> {
    let own = getpid().as_raw_nonzero().get();
    let child = |pid: &Pid| see(*pid).is_some_and(|seen| seen.parent == own);
    Ok(ids()?.filter(child).collect())
}

/// The process `pid`, if it is called `name`.
pub fn named(pid: Pid, name: &str) -> Option<Seen> {
    let line = read(pid, "cmdline")?;
    let mut words = line.split(|byte| *byte == 0);
    // Kernel threads and the dead have no first word.
    let program = words.next().filter(|word| !word.is_empty())?;
    let name = name.as_bytes();
    let called = base(title(program)) == name
        || words.next().is_some_and(|script| base(script) == name)
        || read(pid, "comm")?.trim_ascii_end() == name;
    called.then(|| see(pid)).flatten()
}

/// The process `pid`, whatever it is called.
pub fn see(pid: Pid) -> Option<Seen> {
    let stat = read(pid, "stat")?;
    // The second field is the process's name in parentheses, with anything in it.
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(behind + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Seen { pid, parent: i32::try_from(number(1)?).ok()?, started: number(19)? })
}

/// Servers that write what they do over their arguments put their name first: `gunicorn: master`.
fn title(word: &[u8]) -> &[u8] {
    let end = word.windows(2).position(|pair| pair == b": ");
    end.map_or(word, |end| word.get(..end).unwrap_or(word))
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Whether it is this process or comes from it.
fn ours(seen: &Seen) -> bool {
    let mut seen = *seen;
    for _ in 0..GENERATIONS {
        if seen.pid == getpid() {
            return true;
        }
        let Some(parent) = Pid::from_raw(seen.parent).and_then(see) else { return false };
        seen = parent;
    }
    false
}

fn read(pid: Pid, what: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/{what}")).ok()?;
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_names_that_a_person_gives_it() {
        for (word, name) in [
            ("/usr/local/bin/gunicorn", "gunicorn"),
            ("gunicorn: master [app:app]", "gunicorn"),
            ("nginx: master process /usr/sbin/nginx", "nginx"),
            ("postgres", "postgres"),
            ("http://x", "x"),
        ] {
            assert_eq!(base(title(word.as_bytes())), name.as_bytes(), "{word}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_beginning() {
        let clock = Clock::resume(None);
        let own = see(getpid()).unwrap();
        let (began, now) = (own.began(&clock), clock.wall_micros(clock.now()));
        assert!(began <= now && now - began < 3_600_000_000, "{began} {now}");
        let parent = Pid::from_raw(own.parent).and_then(see).unwrap();
        assert!(parent.started <= own.started && !ours(&parent) && ours(&own));
        assert_eq!(Pid::from_raw(i32::MAX).and_then(see), None);
    }

    #[tokio::test]
    async fn we_are_never_found() {
        let own = read(getpid(), "comm").unwrap();
        let name = String::from_utf8(own.trim_ascii_end().to_vec()).unwrap();
        assert!(named(getpid(), &name).is_some());
        let found = only(&name).await;
        assert!(!found.is_ok_and(|seen| seen.pid == getpid()));
    }
}
