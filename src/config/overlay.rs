//! What the environment and the command line change in the file.
//!
//! Receives the tree of the file, gives it with the values of `VAULT_*`, `BAO_*`,
//! `LEASEHOLD_<SECTION>__<KEY>` and flags laid over it, the later ones above. Never judges a value.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::environment::Environment;
use crate::config::problem::Problems;
use crate::config::tree::Node;

/// A setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The flag, as `--log-level`.
    pub flag: &'static str,
    /// The key that it sets, as `log.level`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// Who says what `exec` adds.
const BY_EXEC: &str = "exec";

/// Vault's own variables, without the part before the underscore.
const VAULT: [(&str, &str); 5] = [
    ("ADDR", "vault.address"),
    ("NAMESPACE", "vault.namespace"),
    ("CACERT", "vault.ca_cert"),
    ("CLIENT_CERT", "vault.client_cert"),
    ("CLIENT_KEY", "vault.client_key"),
];

/// Keys that stand in no section, so that their variable has no `__`.
const TOP: [(&str, &str); 4] = [
    ("LEASEHOLD_INSTANCE", "instance"),
    ("LEASEHOLD_ON_STOP", "on_stop"),
    ("LEASEHOLD_STOP_TIMEOUT", "stop_timeout"),
    ("LEASEHOLD_INIT_TIMEOUT", "init_timeout"),
];

/// Lays everything over `tree`.
pub(super) fn apply(
    tree: &mut Node,
    environment: &Environment,
    overrides: &[Override],
    problems: &mut Problems,
) {
    vault(tree, environment, problems);
    for (name, key) in TOP {
        if let Some(value) = environment.get(name) {
            set(tree, key.split('.'), name, value, problems);
        }
    }
    // Without a double underscore it is most likely one of the variables that Kubernetes makes for
    // a service named `leasehold`, as `LEASEHOLD_PORT`.
    for name in environment.names("LEASEHOLD_").filter(|name| name.contains("__")) {
        if let Some(value) = environment.get(name) {
            let key = name.trim_start_matches("LEASEHOLD_").to_lowercase();
            set(tree, key.split("__"), name, value, problems);
        }
    }
    for Override { flag, key, value } in overrides {
        set(tree, key.split('.'), flag, value, problems);
    }
}

/// Lays Vault's own variables over `tree`.
pub(super) fn vault(tree: &mut Node, environment: &Environment, problems: &mut Problems) {
    for prefix in ["VAULT", "BAO"] {
        refuse_unverified(&format!("{prefix}_SKIP_VERIFY"), environment, problems);
        for (name, key) in VAULT {
            let name = format!("{prefix}_{name}");
            if let Some(value) = environment.get(&name) {
                set(tree, key.split('.'), &name, value, problems);
            }
        }
    }
}

/// Puts the file with a person's token in.
pub(super) fn token_file(tree: &mut Node, file: Option<&Path>, problems: &mut Problems) {
    if let Some(file) = file {
        let keys = "vault.auth.token_file".split('.');
        set(tree, keys, "--token-file", &file.to_string_lossy(), problems);
    }
}

/// What `exec` adds where `tree` says nothing: files and state below `private`, every secret in the
/// environment, and what suits a terminal.
pub(super) fn add_for_child(tree: &mut Node, private: &Path) {
    let names = enabled(tree);
    let below = |name: &str| private.join(name).display().to_string();
    for (key, value) in [
        ("publish.directory", below("files")),
        ("state.directory", below("state")),
        ("on_stop", "revoke".to_owned()),
        ("log.level", "warn".to_owned()),
        ("log.format", "text".to_owned()),
    ] {
        let given = Node::Given { by: BY_EXEC.to_owned(), text: value };
        add(tree, key.split('.'), given);
    }
    let file = [("format", Node::Text("dotenv".to_owned())), ("secrets", Node::List(names))];
    let file = Node::Map(file.map(|(key, node)| (key.to_owned(), node)).into());
    let files = Node::Map(BTreeMap::from([("app.env".to_owned(), file)]));
    add(tree, "publish.files".split('.'), files);
}

fn enabled(tree: &Node) -> Vec<Node> {
    let Node::Map(top) = tree else { return Vec::new() };
    let Some(Node::Map(secrets)) = top.get("secrets") else { return Vec::new() };
    let off = |secret: &Node| matches!(secret, Node::Map(secret) if secret.get("enabled") == Some(&Node::Boolean(false)));
    let enabled = secrets.iter().filter(|(_, secret)| !off(secret));
    enabled.map(|(name, _)| Node::Text(name.clone())).collect()
}

/// Puts `value` where nothing is yet, and where a map can be.
fn add<'a>(node: &mut Node, mut keys: impl Iterator<Item = &'a str>, value: Node) {
    let Some(key) = keys.next() else {
        if *node == Node::Null {
            *node = value;
        }
        return;
    };
    if *node == Node::Null {
        *node = Node::Map(BTreeMap::new());
    }
    if let Node::Map(map) = node {
        add(map.entry(key.to_owned()).or_insert(Node::Null), keys, value);
    }
}

fn refuse_unverified(name: &str, environment: &Environment, problems: &mut Problems) {
    let Some(value) = environment.get(name) else { return };
    if !["0", "f", "false"].contains(&value.to_lowercase().as_str()) {
        problems.add(
            name,
            "a Vault whose certificate is not checked is not supported",
            "unset it, and name the CA in `vault.ca_cert`",
        );
    }
}

fn set<'a>(
    node: &mut Node,
    mut keys: impl Iterator<Item = &'a str>,
    by: &str,
    value: &str,
    problems: &mut Problems,
) {
    let Some(key) = keys.next() else {
        match node {
            Node::List(_) | Node::Map(_) => problems.add(
                by,
                format!("sets text where the file has {}", node.kind()),
                "name one of the keys below it, or unset it",
            ),
            Node::Null
            | Node::Boolean(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Given { .. } => {
                *node = Node::Given { by: by.to_owned(), text: value.to_owned() };
            }
        }
        return;
    };
    if *node == Node::Null {
        *node = Node::Map(BTreeMap::new());
    }
    let kind = node.kind();
    let Node::Map(map) = node else {
        problems.add(
            by,
            format!("sets a key below {kind}"),
            "the file has a value there: change it in the file, or unset this",
        );
        return;
    };
    // A variable's name has no lower case and no dash.
    let same = |known: &&String| known.to_lowercase().replace('-', "_") == key;
    let key = map.keys().find(same).cloned().unwrap_or_else(|| key.to_owned());
    set(map.entry(key).or_insert(Node::Null), keys, by, value, problems);
}
