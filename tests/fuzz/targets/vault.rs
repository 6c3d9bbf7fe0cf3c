//! Answers of a server that may say anything: Vault's, and those to a notice.
//!
//! The first line of an input is `OPERATION STATUS [header: value]`, the rest is the body.
//! `%TOKEN%`, `%LEASE%`, `%ROLE-ID%` and `%SECRET-ID%` in it stand for secrets.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use leasehold::agent::command::{Notice, NoticeSecret};
use leasehold::error::Failure;
use leasehold::notice::{self, Channel, Context};
use leasehold::secret::Secret;
use leasehold::snapshot::{Generation, SecretName};
use leasehold::time::Clock;
use leasehold::vault::{Source, Vault};
use tokio::runtime::{Builder, Runtime};

use super::{CANARY, no_canary_in, scratch};

/// Says to every request what was last put into `answer`.
struct Server {
    url: String,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let answer = Arc::new(Mutex::new(Vec::new()));
        let shared = answer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = shared.clone();
                std::thread::spawn(move || while serve(&stream, &answer).is_some() {});
            }
        });
        Self { url, answer }
    }
}

/// One request and its answer; `None` when the caller has gone.
fn serve(stream: &TcpStream, answer: &Mutex<Vec<u8>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let bytes = answer.lock().ok()?.clone();
    let mut stream = stream;
    stream.write_all(&bytes).ok()
}

struct World {
    runtime: Runtime,
    server: Server,
    vault: Vault,
    sources: BTreeMap<SecretName, Source>,
}

const SECRETS: &str = "
secrets:
  db: { database: { role: app } }
  mail: { kv: { path: mail } }
  shared: { database: { role: app, static: true } }
  tls: { pki: { role: web, common_name: app } }
publish: { directory: /run/leasehold/app, files: { app.env: { format: dotenv, secrets: [db] } } }
";

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = Server::start();
    let file = |name: &str| {
        let path = scratch(name);
        std::fs::write(&path, format!("{CANARY}-{name}")).expect("a file");
        path
    };
    let text = format!(
        "vault: {{ address: \"{}\", auth: {{ approle: {{ role_id_file: \"{}\", \
         secret_id_file: \"{}\" }} }} }}\n{SECRETS}",
        server.url,
        file("role-id").display(),
        file("secret-id").display()
    );
    let config = super::load(text.as_bytes(), &[]).expect("a configuration").config;
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let vault = runtime.block_on(async {
        let settings = config.vault().expect("a vault");
        Vault::new(settings, b"key", Arc::new(|_, _, _| ())).expect("a client")
    });
    World { runtime, server, vault, sources: config.sources }
});

struct Input {
    operation: u32,
    answer: Vec<u8>,
}

const ALL: &[&str] = &["token", "lease", "role-id", "secret-id"];

/// The secrets that may stand in an answer: a success brings new ones, a refusal can only repeat
/// what was sent.
fn told(operation: u32, status: u16) -> &'static [&'static str] {
    match operation % 12 {
        _ if status < 300 => ALL,
        0 => &["role-id", "secret-id"],
        5..=7 => &["token", "lease"],
        _ => &["token"],
    }
}

fn input(data: &[u8]) -> Option<Input> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&data[..end]).ok()?;
    let mut words = line.splitn(3, ' ');
    let operation = words.next()?.parse().ok()?;
    // Below 200 an answer is none yet, and a 204 has no body: the connection would hang on it.
    let status: u16 = words.next()?.parse().ok().filter(|it| (200..600).contains(it))?;
    let header = words.next().filter(|it| it.contains(':') && !it.contains(|c: char| c < ' '));
    let mut body = String::from_utf8_lossy(&data[end + 1..]).into_owned();
    // The fuzzer has learned the word: a part of it that was never sent is no secret.
    if body.contains(CANARY) {
        return None;
    }
    for name in told(operation, status) {
        let placeholder = format!("%{}%", name.to_ascii_uppercase());
        body = body.replace(&placeholder, &format!("{CANARY}-{name}"));
    }
    if matches!(status, 204 | 304) {
        body.clear();
    }
    let own = header.filter(|it| {
        let name = it.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["retry-after", "location", "content-type"].contains(&name.as_str())
    });
    let header = own.map(|it| format!("{it}\r\n")).unwrap_or_default();
    let head = format!("HTTP/1.1 {status} X\r\n{header}content-length: {}\r\n\r\n", body.len());
    Some(Input { operation, answer: [head.into_bytes(), body.into_bytes()].concat() })
}

/// What a request to Vault makes of the answer.
pub(super) fn vault(data: &[u8]) {
    let Some(input) = input(data) else { return };
    let world = &*WORLD;
    *world.server.answer.lock().expect("no panic") = input.answer;
    let token = Secret::new(format!("{CANARY}-token"));
    let lease = Secret::new(format!("{CANARY}-lease"));
    let (database, kv) = (&world.sources["db"], &world.sources["mail"]);
    let vault = &world.vault;
    let shown = world.runtime.block_on(async {
        match input.operation % 12 {
            0 => vault
                .login(&[], None)
                .await
                .map_or_else(|it| said(&it.failure), |it| format!("{it:?}")),
            1 => shown(vault.lookup_token(&token).await),
            2 => shown(vault.renew_token(&token, Some(Duration::from_secs(60))).await),
            3 => shown(vault.revoke_token(&token).await),
            4 => shown(vault.issue(&token, database).await),
            5 => shown(vault.renew_lease(&token, &lease, Duration::from_secs(60)).await),
            6 => shown(vault.lookup_lease(&token, &lease).await),
            7 => shown(vault.revoke_lease(&token, &lease).await),
            8 => shown(vault.read(&token, kv, None).await),
            9 => shown(vault.read(&token, kv, Some(&"1".into())).await),
            10 => shown(vault.read(&token, &world.sources["shared"], None).await),
            _ => shown(vault.make(&token, &world.sources["tls"]).await),
        }
    });
    no_canary_in(&shown);
}

/// What a notice makes of the answer.
pub(super) fn hook(data: &[u8]) {
    let Some(input) = input(data) else { return };
    let world = &*WORLD;
    *world.server.answer.lock().expect("no panic") = input.answer;
    let url = format!("{}/-/secrets?key={CANARY}", world.server.url);
    let settings = notice::Settings {
        channel: Channel::Http { url, signing_key_file: None },
        timeout: Duration::from_secs(5),
    };
    let context = Context {
        instance: "api-1".into(),
        directory: "/run/leasehold/current".into(),
        files: vec!["app.env".into()],
    };
    let version = "3f2a".into();
    let told = NoticeSecret { name: "db".into(), version, expires: None, previous_ends: None };
    let notice = Notice { generation: Generation(17), secrets: vec![told] };
    let clock = Clock::resume(None);
    let told = world.runtime.block_on(notice::deliver(&settings, &context, &notice, &clock));
    no_canary_in(&shown(told));
}

fn shown<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    result.map_or_else(|failure| said(&failure), |it| format!("{it:?}"))
}

fn said(failure: &Failure) -> String {
    format!("{failure} {failure:?}")
}
