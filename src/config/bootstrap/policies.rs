//! `policies`: paths, and what may be done there.

use std::collections::{BTreeMap, BTreeSet};

use crate::bootstrap::policy::{CAPABILITIES, Rules};
use crate::config::bootstrap::is_good;
use crate::config::problem::nearest;
use crate::config::raw::{Section, shown};
use crate::config::tree::Node;

/// Vault's own, which it does not let anybody change, or which hold for everybody.
const TAKEN: [&str; 2] = ["root", "default"];

/// The policies that are right, by name.
pub(super) fn resolve(section: &Section<'_>) -> BTreeMap<String, Rules> {
    let mut policies = BTreeMap::new();
    for (name, node) in section.entries() {
        if TAKEN.contains(&name.as_str()) {
            let hint = "choose another name: this one is not only yours";
            section.problem(name, "is a policy of Vault's own", hint);
            continue;
        }
        let rules = rules(section, name, node);
        if is_good(section, name) {
            policies.insert(name.clone(), rules);
        }
    }
    policies
}

fn rules(section: &Section<'_>, name: &str, node: &Node) -> Rules {
    let mut rules = Rules::default();
    let Node::Map(paths) = node else {
        let hint = "write lines such as `database/creds/app: [read]` below it";
        section.problem(name, format!("must be a map of paths, not {}", node.kind()), hint);
        return rules;
    };
    for (path, node) in paths {
        let place = format!("{name}.{}", shown(path));
        if !is_path(path) {
            let hint = "as `secret/data/app/*`, with no quotes and no slash at the beginning";
            section.problem(&place, "cannot be a path of a policy", hint);
            continue;
        }
        rules.0.insert(path.clone(), capabilities(section, &place, node));
    }
    if rules.0.is_empty() {
        section.problem(name, "allows nothing", "name a path, or leave the policy out");
    }
    rules
}

/// A policy's text has it between quotes.
fn is_path(path: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
    !path.is_empty() && path.len() <= 512 && !path.starts_with('/') && !path.contains(odd)
}

fn capabilities(section: &Section<'_>, place: &str, node: &Node) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let Node::List(items) = node else {
        let hint = "write the brackets also around a single one";
        section.problem(place, "must be a list, such as `[read]`", hint);
        return words;
    };
    for item in items {
        let word = match item {
            Node::Text(word) => word,
            other @ (Node::Null
            | Node::Boolean(_)
            | Node::Number(_)
            | Node::Given { .. }
            | Node::List(_)
            | Node::Map(_)) => {
                let text = format!("must list words, not {}", other.kind());
                section.problem(place, text, format!("of {}", CAPABILITIES.join(", ")));
                continue;
            }
        };
        if !CAPABILITIES.contains(&word.as_str()) {
            let hint = match nearest(word, CAPABILITIES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", CAPABILITIES.join(", ")),
            };
            section.problem(place, format!("unknown word: `{}`", shown(word)), hint);
        }
        words.insert(word.clone());
    }
    if words.is_empty() {
        section.problem(place, "allows nothing", "write `[deny]` to say so, or leave it out");
    }
    words
}
