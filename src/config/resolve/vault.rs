//! `vault`: which server, and who we are to it.

use hyper::Uri;

use crate::config::keys;
use crate::config::raw::{Section, shown_url};
use crate::vault::{ClientCertificate, Settings};

/// The settings, or nothing where a problem was written down. Where they are not `needed` there may
/// be none; what the file says must be right all the same.
pub(super) fn resolve_needed(top: &Section<'_>, needed: bool) -> Option<Option<Settings>> {
    let written = top.get("vault").is_some_and(|section| !section.is_given());
    if needed || written { resolve(top).map(Some) } else { Some(None) }
}

/// The settings, which are needed.
pub(in crate::config) fn resolve(top: &Section<'_>) -> Option<Settings> {
    let section = top.section("vault", &keys::VAULT);
    let address = address(&section);
    let namespace = section.optional("namespace").unwrap_or_default();
    let ca_cert = section.optional_file("ca_cert");
    let client = client(&section);
    let auth = super::auth::resolve(&section, address.as_deref());
    Some(Settings { address: address?, namespace, ca_cert, client, auth: auth? })
}

fn client(section: &Section<'_>) -> Option<ClientCertificate> {
    for (key, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if section.is_blank(key) && !section.is_blank(other) {
            let hint = "a certificate and its key go together";
            section.problem(key, format!("missing: there is a `{other}`"), hint);
        }
    }
    let cert = section.optional_file("client_cert");
    let key = section.optional_file("client_key");
    Some(ClientCertificate { cert: cert?, key: key? })
}

fn address(section: &Section<'_>) -> Option<String> {
    if !section.has("address") {
        section.problem("address", "missing", "give it here or in `VAULT_ADDR`");
        return None;
    }
    let text = section.expanded("address")?;
    // What stands before an `@` is a password; it must not be shown.
    if text.contains('@') {
        section.problem(
            "address",
            "must not have a user or password in it",
            "write it as `https://vault.internal:8200`, and how to log in under `auth`",
        );
        return None;
    }
    let wrong = |what: &str| {
        let problem = format!("{what}: `{}`", shown_url(&text));
        section.problem("address", problem, "write it as `https://vault.internal:8200`");
        None
    };
    let Ok(uri) = text.parse::<Uri>() else { return wrong("not a URL") };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return wrong("has no host");
    };
    if !uri.path().trim_matches('/').is_empty() || uri.query().is_some() {
        return wrong("must have no path and no query");
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback(host) => {}
        Some("http") => section.warn("address", "not encrypted: every secret is sent in the clear"),
        Some(_) | None => return wrong("must begin with `https://` or `http://`"),
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// Whether `host`, as it stands in a URL, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
