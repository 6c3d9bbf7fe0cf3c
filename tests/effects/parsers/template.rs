//! What `tojson` quotes in a template, by readers of TOML, YAML and JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold::render::{Format, Template};
use leasehold::snapshot::{Content, Field};
use serde_json::json;

use super::{HOSTILE, anything, mixtures, python, secret, snapshot, write};
use crate::support::Place;

#[test]
fn a_quoted_value_is_read_back() {
    let place = Place::new();
    let mut values: Vec<String> = HOSTILE.iter().map(|value| (*value).to_owned()).collect();
    values.extend(["", "\0", "\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{ffff}"].map(str::to_owned));
    values.extend(mixtures(100));
    values.extend(anything(200));
    let named = values.into_iter().enumerate().map(|(index, value)| (format!("f{index}"), value));
    let expected: BTreeMap<String, String> = named.collect();
    let fields = expected.iter().map(|(name, text)| (name.clone(), Field::Text(secret(text))));
    let all = snapshot("k", Content::Fields(Arc::new(fields.collect())));

    let each = |line: &str| format!("{{% for name, value in k|items %}}{line}\n{{% endfor %}}");
    let paths: BTreeMap<&str, _> = [
        ("toml", each("{{ name }} = {{ value|tojson }}")),
        ("yaml", each("{{ name }}: {{ value|tojson }}")),
        ("json", "{{ k|tojson }}".to_owned()),
    ]
    .into_iter()
    .map(|(reader, source)| {
        let template = Template::compile("t".to_owned(), source, vec![Arc::from("k")]).unwrap();
        let path = place.root.path().join(reader);
        (reader, write(&path, Format::Template(template), &all).unwrap())
    })
    .collect();
    let read = python("quoted", &json!(paths));
    for reader in paths.keys() {
        assert_eq!(read[reader], json!(expected), "{reader}");
    }
}
