//! The API and the commands that ask it: who is answered, what is said, and what comes of it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::agent::Agent;
use crate::support::command::{Ran, leasehold, ran};
use crate::support::world::{Terms, World};
use crate::support::{eventually, free_port, now, secs};

/// A configuration with a socket beside the state, and its file.
fn with_socket(world: &World) -> (Value, String) {
    let mut config = world.config();
    config["listen"]["api"] = json!(format!("unix:{}", world.path("state/api.sock").display()));
    (config, world.path("leasehold.yaml").display().to_string())
}

/// Runs a command that asks the agent of `file`.
async fn ask(file: &str, command: &[&str]) -> Ran {
    leasehold(&[command, &["--config", file]].concat()).await
}

fn said(ran: &Ran, code: i32, text: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    let all = format!("{}{}", ran.said, ran.complained);
    assert!(all.contains(text), "`{text}` is not in {all}");
}

#[tokio::test]
async fn every_command_asks_the_agent_of_the_configuration() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (mut config, file) = with_socket(&world);
    config["notify"] =
        json!([{ "name": "app", "secrets": ["db"], "http": { "url": "http://127.0.0.1:9/" } }]);
    world.prepare("leasehold", &config);
    // Nobody is there yet: whoever waits goes on waiting, the others say so.
    let early = tokio::spawn({
        let file = file.clone();
        async move { ask(&file, &["wait", "--timeout", "60s"]).await }
    });
    for command in [&["status"][..], &["refresh"], &["stop"], &["wait", "--timeout", "300ms"]] {
        said(&ask(&file, command).await, 69, "nobody listens there\nhint: ");
    }
    let agent = world.start(&config);
    said(&early.await.unwrap(), 0, "generation 1 is published\n");

    world.journal.wait(0, "delivery_failed", secs(10)).await;
    let table = ask(&file, &["status"]).await;
    let [lease] = world.leases().await.try_into().unwrap();
    let login = world.login().unwrap();
    said(&table, 0, &format!("{}  ready  generation 1\ntoken  valid, ends in ", world.name));
    let line = |name: &str| {
        table.said.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    // While its longest life is being asked for it is not renewed.
    let next = [" renewed in ", " replaced in "].iter().any(|next| line("db ").contains(next));
    assert!(line("db ").contains(" valid ") && next, "{table:?}");
    assert!(line("app ").contains(" not told  told again in "), "{table:?}");
    let json = ask(&file, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&json.said).unwrap();
    assert_eq!(status["secrets"]["db"]["username"], json!(login.user));
    assert_eq!(status["secrets"]["db"]["leases"], 1);
    for secret in [lease.rsplit('/').next().unwrap(), &login.password] {
        assert!(!json.said.contains(secret) && !table.said.contains(secret), "{json:?}");
    }

    watched(&file, &world.name).await;

    let late = ask(&file, &["wait", "--generation", "9", "--timeout", "1s"]).await;
    said(&late, 75, "generation 9 is not published yet");
    said(&ask(&file, &["refresh", "nobody"]).await, 64, "no such secret");
    let mark = world.journal.mark();
    said(&ask(&file, &["refresh", "db"]).await, 0, "Vault is asked about `db`\n");
    let called = world.journal.wait(mark, "called", secs(5)).await;
    assert_eq!(called.text("path"), "/v1/refresh/db");
    assert!(called.text("caller").starts_with("uid 0 pid "), "{called:?}");
    world.journal.wait(mark, "lease_renewed", secs(5)).await;

    said(&ask(&file, &["stop"]).await, 0, "stopped\n");
    let status = agent.exited(secs(1)).await;
    assert!(status.success(), "{status}");
    assert_eq!(world.users().await, [] as [String; 0]);
    assert!(!world.path("state/api.sock").exists());
}

/// `status --watch` shows the table again and again, for as long as somebody looks.
async fn watched(file: &str, name: &str) {
    let heading = format!("{name}  ready  generation 1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.args(["status", "--watch", "--config", file]).env_clear().stdout(Stdio::piped());
    let seen = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let seen = lines.filter(|line| line.starts_with(&heading)).take(3).count();
        child.kill().unwrap();
        child.wait().unwrap();
        seen
    });
    assert_eq!(tokio::time::timeout(secs(30), seen).await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_service_that_was_refused_has_a_good_login_soon() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (mut config, file) = with_socket(&world);
    config["secrets"]["db"]["lookup"] = json!("10m");
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.one" })).await;
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "10m" } });
    config["publish"]["files"]["mail.env"] = json!({ "format": "dotenv", "secrets": ["mail"] });
    let _agent = world.start_and_publish(&config).await;
    let first = world.login().unwrap();
    // A lease that is younger may be one that a standby does not know yet.
    let issued = world.journal.first("lease_issued").unwrap().at;
    tokio::time::sleep(now().until(issued + secs(11))).await;

    let [lease] = world.leases().await.try_into().unwrap();
    world.bao.revoke_lease(&lease).await;
    world.bao.put_kv(&mail, json!({ "api_key": "SG.two" })).await;
    let asked = now();
    said(&ask(&file, &["refresh"]).await, 0, "Vault is asked about every secret\n");
    said(&ask(&file, &["wait", "--generation", "3"]).await, 0, "generation 3 is published\n");
    assert!(asked.until(now()) < secs(10), "{:?}", asked.until(now()));
    let next = world.login().unwrap();
    assert_ne!(next.user, first.user);
    assert!(world.works(&next).await);
    assert!(std::fs::read_to_string(world.published("mail.env")).unwrap().contains("SG.two"));
}

/// Runs a command as another user.
async fn as_user(uid: u32, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.args(arguments).env_clear().stdin(Stdio::null()).uid(uid).gid(uid);
    ran(command).await
}

#[tokio::test]
async fn the_kernel_says_who_asks_on_the_socket() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut config = world.config();
    for (directory, uids) in [("alone", json!(null)), ("shared", json!([4711, "4712"]))] {
        let socket = place.path().join(directory).join("api.sock");
        config["listen"]["api"] = json!(format!("unix:{}", socket.display()));
        config["listen"]["api_uids"] = uids.clone();
        // The one before was killed, and its socket is still there.
        for _ in 0..2 {
            let agent = world.start_and_publish(&config).await;
            eventually("the socket", secs(5), async || socket.exists().then_some(())).await;
            agent.kill();
            assert!(socket.exists());
        }
        let agent = world.start(&config);
        agent.listener("api").await;
        let status = ["status", "--socket", socket.to_str().unwrap()];
        said(&leasehold(&status).await, 0, " generation ");
        if uids.is_null() {
            assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
            said(&as_user(4711, &status).await, 77, "Permission denied");
        } else {
            assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o666, 0o755));
            said(&as_user(4711, &status).await, 0, " generation ");
            said(&as_user(4712, &["refresh", "--socket", status[2]]).await, 0, "Vault is asked");
            said(&as_user(4713, &status).await, 77, "uid 4713 may not ask");
            said(&as_user(4713, &["stop", "--socket", status[2]]).await, 77, "uid 4713 may not");
        }
    }
}

/// Everything that comes back for `request` until the connection ends.
async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> String {
    // It may be answered before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    let _ = tokio::time::timeout(secs(30), read).await.expect("no end");
    String::from_utf8(reply).unwrap()
}

fn status(reply: &str) -> &str {
    reply.split(' ').nth(1).unwrap_or("none")
}

const TOKEN: &str = "6f0d1b7c9a3e5f21";

/// An agent with the API on a port, which [`TOKEN`] opens.
async fn on_a_port(world: &World) -> (Agent, String) {
    world.write("token", &format!("{TOKEN}\n"));
    let address = format!("127.0.0.1:{}", free_port());
    let mut config = world.config();
    config["listen"]["api"] = json!({ "address": address, "token_file": world.path("token") });
    let agent = world.start_and_publish(&config).await;
    agent.listener("api").await;
    (agent, address)
}

#[tokio::test]
async fn a_port_wants_the_token_and_answers_no_browser() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (mut agent, address) = on_a_port(&world).await;
    let file = world.path("leasehold.yaml").display().to_string();
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    let body = format!("{good}Transfer-Encoding: chunked\r\n");
    let host = |host: &str| format!("Host: {host}\r\n{good}");
    let local = |more: &str| format!("Host: localhost\r\n{more}");
    for (line, headers, expected) in [
        ("GET /v1/status", local(&good), "200"),
        ("GET /v1/status", host("127.0.0.1:9102"), "200"),
        ("GET /v1/status", local(""), "401"),
        ("GET /v1/status", local("Authorization: Bearer 6f0d1b7c9a3e5f20\r\n"), "401"),
        ("POST /v1/stop", local(""), "401"),
        ("GET /nowhere", local(""), "401"),
        ("GET /v1/status", host("evil.example:9102"), "421"),
        ("GET /v1/status", good.clone(), "421"),
        ("POST /v1/stop", local(&format!("{good}Origin: https://evil.example\r\n")), "403"),
        ("POST /v1/stop", local(&format!("{good}Origin: null\r\n")), "403"),
        ("OPTIONS /v1/stop", local("Origin: https://evil.example\r\n"), "403"),
        ("GET /v1/stop", local(&good), "405"),
        ("POST /v1/stop", local(&format!("{good}Content-Length: 9999999\r\n")), "413"),
        ("POST /v1/stop", local(&body), "413"),
        ("POST /v1/refresh", local(&format!("{good}{long}")), "431"),
        ("POST /v1/refresh", local(&good), "202"),
    ] {
        let stream = TcpStream::connect(&address).await.unwrap();
        let reply = exchange(stream, &format!("{line} HTTP/1.1\r\n{headers}\r\n")).await;
        assert_eq!(status(&reply), expected, "{line} {headers:.80}: {reply}");
        assert!(!reply.to_lowercase().contains("access-control"), "{reply}");
    }
    said(&ask(&file, &["status"]).await, 0, " ready ");
    // Another token counts at once.
    world.write("token", "another-token-of-the-operator");
    let stream = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", local(&good));
    assert_eq!(status(&exchange(stream, &request).await), "401");
    said(&ask(&file, &["status"]).await, 0, " ready ");
    world.write("token", "short");
    said(&ask(&file, &["status"]).await, 78, "too short");
    assert!(agent.alive(), "somebody stopped it");
}

/// Sends `request` and then a byte now and then; gives what came back, and after which time.
async fn dawdle(address: &str, request: &str) -> (String, Duration) {
    let began = now();
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    to.write_all(request.as_bytes()).await.unwrap();
    let drip = tokio::spawn(async move {
        while to.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut reply = Vec::new();
    let _ = tokio::time::timeout(secs(30), from.read_to_end(&mut reply)).await.expect("no end");
    drip.abort();
    (String::from_utf8(reply).unwrap(), began.until(now()))
}

#[tokio::test]
async fn who_dawdles_is_let_go_and_keeps_nobody_out() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (_agent, address) = on_a_port(&world).await;
    let file = world.path("leasehold.yaml").display().to_string();
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    let length = "Content-Length: 1000000\r\n";
    let requests = [
        // A header that never ends; a body that never does, with a length and without.
        ("GET /v1/status HTTP/1.1\r\nX: ".to_owned(), "none", secs(4)),
        (format!("POST /v1/stop HTTP/1.1\r\n{headers}{length}\r\n"), "413", secs(0)),
        (
            format!("POST /v1/stop HTTP/1.1\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"),
            "413",
            secs(0),
        ),
    ];
    for (request, expected, least) in requests {
        let (reply, took) = dawdle(&address, &request).await;
        let code = if reply.is_empty() { "none" } else { status(&reply) };
        assert!([expected, "408"].contains(&code), "{request}: {reply}");
        assert!(least <= took && took < secs(20), "{request}: {took:?}");
    }
    // More silent ones than there are places.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    eventually("it answers all the same", secs(30), async || {
        (ask(&file, &["status"]).await.code == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn so_many_wait_and_each_is_answered() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let (mut config, file) = with_socket(&world);
    config["secrets"]["db"]["rotate_every"] = json!("12s");
    config["secrets"]["db"]["confirm"] = json!("none");
    let _agent = world.start_and_publish(&config).await;
    let socket = world.path("state/api.sock");
    let request = |generation: u64| {
        format!("GET /v1/wait?generation={generation} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    };
    let mut waiting = Vec::new();
    for _ in 0..32 {
        let stream = UnixStream::connect(&socket).await.unwrap();
        waiting.push(tokio::spawn({
            let request = request(2);
            async move { exchange(stream, &request).await }
        }));
    }
    eventually("all places are taken", secs(5), async || {
        let stream = UnixStream::connect(&socket).await.unwrap();
        (status(&exchange(stream, &request(9)).await) == "429").then_some(())
    })
    .await;
    said(&ask(&file, &["status"]).await, 0, " ready ");
    for waiter in waiting {
        assert!(waiter.await.unwrap().ends_with("\r\n\r\n{\"generation\":2}\n"));
    }
    said(&ask(&file, &["wait", "--generation", "2"]).await, 0, "generation 2 is published\n");

    // Who goes away leaves its place.
    let mut gone = Vec::new();
    for _ in 0..32 {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(request(99).as_bytes()).await.unwrap();
        gone.push(stream);
    }
    drop(gone);
    eventually("there is a place", secs(5), async || {
        (ask(&file, &["wait", "--generation", "2"]).await.code == 0).then_some(())
    })
    .await;
}
