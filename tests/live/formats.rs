//! Every format from one login, and a template that a new value does not fit.

use serde_json::json;

use crate::support::world::{Terms, World};
use crate::support::{eventually, secs};

const TEMPLATE: &str = "user = {{ db.username|tojson }}\nport = {{ db.port }}\n\
                        key = {{ mail.api_key|tojson }}\nlimit = {{ mail.limit + 1 }}\n";

#[tokio::test]
async fn a_login_is_published_in_every_format_and_a_bad_value_in_none() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mail = format!("{}/mail", world.name);
    world.bao.put_kv(&mail, json!({ "api_key": "SG.first", "limit": 9 })).await;
    world.write("settings.j2", TEMPLATE);
    let mut config = world.config();
    config["secrets"]["mail"] = json!({ "kv": { "mount": "secret", "path": mail, "poll": "1s" } });
    let files = config["publish"]["files"].as_object_mut().unwrap();
    for (path, file) in [
        (
            "app.env",
            json!({ "format": "dotenv", "secrets": ["db", "mail"], "prefix": "X_",
            "names": { "mail.api_key": "SENDGRID" } }),
        ),
        ("app.yaml", json!({ "format": "yaml", "secrets": ["db", "mail"] })),
        ("url", json!({ "format": "dsn", "secret": "db" })),
        ("databases.ini", json!({ "format": "pgbouncer", "secret": "db" })),
        ("userlist.txt", json!({ "format": "userlist", "secret": "db" })),
        ("settings.toml", json!({ "template": world.path("settings.j2") })),
    ] {
        files.insert(path.to_owned(), file);
    }
    let agent = world.start_and_publish(&config).await;
    let login = world.login().unwrap();
    let read = |file: &str| std::fs::read_to_string(world.published(file)).unwrap();
    let has = |file: &str, texts: &[&str]| {
        let text = read(file);
        texts.iter().for_each(|part| assert!(text.contains(part), "{file} without {part}: {text}"));
    };
    let (user, password) = (login.user.as_str(), login.password.as_str());
    has(
        "app.env",
        &[&format!("X_DB_USERNAME={user}\n"), "SENDGRID=SG.first\n", "X_MAIL_LIMIT=9\n"],
    );
    has("app.yaml", &[&format!("\n  \"password\": \"{password}\"\n"), "\"api_key\": \"SG.first\""]);
    has("url", &[&format!("postgresql://{user}:{password}@{}:", world.postgres.host)]);
    has("databases.ini", &[&format!("user='{user}' password='{password}'")]);
    has("userlist.txt", &[&format!("\"{user}\" \"{password}\"\n")]);
    let settings = |key: &str, limit: u32| {
        let port = world.postgres.port;
        format!("user = \"{user}\"\nport = {port}\nkey = \"{key}\"\nlimit = {limit}\n")
    };
    assert_eq!(read("settings.toml"), settings("SG.first", 10));

    let mark = world.journal.mark();
    world.bao.put_kv(&mail, json!({ "api_key": "SG.second", "limit": "ncanaryn" })).await;
    let failed = world.journal.wait(mark, "read_failed", secs(10)).await;
    let error = failed.text("error");
    assert!(error.contains("template") && error.contains("line 4: invalid operation"), "{error}");
    assert_eq!(read("settings.toml"), settings("SG.first", 10));
    world.bao.put_kv(&mail, json!({ "api_key": "SG.third", "limit": 1 })).await;
    eventually("the mended value is published", secs(10), async || {
        (read("settings.toml") == settings("SG.third", 2)).then_some(())
    })
    .await;
    assert!(!world.journal.raw().contains("ncanaryn"), "a value in the log");
    drop(agent);
}
