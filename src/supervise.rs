//! The child of `exec`: started with the secrets in its environment, and kept up with them.
//!
//! Receives what is published, the word that it changed, and signals; gives how the child ended.
//! Never has two children at once, and leaves nothing behind that one of them started.

mod shim;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpgid, getpid, getsid, kill_process, waitpid};
use tokio::sync::{Notify, mpsc, oneshot, watch as channel};
use tokio::time::sleep;

use crate::error::{Class, Failure};
use crate::logs;
use crate::process::{Given, Heard, Passing, Started, orphans};
use crate::secret::Secret;
use crate::snapshot::Generation;

pub use shim::{COMMAND, Unstarted, become_child};

/// How often what a child left behind is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How often after that it was killed: 5 s.
const LAST_LOOKS: u128 = 250;

/// The agent's token is none of the child's business.
const WITHHELD: [&str; 2] = ["VAULT_TOKEN", "BAO_TOKEN"];

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What a rotation does to it.
    pub on_rotate: OnRotate,
    /// Asks it to end.
    pub stop_signal: Signal,
    /// How long it may take for that before it is killed.
    pub patience: Duration,
    /// What it gets back that we gave up.
    pub given: Given,
}

/// What a rotation does to the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRotate {
    /// It is ended, and another one is started.
    Restart,
    /// It gets this signal.
    Signal(Signal),
    /// Nothing: it opens the files by itself.
    Leave,
}

/// What a child may find in its environment.
#[derive(Clone)]
pub struct Set {
    /// Of which generation.
    pub generation: Generation,
    /// Names and values.
    pub variables: Vec<(String, Secret)>,
}

/// The child as the agent sees it.
#[derive(Clone)]
pub struct Child(Arc<Link>);

struct Link {
    shown: channel::Sender<Option<Set>>,
    asked: mpsc::Sender<Ask>,
    stop: Notify,
}

/// The wish that the child be of this generation or later.
struct Ask {
    generation: Generation,
    done: oneshot::Sender<()>,
}

/// The child as its parent sees it.
pub struct Supervision {
    settings: Settings,
    shown: channel::Receiver<Option<Set>>,
    asked: mpsc::Receiver<Ask>,
    link: Arc<Link>,
    signals: Passing,
    /// What the child was told of last.
    told: Option<Generation>,
    /// Children that were there before: a shell started them, and then became us.
    before: HashSet<Pid>,
}

/// Both sides of a child that is not started yet. `signals` are those that are passed on to it.
pub fn supervise(settings: Settings, signals: Passing) -> (Child, Supervision) {
    let (shown, seen) = channel::channel(None);
    let (ask, asked) = mpsc::channel(1);
    let link = Arc::new(Link { shown, asked: ask, stop: Notify::new() });
    let before = orphans().unwrap_or_default().into_iter().collect();
    let child = Child(link.clone());
    (child, Supervision { settings, shown: seen, asked, link, signals, told: None, before })
}

impl Child {
    /// Shows what is published. The first one starts the child.
    pub fn show(&self, set: Set) {
        self.0.shown.send_replace(Some(set));
    }

    /// Tells the child of `generation`; returns once it has taken that in as its mode has it.
    ///
    /// # Errors
    /// `Gone` when the child has ended.
    pub async fn tell(&self, generation: Generation) -> Result<(), Failure> {
        let (done, told) = oneshot::channel();
        let gone = || Failure::new(Class::Gone, "tell the child: it has ended");
        self.0.asked.send(Ask { generation, done }).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())
    }

    /// Ends the child, and with it [`Supervision::run`].
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The last child, with this exit code.
    Child(u8),
    /// Before there was one; what asked for that stands for this exit code.
    Unstarted(u8),
}

/// A child that runs.
struct Running {
    process: Started,
    generation: Generation,
}

impl Running {
    /// 128 and the signal's number for one that a signal ended, as a shell has it.
    fn code(&mut self) -> Result<u8, Failure> {
        let status = self.process.wait().map_err(|error| failed("wait for the child", &error))?;
        let code = status.code().or_else(|| Some(128 + status.signal()?));
        Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// What the terminal sends to our process group the child has got already, if it is in that. Only
    /// of the terminal's end the first process of a session hears alone.
    fn pass_on(&self, signal: Signal, by_terminal: bool) {
        let alone = || signal == Signal::HUP && getsid(None).ok() == Some(getpid());
        let beside_us = || getpgid(Some(self.process.id())).ok() == getpgid(None).ok();
        if !by_terminal || alone() || !beside_us() {
            self.process.signal(signal);
        }
    }
}

impl Supervision {
    /// Starts the child once there is something to show it, and goes on until it has ended. With a
    /// signal, or [`Child::stop`], before that none is started. Gives the signals back.
    ///
    /// # Errors
    /// When the kernel gives no process, or does not tell of its end.
    pub async fn run(mut self) -> (Result<Ended, Failure>, Passing) {
        let ended = self.supervise().await;
        (ended, self.signals)
    }

    async fn supervise(&mut self) -> Result<Ended, Failure> {
        let mut running = match self.begin().await? {
            Ok(running) => running,
            Err(code) => return Ok(Ended::Unstarted(code)),
        };
        // What ends may have no handler of its own any more.
        let mut leaves = false;
        loop {
            tokio::select! {
                biased;
                heard = self.signals.next() => match heard {
                    Heard::ChildEnded => self.reap(),
                    Heard::Signal { signal, by_terminal } => {
                        leaves |= signal == Signal::TERM;
                        running.pass_on(signal, by_terminal);
                    }
                },
                ended = running.process.ended() => {
                    ended.map_err(|error| failed("wait for the child", &error))?;
                    let code = running.code()?;
                    self.sweep().await;
                    return Ok(Ended::Child(code));
                }
                Some(Ask { generation, done }) = self.asked.recv() => {
                    // One that it has and was told of before is told on purpose.
                    let news = running.generation < generation || self.told == Some(generation);
                    self.told = Some(generation);
                    match self.settings.on_rotate {
                        OnRotate::Restart if news => {
                            running = match self.end(running, false).await? {
                                Ok(()) => self.start()?,
                                Err(code) => return Ok(Ended::Child(code)),
                            };
                        }
                        OnRotate::Signal(signal) if news && !leaves => {
                            running.process.signal(signal);
                            running.generation = generation;
                        }
                        OnRotate::Restart | OnRotate::Signal(_) | OnRotate::Leave => {}
                    }
                    // Who asked may have ended.
                    let _ = done.send(());
                }
                () = self.link.stop.notified() => {
                    let code = self.end(running, true).await?.err().unwrap_or_default();
                    return Ok(Ended::Child(code));
                }
            }
        }
    }

    /// The first child, or the exit code with which there will be none.
    async fn begin(&mut self) -> Result<Result<Running, u8>, Failure> {
        loop {
            tokio::select! {
                // The sender is in `self.link`.
                _ = self.shown.changed() => return Ok(Ok(self.start()?)),
                heard = self.signals.next() => match heard {
                    Heard::ChildEnded => self.reap(),
                    Heard::Signal { signal: Signal::WINCH, .. } => {}
                    Heard::Signal { signal, .. } => return Ok(Err(shell_code(signal))),
                },
                () = self.link.stop.notified() => return Ok(Err(0)),
            }
        }
    }

    fn start(&mut self) -> Result<Running, Failure> {
        let mut child = shim::command(&self.settings.command, self.settings.given);
        for name in WITHHELD {
            child.env_remove(name);
        }
        let mut generation = Generation(0);
        if let Some(set) = &*self.shown.borrow_and_update() {
            child.envs(set.variables.iter().map(|(name, value)| (name, value.expose())));
            generation = set.generation;
        }
        let process = Started::beside_us(&mut child);
        Ok(Running {
            process: process.map_err(|error| failed("start the child", &error))?,
            generation,
        })
    }

    /// Ends the child and what it left behind. `Err` with its exit code where there shall be no
    /// next one: `last` says so, or somebody does in the meantime.
    async fn end(&mut self, mut running: Running, last: bool) -> Result<Result<(), u8>, Failure> {
        let mut last = last;
        running.process.signal(self.settings.stop_signal);
        let mut deadline = pin!(sleep(self.settings.patience));
        let mut killed = false;
        loop {
            tokio::select! {
                biased;
                heard = self.signals.next() => {
                    last |= asks_to_stop(heard);
                    match heard {
                        Heard::ChildEnded => self.reap(),
                        Heard::Signal { signal, by_terminal } => {
                            running.pass_on(signal, by_terminal);
                        }
                    }
                }
                ended = running.process.ended() => {
                    ended.map_err(|error| failed("wait for the child", &error))?;
                    break;
                }
                () = &mut deadline, if !killed => {
                    running.process.signal(Signal::KILL);
                    killed = true;
                }
                () = self.link.stop.notified() => last = true,
            }
        }
        let code = running.code()?;
        last |= self.sweep().await;
        Ok(if last { Err(code) } else { Ok(()) })
    }

    /// Ends what the child started and did not wait for: it came to us. Gives whether somebody asked
    /// us to stop meanwhile.
    async fn sweep(&mut self) -> bool {
        let patience = self.settings.patience.as_millis() / LOOK.as_millis();
        let mut told = HashSet::new();
        let mut stop = false;
        for look in 0.. {
            self.reap();
            stop |= self.signals.pending().await.into_iter().any(asks_to_stop);
            let mut left = orphans().unwrap_or_default();
            left.retain(|pid| !self.before.contains(pid));
            if left.is_empty() {
                break;
            }
            if look >= patience + LAST_LOOKS {
                left.iter().for_each(|pid| logs::left_behind(pid.as_raw_nonzero().get()));
                break;
            }
            for pid in left {
                // One that is gone needs no signal.
                if look >= patience {
                    let _ = kill_process(pid, Signal::KILL);
                } else if told.insert(pid) {
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
            sleep(LOOK).await;
        }
        stop
    }

    /// Waits for every orphan that has ended: nobody else will.
    fn reap(&mut self) {
        // Without `/proc` they stay until we end.
        for pid in orphans().unwrap_or_default() {
            if let Ok(Some(_)) = waitpid(Some(pid), WaitOptions::NOHANG) {
                self.before.remove(&pid);
            }
        }
    }
}

/// Whether it asks for the end of all, and not of one child.
fn asks_to_stop(heard: Heard) -> bool {
    let stops = [Signal::TERM, Signal::INT, Signal::QUIT];
    matches!(heard, Heard::Signal { signal, .. } if stops.contains(&signal))
}

/// What a shell shows for a process that `signal` ended.
pub fn shell_code(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

fn failed(doing: &str, error: &io::Error) -> Failure {
    Failure::new(Class::Ours, format!("{doing}: {error}"))
}

/// Becomes the parent of what our children leave behind, so that it can be ended with them.
///
/// # Errors
/// When the kernel refuses.
pub fn adopt_orphans() -> Result<(), Failure> {
    let own: Pid = getpid();
    rustix::process::set_child_subreaper(Some(own))
        .map_err(|error| failed("adopt orphans", &error.into()))
}
