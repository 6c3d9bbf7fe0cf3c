//! Policies of Vault as rules.
//!
//! Receives paths and what may be done there, gives the text that Vault takes, what differs from the
//! text that it has, and what a holder of the policy may do at a path. Never reads the text of a
//! policy: what it did not write itself, it only compares line by line.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What may be done, by path; in Vault's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(pub BTreeMap<String, BTreeSet<String>>);

/// What a path may allow.
pub const CAPABILITIES: [&str; 9] =
    ["create", "read", "update", "patch", "delete", "list", "scan", "sudo", "deny"];

impl Rules {
    /// The text of the policy: a line for each path.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (path, capabilities) in &self.0 {
            let words: Vec<String> =
                capabilities.iter().map(|word| format!("\"{word}\"")).collect();
            let _ = writeln!(text, "path \"{path}\" {{ capabilities = [{}] }}", words.join(", "));
        }
        text
    }

    /// What may be done at `path`: only the rule that fits best counts.
    pub fn at(&self, path: &str) -> BTreeSet<&str> {
        let fitting = self.0.iter().filter(|(rule, _)| fits(rule, path));
        let best = fitting.max_by(|(left, _), (right, _)| weight(left).cmp(&weight(right)));
        let words: BTreeSet<&str> =
            best.into_iter().flat_map(|(_, words)| words).map(String::as_str).collect();
        if words.contains("deny") { BTreeSet::new() } else { words }
    }
}

/// Whether `rule` is about `path`: `+` stands for one part, `*` at its end for whatever follows.
fn fits(rule: &str, path: &str) -> bool {
    let (rule, open) = rule.strip_suffix('*').map_or((rule, false), |rule| (rule, true));
    let rules: Vec<&str> = rule.split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    let last = rules.len() - 1;
    if rules.len() > parts.len() || (!open && rules.len() < parts.len()) {
        return false;
    }
    rules.iter().zip(&parts).enumerate().all(|(place, (rule, part))| match *rule {
        "+" => true,
        rule if open && place == last => part.starts_with(rule),
        rule => rule == *part,
    })
}

/// Vault's order of rules that fit the same path; the greatest is the one that counts.
fn weight(rule: &str) -> (usize, bool, Reverse<usize>, usize, &str) {
    let wild = |part: &&str| *part == "+";
    let pluses = rule.split('/').filter(wild).count();
    let first = rule.find(['+', '*']).unwrap_or(usize::MAX);
    (first, !rule.ends_with('*'), Reverse(pluses), rule.len(), rule)
}

/// The lines that `found` has and `wanted` has not, and the other way round.
pub fn differences(wanted: &str, found: &str) -> (Vec<String>, Vec<String>) {
    let (wanted, found) = (lines(wanted), lines(found));
    let missing = |of: &[String], there: &[String]| -> Vec<String> {
        of.iter().filter(|line| !there.contains(line)).cloned().collect()
    };
    (missing(&found, &wanted), missing(&wanted, &found))
}

/// Without blanks that mean nothing, and comments.
fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(list: &[(&str, &[&str])]) -> Rules {
        let rule = |(path, words): &(&str, &[&str])| {
            ((*path).to_owned(), words.iter().map(|word| (*word).to_owned()).collect())
        };
        Rules(list.iter().map(rule).collect())
    }

    #[test]
    fn a_policy_is_a_line_for_each_path() {
        let text = rules(&[("b/*", &["read", "list"]), ("a", &["update"])]).text();
        let wanted = "path \"a\" { capabilities = [\"update\"] }\n\
                      path \"b/*\" { capabilities = [\"list\", \"read\"] }\n";
        assert_eq!(text, wanted);
        assert_eq!(differences(&text, &text), (vec![], vec![]));
        let other = "# by hand\n\npath \"a\"  { capabilities = [\"update\"] }\npath \"c\" {}\n";
        let (gone, come) = differences(&text, other);
        assert_eq!(gone, ["path \"c\" {}"]);
        assert_eq!(come, ["path \"b/*\" { capabilities = [\"list\", \"read\"] }"]);
    }

    #[test]
    fn the_rule_that_fits_best_counts_alone() {
        let rules = rules(&[
            ("secret/*", &["read"]),
            ("secret/data/*", &["update"]),
            ("secret/data/jwt", &["create"]),
            ("secret/+/mail", &["list"]),
            ("secret/data/shut", &["deny"]),
            ("auth/pre*", &["read"]),
        ]);
        for (path, wanted) in [
            ("secret/x", &["read"][..]),
            ("secret/data/x", &["update"]),
            ("secret/data/jwt", &["create"]),
            ("secret/metadata/mail", &["list"]),
            ("secret/data/mail", &["update"]),
            ("secret/data/shut", &[]),
            ("secret/data/jwt/more", &["update"]),
            ("auth/prefix", &["read"]),
            ("auth/other", &[]),
            ("secret", &[]),
        ] {
            let found: Vec<&str> = rules.at(path).into_iter().collect();
            assert_eq!(found, wanted, "{path}");
        }
    }
}
