//! `notify`: whom to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyper::Uri;

use crate::agent::command::TargetName;
use crate::config::keys;
use crate::config::raw::{Section, shown, shown_url};
use crate::config::resolve::connection::port;
use crate::config::resolve::secrets::Secrets;
use crate::config::tree::Node;
use crate::config::value;
use crate::notice::{Channel, Console, Process, Settings};
use crate::snapshot::SecretName;

/// A target has one of them.
const CHANNELS: [&str; 4] = ["http", "signal", "exec", "pgbouncer"];

/// The name of the target that is the child of `exec`.
const CHILD: &str = "exec";

/// More targets are a mistake.
const MOST_TARGETS: usize = 64;

/// How long one attempt may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(5);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

/// What a command gets of our environment: nothing with a secret in it.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// Where a command finds others when nobody says.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The targets that are right.
#[derive(Default)]
pub(super) struct Targets {
    /// How to reach each.
    pub(super) settings: BTreeMap<TargetName, Settings>,
    /// What each wants to hear of.
    pub(super) wants: BTreeMap<TargetName, BTreeSet<SecretName>>,
}

/// Reads all targets; with `child` the child of `exec` is one more.
pub(super) fn resolve(top: &Section<'_>, secrets: &Secrets, child: bool) -> Targets {
    let mut targets = Targets::default();
    if child {
        let name = TargetName::from(CHILD);
        targets.wants.insert(name.clone(), secrets.enabled().cloned().collect());
        // It takes as long as its own deadlines allow.
        let settings = Settings { channel: Channel::Child, timeout: Duration::MAX };
        targets.settings.insert(name, settings);
    }
    let items = match top.get("notify") {
        None => return targets,
        Some(Node::List(items)) => items,
        Some(other) => {
            let hint = "write `- { name: …, http: … }`, one for each target";
            top.problem("notify", format!("must be a list, not {}", other.kind()), hint);
            return targets;
        }
    };
    if items.len() > MOST_TARGETS {
        top.problem(
            "notify",
            format!("more than {MOST_TARGETS}"),
            "tell several services by one command",
        );
    }
    for (index, item) in items.iter().enumerate() {
        let section = top.below(&format!("notify[{index}]"), item, &keys::TARGET);
        let name = name(&section, &targets);
        let wants = wants(&section, secrets);
        let settings = settings(&section);
        // The name alone counts already: a target that is wrong otherwise is a target all the
        // same to what depends on it.
        let Some(name) = name else { continue };
        targets.wants.insert(name.clone(), wants);
        if let Some(settings) = settings {
            targets.settings.insert(name, settings);
        }
    }
    targets
}

fn name(section: &Section<'_>, targets: &Targets) -> Option<TargetName> {
    let name = section.required_text("name")?;
    if !value::is_name(&name) {
        section.problem(
            "name",
            "has lower case letters, digits, `_` and `-`",
            "choose a name such as `api` or `pool-1`",
        );
    }
    if targets.wants.contains_key(name.as_str()) {
        section.problem(
            "name",
            format!("`{}` is the name of another target", shown(&name)),
            "choose another name",
        );
    }
    Some(TargetName::from(name))
}

/// Without a list a target hears of every secret.
fn wants(section: &Section<'_>, secrets: &Secrets) -> BTreeSet<SecretName> {
    if !section.has("secrets") {
        return secrets.enabled().cloned().collect();
    }
    let Some(listed) = section.list("secrets") else { return BTreeSet::new() };
    if listed.is_empty() {
        section.problem("secrets", "names no secret", "leave it out to hear of all");
    }
    secrets.check(section, "secrets", &listed).into_iter().collect()
}

fn settings(section: &Section<'_>) -> Option<Settings> {
    let mut given = CHANNELS.into_iter().filter(|channel| section.has(channel));
    let channel = given.next();
    for other in given {
        let first = channel.unwrap_or_default();
        let text = format!("must not stand beside `{first}`: a target has one channel");
        section.problem(other, text, "leave one out, or make two targets of it");
    }
    match channel {
        Some("http") => http(section),
        Some("signal") => signal(section),
        Some("exec") => exec(section),
        Some(_) => pgbouncer(section),
        None => {
            section.problem("http", "missing", "give one of `http`, `signal`, `exec`, `pgbouncer`");
            None
        }
    }
}

fn http(section: &Section<'_>) -> Option<Settings> {
    let http = section.section("http", &keys::HTTP);
    let timeout = http.duration("timeout", SHORTEST_TIMEOUT);
    let signing_key_file = http.optional_file("signing_key_file");
    let url = url(&http)?;
    let channel = Channel::Http { url, signing_key_file };
    Some(Settings { channel, timeout: timeout.unwrap_or(TIMEOUT) })
}

fn signal(section: &Section<'_>) -> Option<Settings> {
    let signal = section.section("signal", &keys::SIGNAL);
    let number = number(&signal);
    let process = match (signal.has("pid_file"), signal.has("process")) {
        (true, false) => Process::PidFile(signal.file("pid_file")?),
        (false, true) => Process::Name(process(&signal)?),
        (true, true) => {
            signal.problem(
                "process",
                "must not stand beside `pid_file`: one says which process",
                "leave one of them out",
            );
            return None;
        }
        (false, false) => {
            signal.problem("pid_file", "missing", "give one of `pid_file`, `process`");
            return None;
        }
    };
    let channel = Channel::Signal { process, signal: number? };
    Some(Settings { channel, timeout: TIMEOUT })
}

fn process(signal: &Section<'_>) -> Option<String> {
    let name = signal.text("process")?;
    if name.contains('/') || name.trim() != name {
        let hint = "the last part of the path of its program or script, such as `gunicorn`";
        signal.problem("process", format!("not a name: `{}`", shown(&name)), hint);
        return None;
    }
    Some(name)
}

fn exec(section: &Section<'_>) -> Option<Settings> {
    let exec = section.section("exec", &keys::EXEC);
    let timeout = exec.duration("timeout", SHORTEST_TIMEOUT).unwrap_or(COMMAND_TIMEOUT);
    exec.require("command");
    let command = exec.texts("command")?;
    match command.first() {
        None => exec.problem(
            "command",
            "is empty",
            "write `[/usr/bin/psql, -c, RELOAD]`; no shell is used",
        ),
        // What follows may be confidential and is not shown.
        Some(program) if !program.starts_with('/') => {
            let text = format!("must begin with an absolute path, not `{}`", shown(program));
            exec.problem("command", text, "write `[/usr/bin/psql, -c, RELOAD]`; no shell is used");
        }
        Some(_) => {}
    }
    if command.iter().any(|text| text.contains('\0')) {
        exec.problem("command", "has a zero byte in it", "no command takes one: leave it out");
    }
    let environment = exec.environment();
    let inherited = INHERITED.iter().filter_map(|name| Some((*name, environment.get(name)?)));
    let environment = [("PATH", SEARCH_PATH)].into_iter().chain(inherited);
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let channel = Channel::Exec { command, environment: environment.collect() };
    Some(Settings { channel, timeout })
}

fn pgbouncer(section: &Section<'_>) -> Option<Settings> {
    let pgbouncer = section.section("pgbouncer", &keys::PGBOUNCER);
    let timeout = pgbouncer.duration("timeout", SHORTEST_TIMEOUT).unwrap_or(COMMAND_TIMEOUT);
    let host = pgbouncer.expanded("host").unwrap_or_else(|| "127.0.0.1".to_owned());
    if !host.starts_with('/') && !super::vault::is_loopback(&host) {
        pgbouncer.problem(
            "host",
            format!("must be on this machine: `{}`", shown(&host)),
            "write `127.0.0.1`, or the directory of PgBouncer's socket",
        );
    }
    let console = Console {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: port(&pgbouncer, 6432).unwrap_or_default(),
        user: pgbouncer.expanded("user").unwrap_or_else(|| "pgbouncer".to_owned()),
        password_file: pgbouncer.optional_file("password_file"),
    };
    Some(Settings { channel: Channel::Pgbouncer(console), timeout })
}

fn number(signal: &Section<'_>) -> Option<i32> {
    let name = signal.required_text("signal")?;
    let number = value::signal(&name);
    if number.is_none() {
        let known = value::SIGNALS.map(|(name, _)| name).join(", ");
        let text = format!("not a signal that can tell a process: `{}`", shown(&name));
        signal.problem("signal", text, format!("one of {known}"));
    }
    number
}

fn url(http: &Section<'_>) -> Option<String> {
    http.require("url");
    let text = http.expanded("url")?;
    if text.contains('@') {
        http.problem(
            "url",
            "must not have a user or password in it",
            "sign the requests by `signing_key_file` instead",
        );
        return None;
    }
    let wrong = |what: &str, hint: &str| {
        http.problem("url", format!("{what}: `{}`", shown_url(&text)), hint.to_owned());
        None
    };
    let example = "write it as `http://127.0.0.1:8000/path`";
    let Ok(uri) = text.parse::<Uri>() else { return wrong("not a URL", example) };
    if uri.scheme_str() != Some("http") {
        return wrong(
            "must begin with `http://`",
            "write it as `http://127.0.0.1:8000/path`: a notice stays on this machine",
        );
    }
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return wrong("has no host", example);
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<std::net::IpAddr>().is_ok() && !super::vault::is_loopback(host) {
        return wrong("must be on this machine", example);
    }
    Some(text)
}
