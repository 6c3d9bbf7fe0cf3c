//! PgBouncer is told by its console, and has acknowledged when the old login is out of use.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::error::{Class, Failure};
use leasehold::postgres::pgbouncer::At;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support::postgres::Postgres;
use crate::support::{eventually, free_port, from_servers, secs, unique};

const AGAIN: Class = Class::Again { after: None };

/// A PgBouncer of the test's own before the shared PostgreSQL, with two users there.
struct Pooler {
    directory: TempDir,
    postgres: Postgres,
    port: u16,
    users: [String; 2],
    child: Child,
}

impl Pooler {
    async fn start() -> Self {
        let directory =
            tempfile::Builder::new().prefix("leasehold-").tempdir_in("/dev/shm").unwrap();
        // PgBouncer refuses to be root.
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let postgres = Postgres::shared();
        let name = unique();
        let users = ["a", "b"].map(|end| format!("pool_{name}_{end}"));
        for user in &users {
            let sql = format!("CREATE ROLE {user} LOGIN PASSWORD 'secret'");
            postgres.run("postgres", &sql).await;
        }
        let port = free_port();
        let at = |name: &str| directory.path().join(name);
        let settings = format!(
            "%include {}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\nadmin_users = pgbouncer\n\
             pool_mode = transaction\nserver_login_retry = 1\n",
            at("databases.ini").display(),
            at("users").display(),
        );
        fs::write(at("pgbouncer.ini"), settings).unwrap();
        fs::write(at("users"), "\"pgbouncer\" \"hunter2\"\n\"app\" \"app\"\n").unwrap();
        fs::write(at("password"), "hunter2\n").unwrap();
        fs::write(at("wrong"), "hunter3").unwrap();
        write_login(&directory, &postgres, &users[0]);
        let mut child = Command::new(from_servers("PYTHON"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pooler.py"))
            .args([at("pgbouncer.ini"), at("log"), port.to_string().into()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self { directory, postgres, port, users, child }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn reload(&self, user: &str, password: &str, limit: Duration) -> Result<(), Failure> {
        let at = At { host: "127.0.0.1", port: self.port, user };
        at.reload(Some(&self.at(password)), limit).await
    }

    async fn client(&self) -> Client {
        let config = format!(
            "host=127.0.0.1 port={} user=app password=app dbname=app sslmode=disable",
            self.port
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

fn write_login(directory: &TempDir, postgres: &Postgres, user: &str) {
    let text = format!(
        "[databases]\napp = host={} port={} dbname=postgres user={user} password=secret\n",
        postgres.host, postgres.port
    );
    let (new, place) = (directory.path().join("new"), directory.path().join("databases.ini"));
    fs::write(&new, text).unwrap();
    fs::rename(new, place).unwrap();
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

async fn user_of(client: &Client) -> Option<String> {
    let rows = client.simple_query("SELECT session_user").await.ok()?;
    rows.iter().find_map(|message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        row.get(0).map(str::to_owned)
    })
}

#[tokio::test]
async fn it_is_told_once_no_connection_of_the_old_login_is_left() {
    let pooler = Pooler::start().await;
    let [old, new] = &pooler.users;
    let (busy, other) = (pooler.client().await, pooler.client().await);
    busy.batch_execute("BEGIN").await.unwrap();
    assert_eq!(user_of(&busy).await.as_ref(), Some(old));
    pooler.reload("pgbouncer", "password", secs(10)).await.unwrap();

    write_login(&pooler.directory, &pooler.postgres, new);
    let failure = pooler.reload("pgbouncer", "password", secs(1)).await.unwrap_err();
    assert_eq!(failure.class, AGAIN, "{failure}");
    assert!(failure.text.contains("connections of an earlier login in use: 1"), "{failure}");
    // The transaction goes on as it began, everybody else is the new user.
    assert_eq!(user_of(&busy).await.as_ref(), Some(old));
    eventually("others have the new login", secs(30), async || {
        (user_of(&other).await.as_ref() == Some(new)).then_some(())
    })
    .await;

    let (told, ended) = tokio::join!(pooler.reload("pgbouncer", "password", secs(20)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        busy.batch_execute("COMMIT").await
    });
    ended.unwrap();
    told.unwrap();
    assert_eq!(user_of(&busy).await.as_ref(), Some(new));
}

#[tokio::test]
async fn what_is_wrong_with_the_console_is_said_without_its_password() {
    let pooler = Pooler::start().await;
    let failures = [
        (pooler.reload("pgbouncer", "wrong", secs(5)).await, Class::Denied),
        (pooler.reload("nobody", "password", secs(5)).await, Class::Denied),
        // Who may use the databases may not use the console.
        (pooler.reload("app", "password", secs(5)).await, Class::Denied),
        (pooler.reload("pgbouncer", "missing", secs(5)).await, Class::Missing),
    ];
    for (result, class) in failures {
        let failure = result.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.text.starts_with("reload PgBouncer at 127.0.0.1 port"), "{failure}");
        assert!(!failure.to_string().contains("hunter"), "{failure}");
    }
    let nobody = At { host: "127.0.0.1", port: free_port(), user: "pgbouncer" };
    let failure = nobody.reload(None, secs(5)).await.unwrap_err();
    assert_eq!(failure.class, AGAIN, "{failure}");
}
