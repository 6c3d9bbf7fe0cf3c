//! Where the API may be, and who may ask it.

use std::collections::BTreeSet;

use super::*;
use crate::server::api::Settings;

fn listen(text: &str) -> String {
    format!("{VAULT}{DB}{PUBLISH}state: {{ directory: /run/state }}\nlisten: {{ {text} }}\n")
}

#[test]
fn the_api_is_a_socket_or_a_port_with_a_token() {
    let api = |text: &str, variables: &[(&str, &str)]| good(&listen(text), variables).listen.api;
    let socket = |path: &str, uids: &[u32]| {
        let uids: BTreeSet<u32> = uids.iter().copied().collect();
        Some(Settings::Unix { path: path.into(), uids })
    };
    assert_eq!(api("", &[]), None);
    let text = "api: 'unix:${PLACE:-/run/state}/api.sock'";
    assert_eq!(api(text, &[]), socket("/run/state/api.sock", &[]));
    assert_eq!(api(text, &[("PLACE", "/run/x")]), socket("/run/x/api.sock", &[]));
    let uids = [("LEASEHOLD_LISTEN__API_UIDS", "7, 8")];
    assert_eq!(api("api: 'unix:/run/api/s'", &uids), socket("/run/api/s", &[7, 8]));
    let text = "api: 'unix:/run/api/s', api_uids: [1000, '1001', 1000]";
    assert_eq!(api(text, &[]), socket("/run/api/s", &[1000, 1001]));
    let port = "api: { address: '127.0.0.1:9102', token_file: /t }";
    let (address, token_file) = ("127.0.0.1:9102".parse().unwrap(), "/t".into());
    assert_eq!(api(port, &[]), Some(Settings::Tcp { address, token_file }));
}

#[test]
fn what_would_let_others_in_or_nobody_is_told() {
    let long = format!("api: 'unix:/{}'", "d".repeat(110));
    for (text, expected) in [
        (
            "api: '127.0.0.1:9102'",
            "  listen.api: not a socket: `127.0.0.1:9102`\n    hint: write \
             `unix:/run/leasehold-state/agent/api.sock`, or, for a port, \
             `{ address: \"127.0.0.1:9102\", token_file: … }`",
        ),
        (
            "api: 'unix:run/api.sock'",
            "  listen.api: must have an absolute path without `..` behind `unix:`\n    hint: write it as `unix:/run/leasehold/api.sock`",
        ),
        (
            "api: { address: '127.0.0.1:9102' }",
            "  listen.api.token_file: missing\n    hint: it is: file with the token that callers must send",
        ),
        (
            "api: { address: '0.0.0.0:9102', token_file: /t }",
            "  listen.api.address: must be on this machine's loopback\n    hint: write it as `127.0.0.1:9102`",
        ),
        (
            "api: { address: '127.0.0.1:9102', token_file: /t }, api_uids: [1]",
            "  listen.api_uids: only a socket has it: a port is opened by its token\n    hint: leave it out, or write `api: unix:/run/leasehold/api.sock`",
        ),
        (
            "probes: '127.0.0.1:9102', api: { address: '127.0.0.1:9102', token_file: /t }",
            "  listen.api: the same address as `listen.probes`\n    hint: give one of them another port",
        ),
        (
            "api_uids: [1]",
            "  listen.api_uids: there is no `listen.api`\n    hint: add `api: unix:/run/leasehold/api.sock` beside it",
        ),
        (
            "api: 'unix:/run/app/x/api.sock'",
            "  listen.api: must not be inside `publish.directory`\n    hint: name a directory that the app does not read",
        ),
        (
            "api: 'unix:/run/state/api.sock', api_uids: [1]",
            "  listen.api: nobody else may enter `state.directory`, so nobody in `api_uids` may\n    hint: name a directory beside it that does not exist yet",
        ),
        (
            "api: 'unix:/run/x/s', api_uids: app",
            "  listen.api_uids: must be a list of user ids, not text\n    hint: write it as `[1000]`",
        ),
        (
            "api: 'unix:/run/x/s', api_uids: [app, true, -1]",
            "  listen.api_uids: not a user id: `-1`\n    hint: a number: `id -u NAME` tells it\n  listen.api_uids: not a user id: `app`\n    hint: a number: `id -u NAME` tells it\n  listen.api_uids: not a user id: `true or false`\n    hint: a number: `id -u NAME` tells it",
        ),
        (
            &long,
            "  listen.api: longer than 103 bytes\n    hint: the kernel takes no longer path of a socket: name a directory nearer to the top",
        ),
    ] {
        let found = problems(&listen(text), &[]);
        let sorted = |text: &str| {
            let mut all: Vec<String> = text.split("\n  listen").map(str::to_owned).collect();
            all.iter_mut().for_each(|part| *part = part.replace("  listen.", "."));
            all.sort();
            all
        };
        assert_eq!(sorted(&found), sorted(expected), "{text}");
    }
}
