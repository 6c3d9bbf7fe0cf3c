//! The image that the Dockerfile's last stage makes of a static program: what is in it, and that it
//! serves from there. `make test` gives it a debug build that was made here, `make image` what all
//! of the Dockerfile's stages make.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::live::effects_servers::certificates_for;
use crate::support::pod::{Pod, image};
use crate::support::secs;
use crate::support::world::{Terms, World};

/// More than that is not a small image.
const LARGEST: u64 = 10_000_000;

#[test]
fn one_static_program_is_all_that_is_in_the_image() {
    let image = image();
    let root = Path::new(image["root"].as_str().unwrap());
    let names: Vec<_> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["leasehold"]);
    let meta = std::fs::metadata(root.join("leasehold")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (0, 0, 0o755));
    assert_eq!(image["user"], "65532:65532", "a name could not be looked up in it");
    assert_eq!((&image["entrypoint"], &image["cmd"]), (&json!(["/leasehold"]), &json!(["run"])));
    if std::env::var_os("LEASEHOLD_TEST_IMAGE").is_some() {
        assert!(meta.len() < LARGEST, "{} bytes", meta.len());
    }
}

#[tokio::test]
async fn it_serves_probes_and_health_with_no_rights_on_a_read_only_root() {
    let world = World::new(Terms::of("1h", "2h")).await;
    let tls = world.path("tls");
    std::fs::create_dir(&tls).unwrap();
    certificates_for(&tls, 2, "DNS:vault.internal");
    let mut config = world.config();
    config["vault"]["address"] = json!("https://vault.internal:8200");
    config["vault"]["ca_cert"] = json!("/etc/leasehold/ca.pem");
    config["vault"]["auth"]["approle"] = json!({ "role_id_file": "/etc/leasehold/role-id", "secret_id_file": "/etc/leasehold/secret-id" });
    config["secrets"]["db"].as_object_mut().unwrap().remove("connection");
    config["secrets"]["db"]["confirm"] = json!("none");
    config["publish"]["files"] = json!({ "app.env": { "format": "dotenv", "secrets": ["db"] } });
    config["publish"]["directory"] = json!("/run/leasehold/app");
    config["state"]["directory"] = json!("/run/leasehold-state/agent");
    config["listen"] = json!({ "probes": "0.0.0.0:9101" });
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (host, port) = world.bao.address.trim_start_matches("http://").rsplit_once(':').unwrap();
    let probe =
        |path: &str| json!({ "httpGet": { "path": path, "port": 9101 }, "periodSeconds": 1 });
    let image = image();
    let health: Vec<&str> =
        image["health"].as_array().unwrap()[1..].iter().filter_map(Value::as_str).collect();
    let mut pod = Pod::start(&json!({
        "name": "image",
        "pod": {
            "containers": [{
                "name": "leasehold", "image": "leasehold",
                "startupProbe": probe("/startupz"),
                "livenessProbe": probe("/livez"),
                "readinessProbe": probe("/readyz"),
                "securityContext": {
                    "runAsNonRoot": true, "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "volumeMounts": [
                    { "name": "config", "mountPath": "/etc/leasehold", "readOnly": true },
                    { "name": "published", "mountPath": "/run/leasehold" },
                    { "name": "state", "mountPath": "/run/leasehold-state" },
                ],
            }],
            "volumes": [
                { "name": "config", "configMap": { "name": "config" } },
                { "name": "published", "emptyDir": { "medium": "Memory" } },
                { "name": "state", "emptyDir": { "medium": "Memory" } },
            ],
        },
        "images": { "leasehold": image },
        "config_maps": { "config": {
            "leasehold.yaml": config.to_string(),
            "ca.pem": read(&tls.join("ca.crt")),
            "role-id": read(&world.path("role_id")),
            "secret-id": read(&world.path("secret_id")),
        } },
        "hosts": ["vault.internal"],
        "relays": [{ "port": 8200, "to": [host, port.parse::<u16>().unwrap()], "kind": "http" }],
        "tls": { "cert": tls.join("server.crt"), "key": tls.join("server.key") },
    }));
    for kind in ["startup", "liveness", "readiness"] {
        let good =
            json!({ "event": "probe", "container": "leasehold", "probe": kind, "good": true });
        pod.wait(0, good, secs(30)).await;
    }
    let (code, said) = pod.execute("leasehold", &health).await;
    assert_eq!(code, 0, "{health:?}: {said}");
    let started = pod.wait(0, json!({ "event": "started" }), secs(1)).await;
    let process = started["proc"].as_str().unwrap();
    let status = read(Path::new(&format!("{process}/status")));
    for line in [
        "Uid:\t65532\t65532\t65532\t65532",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.lines().any(|found| found == line), "{line} is not in\n{status}");
    }
    let mounts = read(Path::new(&format!("{process}/mounts")));
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");
    pod.stop().await;
}
