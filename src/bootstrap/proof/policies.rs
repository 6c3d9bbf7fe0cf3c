//! What a holder of each policy may do.
//!
//! Receives the policies, makes a token of each and asks Vault what it may do at the paths of all of
//! them; gives what is too much and what is missing. Never uses such a token for anything else.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::bootstrap::Servers;
use crate::bootstrap::policy::Rules;
use crate::bootstrap::proof::{Mending, Report};
use crate::bootstrap::wanted::Wanted;
use crate::timeline::{Error, go_on};
use crate::vault::Capabilities;

/// Stands for whatever name a rule leaves open.
const ANY: &str = "leasehold-doctor-any";

/// What no policy of a service should allow; asked of each beside the paths of the others.
const FORBIDDEN: [&str; 6] = [
    "sys/policies/acl/leasehold-doctor-any",
    "sys/mounts/leasehold-doctor-any",
    "sys/auth/leasehold-doctor-any",
    "sys/seal",
    "auth/approle/role/leasehold-doctor-any",
    "auth/token/create-orphan",
];

pub(super) async fn prove(
    servers: &Servers<'_>,
    wanted: &Wanted,
    report: &mut Report,
    mending: &Mending,
    stop: &Cell<bool>,
) -> Result<(), Error> {
    let paths = paths(wanted.policies.values());
    for (name, rules) in &wanted.policies {
        go_on(stop)?;
        let subject = format!("policy {name}");
        match asked(servers, name, &paths).await {
            Ok(found) => {
                let wrong = compare(rules, &found);
                if wrong.is_empty() {
                    let text =
                        format!("may do what it should at {} paths, and no more", paths.len());
                    report.ok(&subject, text);
                }
                for wrong in wrong {
                    report.bad(&subject, wrong, &mending.apply);
                }
            }
            Err(failure) => report.refused(&subject, &failure, &mending.apply),
        }
    }
    Ok(())
}

async fn asked(
    Servers { vault, token, .. }: &Servers<'_>,
    policy: &str,
    paths: &BTreeSet<String>,
) -> Result<Capabilities, crate::error::Failure> {
    let bound = vault.bound_token(token, policy).await?;
    let found = vault.capabilities_of(token, &bound.secret, paths.iter().cloned()).await;
    // Where that is not allowed it ends within a minute.
    let _ = vault.revoke_other(token, &bound.secret).await;
    found
}

/// A path for each rule of all policies.
fn paths<'a>(policies: impl Iterator<Item = &'a Rules>) -> BTreeSet<String> {
    let rules = policies.flat_map(|rules| rules.0.keys());
    let forbidden = FORBIDDEN.iter().map(|path| (*path).to_owned());
    rules.map(|rule| concrete(rule)).chain(forbidden).collect()
}

/// A path that `rule` is about.
fn concrete(rule: &str) -> String {
    let named = |part: &str| if part == "+" { ANY.to_owned() } else { part.to_owned() };
    let path: Vec<String> = rule.split('/').map(named).collect();
    path.join("/").replace('*', ANY)
}

/// What is otherwise than the rules say.
fn compare(rules: &Rules, found: &Capabilities) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, has) in found {
        let wanted = rules.at(path);
        let has: BTreeSet<&str> = has.iter().map(String::as_str).collect();
        for (verb, words) in [("may not", &wanted - &has), ("may", &has - &wanted)] {
            if !words.is_empty() {
                let words: Vec<&str> = words.into_iter().collect();
                wrong.push(format!("{verb} {} at `{path}`", words.join(", ")));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn each_rule_has_a_path_and_each_difference_a_line() {
        let rules = Rules(
            [("a/+/b/*".to_owned(), set(&["read"])), ("c".to_owned(), set(&["update"]))].into(),
        );
        let paths = paths([&rules].into_iter());
        assert!(paths.contains("a/leasehold-doctor-any/b/leasehold-doctor-any"));
        assert_eq!(paths.len(), 2 + FORBIDDEN.len());
        let found = Capabilities::from([
            ("a/x/b/y".to_owned(), set(&["read", "list"])),
            ("c".to_owned(), set(&[])),
            ("sys/seal".to_owned(), set(&[])),
        ]);
        assert_eq!(compare(&rules, &found), ["may list at `a/x/b/y`", "may not update at `c`"]);
    }
}
