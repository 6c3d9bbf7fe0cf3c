//! The loop: events in, decisions, commands out.
//!
//! Receives completed tasks, wake-ups, file changes and the wish to stop, and only turns each into
//! an [`Event`]. It owns every task that it starts; nothing else starts one for the agent, but for
//! what a [`Database`](crate::postgres::Database) has under way beside a command. Never decides
//! anything.

mod alarm;
mod status;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch as channel};
use tokio::task::{Id, JoinError, JoinSet, LocalSet};

use crate::agent::command::Command;
use crate::agent::event::{Event, Visible};
use crate::agent::view::View;
use crate::agent::{Agent, Policy, Unmet};
use crate::error::{Class, Failure};
use crate::logs;
use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::render::{self, File, Rendering};
use crate::secret::Secret;
use crate::server::api::{Call, Report};
use crate::server::probes::Heartbeat;
use crate::snapshot::{Generation, Snapshot};
use crate::state::Store;
use crate::supervise::Set;
use crate::time::Clock;
use crate::vault::Vault;
use crate::watch::Watch;

use alarm::Alarm;
pub use tasks::Outside;

/// Each read that is under way has a connection to itself; more of them at once would not be
/// answered sooner.
const MOST_READS: usize = 8;

/// Everything that the loop works with.
pub struct Driver {
    /// Decides.
    pub agent: Agent,
    /// The first commands, from the agent's adoption.
    pub first: Vec<Command>,
    /// Tells the time.
    pub clock: Clock,
    /// Where the state is written.
    pub store: Store,
    /// Where sets become visible.
    pub publisher: Publisher,
    /// What is rendered.
    pub files: Vec<File>,
    /// The publish directory, where changes are noticed.
    pub watched: PathBuf,
    /// Other directories, where they are noticed too.
    pub beside: BTreeSet<PathBuf>,
    /// Hears of each change in any of them.
    pub touched: Arc<Notify>,
    /// Notices changes of files that secrets come from.
    pub inputs: Option<Watch>,
    /// Vault, the database, the app.
    pub outside: Arc<Outside>,
    /// What the configuration is changed to.
    pub changes: mpsc::Receiver<Change>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Shows the agent to the listeners.
    pub view: channel::Sender<View>,
    /// Shows that the loop turns.
    pub heartbeat: Heartbeat,
    /// What the API is asked for.
    pub calls: mpsc::Receiver<Call>,
}

/// A configuration that was changed, and found to be right.
pub struct Change {
    /// For the agent.
    pub policy: Policy,
    /// What is to be rendered.
    pub files: Vec<File>,
    /// How long a generation is kept for readers that still have it.
    pub keep: Duration,
    /// Vault, the database, the app.
    pub outside: Arc<Outside>,
    /// Notices changes of files that secrets come from.
    pub inputs: Option<Watch>,
}

/// A set, and the variables that go with it.
type Ready = (Rendering, Vec<(String, Secret)>);

/// The loop's own state.
struct Turning {
    driver: Driver,
    /// From the first publish on. Before it nothing is there to keep, and to begin takes a thread
    /// and its time.
    watch: Option<Watch>,
    tasks: JoinSet<Event>,
    /// What they tell before they end.
    early: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    /// What each task was started for, to complete it when it panics.
    started: HashMap<Id, Command>,
    /// Reads under way, and those that wait for one of them to end.
    reads: usize,
    waiting: VecDeque<Command>,
    /// Why the last write of the state failed; tried again at each turn.
    unsaved: Option<Failure>,
    /// The files of the newest policy, until they are in use.
    coming: Option<Vec<File>>,
    fingerprints: BTreeMap<String, String>,
    exited: bool,
    /// Why an agent that was to publish once has not.
    unmet: Option<Unmet>,
}

/// Turns until the agent exits; `stop` tells it to. Gives why one that was to publish once has not.
///
/// # Errors
/// When the kernel gives no timer.
pub async fn run(driver: Driver, stop: impl Future<Output = ()>) -> Result<Option<Unmet>, Failure> {
    // One thread runs everything, so no task needs to be sent to another.
    LocalSet::new().run_until(turn(driver, stop)).await
}

async fn turn(
    mut driver: Driver,
    stop: impl Future<Output = ()>,
) -> Result<Option<Unmet>, Failure> {
    let mut alarm = Alarm::new()?;
    let first = std::mem::take(&mut driver.first);
    let mut turning = Turning {
        driver,
        watch: None,
        tasks: JoinSet::new(),
        early: mpsc::unbounded_channel(),
        started: HashMap::new(),
        reads: 0,
        waiting: VecDeque::new(),
        unsaved: None,
        coming: None,
        fingerprints: BTreeMap::new(),
        exited: false,
        unmet: None,
    };
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    turning.perform_all(first);
    turning.turn(Event::Wake);
    while !turning.exited {
        if let Some(event) = turning.begin_to_watch() {
            turning.turn(event);
            continue;
        }
        let now = turning.driver.clock.now();
        let wakeup = turning.driver.agent.next_wakeup(now);
        turning.driver.heartbeat.promise(wakeup);
        let event = tokio::select! {
            Some(done) = turning.tasks.join_next_with_id() => {
                let event = turning.completed(done);
                if matches!(event, Event::Read { .. }) {
                    turning.take_reads(event);
                    continue;
                }
                event
            }
            Some(event) = turning.early.1.recv() => event,
            rang = alarm.ring(wakeup.map(|at| now.until(at))) => rang.map(|()| Event::Wake)?,
            () = changed(&mut turning.watch) => match turning.drifted() {
                Some(event) => event,
                None => continue,
            },
            () = changed(&mut turning.driver.inputs) => turning.inputs_changed(),
            Some(change) = turning.driver.changes.recv(), if !stopping => turning.change(change),
            Some(call) = turning.driver.calls.recv() => match turning.called(call) {
                Some(event) => {
                    stopping |= matches!(event, Event::Stop);
                    event
                }
                None => continue,
            },
            () = &mut stop, if !stopping => {
                stopping = true;
                Event::Stop
            }
        };
        turning.turn(event);
    }
    Ok(turning.unmet())
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

impl Turning {
    /// Makes everything ready for the policy, which the agent is then told of.
    fn change(&mut self, change: Change) -> Event {
        let Change { policy, files, keep, outside, inputs } = change;
        self.driver.inputs = inputs;
        self.driver.metrics.follow(&policy);
        self.driver.publisher.keep(keep);
        self.driver.outside = outside;
        self.coming = Some(files);
        Event::Reload(policy)
    }

    /// Gives what changed between the publish and the watch.
    fn begin_to_watch(&mut self) -> Option<Event> {
        if self.watch.is_some() || !self.driver.publisher.has_published() {
            return None;
        }
        self.watch = Some(Watch::with(self.driver.watched.clone(), self.driver.beside.clone()));
        self.drifted()
    }

    fn completed(&mut self, done: Result<(Id, Event), JoinError>) -> Event {
        let vault = self.driver.outside.vault.as_deref();
        if let Some(result) = vault.and_then(Vault::tls_files) {
            logs::tls_files(&result);
        }
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let command = self.started.remove(&id);
        if matches!(command, Some(Command::Read { .. })) {
            self.reads -= 1;
            if let Some(next) = self.waiting.pop_front() {
                self.start(next);
            }
        }
        match done {
            Ok((_, event)) => event,
            Err(_) => {
                // A task that panicked still gets its completion.
                // Whatever it was doing may have been done.
                let failure = Failure::new(Class::Unclear, "a task of ours failed");
                let now = self.driver.clock.now();
                command.and_then(|lost| tasks::failed(&lost, now, failure)).unwrap_or(Event::Wake)
            }
        }
    }

    /// Reads mostly find nothing new: those that are answered by now are taken together.
    fn take_reads(&mut self, first: Event) {
        let mut reads = vec![first];
        let mut other = None;
        while other.is_none()
            && let Some(done) = self.tasks.try_join_next_with_id()
        {
            let event = self.completed(done);
            if matches!(event, Event::Read { .. }) {
                reads.push(event);
            } else {
                other = Some(event);
            }
        }
        let now = self.driver.clock.now();
        let commands = self.driver.agent.handle_all(now, reads);
        let events = self.perform_all(commands);
        events.into_iter().chain(other).for_each(|event| self.turn(event));
        self.show();
    }

    fn inputs_changed(&mut self) -> Event {
        if let Some(failure) = self.driver.inputs.as_mut().and_then(Watch::degraded) {
            logs::watch_degraded(&failure);
        }
        Event::FilesChanged
    }

    /// What somebody asked for by the API.
    fn called(&self, call: Call) -> Option<Event> {
        let Driver { agent, clock, .. } = &self.driver;
        match call {
            Call::Report(reply) => {
                let now = clock.now();
                let report = Report { view: agent.view(now), outlook: agent.outlook(now), now };
                // Who went away needs no answer.
                let _ = reply.send(report);
                None
            }
            Call::Refresh(secret) => Some(Event::Refresh { secret }),
            Call::Stop => match &self.driver.outside.child {
                // Its end is ours.
                Some(child) => {
                    child.stop();
                    None
                }
                None => Some(Event::Stop),
            },
        }
    }

    /// Something was changed, maybe what was published.
    fn drifted(&mut self) -> Option<Event> {
        self.driver.touched.notify_one();
        if let Some(failure) = self.watch.as_mut().and_then(Watch::degraded) {
            logs::watch_degraded(&failure);
        }
        self.driver.publisher.drift().map(|file| Event::Drifted { file })
    }

    /// One event and everything that follows from it at once.
    fn turn(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.driver.clock.now();
            let commands = self.driver.agent.handle(now, event);
            events.extend(self.perform_all(commands));
        }
        self.show();
    }

    fn perform_all(&mut self, commands: Vec<Command>) -> Vec<Event> {
        if self.unsaved.is_some() && !commands.iter().any(|c| matches!(c, Command::Save)) {
            self.save();
        }
        commands.into_iter().filter_map(|command| self.perform(command)).collect()
    }

    /// Performs what is done in order, and starts what runs beside the loop.
    fn perform(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Save => self.save(),
            Command::Record(record) => {
                logs::record(&record);
                self.driver.metrics.record(&record);
            }
            Command::Exit { unmet } => (self.exited, self.unmet) = (true, unmet),
            Command::Rehearse(snapshot) => {
                let ready = self.render(&self.driver.files, &snapshot);
                let result = ready.and_then(|(set, _)| self.driver.publisher.rehearse(&set));
                return Some(Event::Rehearsed { result });
            }
            Command::Publish(snapshot) => {
                let result = self.saved().and_then(|()| {
                    let ready = self.render(&self.driver.files, &snapshot)?;
                    self.publish(snapshot.generation, ready)
                });
                return Some(Event::Published { result });
            }
            Command::Switch(snapshot) => {
                let result = self.saved().and_then(|()| self.switch(&snapshot));
                return Some(Event::Published { result });
            }
            Command::Repair => {
                let result = self.driver.publisher.repair(self.driver.clock.now());
                return Some(Event::Published { result });
            }
            Command::Issue { .. } | Command::Make { .. } | Command::ShortenLease { .. } => {
                match self.saved() {
                    Ok(()) => self.start(command),
                    Err(failure) => {
                        return tasks::failed(&command, self.driver.clock.now(), failure);
                    }
                }
            }
            Command::Login { .. }
            | Command::LookupToken { .. }
            | Command::RenewToken { .. }
            | Command::RevokeToken { .. }
            | Command::CreateToken { .. }
            | Command::RenewLease { .. }
            | Command::LookupLease { .. }
            | Command::RevokeLease { .. }
            | Command::Read { .. }
            | Command::Probe { .. }
            | Command::Count { .. }
            | Command::Deliver { .. } => self.start(command),
        }
        None
    }

    fn start(&mut self, command: Command) {
        if matches!(command, Command::Read { .. }) {
            if self.reads >= MOST_READS {
                self.waiting.push_back(command);
                return;
            }
            self.reads += 1;
        }
        let outside = self.driver.outside.clone();
        let early = self.early.0.clone();
        let task = self.tasks.spawn_local(tasks::carry_out(outside, command.clone(), early));
        self.started.insert(task.id(), command);
    }

    fn save(&mut self) {
        let (store, clock) = (&self.driver.store, &self.driver.clock);
        let before = self.unsaved.take();
        if let Err(failure) = store.write(&clock.epoch(), &self.driver.agent.kept()) {
            if before.as_ref() != Some(&failure) {
                logs::state_unwritten(&failure);
            }
            self.unsaved = Some(failure);
        }
    }

    /// No lease or certificate is made, no lease shortened, and nothing published, while the state
    /// cannot be written.
    fn saved(&self) -> Result<(), Failure> {
        self.unsaved.clone().map_or(Ok(()), Err)
    }

    /// Without a state that can be written nothing was asked for, and that is the reason.
    fn unmet(self) -> Option<Unmet> {
        match (self.unmet?, self.unsaved) {
            (Unmet::Unobtainable(_), Some(failure)) => Some(Unmet::Unpublishable(failure)),
            (unmet, _) => Some(unmet),
        }
    }

    /// What readers find in the files, and a child in its environment.
    fn render(&self, files: &[File], snapshot: &Snapshot) -> Result<Ready, Failure> {
        let rendering = render::render(files, snapshot)?;
        Ok((rendering, self.driver.outside.variables(files, snapshot)?))
    }

    fn publish(
        &mut self,
        generation: Generation,
        (set, variables): Ready,
    ) -> Result<Visible, Failure> {
        let fingerprints = status::fingerprints(&set, self.driver.store.key());
        let now = self.driver.clock.now();
        let visible = self.driver.publisher.publish(now, generation, set)?;
        self.fingerprints = fingerprints;
        if let Some(child) = &self.driver.outside.child {
            child.show(Set { generation: visible.generation, variables });
        }
        Ok(visible)
    }

    /// Publishes the files that are to come, which are in use from then on.
    fn switch(&mut self, snapshot: &Snapshot) -> Result<Visible, Failure> {
        let files = self.coming.as_ref().unwrap_or(&self.driver.files);
        let ready = self.render(files, snapshot)?;
        let visible = self.publish(snapshot.generation, ready)?;
        if let Some(files) = self.coming.take() {
            self.driver.files = files;
        }
        Ok(visible)
    }

    /// Shows the agent to the listeners and in `status.json`.
    fn show(&mut self) {
        if !self.driver.agent.stirred() {
            return;
        }
        let view = self.driver.agent.view(self.driver.clock.now());
        if *self.driver.view.borrow() == view {
            return;
        }
        if view.started {
            let json = status::json(&view, &self.fingerprints, &self.driver.clock);
            if let Err(failure) = self.driver.publisher.write_status(&json) {
                logs::status_unwritten(&failure);
            }
        }
        self.driver.view.send_replace(view);
    }
}
