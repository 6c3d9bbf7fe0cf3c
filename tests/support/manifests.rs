//! The manifests of `deploy/kubernetes`, put together as kustomize would.
//!
//! They use one thing of it, lists of resources, so that this does not have to be kustomize.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A service, and a way to run the agent beside it.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub service: &'static str,
    pub way: &'static str,
}

pub const VARIANTS: [Variant; 4] = [
    Variant { service: "fastapi", way: "native-sidecar" },
    Variant { service: "fastapi", way: "init-and-sidecar" },
    Variant { service: "nestjs", way: "native-sidecar" },
    Variant { service: "nestjs", way: "init-and-sidecar" },
];

impl Variant {
    /// The folder that `kubectl apply -k` is given.
    pub fn folder(self) -> PathBuf {
        folder().join(self.service).join(self.way)
    }

    /// Everything that it applies.
    pub fn resources(self) -> Vec<Value> {
        assemble(&self.folder())
    }

    /// The only resource of a kind.
    pub fn resource(self, kind: &str) -> Value {
        let mut found: Vec<_> =
            self.resources().into_iter().filter(|resource| resource["kind"] == kind).collect();
        assert_eq!(found.len(), 1, "{self:?}: {kind}");
        found.remove(0)
    }

    /// What a pod of its deployment is made of.
    pub fn pod(self) -> Value {
        self.resource("Deployment")["spec"]["template"]["spec"].clone()
    }

    /// The agent's configuration.
    pub fn configuration(self) -> String {
        self.resource("ConfigMap")["data"]["leasehold.yaml"].as_str().unwrap().to_owned()
    }
}

/// `deploy/kubernetes`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// One document.
pub fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn assemble(folder: &Path) -> Vec<Value> {
    let read = |path: &Path| yaml(&std::fs::read_to_string(path).unwrap());
    let kustomization = read(&folder.join("kustomization.yaml"));
    let mut keys: Vec<_> = kustomization.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["apiVersion", "kind", "resources"], "only kustomize itself does the rest");
    let resources = kustomization["resources"].as_array().unwrap().iter();
    let paths = resources.map(|path| folder.join(path.as_str().unwrap()));
    paths.flat_map(|path| if path.is_dir() { assemble(&path) } else { vec![read(&path)] }).collect()
}
