//! `leasehold::postgres` against the real database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leasehold::error::{Class, Failure};
use leasehold::lease::RoleId;
use leasehold::postgres::{Database, count, probe};
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{Connection, SslMode};
use leasehold::time::Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::{Client, NoTls};

use crate::live::effects_servers::{
    certificates, env, eventually, openssl, pg_port, postgres_with_tls, unique,
};
use crate::support::free_port;

const AGAIN: Class = Class::Again { after: None };

fn credential(username: &str, password: &str) -> Credential {
    Credential { username: username.to_owned(), password: Secret::new(password.to_owned()) }
}

fn superuser() -> Credential {
    credential(&env("LEASEHOLD_TEST_PG_SUPERUSER"), &env("LEASEHOLD_TEST_PG_PASSWORD"))
}

fn connection(hosts: &[&str]) -> Connection {
    Connection {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        port: pg_port(),
        dbname: "postgres".into(),
        sslmode: SslMode::Prefer,
        sslrootcert: None,
    }
}

fn here() -> Connection {
    connection(&[&env("LEASEHOLD_TEST_PG_HOST")])
}

async fn session(port: u16, credential: &Credential) -> Option<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host(env("LEASEHOLD_TEST_PG_HOST"))
        .port(port)
        .user(&credential.username)
        .password(credential.password.expose())
        .dbname("postgres")
        .connect(NoTls)
        .await
        .ok()?;
    tokio::spawn(connection);
    Some(client)
}

async fn admin() -> Client {
    session(pg_port(), &superuser()).await.unwrap()
}

/// A role with password `hunter2`, and its oid.
async fn role(admin: &Client, attributes: &str) -> (Credential, RoleId) {
    let name = unique("app-");
    let create = format!("CREATE ROLE \"{name}\" PASSWORD 'hunter2' {attributes}");
    admin.batch_execute(&create).await.unwrap();
    let row = admin.query_one("SELECT oid FROM pg_roles WHERE rolname = $1", &[&name]).await;
    (credential(&name, "hunter2"), row.unwrap().get(0))
}

async fn sessions(admin: &Client, role: RoleId) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1";
    admin.query_one(sql, &[&role]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_probe_tells_who_logged_in() {
    let admin = admin().await;
    let (app, oid) = role(&admin, "LOGIN").await;
    assert_eq!(probe(&here(), &app).await.unwrap(), oid);
    // A role may be made to act as its group; it is still itself that logged in.
    let group = unique("group-");
    let acts = format!(
        "CREATE ROLE \"{group}\"; GRANT \"{group}\" TO \"{name}\"; \
         ALTER ROLE \"{name}\" SET role = '{group}'",
        name = app.username
    );
    admin.batch_execute(&acts).await.unwrap();
    assert_eq!(probe(&here(), &app).await.unwrap(), oid);
}

#[tokio::test]
async fn only_what_speaks_of_the_credential_is_denied() {
    let admin = admin().await;
    let (app, _) = role(&admin, "LOGIN").await;
    let (locked, _) = role(&admin, "NOLOGIN").await;
    let (expired, _) = role(&admin, "LOGIN VALID UNTIL '2001-01-01'").await;
    let (crowded, _) = role(&admin, "LOGIN CONNECTION LIMIT 0").await;
    let elsewhere = Connection { dbname: unique("nodb"), ..here() };
    for (connection, credential, class) in [
        (here(), credential(&app.username, "hunter2-wrong"), Class::Denied),
        (here(), credential(&unique("nobody"), "hunter2"), Class::Denied),
        (here(), locked, Class::Denied),
        (here(), expired, Class::Denied),
        (elsewhere, app.clone(), Class::Denied),
        (here(), crowded, AGAIN),
        (Connection { port: free_port(), ..here() }, app.clone(), AGAIN),
        (connection(&["nowhere.invalid"]), app.clone(), AGAIN),
        (connection(&[]), app.clone(), Class::Ours),
    ] {
        let failure = probe(&connection, &credential).await.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure}");
        assert_eq!(count(&connection, &credential, &[1]).await.unwrap_err().class, class);
    }
    let wrong = probe(&here(), &credential(&app.username, "x")).await.unwrap_err();
    let place = format!("`{}:{}/postgres` as `{}`", here().hosts[0], pg_port(), app.username);
    assert!(wrong.text.starts_with(&format!("log in to {place}: ")), "{wrong}");
    assert!(wrong.text.ends_with("(28P01)"), "{wrong}");
}

#[tokio::test]
async fn one_host_in_reach_proves_a_login_but_all_must_count() {
    let admin = admin().await;
    let (app, oid) = role(&admin, "LOGIN").await;
    let here = env("LEASEHOLD_TEST_PG_HOST");
    let hosts = connection(&["nowhere.invalid", &here]);
    assert_eq!(probe(&hosts, &app).await.unwrap(), oid);
    assert_eq!(count(&hosts, &app, &[oid]).await.unwrap_err().class, AGAIN);
    let wrong = credential(&app.username, "wrong");
    assert_eq!(probe(&hosts, &wrong).await.unwrap_err().class, Class::Denied);
    let twice = connection(&[&here, &here]);
    assert_eq!(count(&twice, &app, &[oid]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn sessions_are_counted_by_oid_and_without_our_own() {
    let admin = admin().await;
    let ((old, old_oid), (new, new_oid)) =
        (role(&admin, "LOGIN").await, role(&admin, "LOGIN").await);
    let count = async || count(&here(), &new, &[old_oid, new_oid]).await.unwrap().remove(0);
    assert_eq!(count().await, [(old_oid, 0), (new_oid, 0)].into());

    let held = [
        session(pg_port(), &old).await.unwrap(),
        session(pg_port(), &old).await.unwrap(),
        session(pg_port(), &new).await.unwrap(),
    ];
    assert_eq!(count().await, [(old_oid, 2), (new_oid, 1)].into());

    // Their sessions outlive a role.
    admin.batch_execute(&format!("DROP ROLE \"{}\"", old.username)).await.unwrap();
    assert_eq!(count().await, [(old_oid, 2), (new_oid, 1)].into());
    drop(held);
    eventually("the sessions end", async || {
        (count().await == [(old_oid, 0), (new_oid, 0)].into()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_session_outlives_a_call() {
    let admin = admin().await;
    let (app, oid) = role(&admin, "LOGIN").await;
    for _ in 0..30 {
        probe(&here(), &app).await.unwrap();
        assert_eq!(sessions(&admin, oid).await, 0);
        count(&here(), &app, &[oid]).await.unwrap();
        assert_eq!(sessions(&admin, oid).await, 0);
    }
}

#[tokio::test]
async fn no_count_sees_the_session_of_a_probe() {
    let (app, oid) = role(&admin().await, "LOGIN").await;
    let now = Moment::from_micros(0);
    let (port, _) = door(First::LeavesLate).await;
    let database = Database::new(Arc::new(Connection { port, ..connection(&["127.0.0.1"]) }));
    database.connect_ahead(now);
    assert_eq!(database.probe(now, &app, || ()).await.unwrap(), oid);
    assert_eq!(database.count(&app, &[oid]).await.unwrap(), [[(oid, 0)].into()]);
}

#[tokio::test]
async fn a_login_is_accepted_once_where_no_other_host_is_asked() {
    let (app, _) = role(&admin().await, "LOGIN").await;
    let wrong = credential(&app.username, "hunter2-wrong");
    let now = Moment::from_micros(0);
    let one = Database::new(Arc::new(here()));
    let hosts = ["127.0.0.1", "localhost"];
    let two = Database::new(Arc::new(Connection { port: pg_port(), ..connection(&hosts) }));
    for (database, login, times) in [(&one, &app, 1), (&one, &wrong, 0), (&two, &app, 0)] {
        let accepted = AtomicUsize::new(0);
        let probed = database.probe(now, login, || {
            accepted.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(probed.await.is_ok(), !std::ptr::eq(login, &wrong));
        assert_eq!(accepted.into_inner(), times);
    }
}

/// What becomes of the first one who comes to a [`door`].
#[derive(Clone, Copy)]
enum First {
    Passes,
    IsTurnedAway,
    /// Its good-bye is held back.
    LeavesLate,
}

const GOOD_BYE: &[u8] = b"X\0\0\0\x04";

/// A way to the database that counts who comes.
async fn door(first: First) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = came.clone();
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let first =
                if counted.fetch_add(1, Ordering::Relaxed) == 0 { first } else { First::Passes };
            if !matches!(first, First::IsTurnedAway) {
                tokio::spawn(pass(from, first));
            }
        }
    });
    (port, came)
}

async fn pass(from: TcpStream, first: First) {
    let to = TcpStream::connect((env("LEASEHOLD_TEST_PG_HOST"), pg_port())).await.unwrap();
    let ((mut asks, mut hears), (mut answers, mut told)) = (from.into_split(), to.into_split());
    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut hears).await });
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = asks.read(&mut buffer).await {
        if matches!(first, First::LeavesLate) && buffer[..length].ends_with(GOOD_BYE) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        if told.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_probe_takes_what_was_opened_ahead_or_connects_as_usual() {
    let (app, oid) = role(&admin().await, "LOGIN").await;
    let now = Moment::from_micros(0);
    let late = now + Duration::from_secs(5);
    for (first, sslmode, at, connections) in [
        (First::Passes, SslMode::Prefer, now, 1),
        (First::IsTurnedAway, SslMode::Prefer, now, 2),
        (First::IsTurnedAway, SslMode::Disable, now, 2),
        (First::Passes, SslMode::Disable, late, 2),
    ] {
        let (port, came) = door(first).await;
        let there = Connection { port, sslmode, ..connection(&["127.0.0.1"]) };
        let database = Database::new(Arc::new(there));
        database.connect_ahead(now);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(came.load(Ordering::Relaxed), 1);
        assert_eq!(database.probe(at, &app, || ()).await.unwrap(), oid);
        assert_eq!(came.load(Ordering::Relaxed), connections);
        // There is nothing left of it for the next one.
        assert_eq!(database.probe(now, &app, || ()).await.unwrap(), oid);
        assert_eq!(came.load(Ordering::Relaxed), connections + 1);
    }
    let nowhere = Database::new(Arc::new(connection(&["nowhere.invalid"])));
    nowhere.connect_ahead(now);
    assert_eq!(nowhere.probe(now, &app, || ()).await.unwrap_err().class, AGAIN);
}

#[tokio::test]
async fn a_silent_database_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Connection { port, ..connection(&["127.0.0.1"]) };
    let failure = probe(&silent, &credential("a", "hunter2")).await.unwrap_err();
    assert_eq!(failure.class, AGAIN);
    assert!(failure.text.ends_with("no answer within 5 s"), "{failure}");
}

const HBA: &str = "\
local all all trust
hostssl all postgres,app 127.0.0.1/32 scram-sha-256
hostnossl all plain 127.0.0.1/32 scram-sha-256
";

#[tokio::test]
async fn tls_is_what_the_mode_says() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(dir.path(), 2);
    certificates(other.path(), 2);
    let (_server, port) = postgres_with_tls(dir.path(), HBA).await;
    let file = |path: &Path, name: &str| Some(path.join(name).display().to_string());
    let (ca, other_ca) = (file(dir.path(), "ca.crt"), file(other.path(), "ca.crt"));
    let user = credential("postgres", "hunter2");
    let ask = async |host: &str, sslmode: SslMode, sslrootcert: &Option<String>| {
        let sslrootcert = sslrootcert.clone();
        probe(&Connection { port, sslmode, sslrootcert, ..connection(&[host]) }, &user).await
    };
    eventually("the database answers", async || {
        ask("127.0.0.1", SslMode::Require, &None).await.ok()
    })
    .await;

    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    for (host, sslmode, root) in [
        ("127.0.0.1", Allow, &None),
        ("127.0.0.1", Prefer, &other_ca),
        ("127.0.0.1", Require, &ca),
        ("127.0.0.1", VerifyCa, &ca),
        ("localhost", VerifyFull, &ca),
        // The server's own certificate as its root.
        ("localhost", VerifyFull, &file(dir.path(), "server.crt")),
    ] {
        let result = ask(host, sslmode, root).await;
        assert!(result.is_ok(), "{host} {sslmode:?} {root:?}: {result:?}");
    }
    let refused = ask("127.0.0.1", Disable, &None).await.unwrap_err();
    assert!(refused.text.contains("no encryption"), "{refused}");
    for (host, sslmode, root) in [
        ("localhost", Require, &other_ca),
        ("localhost", VerifyCa, &other_ca),
        ("localhost", VerifyFull, &other_ca),
        ("127.0.0.1", VerifyFull, &ca),
        ("127.0.0.1", VerifyFull, &file(dir.path(), "server.crt")),
    ] {
        let failure = ask(host, sslmode, root).await.unwrap_err();
        assert_eq!(failure.class, AGAIN, "{failure}");
        assert!(failure.text.contains("invalid peer certificate"), "{failure}");
        assert!(failure.hint.is_some(), "{failure}");
    }
    let absent = file(dir.path(), "absent.crt");
    let empty = file(dir.path(), "ext");
    let class = |result: Result<RoleId, Failure>| result.unwrap_err().class;
    assert_eq!(class(ask("localhost", VerifyFull, &absent).await), Class::Missing);
    assert_eq!(class(ask("localhost", VerifyFull, &empty).await), Class::Ours);
    assert_eq!(class(ask("localhost", VerifyFull, &None).await), Class::Ours);
    weak_modes_go_plain(dir.path(), port).await;
}

/// As libpq does, where the database takes this user without TLS only.
async fn weak_modes_go_plain(dir: &Path, port: u16) {
    let (client, session) = tokio_postgres::Config::new()
        .host_path(dir)
        .port(port)
        .user("postgres")
        .connect(NoTls)
        .await
        .unwrap();
    tokio::spawn(session);
    client.batch_execute("CREATE ROLE plain LOGIN PASSWORD 'hunter2'").await.unwrap();
    let plain = credential("plain", "hunter2");
    let socket = Connection { port, ..connection(&[&dir.display().to_string()]) };
    let oid = probe(&socket, &plain).await.unwrap();
    assert_eq!(count(&socket, &plain, &[oid]).await.unwrap(), [[(oid, 0)].into()]);
    for sslmode in [SslMode::Allow, SslMode::Prefer, SslMode::Disable] {
        let connection = Connection { port, sslmode, ..connection(&["127.0.0.1"]) };
        probe(&connection, &plain).await.unwrap();
        let wrong = credential("plain", "wrong");
        assert_eq!(probe(&connection, &wrong).await.unwrap_err().class, Class::Denied);
    }

    // A session over TLS ends as surely as one without.
    client.batch_execute("CREATE ROLE app LOGIN PASSWORD 'hunter2'").await.unwrap();
    let app = credential("app", "hunter2");
    for _ in 0..10 {
        let connection =
            Connection { port, sslmode: SslMode::Require, ..connection(&["127.0.0.1"]) };
        let oid = probe(&connection, &app).await.unwrap();
        assert_eq!(sessions(&client, oid).await, 0);
    }
    let strict = Connection { port, sslmode: SslMode::Require, ..connection(&["127.0.0.1"]) };
    assert_eq!(probe(&strict, &plain).await.unwrap_err().class, Class::Denied);
}

#[tokio::test]
async fn a_certificate_of_the_first_version_is_good_enough_for_no_check() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path(), 2);
    // What the database's manual lets people make has no extensions and so is of version 1.
    openssl(
        dir.path(),
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt",
    );
    let (_server, port) = postgres_with_tls(dir.path(), HBA).await;
    let user = credential("postgres", "hunter2");
    let connection = Connection { port, sslmode: SslMode::Require, ..connection(&["127.0.0.1"]) };
    eventually("the database answers", async || probe(&connection, &user).await.ok()).await;
}
