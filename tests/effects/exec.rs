//! `leasehold exec` as a person, a script and a kernel see it. The secret is a file, so that no
//! server is needed.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::time::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Place;

const PROGRAM: &str = env!("CARGO_BIN_EXE_leasehold");
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration with one local secret, and where its child may write.
struct World {
    place: Place,
}

impl World {
    fn new() -> Self {
        let world = Self { place: Place::new() };
        world.rotate("first");
        world.configure("");
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.root.path().join(name)
    }

    fn configure(&self, more: &str) {
        let file = self.at("secret.yaml");
        let text = format!("secrets: {{ db: {{ file: {{ path: {} }} }} }}\n", file.display());
        fs::write(self.at("leasehold.yaml"), text + more).unwrap();
    }

    fn rotate(&self, password: &str) {
        let text = format!("username: app\npassword: {password}\n");
        fs::write(self.at("new"), text).unwrap();
        fs::rename(self.at("new"), self.at("secret.yaml")).unwrap();
    }

    /// `leasehold exec FLAGS -- COMMAND`, with a private directory below the test's own.
    fn exec(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut exec = Command::new(PROGRAM);
        exec.arg("exec")
            .arg("--config")
            .arg(self.at("leasehold.yaml"))
            .args(flags)
            .arg("--")
            .args(command)
            .current_dir(self.place.root.path())
            .env("XDG_RUNTIME_DIR", self.place.root.path());
        exec
    }

    fn shell(&self, flags: &[&str], script: &str) -> Command {
        self.exec(flags, &["sh", "-c", script])
    }

    /// What a child wrote to `name`, once it has `lines` lines.
    fn written(&self, name: &str, lines: usize) -> Vec<String> {
        let path = self.at(name);
        eventually(&format!("{name} has {lines} lines"), || {
            let text = fs::read_to_string(&path).ok()?;
            let found: Vec<String> = text.lines().map(str::to_owned).collect();
            (found.len() >= lines && text.ends_with('\n')).then_some(found)
        })
    }

    /// Private directories that are there.
    fn private(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place.root.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.to_string_lossy().contains("/leasehold-"))
            .filter(|p| p.is_dir())
            .collect()
    }
}

fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::resume(None);
    let deadline = clock.now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(clock.now() < deadline, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Its exit code, or 128 and the number of the signal that ended it.
    fn code(mut self) -> i32 {
        let status = eventually("leasehold exec ends", || self.0.try_wait().unwrap());
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lives(pid: &str) -> bool {
    // One that has ended and is not waited for is dead.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn the_exit_code_is_the_childs_in_twelve_ways_to_end() {
    let world = World::new();
    fs::write(world.at("text"), "no program").unwrap();
    let text = world.at("text").display().to_string();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -INT $$", 130),
        ("kill -HUP $$", 129),
        ("kill -SEGV $$", 139),
        ("kill -ABRT $$", 134),
    ] {
        assert_eq!(Running::start(&mut world.shell(&[], script)).code(), code, "{script}");
    }
    for (program, code) in [("/nonexistent/program", 127), (text.as_str(), 126)] {
        let ended = world.exec(&[], &[program]).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{program}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.starts_with(&format!("leasehold: run `{program}`: ")), "{said}");
    }
    // Every private directory is gone with its run.
    assert_eq!(world.private(), Vec::<PathBuf>::new());
}

#[test]
fn the_child_finds_secrets_and_its_own_rights_and_no_token() {
    let world = World::new();
    let inner = "echo $DB_USERNAME:$DB_PASSWORD; cat $LEASEHOLD_DIRECTORY/app.env; umask; ulimit -S -c; \
                 grep NoNewPrivs /proc/self/status; echo \"[$VAULT_TOKEN$BAO_TOKEN]\"; \
                 ls -ld ${LEASEHOLD_DIRECTORY%/files/current} | cut -c1-10; tr '\\0' ' ' </proc/$PPID/cmdline";
    let ended = Command::new("sh")
        .args(["-c", "umask 027; ulimit -S -c 512; exec \"$@\"", "sh", PROGRAM, "exec", "--config"])
        .arg(world.at("leasehold.yaml"))
        .args(["sh", "-c", inner])
        .env("XDG_RUNTIME_DIR", world.place.root.path())
        .env("VAULT_TOKEN", "hvs.canary")
        .env("BAO_TOKEN", "s.canary")
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let complained = String::from_utf8_lossy(&ended.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..8],
        [
            "app:first",
            "DB_PASSWORD=first",
            "DB_USERNAME=app",
            "0027",
            "512",
            "NoNewPrivs:\t0",
            "[]",
            "drwx------",
        ],
        "{said}\n{complained}"
    );
    assert!(!lines[8].contains("first"), "{said}");
}

#[test]
fn a_rotation_restarts_the_child_and_there_are_never_two() {
    let world = World::new();
    // It takes its time to end, and holds a directory until then.
    let script = "mkdir here || echo two > two; echo $$ $DB_PASSWORD >> starts; \
                  trap 'sleep 0.3; rmdir here; exit 0' TERM; while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&[], script));
    for (index, password) in ["first", "second", "third"].into_iter().enumerate() {
        if index > 0 {
            world.rotate(password);
        }
        let starts = world.written("starts", index + 1);
        assert!(starts[index].ends_with(password), "{starts:?}");
    }
    assert!(!world.at("two").exists());
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 0);
    assert_eq!(world.written("starts", 3).len(), 3);
}

#[test]
fn a_child_that_does_not_end_is_killed_with_all_that_it_left() {
    let world = World::new();
    // The second process left its parent and its session, and both are deaf.
    let script = "trap '' TERM; \
                  setsid sh -c 'trap \"\" TERM; echo $$ >> left; while :; do sleep 0.05; done' & \
                  echo $$ >> starts; while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&["--kill-after", "300ms"], script));
    let first = (world.written("starts", 1)[0].clone(), world.written("left", 1)[0].clone());
    world.rotate("second");
    let starts = world.written("starts", 2);
    assert!(!lives(&first.0) && !lives(&first.1), "the first ones are there beside {starts:?}");
    let left = world.written("left", 2);
    assert!(lives(&left[1]));
    kill(Pid::from_raw(starts[1].parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(exec.code(), 137);
    assert!(!lives(&left[1]), "what the last child left is there");
}

#[test]
fn directories_that_are_kept_make_no_difference() {
    let world = World::new();
    let at = |name: &str| world.at(name).display().to_string();
    world.configure(&format!(
        "publish: {{ directory: {}, files: {{ app.env: {{ format: dotenv, secrets: [db] }} }} }}\n\
         state: {{ directory: {} }}\n",
        at("files"),
        at("state"),
    ));
    let script = "echo $DB_PASSWORD >> starts; exec sleep 600";
    for round in 0..2 {
        let exec = Running::start(&mut world.shell(&[], script));
        let starts = world.written("starts", 2 * round + 1);
        assert_eq!(starts[2 * round], if round == 0 { "first" } else { "second" });
        world.rotate(if round == 0 { "second" } else { "third" });
        let starts = world.written("starts", 2 * round + 2);
        assert_eq!(starts[2 * round + 1], if round == 0 { "second" } else { "third" });
        exec.signal(Signal::SIGTERM);
        assert_eq!(exec.code(), 143);
    }
}

#[test]
fn a_stop_during_a_restart_starts_no_other_child() {
    let world = World::new();
    let script = "echo >> starts; trap 'echo >> asked; sleep 1; exit 5' TERM; \
                  while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&[], script));
    world.written("starts", 1);
    world.rotate("second");
    world.written("asked", 1);
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 5);
    assert_eq!(world.written("starts", 1).len(), 1);
}

/// Its handler may be gone before it is.
#[test]
fn a_rotation_signals_no_child_that_was_asked_to_end() {
    let world = World::new();
    let script = "trap 'echo >> asked; until grep -q second $LEASEHOLD_DIRECTORY/app.env; do \
                  sleep 0.05; done; sleep 1; exit 5' TERM; echo >> starts; \
                  while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&["--on-rotate", "signal:USR1"], script));
    world.written("starts", 1);
    exec.signal(Signal::SIGTERM);
    world.written("asked", 1);
    world.rotate("second");
    assert_eq!(exec.code(), 5);
}

#[test]
fn what_a_shell_started_before_it_became_us_is_left_alone() {
    let world = World::new();
    let inner = "echo >> starts; while :; do sleep 0.05; done";
    let mut command = Command::new("sh");
    command
        .args(["-c", "sleep 600 & echo $! > before; exec \"$@\"", "sh", PROGRAM])
        .args(["exec", "--config", "leasehold.yaml", "--", "sh", "-c", inner])
        .current_dir(world.place.root.path())
        .env("XDG_RUNTIME_DIR", world.place.root.path());
    let exec = Running::start(&mut command);
    let before = world.written("before", 1)[0].clone();
    world.written("starts", 1);
    world.rotate("second");
    world.written("starts", 2);
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 143);
    assert!(lives(&before));
    kill(Pid::from_raw(before.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn a_rotation_signals_the_child_or_leaves_it_alone() {
    let world = World::new();
    let script = "trap 'echo told >> told' USR1; echo $$ >> starts; while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&["--on-rotate", "signal:USR1"], script));
    world.written("starts", 1);
    for count in 1..=3 {
        world.rotate(&format!("number {count}"));
        world.written("told", count);
    }
    assert_eq!(world.written("starts", 1).len(), 1);
    exec.signal(Signal::SIGKILL);

    let world = World::new();
    let script = "echo $$ >> starts; until grep -q second $LEASEHOLD_DIRECTORY/app.env; do \
                  sleep 0.05; done; echo $DB_PASSWORD >> seen; exit 9";
    let exec = Running::start(&mut world.shell(&["--on-rotate", "none"], script));
    world.written("starts", 1);
    world.rotate("second");
    assert_eq!(exec.code(), 9);
    assert_eq!(world.written("seen", 1), ["first"]);
    assert_eq!(world.written("starts", 1).len(), 1);
}

#[test]
fn signals_are_passed_on_but_those_that_were_ignored() {
    let world = World::new();
    let script = "for name in HUP INT QUIT USR1 USR2 WINCH; do \
                  trap \"echo $name >> heard\" $name; done; trap 'exit 7' TERM; \
                  echo $$ >> starts; while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&[], script));
    world.written("starts", 1);
    for (index, signal) in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGWINCH,
    ]
    .into_iter()
    .enumerate()
    {
        exec.signal(signal);
        let heard = world.written("heard", index + 1);
        assert_eq!(format!("SIG{}", heard[index]), signal.as_str());
    }
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 7);

    // As under `nohup`.
    let world = World::new();
    let script = "grep SigIgn /proc/self/status > ignored; echo >> starts; exec sleep 600";
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(PROGRAM)
        .args(["exec", "--config", "leasehold.yaml", "--", "sh", "-c", script])
        .current_dir(world.place.root.path())
        .env("XDG_RUNTIME_DIR", world.place.root.path());
    let exec = Running::start(&mut command);
    world.written("starts", 1);
    let ignored = &world.written("ignored", 1)[0];
    let ignored = u64::from_str_radix(ignored.trim_start_matches("SigIgn:\t"), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 1, "SIGHUP alone");
    exec.signal(Signal::SIGHUP);
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 143);
}

#[test]
fn a_child_does_not_outlive_a_parent_that_is_killed_and_the_next_run_sweeps() {
    let world = World::new();
    let script = "echo $$ >> starts; exec sleep 600";
    let exec = Running::start(&mut world.shell(&[], script));
    let child = world.written("starts", 1)[0].clone();
    exec.signal(Signal::SIGKILL);
    assert_eq!(exec.code(), 137);
    eventually("the child is gone", || (!lives(&child)).then_some(()));
    assert_eq!(world.private().len(), 1, "it had no time to remove it");
    assert_eq!(Running::start(&mut world.shell(&[], "exit 3")).code(), 3);
    assert_eq!(world.private(), Vec::<PathBuf>::new());
}

#[test]
fn no_value_chooses_what_programs_load() {
    let world = World::new();
    let all = "publish: { files: { app.env: { format: dotenv, secrets: [db], names: { db.password: LD_PRELOAD } } } }\n";
    world.configure(all);
    let ended = world.exec(&["--timeout", "5s"], &["true"]).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("set `LD_PRELOAD` of `app.env` in the environment"), "{said}");
    assert!(!said.contains("first"), "{said}");
}

#[test]
fn what_is_not_there_in_time_ends_it_with_the_reason() {
    let world = World::new();
    fs::remove_file(world.at("secret.yaml")).unwrap();
    let ended = world.exec(&["--timeout", "1s"], &["touch", "started"]).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("secret.yaml"), "{said}");
    assert!(!world.at("started").exists());

    // Nobody is there; a signal before the child is one for us.
    let text =
        "vault: { address: \"http://127.0.0.1:1\" }\nsecrets: { api: { kv: { path: x } } }\n";
    fs::write(world.at("leasehold.yaml"), text).unwrap();
    let wait = |limit: &str| {
        let mut exec = world.exec(&["--timeout", limit], &["touch", "started"]);
        exec.env("VAULT_TOKEN", "none").stderr(fs::File::create(world.at("log")).unwrap());
        Running::start(&mut exec)
    };
    assert_eq!(wait("1s").code(), 69);
    let exec = wait("1m");
    eventually("it tries", || {
        fs::read_to_string(world.at("log")).unwrap().contains("login_failed").then_some(())
    });
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 143);
    assert!(!world.at("started").exists());
}

#[test]
fn a_stop_by_the_api_ends_the_child_first() {
    let world = World::new();
    let socket = world.at("api.sock");
    world.configure(&format!("listen: {{ api: \"unix:{}\" }}\n", socket.display()));
    let script = "trap 'echo ended >> ended; exit 0' TERM; echo >> starts; \
                  while :; do sleep 0.05; done";
    let exec = Running::start(&mut world.shell(&[], script));
    world.written("starts", 1);
    let stopped = Command::new(PROGRAM).args(["stop", "--socket"]).arg(&socket).status().unwrap();
    assert!(stopped.success());
    assert_eq!(exec.code(), 0);
    world.written("ended", 1);
}

#[test]
fn a_refresh_is_a_rotation_without_another_value() {
    let world = World::new();
    let socket = world.at("api.sock");
    world.configure(&format!("listen: {{ api: \"unix:{}\" }}\n", socket.display()));
    let script = "echo $DB_PASSWORD >> starts; exec sleep 600";
    let exec = Running::start(&mut world.shell(&[], script));
    world.written("starts", 1);
    for count in 2..=3 {
        // Wishes are carried out a second apart.
        let mut refresh = Command::new(PROGRAM);
        let asked = refresh.args(["refresh", "db", "--socket"]).arg(&socket).status().unwrap();
        assert!(asked.success());
        assert_eq!(world.written("starts", count), vec!["first"; count]);
    }
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.code(), 143);
}

#[test]
fn a_terminal_works_in_it() {
    let world = World::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/effects/terminal.py");
    let ended = Command::new("python3")
        .arg(script)
        .arg(PROGRAM)
        .arg(world.at("leasehold.yaml"))
        .arg(world.place.root.path())
        .env("XDG_RUNTIME_DIR", world.place.root.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// As in a container; needs root, or user namespaces.
#[test]
fn as_the_first_process_of_a_namespace_it_leaves_no_zombie() {
    let world = World::new();
    // Each `setsid` is an orphan when its parent has ended, and soon after a zombie for whoever
    // adopts it.
    let script = "trap 'exit 7' TERM; echo $PPID >> parent; i=0; \
                  while [ $i -lt 20 ]; do (setsid sleep 0.1 &); i=$((i + 1)); done; sleep 0.5; \
                  until ! grep -lE '^State:.Z' /proc/[0-9]*/status 2>/dev/null; do sleep 0.1; done; \
                  ls -d /proc/[0-9]* | wc -l >> left; while :; do sleep 0.05; done";
    let mut command = Command::new("unshare");
    if !nix::unistd::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", PROGRAM, "exec", "--config"])
        .arg(world.at("leasehold.yaml"))
        .args(["--", "sh", "-c", script])
        .current_dir(world.place.root.path())
        .env("XDG_RUNTIME_DIR", world.place.root.path());
    let outside = Running::start(&mut command);
    assert_eq!(world.written("parent", 1), ["1"]);
    // The agent, the shell, and those that count.
    let left: u32 = world.written("left", 1)[0].trim().parse().unwrap();
    assert!(left < 8, "{left} processes are left of 20");
    // The one inside, as its parent sees it.
    let inside = children(outside.pid());
    let [inside] = inside.as_slice() else { panic!("{inside:?}") };
    kill(*inside, Signal::SIGTERM).unwrap();
    assert_eq!(outside.code(), 7);
}

fn children(parent: Pid) -> Vec<Pid> {
    let mut text = String::new();
    let path = format!("/proc/{parent}/task/{parent}/children");
    fs::File::open(Path::new(&path)).unwrap().read_to_string(&mut text).unwrap();
    text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}
