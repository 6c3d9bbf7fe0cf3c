//! Kubernetes Secrets, as `kubectl get secret -o yaml` gives them and manifests have them.
//!
//! Receives YAML or JSON, one document or several, gives each Secret's name and fields. Never takes
//! anything else in the file for a secret, and refuses what is no text: KV holds JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::import::{Wanted, text, wrong};
use crate::snapshot::Fields;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Document {
    kind: String,
    metadata: Metadata,
    data: Option<BTreeMap<String, Option<Zeroizing<String>>>>,
    string_data: Option<BTreeMap<String, Option<Zeroizing<String>>>>,
    items: Vec<Document>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
}

const KUBECTL: &str = "take it as `kubectl get secret NAME -o yaml` prints it";

/// Each Secret in `file` by its name, with the fields that are `wanted`.
///
/// # Errors
/// Where there is none, or something in one of them cannot be brought to Vault.
pub fn manifest(file: &str, wanted: Wanted<'_>) -> Result<Vec<(String, Fields)>, Failure> {
    let options = serde_saphyr::options! { with_snippet: false };
    // The parser's own words quote what stands there.
    let documents: Vec<Document> = serde_saphyr::from_multiple_with_options(file, options)
        .map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            let text = format!("line {line}, column {column}, or just before: no manifest");
            wrong(text, KUBECTL)
        })?;
    let mut found = Vec::new();
    for document in documents {
        secrets(document, wanted, &mut found)?;
    }
    if found.is_empty() {
        return Err(wrong("there is no object of the kind `Secret`", KUBECTL));
    }
    Ok(found)
}

fn secrets(
    document: Document,
    wanted: Wanted<'_>,
    found: &mut Vec<(String, Fields)>,
) -> Result<(), Failure> {
    match document.kind.as_str() {
        "Secret" => found.push(secret(document, wanted)?),
        "List" | "SecretList" => {
            for mut item in document.items {
                // In a typed list the items may not say what they are.
                if item.kind.is_empty() && document.kind == "SecretList" {
                    item.kind = "Secret".to_owned();
                }
                secrets(item, wanted, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn secret(document: Document, wanted: Wanted<'_>) -> Result<(String, Fields), Failure> {
    let name = document.metadata.name;
    if name.is_empty() {
        return Err(wrong("a Secret has no `metadata.name`", KUBECTL));
    }
    let refuse = |field: &str, why: &str, hint| {
        Err(wrong(format!("Secret `{name}`, field `{field}`: {why}"), hint))
    };
    let mut fields = Fields::new();
    for (field, encoded) in document.data.unwrap_or_default() {
        if !wanted(&field) {
            continue;
        }
        let encoded = encoded.unwrap_or_default();
        let compact: Zeroizing<String> =
            Zeroizing::new(encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let Ok(bytes) = STANDARD.decode(compact.as_bytes()).map(Zeroizing::new) else {
            return refuse(
                &field,
                "it is no base64",
                "what is no base64 stands under `stringData`",
            );
        };
        let Ok(value) = std::str::from_utf8(&bytes) else {
            return refuse(
                &field,
                "its bytes are no text, and KV holds text",
                "name the others with `--only`, and bring this one as base64 where its reader knows that",
            );
        };
        fields.insert(field, text(value));
    }
    // It wins over `data`, as the API server has it.
    for (field, value) in document.string_data.unwrap_or_default() {
        if wanted(&field) {
            fields.insert(field, text(&value.unwrap_or_default()));
        }
    }
    Ok((name, fields))
}
