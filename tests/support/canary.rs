//! Finds a secret in a text, also when it was encoded on its way there.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The secrets of a run, in every form that they could leak in.
#[derive(Default)]
pub struct Canaries {
    forms: Vec<(String, String)>,
}

impl Canaries {
    /// Looks out for `secret` from here on; `kind` is what a finding is called.
    pub fn add(&mut self, kind: &str, secret: &str) {
        assert!(secret.len() >= 8, "too short to be looked for: {kind}");
        for form in forms(secret) {
            if !self.forms.iter().any(|(_, known)| *known == form) {
                self.forms.push((kind.to_owned(), form));
            }
        }
    }

    /// Which kinds of secrets `text` holds.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let found = self.forms.iter().filter(|(_, form)| text.contains(form.as_str()));
        found.map(|(kind, _)| kind.clone()).collect()
    }
}

fn forms(secret: &str) -> Vec<String> {
    let mut found = vec![
        secret.to_owned(),
        percent_encoded(secret),
        serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    // In a longer base64 text a secret starts at one of three places of a group of three bytes;
    // what is the same for all neighbours is looked for.
    for offset in 0..3 {
        let mut bytes = vec![0; offset];
        bytes.extend_from_slice(secret.as_bytes());
        let whole = bytes.len() / 3 * 3;
        let skipped = if offset == 0 { 0 } else { 4 };
        for encoded in
            [STANDARD_NO_PAD.encode(&bytes[..whole]), URL_SAFE_NO_PAD.encode(&bytes[..whole])]
        {
            found.push(encoded[skipped..].to_owned());
        }
    }
    found.push(STANDARD.encode(secret));
    found
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[test]
fn a_leak_made_on_purpose_is_found() {
    let secret = "s3cr3t/with+odd\"bits-and-length";
    let mut canaries = Canaries::default();
    canaries.add("password", secret);
    let leaks = [
        format!("error: password was {secret}!"),
        format!("{{\"debug\": {}}}", serde_json::to_string(secret).unwrap()),
        format!("postgresql://u:{}@h/db", percent_encoded(secret)),
        STANDARD.encode(secret),
        STANDARD.encode(format!("user:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("me:{secret}:tail")),
    ];
    for (number, leak) in leaks.iter().enumerate() {
        assert!(!canaries.found_in(leak).is_empty(), "leak {number} was missed: {leak}");
    }
    assert!(canaries.found_in("nothing of the kind here").is_empty());
}
