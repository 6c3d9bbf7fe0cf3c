//! The manifests and the unit, by the rules that their readers have.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::from_servers;
use crate::support::manifests::{VARIANTS, Variant, folder};

/// The oldest Kubernetes that the manifests name, and the newest that the schemas know.
const KUBERNETES: [&str; 2] = ["1.29", "1.37"];

/// A control of the restricted profile, or a rule of ours, and where a pod breaks it.
struct Control {
    name: &'static str,
    broken: fn(&Value) -> Vec<String>,
}

fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of[key].as_array().into_iter().flatten()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let kinds = ["initContainers", "containers", "ephemeralContainers"];
    kinds.into_iter().flat_map(|kind| list(pod, kind))
}

fn name(of: &Value) -> String {
    of["name"].as_str().unwrap_or_default().to_owned()
}

/// The containers that `wrong` says something against.
fn wrong(pod: &Value, wrong: impl Fn(&Value) -> bool) -> Vec<String> {
    containers(pod).filter(|container| wrong(container)).map(name).collect()
}

/// Where neither the container's security context nor the pod's has a value that `right` likes, or
/// the container's has another.
fn unset(pod: &Value, key: &str, right: impl Fn(&Value) -> bool) -> Vec<String> {
    wrong(pod, |container| {
        let own = &container["securityContext"][key];
        !right(if own.is_null() { &pod["securityContext"][key] } else { own })
    })
}

fn contexts(pod: &Value) -> impl Iterator<Item = &Value> {
    let own = containers(pod).map(|container| &container["securityContext"]);
    std::iter::once(&pod["securityContext"]).chain(own)
}

/// Contexts in which there is a `key` at all.
fn present(pod: &Value, key: &str) -> Vec<String> {
    contexts(pod).filter(|context| !context[key].is_null()).map(Value::to_string).collect()
}

fn agents(pod: &Value) -> impl Iterator<Item = &Value> {
    containers(pod).filter(|container| container["image"] == "leasehold:0.1.0")
}

fn services(pod: &Value) -> impl Iterator<Item = &Value> {
    containers(pod).filter(|container| container["image"] != "leasehold:0.1.0")
}

/// The pod security standard `restricted`, with what it has of `baseline`.
const RESTRICTED: &[Control] = &[
    Control {
        name: "host processes",
        broken: |pod| {
            let host = |context: &&Value| !context["windowsOptions"]["hostProcess"].is_null();
            contexts(pod).filter(host).map(Value::to_string).collect()
        },
    },
    Control {
        name: "host namespaces",
        broken: |pod| {
            let kinds = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
            kinds.filter(|kind| pod[kind] == true).map(str::to_owned).collect()
        },
    },
    Control {
        name: "privileged containers",
        broken: |pod| wrong(pod, |container| container["securityContext"]["privileged"] == true),
    },
    Control {
        name: "host ports",
        broken: |pod| {
            wrong(pod, |container| list(container, "ports").any(|port| !port["hostPort"].is_null()))
        },
    },
    Control {
        name: "host probes",
        broken: |pod| {
            wrong(pod, |container| {
                let probes = ["startupProbe", "livenessProbe", "readinessProbe", "lifecycle"];
                probes.iter().any(|probe| container[probe].to_string().contains("\"host\""))
            })
        },
    },
    Control { name: "AppArmor", broken: |pod| present(pod, "appArmorProfile") },
    Control { name: "SELinux", broken: |pod| present(pod, "seLinuxOptions") },
    Control { name: "/proc mount type", broken: |pod| present(pod, "procMount") },
    Control { name: "sysctls", broken: |pod| present(pod, "sysctls") },
    Control {
        name: "volume types",
        broken: |pod| {
            let allowed = BTreeSet::from([
                "name",
                "configMap",
                "csi",
                "downwardAPI",
                "emptyDir",
                "ephemeral",
                "persistentVolumeClaim",
                "projected",
                "secret",
            ]);
            let known = |volume: &&Value| {
                volume.as_object().unwrap().keys().all(|key| allowed.contains(key.as_str()))
            };
            list(pod, "volumes").filter(|volume| !known(volume)).map(name).collect()
        },
    },
    Control {
        name: "privilege escalation",
        broken: |pod| {
            wrong(pod, |container| {
                container["securityContext"]["allowPrivilegeEscalation"] != false
            })
        },
    },
    Control {
        name: "running as non-root",
        broken: |pod| unset(pod, "runAsNonRoot", |value| *value == true),
    },
    Control {
        name: "running as non-root user",
        broken: |pod| unset(pod, "runAsUser", |value| *value != 0),
    },
    Control {
        name: "seccomp",
        broken: |pod| {
            unset(pod, "seccompProfile", |value| {
                value["type"] == "RuntimeDefault" || value["type"] == "Localhost"
            })
        },
    },
    Control {
        name: "capabilities",
        broken: |pod| {
            wrong(pod, |container| {
                let capabilities = &container["securityContext"]["capabilities"];
                let dropped = list(capabilities, "drop").any(|one| one == "ALL");
                !dropped || list(capabilities, "add").any(|one| one != "NET_BIND_SERVICE")
            })
        },
    },
];

/// What we promise beyond it.
const OURS: &[Control] = &[
    Control {
        name: "read-only root",
        broken: |pod| {
            wrong(pod, |container| container["securityContext"]["readOnlyRootFilesystem"] != true)
        },
    },
    Control {
        name: "no token of the cluster's",
        broken: |pod| {
            let automatic = pod["automountServiceAccountToken"] != false;
            let tokens =
                list(pod, "volumes").flat_map(|volume| list(&volume["projected"], "sources"));
            let open = tokens.map(|source| &source["serviceAccountToken"]["audience"]);
            let open = open.filter(|audience| audience.is_null()).map(|_| "no audience".to_owned());
            automatic.then(|| "mounted".to_owned()).into_iter().chain(open).collect()
        },
    },
    Control {
        name: "secrets in memory, with a limit",
        broken: |pod| {
            let disk = |volume: &&Value| {
                let empty = &volume["emptyDir"];
                !empty.is_null() && (empty["medium"] != "Memory" || empty["sizeLimit"].is_null())
            };
            list(pod, "volumes").filter(disk).map(name).collect()
        },
    },
    Control {
        name: "no swap",
        broken: |pod| {
            let swaps = |container: &&Value| {
                let resources = &container["resources"];
                let limit = &resources["limits"]["memory"];
                limit.is_null() || *limit != resources["requests"]["memory"]
            };
            agents(pod).filter(swaps).map(name).collect()
        },
    },
    Control {
        name: "the service cannot write what it reads",
        broken: |pod| {
            let mounts = services(pod).flat_map(|service| list(service, "volumeMounts"));
            mounts.filter(|mount| mount["readOnly"] != true).map(name).collect()
        },
    },
    Control {
        name: "the service has no state and no way into Vault",
        broken: |pod| {
            let mounts = services(pod).flat_map(|service| list(service, "volumeMounts"));
            let names = mounts.map(name);
            names.filter(|name| ["state", "vault-token"].contains(&name.as_str())).collect()
        },
    },
    Control {
        name: "no subPath, which shows old files",
        broken: |pod| wrong(pod, |container| container.to_string().contains("subPath")),
    },
    Control {
        name: "the service is another user than the agent",
        broken: |pod| {
            let user = |container: &Value| container["securityContext"]["runAsUser"].to_string();
            let agents: BTreeSet<String> = agents(pod).map(user).collect();
            let same = services(pod).map(user).filter(|user| agents.contains(user));
            // `init` and `run` have to be one.
            let many = agents.iter().skip(1).cloned();
            same.chain(many).collect()
        },
    },
    Control {
        name: "a group that both share",
        broken: |pod| {
            let group = &pod["securityContext"]["fsGroup"];
            (!group.is_u64()).then(|| group.to_string()).into_iter().collect()
        },
    },
];

fn broken<'a>(controls: &'a [Control], pod: &Value) -> Vec<(&'a str, Vec<String>)> {
    let judged = controls.iter().map(|control| (control.name, (control.broken)(pod)));
    judged.filter(|(_, broken)| !broken.is_empty()).collect()
}

#[test]
fn every_pod_keeps_the_restricted_profile_and_our_own_rules() {
    for variant in VARIANTS {
        let pod = variant.pod();
        assert_eq!(agents(&pod).count() + services(&pod).count(), containers(&pod).count());
        assert!(agents(&pod).count() > 0 && services(&pod).count() > 0, "{variant:?}");
        assert_eq!(broken(RESTRICTED, &pod), [], "{variant:?}");
        assert_eq!(broken(OURS, &pod), [], "{variant:?}");
    }
}

/// Each control, and a change of a good pod that breaks it.
const SPOILED: &[(&str, &str, &str)] = &[
    ("host processes", "/securityContext/windowsOptions", r#"{ "hostProcess": true }"#),
    ("host namespaces", "/hostPID", "true"),
    ("privileged containers", "/containers/0/securityContext/privileged", "true"),
    ("host ports", "/containers/0/ports/0/hostPort", "80"),
    ("host probes", "/containers/0/readinessProbe/httpGet/host", "\"10.0.0.1\""),
    ("AppArmor", "/containers/0/securityContext/appArmorProfile", r#"{ "type": "Unconfined" }"#),
    ("SELinux", "/securityContext/seLinuxOptions", r#"{ "user": "x" }"#),
    ("/proc mount type", "/containers/0/securityContext/procMount", "\"Unmasked\""),
    ("sysctls", "/securityContext/sysctls", r#"[{ "name": "a", "value": "b" }]"#),
    ("volume types", "/volumes/0/hostPath", r#"{ "path": "/" }"#),
    ("privilege escalation", "/initContainers/0/securityContext/allowPrivilegeEscalation", "null"),
    ("running as non-root", "/securityContext/runAsNonRoot", "null"),
    ("running as non-root user", "/initContainers/0/securityContext/runAsUser", "0"),
    ("seccomp", "/securityContext/seccompProfile", r#"{ "type": "Unconfined" }"#),
    ("capabilities", "/containers/0/securityContext/capabilities/add", r#"["SYS_ADMIN"]"#),
    ("read-only root", "/initContainers/0/securityContext/readOnlyRootFilesystem", "null"),
    ("no token of the cluster's", "/automountServiceAccountToken", "true"),
    ("secrets in memory, with a limit", "/volumes/3/emptyDir", "{}"),
    ("no swap", "/initContainers/0/resources/limits/memory", "\"64Mi\""),
    ("the service cannot write what it reads", "/containers/0/volumeMounts/1/readOnly", "false"),
    (
        "the service has no state and no way into Vault",
        "/containers/0/volumeMounts/1/name",
        "\"state\"",
    ),
    ("no subPath, which shows old files", "/containers/0/volumeMounts/1/subPath", "\"app\""),
    (
        "the service is another user than the agent",
        "/containers/0/securityContext/runAsUser",
        "65532",
    ),
    ("a group that both share", "/securityContext/fsGroup", "null"),
];

#[test]
fn each_control_sees_what_it_looks_for() {
    let controls = || RESTRICTED.iter().chain(OURS);
    let names: Vec<_> = controls().map(|control| control.name).collect();
    let spoiled: Vec<_> = SPOILED.iter().map(|(control, ..)| *control).collect();
    assert_eq!(spoiled, names, "a control that nothing breaks may see nothing");
    for (control, at, value) in SPOILED {
        let mut pod = VARIANTS[0].pod();
        let (parent, key) = at.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = serde_json::from_str(value).unwrap();
        let found = [broken(RESTRICTED, &pod), broken(OURS, &pod)].concat();
        assert!(found.iter().any(|(name, _)| name == control), "{control}: {found:?}");
    }
}

/// What the validator has against `text`; nothing where it passes.
fn objections(text: &str, kubernetes: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("resource.yaml");
    std::fs::write(&file, text).unwrap();
    let done = Command::new(from_servers("PYTHON"))
        .args(["-m", "kubernetes_validate", "--strict", "--kubernetes-version", kubernetes])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    (!done.status.success() || !said.contains("passed for resource")).then_some(said)
}

#[test]
fn every_resource_fits_kubernetes_own_schemas() {
    for kubernetes in KUBERNETES {
        let mut kinds = BTreeSet::new();
        for resource in VARIANTS.iter().flat_map(|variant| variant.resources()) {
            kinds.insert(resource["kind"].as_str().unwrap().to_owned());
            let against = objections(&resource.to_string(), kubernetes);
            assert_eq!(against, None, "{kubernetes}: {}", resource["metadata"]["name"]);
        }
        assert_eq!(Vec::from_iter(kinds), ["ConfigMap", "Deployment", "ServiceAccount"]);
    }
    let mut wrong = VARIANTS[0].resource("Deployment");
    wrong["spec"]["template"]["spec"]["initContainers"][0]["restartPolcy"] = json!("Always");
    let against = objections(&wrong.to_string(), KUBERNETES[1]).unwrap();
    assert!(against.contains("restartPolcy"), "{against}");
}

#[test]
fn every_folder_is_tried_here() {
    let mut found = Vec::new();
    for service in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
        let ways = std::fs::read_dir(&service).unwrap().map(|entry| entry.unwrap().path());
        found.extend(ways.filter(|way| !way.ends_with("base")));
    }
    let mut tried = VARIANTS.map(Variant::folder);
    found.sort();
    tried.sort();
    assert_eq!(found, tried);
}

#[test]
fn the_agents_configurations_are_valid() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("leasehold.yaml");
        std::fs::write(&file, variant.configuration()).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_leasehold"));
        let done = check.args(["check", "--config"]).arg(&file).env_clear().output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success() && !said.contains("warning"), "{variant:?}: {said}");
        // A volume's own directory is root's: the agent makes one in it.
        for mount in ["/run/leasehold", "/run/leasehold-state"] {
            assert!(said.contains(&format!("{mount}/")), "{said}");
        }
    }
}

fn analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let done = Command::new("systemd-analyze").args(arguments).arg(unit).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_knows_every_word_of_the_unit_and_calls_it_safe() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/leasehold.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("leasehold.service");
    // The program is not installed here.
    let installed = unit.replace("/usr/local/bin/leasehold", env!("CARGO_BIN_EXE_leasehold"));
    assert_ne!(installed, unit);
    std::fs::write(&file, &installed).unwrap();
    assert_eq!(analyze(&["verify", "--man=no"], &file), (true, String::new()));
    // Tenths, on systemd's own scale: up to 2 is its best verdict.
    let (safe, said) = analyze(&["security", "--offline=true", "--threshold=20"], &file);
    assert!(safe, "{said}");

    std::fs::write(&file, installed.replace("ProtectHome=", "ProtectHouse=")).unwrap();
    let (_, said) = analyze(&["verify", "--man=no"], &file);
    assert!(said.contains("ProtectHouse"), "{said}");
}
