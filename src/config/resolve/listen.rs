//! `listen`: where others may ask.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Listen;
use crate::config::keys;
use crate::config::raw::{Section, shown};
use crate::config::tree::Node;
use crate::server::LONGEST_SOCKET;
use crate::server::api::Settings;
use crate::{publish, state};

/// Stands before the path of a socket.
const UNIX: &str = "unix:";

/// Where to listen.
pub(super) fn resolve(
    top: &Section<'_>,
    state: Option<&state::Settings>,
    publish: Option<&publish::Settings>,
) -> Listen {
    let section = top.section("listen", &keys::LISTEN);
    let listen = Listen {
        probes: address(&section, "probes"),
        metrics: address(&section, "metrics"),
        api: api(&section),
    };
    let taken = |other: Option<SocketAddr>, one: SocketAddr| one.port() != 0 && other == Some(one);
    if listen.probes.is_some_and(|probes| taken(listen.metrics, probes)) {
        section.problem(
            "metrics",
            "the same address as `listen.probes`",
            "give one of them another port",
        );
    }
    match &listen.api {
        Some(Settings::Tcp { address, .. }) => {
            for (key, other) in [("probes", listen.probes), ("metrics", listen.metrics)] {
                if taken(other, *address) {
                    section.problem(
                        "api",
                        format!("the same address as `listen.{key}`"),
                        "give one of them another port",
                    );
                }
            }
        }
        Some(Settings::Unix { path, uids }) => {
            if publish.is_some_and(|publish| path.starts_with(&publish.directory)) {
                section.problem(
                    "api",
                    "must not be inside `publish.directory`",
                    "name a directory that the app does not read",
                );
            }
            if !uids.is_empty() && state.is_some_and(|state| path.starts_with(&state.directory)) {
                let hint = "name a directory beside it that does not exist yet";
                let text = "nobody else may enter `state.directory`, so nobody in `api_uids` may";
                section.problem("api", text, hint);
            }
        }
        None => {}
    }
    listen
}

fn address(section: &Section<'_>, key: &str) -> Option<SocketAddr> {
    let text = section.expanded(key)?;
    let address = text.parse().ok();
    if address.is_none() {
        section.problem(
            key,
            format!("not an address and a port: `{}`", shown(&text)),
            "write it as `127.0.0.1:9100`, or with port 0 to pick one",
        );
    }
    address
}

/// A socket, or a port with its token.
fn api(section: &Section<'_>) -> Option<Settings> {
    let uids = uids(section);
    if let Some(Node::Map(_)) = section.get("api") {
        if section.has("api_uids") {
            section.problem(
                "api_uids",
                "only a socket has it: a port is opened by its token",
                "leave it out, or write `api: unix:/run/leasehold/api.sock`",
            );
        }
        return port(&section.section("api", &keys::API));
    }
    if section.has("api_uids") && !section.has("api") {
        section.problem(
            "api_uids",
            "there is no `listen.api`",
            "add `api: unix:/run/leasehold/api.sock` beside it",
        );
    }
    let text = section.expanded("api")?;
    let Some(path) = text.strip_prefix(UNIX) else {
        let hint = "write `unix:/run/leasehold-state/agent/api.sock`, or, for a port, \
                    `{ address: \"127.0.0.1:9102\", token_file: … }`";
        section.problem("api", format!("not a socket: `{}`", shown(&text)), hint);
        return None;
    };
    if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|part| part == "..") {
        section.problem(
            "api",
            "must have an absolute path without `..` behind `unix:`",
            "write it as `unix:/run/leasehold/api.sock`",
        );
        return None;
    }
    if path.len() > LONGEST_SOCKET {
        section.problem(
            "api",
            format!("longer than {LONGEST_SOCKET} bytes"),
            "the kernel takes no longer path of a socket: name a directory nearer to the top",
        );
        return None;
    }
    Some(Settings::Unix { path: PathBuf::from(path), uids })
}

fn port(api: &Section<'_>) -> Option<Settings> {
    api.require("address");
    api.require("token_file");
    let address = address(api, "address");
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        let hint = "write it as `127.0.0.1:9102`";
        api.problem("address", "must be on this machine's loopback", hint);
    }
    Some(Settings::Tcp { address: address?, token_file: api.file("token_file")? })
}

fn uids(section: &Section<'_>) -> BTreeSet<u32> {
    let texts: Vec<&str> = match section.get("api_uids") {
        None => Vec::new(),
        Some(Node::Given { text, .. }) => text.split(',').map(str::trim).collect(),
        Some(Node::List(items)) => items
            .iter()
            .map(|item| match item {
                Node::Number(text) | Node::Text(text) => text.as_str(),
                Node::Null
                | Node::Boolean(_)
                | Node::Given { .. }
                | Node::List(_)
                | Node::Map(_) => item.kind(),
            })
            .collect(),
        Some(other) => {
            let text = format!("must be a list of user ids, not {}", other.kind());
            section.problem("api_uids", text, "write it as `[1000]`");
            Vec::new()
        }
    };
    let numbers = texts.into_iter().filter_map(|text| {
        let number = text.parse().ok();
        if number.is_none() {
            let hint = "a number: `id -u NAME` tells it";
            section.problem("api_uids", format!("not a user id: `{}`", shown(text)), hint);
        }
        number
    });
    numbers.collect()
}
