//! `notify`: whom to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyper::Uri;

use crate::agent::command::TargetName;
use crate::config::raw::{Keys, Section, shown, shown_url};
use crate::config::resolve::secrets::Secrets;
use crate::config::tree::Node;
use crate::config::value;
use crate::notice::{Channel, Settings};
use crate::snapshot::SecretName;

const TARGET: Keys = Keys { known: &["name", "secrets", "http", "signal"], later: &["exec"] };

const HTTP: Keys = Keys { known: &["url", "signing_key_file", "timeout"], later: &[] };

const SIGNAL: Keys = Keys { known: &["pid_file", "signal"], later: &["process"] };

/// More targets are a mistake.
const MOST_TARGETS: usize = 64;

/// How long one attempt may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The targets that are right.
#[derive(Default)]
pub(super) struct Targets {
    /// How to reach each.
    pub(super) settings: BTreeMap<TargetName, Settings>,
    /// What each wants to hear of.
    pub(super) wants: BTreeMap<TargetName, BTreeSet<SecretName>>,
}

/// Reads all targets.
pub(super) fn resolve(top: &Section<'_>, secrets: &Secrets) -> Targets {
    let mut targets = Targets::default();
    let items = match top.get("notify") {
        None => return targets,
        Some(Node::List(items)) => items,
        Some(other) => {
            let hint = "write `- { name: …, http: … }`, one for each target";
            top.problem_hint("notify", format!("must be a list, not {}", other.kind()), hint);
            return targets;
        }
    };
    if items.len() > MOST_TARGETS {
        top.problem("notify", format!("more than {MOST_TARGETS}"));
    }
    for (index, item) in items.iter().enumerate() {
        let section = top.below(&format!("notify[{index}]"), item, TARGET);
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
        section.problem("name", "has lower case letters, digits, `_` and `-`");
    }
    if targets.wants.contains_key(name.as_str()) {
        section.problem("name", format!("`{}` is the name of another target", shown(&name)));
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
        section.problem("secrets", "names no secret");
    }
    secrets.check(section, "secrets", &listed).into_iter().collect()
}

fn settings(section: &Section<'_>) -> Option<Settings> {
    match (section.has("http"), section.has("signal")) {
        (true, false) => {
            let http = section.section("http", HTTP);
            let timeout = http.duration("timeout", Duration::from_millis(100));
            let signing_key_file = http.optional_file("signing_key_file");
            let url = url(&http)?;
            let channel = Channel::Http { url, signing_key_file };
            Some(Settings { channel, timeout: timeout.unwrap_or(TIMEOUT) })
        }
        (false, true) => {
            let signal = section.section("signal", SIGNAL);
            if !signal.has("process") {
                signal.require("pid_file");
            }
            let number = number(&signal);
            let channel = Channel::Signal { pid_file: signal.file("pid_file")?, signal: number? };
            Some(Settings { channel, timeout: TIMEOUT })
        }
        (true, true) => {
            section.problem("signal", "must not stand beside `http`: a target has one channel");
            None
        }
        (false, false) => {
            if !section.has("exec") {
                section.problem_hint("http", "missing", "give one of `http`, `signal`");
            }
            None
        }
    }
}

fn number(signal: &Section<'_>) -> Option<i32> {
    let name = signal.required_text("signal")?;
    let number = value::signal(&name);
    if number.is_none() {
        let known = value::SIGNALS.map(|(name, _)| name).join(", ");
        let text = format!("not a signal that can tell a process: `{}`", shown(&name));
        signal.problem_hint("signal", text, format!("one of {known}"));
    }
    number
}

fn url(http: &Section<'_>) -> Option<String> {
    http.require("url");
    let text = http.expanded("url")?;
    if text.contains('@') {
        http.problem("url", "must not have a user or password in it");
        return None;
    }
    let wrong = |what: &str, hint: &str| {
        http.problem_hint("url", format!("{what}: `{}`", shown_url(&text)), hint.to_owned());
        None
    };
    let example = "write it as `http://127.0.0.1:8000/path`";
    let Ok(uri) = text.parse::<Uri>() else { return wrong("not a URL", example) };
    if uri.scheme_str() != Some("http") {
        return wrong("must begin with `http://`", "a notice stays on this machine");
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
