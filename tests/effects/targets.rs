//! Real processes are told: found by name or pid file, or run as a command.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use leasehold::agent::command::{Notice, NoticeSecret};
use leasehold::error::{Class, Failure};
use leasehold::notice::{Channel, Context, Process, Settings, deliver};
use leasehold::snapshot::Generation;
use leasehold::time::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const AGAIN: Class = Class::Again { after: None };
const PATIENCE: Duration = Duration::from_secs(30);

async fn tell(channel: Channel, timeout: Duration) -> Result<(), Failure> {
    let context = Context {
        instance: "api-1".into(),
        directory: "/run/leasehold/current".into(),
        files: vec!["app.env".into()],
    };
    let secret = |name: &str| NoticeSecret {
        name: name.into(),
        version: "3f2a".into(),
        expires: None,
        previous_ends: None,
    };
    let notice = Notice { generation: Generation(17), secrets: vec![secret("db"), secret("mail")] };
    deliver(&Settings { channel, timeout }, &context, &notice, &Clock::resume(None)).await
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// Waits for a file and gives what is in it.
fn wait_for(path: &Path) -> String {
    let clock = Clock::resume(None);
    let begun = clock.now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(clock.now().since(begun) < PATIENCE, "{} never came", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether it ends soon. A machine whose first process waits for nobody keeps what is left of it.
fn gone(pid: &str) -> bool {
    let clock = Clock::resume(None);
    let begun = clock.now();
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        if clock.now().since(begun) > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A folder with programs whose processes write their ids into it; all end with it.
struct Stage {
    folder: tempfile::TempDir,
    /// A name that no other test's processes have.
    name: String,
}

impl Stage {
    fn new() -> Self {
        let name = format!("gun{:08x}", fastrand::u32(..));
        Self { folder: tempfile::tempdir().unwrap(), name }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{text}", self.folder.path().display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Starts `program` as nobody's child of ours, and waits until it is ready.
    fn daemon(&self, program: &Path, ready: &str) -> String {
        let status = Command::new("sh")
            .args(["-c", "\"$0\" &"])
            .arg(program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        wait_for(&self.path(ready)).trim().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder.path()).unwrap().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("pid-")
                && let Ok(pid) = fs::read_to_string(entry.path()).unwrap().trim().parse()
            {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Waits for signals as a server with workers of its own name does.
const SERVER: &str = "
if [ \"$1\" = worker ]; then
  trap 'echo no > worker-heard' HUP; echo $$ > pid-worker; while :; do sleep 0.05; done
fi
trap 'echo yes > heard' HUP
\"$0\" worker &
while [ ! -s pid-worker ]; do sleep 0.01; done
echo $$ > pid-master
while :; do sleep 0.05; done
";

fn hup(name: &str) -> Result<(), Failure> {
    let process = Process::Name(name.to_owned());
    block_on(tell(Channel::Signal { process, signal: 1 }, PATIENCE))
}

#[test]
fn of_a_master_and_its_workers_the_master_is_told() {
    let stage = Stage::new();
    let absent = hup(&stage.name).unwrap_err();
    assert_eq!(absent.class, AGAIN);
    assert_eq!(absent.text, format!("find the process `{}`: none runs", stage.name));

    let program = stage.program(&stage.name, SERVER);
    stage.daemon(&program, "pid-master");
    hup(&stage.name).unwrap();
    wait_for(&stage.path("heard"));
    assert!(!stage.path("worker-heard").exists());
}

#[test]
fn two_that_know_nothing_of_each_other_are_not_guessed_between() {
    let stage = Stage::new();
    let text = |number| {
        format!("trap 'echo no > heard' HUP; echo $$ > pid-{number}; while :; do sleep 0.05; done")
    };
    fs::create_dir(stage.path("other")).unwrap();
    let first = stage.program(&stage.name, &text(1));
    let second = stage.program(&format!("other/{}", stage.name), &text(2));
    let mut pids = [stage.daemon(&first, "pid-1"), stage.daemon(&second, "pid-2")];
    pids.sort_by_key(|pid| pid.parse::<i32>().unwrap());
    let failure = hup(&stage.name).unwrap_err();
    assert_eq!(failure.class, AGAIN);
    let wanted = format!(
        "find the process `{}`: 2 run, and none started the others: {}",
        stage.name,
        pids.join(", ")
    );
    assert_eq!(failure.text, wanted);
    assert!(failure.hint.unwrap().contains("pid_file"));

    kill(Pid::from_raw(pids[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    assert!(gone(&pids[0]));
    assert!(!stage.path("heard").exists());
    hup(&stage.name).unwrap();
}

#[test]
fn what_we_started_ourselves_is_not_the_app() {
    let stage = Stage::new();
    let program = stage.program(&stage.name, "echo $$ > pid-1; while :; do sleep 0.05; done");
    let mut child = Command::new(program).spawn().unwrap();
    wait_for(&stage.path("pid-1"));
    let failure = hup(&stage.name).unwrap_err();
    assert!(failure.text.ends_with("none runs"), "{failure}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_leftover_pid_file_does_not_get_a_later_process_signalled() {
    let stage = Stage::new();
    let program = stage.program(
        &stage.name,
        "trap 'echo yes > heard' HUP; echo $$ > pid-1; while :; do sleep 0.05; done",
    );
    stage.daemon(&program, "pid-1");
    let pid_file = stage.path("pid-1");
    let tell = || {
        let process = Process::PidFile(pid_file.clone());
        block_on(tell(Channel::Signal { process, signal: 1 }, PATIENCE))
    };
    tell().unwrap();
    wait_for(&stage.path("heard"));
    fs::remove_file(stage.path("heard")).unwrap();

    // As if an app of an earlier day had left it, and its number was given away anew.
    let file = fs::File::options().append(true).open(&pid_file).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_secs(3600)).unwrap();
    let failure = tell().unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert!(failure.text.ends_with("began after the file was written"), "{failure}");
    file.set_modified(UNIX_EPOCH).unwrap();
    tell().unwrap_err();
    // Four times as long as it may take to be heard.
    std::thread::sleep(Duration::from_millis(200));
    assert!(!stage.path("heard").exists());
}

fn exec(command: &[&str]) -> Channel {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    Channel::Exec { command, environment: BTreeMap::from([path]) }
}

fn sh(stage: &Stage, script: &str, limit: Duration) -> Result<(), Failure> {
    let script = format!("cd '{}'; {script}", stage.folder.path().display());
    block_on(tell(exec(&["/bin/sh", "-c", &script]), limit))
}

#[test]
fn a_command_gets_what_the_notice_says_and_nothing_of_ours() {
    let stage = Stage::new();
    let script = "tr '\\0' '\\n' < /proc/$$/environ | sort > environ; \
         readlink /proc/$$/fd/0 > stdin; \
         cut -d' ' -f1,5 /proc/$$/stat > ids";
    sh(&stage, script, PATIENCE).unwrap();
    let read = |name: &str| fs::read_to_string(stage.path(name)).unwrap();
    let environment = "LEASEHOLD_DIRECTORY=/run/leasehold/current\nLEASEHOLD_GENERATION=17\n\
         LEASEHOLD_SECRETS=db mail\nPATH=/usr/bin:/bin\n";
    assert_eq!(read("environ"), environment);
    assert_eq!(read("stdin").trim(), "/dev/null");
    let ids = read("ids");
    let (pid, group) = ids.trim().split_once(' ').unwrap();
    assert_eq!(pid, group, "a group of its own");
    assert!(gone(pid));
}

#[test]
fn a_command_that_fails_is_told_with_its_last_words() {
    let stage = Stage::new();
    let failed = |script: &str| {
        let failure = sh(&stage, script, PATIENCE).unwrap_err();
        assert_eq!(failure.class, AGAIN);
        failure.text
    };
    let script = "echo first; printf 'no \\033[31mserver\\033[0m\\n\\n' >&2; exit 3";
    assert_eq!(failed(script), "run `/bin/sh`: exit status 3: no  [31mserver [0m");
    assert_eq!(failed("exit 3"), "run `/bin/sh`: exit status 3");
    assert_eq!(failed("kill -9 $$"), "run `/bin/sh`: ended by signal 9");
    assert_eq!(failed("printf '\\377'; exit 1"), "run `/bin/sh`: exit status 1: \u{fffd}");
}

#[test]
fn a_flood_is_read_and_forgotten() {
    let stage = Stage::new();
    let script = "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1";
    let failure = sh(&stage, script, 2 * PATIENCE).unwrap_err();
    assert_eq!(failure.text, "run `/bin/sh`: exit status 1: the end");
    let failure = sh(&stage, "while :; do echo x; done", Duration::from_millis(300)).unwrap_err();
    assert_eq!(failure.class, Class::Unclear);
    let line = "head -c 1000000 /dev/zero | tr '\\0' x; exit 1";
    assert!(sh(&stage, line, PATIENCE).unwrap_err().text.len() < 300);
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let stage = Stage::new();
    let limit = Duration::from_millis(300);
    let polite = "echo $$ > polite; trap 'echo > asked; exit 0' TERM; while :; do sleep 0.05; done";
    let failure = sh(&stage, polite, limit).unwrap_err();
    assert_eq!(failure.class, Class::Unclear);
    let text = "run `/bin/sh`: not done within 300 ms, and ended";
    assert!(failure.text.starts_with(text), "{failure}");
    assert!(stage.path("asked").exists() && gone(&wait_for(&stage.path("polite"))));

    let stubborn = "trap '' TERM; sleep 600 & echo $! > child; echo $$ > stubborn; wait; wait";
    sh(&stage, stubborn, limit).unwrap_err();
    for name in ["stubborn", "child"] {
        assert!(gone(&wait_for(&stage.path(name))), "{name}");
    }
}

#[test]
fn what_a_command_leaves_behind_holds_nobody_up() {
    let stage = Stage::new();
    let clock = Clock::resume(None);
    let begun = clock.now();
    sh(&stage, "sleep 600 & echo $! > pid-left; exit 0", PATIENCE).unwrap();
    assert!(clock.now().since(begun) < PATIENCE / 2);
    // It was not asked to end: a hook may start a daemon.
    assert!(Path::new("/proc").join(wait_for(&stage.path("pid-left")).trim()).exists());
    sh(&stage, "(while :; do echo x; done) & echo $! > pid-loud; exit 0", PATIENCE).unwrap();
}

#[test]
fn a_command_that_cannot_start_says_why() {
    let stage = Stage::new();
    let run = |path: &Path| {
        let channel = exec(&[path.to_str().unwrap(), "hunter2"]);
        let failure = block_on(tell(channel, PATIENCE)).unwrap_err();
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
        assert!(failure.hint.is_some(), "{failure}");
        failure.class
    };
    assert_eq!(run(&stage.path("missing")), Class::Missing);
    let program = stage.program("program", "exit 0");
    fs::write(&program, "exit 0").unwrap();
    assert_eq!(run(&program), Class::Ours);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run(&program), Class::Denied);
    assert_eq!(run(stage.folder.path()), Class::Denied);
}

#[test]
fn a_command_ends_with_us() {
    let stage = Stage::new();
    let script = format!(
        "cd '{}'; trap '' TERM; sleep 600 & echo $! > child; echo $$ > leader; wait",
        stage.folder.path().display()
    );
    block_on(async {
        let mut running = Box::pin(tell(exec(&["/bin/sh", "-c", &script]), PATIENCE));
        let started = async {
            while fs::read_to_string(stage.path("leader")).unwrap_or_default().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            () = started => {}
        }
    });
    for name in ["leader", "child"] {
        assert!(gone(&wait_for(&stage.path(name))), "{name}");
    }
}
