//! YAML, by readers of version 1.1 and of version 1.2.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold::render::Format;
use leasehold::snapshot::{Content, Field, Snapshot};
use serde_json::{Value as Json, json};

use super::{HOSTILE, anything, mixtures, node, python, secret, snapshot, write};
use crate::support::Place;

/// Without quotes each is something else to one of the versions, or ends the text.
const TRICKY: &[&str] = &[
    "",
    "no",
    "y",
    "On",
    "~",
    "null",
    "true",
    "0x10",
    "010",
    "0o10",
    "1e3",
    "1_000",
    "12:30:45",
    ".inf",
    "2026-11-23",
    "<<",
    "=",
    "---",
    "...",
    "- a",
    "a: b",
    "? a",
    "&a",
    "*a",
    "!t",
    "|",
    ">",
    "%YAML 1.2",
    "@a",
    "`a",
    "{a}",
    "[a]",
    ",",
    "\0",
    "\u{7}\u{1b}\u{7f}",
    "\u{80}\u{85}\u{9f}\u{a0}",
    "\u{2028}\u{2029}",
    "\u{feff}",
    "a\u{feff}",
    "\u{fffd}\u{fffe}\u{ffff}",
    "\u{1fffe}\u{10ffff}",
    "__proto__",
    "\\x41\\u0041",
];

#[test]
fn every_reader_gets_the_same_texts() {
    let place = Place::new();
    let mut values: Vec<String> = HOSTILE.iter().chain(TRICKY).map(|v| (*v).to_owned()).collect();
    values.extend(mixtures(100));
    values.extend(anything(300));
    // As values under plain names, then as the names.
    let named =
        values.iter().enumerate().map(|(index, value)| (format!("k{index}"), value.clone()));
    let names = values.iter().map(|value| (value.clone(), "x".to_owned()));
    let expected: Vec<BTreeMap<String, String>> = vec![named.collect(), names.collect()];
    let mut paths = Vec::new();
    for (index, fields) in expected.iter().enumerate() {
        let fields = fields.iter().map(|(name, text)| (name.clone(), Field::Text(secret(text))));
        let all: Snapshot = snapshot("no", Content::Fields(Arc::new(fields.collect())));
        let format = Format::Yaml { secrets: vec![Arc::from("no")] };
        let path = place.root.path().join(format!("{index}.yaml"));
        paths.push(write(&path, format, &all).expect("YAML holds every text"));
    }
    let Json::Array(pyyaml) = python("yaml", &json!(paths)) else { panic!("no list") };
    for (reader, read) in [
        ("PyYAML", pyyaml),
        ("js-yaml", node("require('js-yaml').load", &paths)),
        ("yaml 1.2", node("(text) => require('yaml').parse(text)", &paths)),
        ("yaml 1.1", node("(text) => require('yaml').parse(text, { version: '1.1' })", &paths)),
    ] {
        for (read, expected) in read.iter().zip(&expected) {
            let read: BTreeMap<String, String> =
                serde_json::from_value(read["no"].clone()).unwrap();
            for (name, text) in expected {
                assert_eq!(read.get(name), Some(text), "{reader}: {name:?}");
            }
            assert_eq!(read.len(), expected.len(), "{reader}");
        }
    }
}
