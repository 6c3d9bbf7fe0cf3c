//! What is wrong with a configuration.
//!
//! Receives one problem after the other, gives all of them as text. Never stops at the first one,
//! and never shows a value that may be a secret.

use std::fmt::Write;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: keys joined by dots, as `secrets.db.grace`.
    pub path: String,
    /// What.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

/// All that was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Problems {
    found: Vec<Problem>,
    warnings: Vec<String>,
}

impl Problems {
    /// Adds a problem and what to do about it.
    pub(super) fn add(&mut self, path: &str, text: impl Into<String>, hint: impl Into<String>) {
        let (text, hint) = (text.into(), hint.into());
        self.found.push(Problem { path: path.to_owned(), text, hint });
    }

    /// Adds something that is allowed and deserves a look.
    pub(super) fn warn(&mut self, path: &str, text: impl AsRef<str>) {
        self.warnings.push(format!("{path}: {}", text.as_ref()));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// The problems, sorted by path, and the warnings.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<String>) {
        self.found.sort_by(|left, right| left.path.cmp(&right.path));
        self.found.dedup();
        (self.found, self.warnings)
    }
}

/// All problems as text for a person: one line each, a hint on its own line below.
pub(super) fn report(problems: &[Problem]) -> String {
    let mut text = String::new();
    for Problem { path, text: what, hint } in problems {
        let _ = write!(text, "\n  {path}: {what}\n    hint: {hint}");
    }
    text
}

/// The known word that `word` was most likely meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).clamp(1, 4))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, &a) in left.iter().enumerate() {
        let mut here = vec![row + 1];
        for (column, &b) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(a != b);
            let mut best = replaced.min(above[column + 1] + 1).min(here[column] + 1);
            if row > 0 && column > 0 && a == right[column - 1] && left[row - 1] == b {
                best = best.min(before[column - 1] + 1);
            }
            here.push(best);
        }
        before = std::mem::replace(&mut above, here);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_offered_only_when_it_is_near() {
        let known = ["grace", "confirm", "rotate_every", "database", "kv"];
        for (word, expected) in [
            ("grce", Some("grace")),
            ("garce", Some("grace")),
            ("Grace", Some("grace")),
            ("rotate-every", Some("rotate_every")),
            ("databse", Some("database")),
            ("kvs", Some("kv")),
            ("something", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn problems_come_sorted_each_with_its_hint_below() {
        let mut problems = Problems::default();
        problems.add("vault.address", "missing", "give it");
        problems.add("publish.mode", "must be a quoted string", "write \"0440\"");
        let (found, _) = problems.finish();
        assert_eq!(
            report(&found),
            "\n  publish.mode: must be a quoted string\n    hint: write \"0440\"\n  vault.address: missing\n    hint: give it"
        );
    }
}
