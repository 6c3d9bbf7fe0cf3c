//! The manifests' pods without Kubernetes: init, sidecar and service, with the commands, settings
//! and probes that stand there. The image is the one that the Dockerfile's last stage makes; the
//! service is a stand-in with the manifest's environment.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::live::effects_servers::certificates_for;
use crate::support::cluster::Cluster;
use crate::support::manifests::Variant;
use crate::support::pod::{Pod, image};
use crate::support::world::{Terms, World};
use crate::support::{bao, becomes, eventually, from_servers, secs};

/// The service's port, by which the test asks it, too.
fn port(pod: &Value) -> u64 {
    service(pod)["ports"][0]["containerPort"].as_u64().unwrap()
}

fn service(pod: &Value) -> &Value {
    let containers = pod["containers"].as_array().unwrap();
    containers.iter().find(|container| container["name"] == "app").unwrap()
}

/// A pod of `variant`, `changed`, on servers that it knows by the names in its configuration.
async fn start(world: &World, variant: Variant, changed: impl FnOnce(&mut Value)) -> Pod {
    let mut pod = variant.pod();
    changed(&mut pod);
    let cluster = Cluster::start().await;
    let kubernetes = format!("kubernetes-{}", world.name);
    world.bao.mount(&format!("sys/auth/{kubernetes}"), "kubernetes").await;
    let tls = world.path("tls");
    std::fs::create_dir(&tls).unwrap();
    certificates_for(&tls, 2, "DNS:vault.internal,DNS:postgres.internal");
    let ca = std::fs::read_to_string(tls.join("ca.crt")).unwrap();
    let at = |path: &str| format!("auth/{kubernetes}/{path}");
    world.bao.must("POST", &at("config"), Some(cluster.config(&ca))).await;
    let role = cluster.role(&world.name);
    let login = variant.configuration();
    let name = variant.resource("ServiceAccount")["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(login.contains(&format!("role: {name},")), "{login}");
    world.bao.must("POST", &at(&format!("role/{name}")), Some(role)).await;
    let token = cluster.token(3600);
    cluster.takes(&token);

    // All tests share the servers: mounts, role and database have names of their own, and the
    // server's port is another.
    let ours = BTreeMap::from([
        ("LEASEHOLD_VAULT__AUTH__KUBERNETES__MOUNT", kubernetes),
        ("LEASEHOLD_SECRETS__DB__DATABASE__MOUNT", world.mount()),
        ("LEASEHOLD_SECRETS__DB__DATABASE__ROLE", world.name.clone()),
        ("LEASEHOLD_SECRETS__DB__CONNECTION__DBNAME", world.name.clone()),
        ("LEASEHOLD_SECRETS__DB__GRACE", "5s".to_owned()),
        ("LEASEHOLD_SECRETS__DB__LOOKUP", "1s".to_owned()),
    ]);
    let mut leasehold = image();
    leasehold["more_env"] = json!(ours);
    let python = from_servers("PYTHON");
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let real = std::fs::canonicalize(&python).unwrap();
    let environment = Path::new(&python).parent().and_then(Path::parent).unwrap();
    let installed = real.parent().and_then(Path::parent).unwrap();
    let stand_in = json!({
        "here": ["/usr", "/bin", "/lib", "/lib64", environment, installed, support],
        "entrypoint": [python, support.join("app.py"), port(&pod).to_string()],
        "env": ["PATH=/usr/bin:/bin"],
    });
    let authority = |address: &str| {
        let address = address.trim_start_matches("http://").rsplit_once(':').unwrap();
        json!([address.0, address.1.parse::<u16>().unwrap()])
    };
    let database = format!("{}:{}", world.postgres.host, world.postgres.port);
    Pod::start(&json!({
        "name": format!("{name}-{}", world.name),
        "images": {
            "leasehold:0.1.0": leasehold,
            service(&pod)["image"].as_str().unwrap(): stand_in,
        },
        "pod": pod,
        "config_maps": {
            format!("{name}-leasehold"): { "leasehold.yaml": login },
            "internal-ca": { "ca.pem": ca },
        },
        "token": token,
        "hosts": ["vault.internal", "postgres.internal"],
        "relays": [
            { "port": 8200, "to": authority(&world.bao.address), "kind": "http" },
            { "port": 5432, "to": authority(&database), "kind": "postgres" },
        ],
        "tls": { "cert": tls.join("server.crt"), "key": tls.join("server.key") },
    }))
}

/// What the service says of its queries.
async fn counts(pod: &Pod, port: u64) -> Value {
    let made = pod.wait(0, json!({ "event": "made" }), secs(10)).await;
    let url = format!("http://{}:{port}/counts", made["address"].as_str().unwrap());
    eventually("the service answers", secs(20), async || {
        let answer = bao::client().get(&url).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    })
    .await
}

async fn queries(pod: &Pod, port: u64, more: u64) -> Value {
    let before = counts(pod, port).await["queries"].as_u64().unwrap_or_default();
    eventually(&format!("{more} more queries"), secs(20), async || {
        let counts = counts(pod, port).await;
        (counts["queries"].as_u64().unwrap_or_default() >= before + more).then_some(counts)
    })
    .await
}

fn one_user(counts: &Value) -> bool {
    counts["users"].as_array().is_some_and(|users| users.len() == 1)
}

/// The fields of `/proc/PID/status` of a container's first process.
async fn status(pod: &Pod, mark: usize, container: &str) -> BTreeMap<String, String> {
    let started =
        pod.wait(mark, json!({ "event": "started", "container": container }), secs(20)).await;
    let path = format!("{}/status", started["proc"].as_str().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| {
            (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The whole life of a pod.
async fn lives(variant: Variant) {
    let world = World::new(Terms::of("1h", "2h")).await;
    let mut pod = start(&world, variant, |_| {}).await;
    pod.wait(0, json!({ "event": "running" }), secs(60)).await;
    let port = port(&variant.pod());
    for container in ["app", "leasehold"] {
        let ready =
            json!({ "event": "probe", "container": container, "probe": "readiness", "good": true });
        pod.wait(0, ready, secs(30)).await;
    }
    let live =
        json!({ "event": "probe", "container": "leasehold", "probe": "liveness", "good": true });
    pod.wait(0, live, secs(30)).await;
    // Nothing was there when the service started but what it needs.
    let counts = queries(&pod, port, 5).await;
    assert_eq!((&counts["failures"], one_user(&counts)), (&Value::Null, true), "{counts}");
    eventually("the service is told", secs(30), async || {
        (self::counts(&pod, port).await["notices"] == 1).then_some(())
    })
    .await;
    assert_eq!(world.users().await.len(), 1, "init and run took a login each");

    let agent = status(&pod, 0, "leasehold").await;
    assert_eq!(
        (&*agent["Uid"], &*agent["NoNewPrivs"], &*agent["Seccomp"]),
        ("65532 65532 65532 65532", "1", "2")
    );
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(agent[kind], "0000000000000000", "{kind}");
    }
    // The kernel gives what a process keeps private to root.
    let started = json!({ "event": "started", "container": "leasehold" });
    let started = pod.wait(0, started, secs(20)).await;
    let private = format!("{}/environ", started["proc"].as_str().unwrap());
    assert_eq!(std::fs::metadata(private).unwrap().uid(), 0, "its memory can be dumped");
    let confined = pod.record(0, "leasehold", "confined").await;
    assert_eq!(confined["writes"], "/run/leasehold/app /run/leasehold-state/agent");

    // The service is another user of the same group.
    let file = variant.configuration();
    let file =
        ["db/pg_service.conf", "db/dsn"].into_iter().find(|name| file.contains(name)).unwrap();
    let file = format!("/run/leasehold/app/{file}");
    let (code, said) = pod.execute("app", &["cat", &file]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("postgres.internal"), "{said}");
    for (script, refused) in [
        ("ls /run/leasehold-state", "No such file"),
        ("touch /run/leasehold/app/new", "Read-only"),
        ("rm /run/leasehold/app/current", "Read-only"),
        ("mkdir /run/leasehold/new", "Read-only"),
        ("cat /var/run/secrets/leasehold/token", "No such file"),
        // Another process namespace: there are only its own.
        (
            "if cat /proc/[0-9]*/comm | grep -qx leasehold; then exit 0; fi; echo unseen; exit 1",
            "unseen",
        ),
    ] {
        let (code, said) = pod.execute("app", &["sh", "-c", script]).await;
        assert!(code != 0 && said.contains(refused), "{script}: {code} {said}");
    }

    // The agent's own user asks at the socket, which the service does not see; on its ports there is
    // nothing to ask for.
    let (code, said) = pod.execute("leasehold", &["/leasehold", "status"]).await;
    assert!(code == 0 && said.contains("  ready  generation 1"), "{code} {said}");
    let python = from_servers("PYTHON");
    let connect = "import socket; socket.socket(socket.AF_UNIX)\
                   .connect('/run/leasehold-state/agent/api.sock')";
    let (code, said) = pod.execute("app", &[&python, "-c", connect]).await;
    assert!(code != 0 && said.contains("No such file"), "{code} {said}");
    for port in [9100, 9101] {
        let url = format!("http://127.0.0.1:{port}/v1/refresh");
        let script = format!("import urllib.request as r; r.urlopen('{url}', b'')");
        let (code, said) = pod.execute("app", &[&python, "-c", &script]).await;
        assert!(code != 0 && said.contains("HTTP Error 405"), "{script}: {code} {said}");
    }

    let mark = pod.mark();
    pod.kill("leasehold");
    let dead = json!({ "event": "exited", "container": "leasehold", "code": 137 });
    pod.wait(mark, dead, secs(10)).await;
    pod.record(mark, "leasehold", "adopted").await;
    let ready =
        json!({ "event": "probe", "container": "leasehold", "probe": "readiness", "good": true });
    pod.wait(mark, ready, secs(20)).await;
    let counts = queries(&pod, port, 20).await;
    assert_eq!(counts["failures"], Value::Null, "{counts}");
    assert!(one_user(&counts), "the restart made another login: {counts}");
    assert_eq!(counts["notices"], 1, "{counts}");

    let mark = pod.mark();
    pod.stop().await;
    let exits = pod.since(mark).into_iter().filter(|event| event["event"] == "exited");
    let exits: Vec<_> =
        exits.map(|exit| (exit["container"].clone(), exit["code"].clone())).collect();
    assert_eq!(exits.len(), 2, "{exits:?}");
    assert!(exits.iter().all(|(_, code)| *code == 0), "{exits:?}");
    if variant.way == "native-sidecar" {
        assert_eq!(exits[0].0, "app", "the agent is stopped last");
    }
    // The login has its grace, and is ended by Vault.
    becomes("no user is left", secs(90), Vec::<String>::new(), async || world.users().await).await;
}

#[tokio::test]
async fn a_native_sidecar_beside_fastapi() {
    lives(Variant { service: "fastapi", way: "native-sidecar" }).await;
}

#[tokio::test]
async fn a_native_sidecar_beside_nestjs() {
    lives(Variant { service: "nestjs", way: "native-sidecar" }).await;
}

#[tokio::test]
async fn an_init_container_and_a_sidecar_beside_fastapi() {
    lives(Variant { service: "fastapi", way: "init-and-sidecar" }).await;
}

#[tokio::test]
async fn an_init_container_and_a_sidecar_beside_nestjs() {
    lives(Variant { service: "nestjs", way: "init-and-sidecar" }).await;
}

/// A pod whose author was careless: both volumes are mounted into the service, to be written.
#[tokio::test]
async fn where_the_service_may_write_it_harms_itself_alone() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let variant = Variant { service: "fastapi", way: "native-sidecar" };
    let mut pod = start(&world, variant, |pod| {
        let app = &mut pod["containers"][0]["volumeMounts"];
        *app = json!([
            { "name": "internal-ca", "mountPath": "/etc/internal-ca", "readOnly": true },
            { "name": "published", "mountPath": "/run/leasehold" },
            { "name": "state", "mountPath": "/run/leasehold-state" },
        ]);
    })
    .await;
    pod.wait(0, json!({ "event": "running" }), secs(60)).await;
    let port = port(&variant.pod());
    queries(&pod, port, 2).await;

    for script in [
        "cat /run/leasehold-state/agent/state.json",
        "ls /run/leasehold-state/agent",
        "touch /run/leasehold/app/new",
        "rm /run/leasehold/app/current",
        "rm -r /run/leasehold/app/.generations",
        "echo x > /run/leasehold/app/db/pg_service.conf",
    ] {
        let (code, said) = pod.execute("app", &["sh", "-c", script]).await;
        assert!(code != 0 && said.contains("ermission denied"), "{script}: {code} {said}");
    }

    let connect = "import socket; socket.socket(socket.AF_UNIX)\
                   .connect('/run/leasehold-state/agent/api.sock')";
    let (code, said) = pod.execute("app", &[&from_servers("PYTHON"), "-c", connect]).await;
    assert!(code != 0 && said.contains("Permission denied"), "{code} {said}");

    // The volume itself is everybody's: the directory in it can be moved away. What is put in its
    // place leads the agent, which is root to nobody, to what only it may write.
    let (code, said) = pod
        .execute(
            "app",
            &["sh", "-c", "cd /run/leasehold && mv app was && ln -s ../leasehold-state/agent app"],
        )
        .await;
    assert_eq!(code, 0, "{said}");
    let made = pod.wait(0, json!({ "event": "made" }), secs(10)).await;
    let state = Path::new(made["volumes"].as_str().unwrap()).join("state/agent");
    let names = || {
        let entries = std::fs::read_dir(&state).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let before = names();
    let mark = pod.mark();
    pod.kill("leasehold");
    pod.wait(mark, json!({ "event": "exited", "container": "leasehold", "code": 73 }), secs(20))
        .await;
    let told = pod.since(mark).iter().any(|event| {
        event["event"] == "log" && event["line"].as_str().unwrap().contains("is a link")
    });
    assert!(told, "it does not say why");
    assert_eq!(names(), before, "it published into its state");

    let (code, said) =
        pod.execute("app", &["sh", "-c", "cd /run/leasehold && rm app && mv was app"]).await;
    assert_eq!(code, 0, "{said}");
    let mark = pod.mark();
    let ready =
        json!({ "event": "probe", "container": "leasehold", "probe": "readiness", "good": true });
    pod.wait(mark, ready, secs(30)).await;
    let counts = queries(&pod, port, 5).await;
    assert!(one_user(&counts), "{counts}");
}
