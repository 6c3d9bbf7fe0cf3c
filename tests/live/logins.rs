//! The ways in beside AppRole and a token file, each through the agent as a process: what it
//! publishes, how it goes on with a replaced token or certificate, and what it says of a wrong one.

use std::path::Path;

use serde_json::{Value, json};

use crate::live::effects_servers::certificates;
use crate::live::effects_vault::tls::{client, serve};
use crate::support::bao::Bao;
use crate::support::canary::Canaries;
use crate::support::cluster::Cluster;
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::signer::Signer;
use crate::support::watch::Watch;
use crate::support::world::{Terms, World};
use crate::support::{eventually, now, quiet, secs};

/// In one step, as the kubelet does it.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A configuration that logs in as `auth` says, by way of `address`.
fn config(world: &World, address: &str, auth: Value) -> Value {
    let mut config = world.config();
    config["vault"] = json!({ "address": address, "auth": auth });
    config["secrets"]["db"]["confirm"] = json!("none");
    config["secrets"]["db"]["grace"] = json!("3s");
    config
}

/// A mount of a method of the world's own; its name.
async fn mount(world: &World, kind: &str, config: Option<Value>, role: (&str, Value)) -> String {
    let mount = format!("{kind}-{}", world.name);
    world.bao.mount(&format!("sys/auth/{mount}"), kind).await;
    if let Some(config) = config {
        world.bao.must("POST", &format!("auth/{mount}/config"), Some(config)).await;
    }
    let (path, role) = role;
    world.bao.must("POST", &format!("auth/{mount}/{path}"), Some(role)).await;
    mount
}

/// Ends the agent's token, and waits until it knows; gives a mark from before.
async fn lose_the_token(world: &World, mount: &str) -> usize {
    let mark = world.journal.mark();
    for accessor in world.bao.sessions_at(mount, &world.name).await {
        world.bao.revoke_token(&accessor).await;
    }
    world.journal.wait(mark, "session_lost", secs(15)).await;
    mark
}

/// Waits until a login is published that works and is not `before`.
async fn works_again(world: &World, before: &str) {
    eventually("a login that works is published", secs(15), async || {
        let login = world.login().filter(|login| login.user != before)?;
        world.works(&login).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_signed_token_is_read_at_each_login_and_a_refused_one_raises_no_storm() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let proxy = Proxy::before(world.bao.address.clone()).await;
    let logins = || proxy.seen("/login").len();
    let (first, second) = (Signer::new(), Signer::new());
    let keys = |signer: &Signer| json!({ "jwt_validation_pubkeys": [signer.public_pem()] });
    let role = |audience: &str| {
        json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [audience],
            "token_policies": [world.name], "token_ttl": "1h",
        })
    };
    let mount = mount(&world, "jwt", Some(keys(&first)), ("role/app", role("vault"))).await;
    let claims = json!({ "sub": "intelligence-service", "aud": "vault" });
    let mut canaries = Canaries::default();
    let mut sign = |signer: &Signer| {
        let token = signer.sign(claims.clone(), 600);
        canaries.add("signed token", &token);
        token
    };
    let file = world.path("token");
    replace(&file, sign(&first).as_bytes());
    let login = json!({ "jwt": { "role": "app", "mount": mount, "token_file": file } });
    let agent = world.start_and_publish(&config(&world, &proxy.address, login)).await;
    let published = world.login().unwrap();
    assert_eq!(logins(), 1);

    // Another key from here on: the token in the file is worth nothing any more.
    let path = format!("auth/{mount}/config");
    world.bao.must("POST", &path, Some(keys(&second))).await;
    let mark = lose_the_token(&world, &mount).await;
    let refused = world.journal.wait(mark, "login_refused", secs(15)).await;
    assert!(refused.text("error").contains("no known key"), "{refused:?}");
    assert!(refused.text("hint").contains("knows no key that signed"), "{refused:?}");
    let (tried, began) = (logins(), now());
    quiet(secs(6)).await;
    let more = logins() - tried;
    assert!(more <= 5, "{more} more logins in {:?}", began.until(now()));
    assert_eq!(world.journal.since(mark, "login_refused").len(), 1, "told again and again");

    let written = now();
    replace(&file, sign(&second).as_bytes());
    let opened = world.journal.wait(mark, "session_opened", secs(15)).await;
    assert!(written.until(opened.at) < secs(10), "{:?}", written.until(opened.at));
    works_again(&world, &published.user).await;

    // What only the role lacks is mended there.
    let published = world.login().unwrap();
    let path = format!("auth/{mount}/role/app");
    world.bao.must("POST", &path, Some(role("another"))).await;
    let mark = lose_the_token(&world, &mount).await;
    let refused = world.journal.wait(mark, "login_refused", secs(15)).await;
    assert!(refused.text("hint").contains("`bound_audiences`"), "{refused:?}");
    world.bao.must("POST", &path, Some(role("vault"))).await;
    world.journal.wait(mark, "session_opened", secs(70)).await;
    works_again(&world, &published.user).await;

    assert!(agent.terminate(secs(15)).await.success());
    assert_eq!(world.leases().await, [] as [String; 0]);
    assert_eq!(world.bao.sessions_at(&mount, &world.name).await, [] as [String; 0]);
    assert_eq!(canaries.found_in(&world.journal.raw()), [] as [String; 0]);
}

#[tokio::test]
async fn a_pod_goes_on_with_each_token_that_the_kubelet_writes() {
    let world = World::new(Terms::of("10s", "10m")).await;
    let cluster = Cluster::start().await;
    let ca = tempfile::tempdir().unwrap();
    certificates(ca.path(), 2);
    let ca = std::fs::read_to_string(ca.path().join("ca.crt")).unwrap();
    let mut role = cluster.role(&world.name);
    role["token_ttl"] = json!("30s");
    role["token_max_ttl"] = json!("30s");
    let mount = mount(&world, "kubernetes", Some(cluster.config(&ca)), ("role/app", role)).await;
    let file = world.path("token");
    let project = |token: &str| {
        replace(&file, token.as_bytes());
        cluster.takes(token);
    };
    let mut canaries = Canaries::default();
    let mut token = |seconds: i64| {
        let token = cluster.token(seconds);
        canaries.add("projected token", &token);
        token
    };

    // One that has run out is refused, and told once; the next one is used at once.
    replace(&file, token(-3600).as_bytes());
    let login = json!({ "kubernetes": { "role": "app", "mount": mount, "token_file": file } });
    let agent = world.start(&config(&world, &world.bao.address, login));
    let refused = world.journal.wait(0, "login_refused", secs(15)).await;
    assert!(refused.text("error").contains("token is expired"), "{refused:?}");
    assert!(refused.text("hint").contains("kubelet"), "{refused:?}");
    let written = now();
    project(&token(600));
    let opened = world.journal.wait(0, "session_opened", secs(15)).await;
    assert!(written.until(opened.at) < secs(10), "{:?}", written.until(opened.at));
    world.wait_published().await;

    // The token of each login is worth nothing at the next.
    let watch = Watch::start(&world, true);
    for logins in 2..=3 {
        project(&token(600));
        world.journal.wait_count("session_opened", logins, secs(60)).await;
    }
    world.journal.wait_count("session_ended", 1, secs(40)).await;
    assert_eq!(watch.failures(), [] as [String; 0]);
    assert_eq!(world.journal.count("session_lost"), 0);
    drop(watch);

    // A cluster that takes no token is no reason to give one up.
    cluster.takes_none();
    let mark = lose_the_token(&world, &mount).await;
    let failed = world.journal.wait(mark, "login_failed", secs(15)).await;
    assert!(failed.text("hint").contains("`kubernetes_host`"), "{failed:?}");
    assert_eq!(world.journal.since(mark, "login_refused").len(), 0);
    let published = world.login().unwrap();
    project(&token(600));
    world.journal.wait(mark, "session_opened", secs(70)).await;
    works_again(&world, &published.user).await;
    assert!(agent.terminate(secs(15)).await.success());
    assert_eq!(canaries.found_in(&world.journal.raw()), [] as [String; 0]);
}

#[tokio::test]
async fn a_certificate_logs_in_and_its_successor_too() {
    let (good, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(good.path(), 2);
    certificates(other.path(), 2);
    let tls = serve(good.path(), other.path()).await;
    let bao = Bao::own(&tls.admin.address, "root");
    let world = World::on(bao, Postgres::shared(), Terms::of("1h", "2h")).await;
    let role = json!({
        "certificate": std::fs::read_to_string(good.path().join("ca.crt")).unwrap(),
        "token_policies": [world.name], "token_ttl": "30s",
    });
    let mount = mount(&world, "cert", None, ("certs/app", role)).await;
    let (cert_file, key_file) = (world.path("tls.crt"), world.path("tls.key"));
    let show = |from: &Path| {
        let pair = client(from);
        replace(&key_file, &std::fs::read(pair.key).unwrap());
        replace(&cert_file, &std::fs::read(pair.cert).unwrap());
    };

    // That of another authority is refused, and told once; the right one is used at once.
    show(other.path());
    let login = json!({ "cert": {
        "name": "app", "mount": mount, "cert_file": cert_file, "key_file": key_file,
    } });
    let mut config = config(&world, &format!("https://localhost:{}", tls.port), login);
    config["vault"]["ca_cert"] = json!(good.path().join("ca.crt"));
    let agent = world.start(&config);
    let refused = world.journal.wait(0, "login_refused", secs(15)).await;
    assert!(refused.text("error").contains("invalid certificate"), "{refused:?}");
    assert!(refused.text("hint").contains("`vault.auth.cert.name`"), "{refused:?}");
    let written = now();
    show(good.path());
    let opened = world.journal.wait(0, "session_opened", secs(15)).await;
    assert!(written.until(opened.at) < secs(10), "{:?}", written.until(opened.at));
    world.wait_published().await;

    // Vault renews a token for the certificate that it was made with, and no other: the next login
    // comes before that one ends.
    let watch = Watch::start(&world, true);
    world.journal.wait(0, "session_renewed", secs(40)).await;
    let mark = world.journal.mark();
    show(good.path());
    let failed = world.journal.wait(mark, "session_renewal_failed", secs(40)).await;
    assert!(failed.text("hint").contains("a new login comes"), "{failed:?}");
    world.journal.wait(mark, "session_opened", secs(30)).await;
    world.journal.wait(mark, "session_ended", secs(40)).await;
    assert_eq!(watch.failures(), [] as [String; 0]);
    assert_eq!(world.journal.count("session_lost"), 0);
    assert_eq!(world.journal.since(mark, "lease_issued").len(), 1);
    assert!(agent.terminate(secs(15)).await.success());
    assert_eq!(world.leases().await, [] as [String; 0]);

    // Another role of the mount is not what the configuration names.
    config["vault"]["auth"]["cert"]["name"] = json!("other");
    let mark = world.journal.mark();
    let agent = world.start(&config);
    world.journal.wait(mark, "login_refused", secs(15)).await;
    drop(agent);
}
