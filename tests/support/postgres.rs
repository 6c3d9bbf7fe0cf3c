//! PostgreSQL as its administrator sees it, and logins with any credential.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::from_servers;

/// The shared server.
#[derive(Clone)]
pub struct Postgres {
    pub host: String,
    pub port: u16,
    pub superuser: String,
    password: String,
}

/// A login as an application finds it in its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl Postgres {
    pub fn shared() -> Self {
        Self {
            host: from_servers("PG_HOST"),
            port: from_servers("PG_PORT").parse().unwrap(),
            superuser: from_servers("PG_SUPERUSER"),
            password: from_servers("PG_PASSWORD"),
        }
    }

    /// A server of a test's own.
    pub fn own(host: &str, port: u16, password: &str) -> Self {
        let superuser = from_servers("PG_SUPERUSER");
        Self { host: host.to_owned(), port, superuser, password: password.to_owned() }
    }

    /// The superuser's.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A session; it ends when the client is dropped.
    ///
    /// # Errors
    /// The SQLSTATE, or the error's text where there is none.
    pub async fn connect(&self, login: &Login, dbname: &str) -> Result<Client, String> {
        let attempt = Config::new()
            .host(&self.host)
            .port(self.port)
            .user(&login.user)
            .password(&login.password)
            .dbname(dbname)
            .connect_timeout(Duration::from_secs(5))
            .connect(NoTls)
            .await;
        match attempt {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Ok(client)
            }
            Err(error) => Err(sqlstate(&error)),
        }
    }

    /// Logs in and reads one table.
    ///
    /// # Errors
    /// The SQLSTATE, or the error's text where there is none.
    pub async fn try_login(&self, login: &Login, dbname: &str) -> Result<(), String> {
        let client = self.connect(login, dbname).await?;
        let answer = client.simple_query("SELECT count(*) FROM memories").await;
        answer.map(|_| ()).map_err(|error| sqlstate(&error))
    }

    async fn admin(&self, dbname: &str) -> Client {
        let login = Login { user: self.superuser.clone(), password: self.password.clone() };
        self.connect(&login, dbname).await.unwrap()
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, dbname: &str, sql: &str) {
        self.admin(dbname).await.batch_execute(sql).await.unwrap();
    }

    /// The first column of a query as text.
    pub async fn column(&self, dbname: &str, sql: &str) -> Vec<String> {
        let rows = self.admin(dbname).await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The SQLSTATE, or the error's text where there is none. A session that was ended may have said so
/// to nobody.
fn sqlstate(error: &tokio_postgres::Error) -> String {
    match error.code() {
        Some(code) => code.code().to_owned(),
        None if error.is_closed() => "57P01".to_owned(),
        None => error.to_string(),
    }
}

/// Whether this SQLSTATE is that of a login that met its end on the way: its session was ended, its
/// role or its rights are gone. The next one is refused.
pub fn met_its_end(sqlstate: &str) -> bool {
    matches!(sqlstate, "57P01" | "42704" | "42501")
}

/// Whether this SQLSTATE says that the credential itself no longer works.
pub fn refused(sqlstate: &str) -> bool {
    matches!(sqlstate, "28P01" | "28000")
}
