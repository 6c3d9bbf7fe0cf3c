//! The controller's file.
//!
//! Receives its path and the environment, gives which Vault and which key sets are meant, or
//! everything that is wrong with the file.

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::config::environment::Environment;
use crate::config::keys::{Keys, Otherwise, Takes, VAULT, key, keys};
use crate::config::raw::{Section, shown};
use crate::config::resolve::sources::{mount, path};
use crate::config::{ConfigError, of_vault, resolve, value};
use crate::controller::Keyset;
use crate::jwt::Algorithm;
use crate::keyset::Policy;
use crate::rotation::{Cron, Schedule};
use crate::vault::{self, KeysetPlace};

#[rustfmt::skip]
static TOP: Keys = keys(&[
    key("vault", Takes::Section(&VAULT), Otherwise::Needed, "which Vault, and who we are to it"),
    key("keysets", Takes::Each("NAME", &KEYSET), Otherwise::Needed, "keys that sign tokens"),
]);

const ALGORITHMS: [&str; 5] = ["EdDSA", "ES256", "RS256", "HS256", "HS512"];

#[rustfmt::skip]
static KEYSET: Keys = keys(&[
    key("mount", Takes::VaultPath, Otherwise::Value("secret"), "a KV engine of version 2"),
    key("path", Takes::VaultPath, Otherwise::Needed, "the folder there"),
    key("algorithm", Takes::Word(&ALGORITHMS), Otherwise::Value("EdDSA"), "how new keys sign"),
    key("lifetime", Takes::Duration, Otherwise::Value("90d"), "no key signs for longer"),
    key("rotate_at", Takes::Duration, Otherwise::Value("83d"), "the age at which a key is replaced, whatever the schedule"),
    key("min_age", Takes::Duration, Otherwise::Value("30d"), "a younger key is left alone by the schedule"),
    key("schedule", Takes::Section(&SCHEDULE), Otherwise::None, ""),
    key("grace", Takes::Duration, Otherwise::Value("24h"), "from initiate to complete, and from complete to cleanup"),
    key("max_token_ttl", Takes::Duration, Otherwise::Value("15m"), "no token lives longer"),
    key("min_propagation", Takes::Duration, Otherwise::Value("15m"), "a new key is shown for so long before it signs"),
    key("leeway", Takes::Duration, Otherwise::Value("60s"), "how far clocks may be apart"),
    key("hold", Takes::Duration, Otherwise::Value("24h"), "the schedule begins no rotation for so long after one was given up"),
]);

#[rustfmt::skip]
static SCHEDULE: Keys = keys(&[
    key("initiate", Takes::Text, Otherwise::None, "when a rotation begins, in the five fields of cron"),
    key("complete", Takes::Text, Otherwise::None, "when it is completed, within a day of grace"),
    key("cleanup", Takes::Text, Otherwise::None, "when old keys leave, within a day of grace"),
    key("timezone", Takes::Text, Otherwise::Value("UTC"), "whose clock counts, as `Europe/Berlin`"),
]);

/// The file.
#[derive(Clone, Debug)]
pub struct Controller {
    /// Which Vault, and who we are to it.
    pub vault: vault::Settings,
    /// The key sets, by name.
    pub keysets: Vec<Keyset>,
}

/// Reads the file at `path`; Vault's own variables stand above what it says.
///
/// # Errors
/// When the file cannot be read or is no YAML, else with everything that is wrong in it.
pub fn load(path: &Path, environment: &Environment) -> Result<Controller, ConfigError> {
    of_vault(path, environment, &TOP, everything).map(|(file, _)| file)
}

fn everything(top: &Section<'_>) -> Option<Controller> {
    let vault = resolve::vault::resolve(top);
    top.require("keysets");
    let sets = top.names("keysets");
    let keysets = sets.entries().filter_map(|(name, node)| {
        if !value::is_name(name) {
            let text = format!("cannot be a key set's name: `{}`", shown(name));
            sets.problem(&shown(name), text, "lower case letters, digits, `_` and `-`");
        }
        keyset(name, &sets.below(name, node, &KEYSET))
    });
    let keysets = keysets.collect();
    Some(Controller { vault: vault?, keysets })
}

fn keyset(name: &str, section: &Section<'_>) -> Option<Keyset> {
    let words = Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    let algorithm = section.choice("algorithm", &words, &[]).unwrap_or(Algorithm::EdDSA);
    let (mount, path) = (mount(section, "secret"), path(section, "path"));
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let span = |key: &str, default: Duration| {
        section.duration(key, Duration::from_secs(1)).unwrap_or(default)
    };
    let policy = Policy {
        lifetime: span("lifetime", days(90)),
        rotate_at: span("rotate_at", days(83)),
        min_age: span("min_age", days(30)),
        grace: span("grace", days(1)),
        max_token_ttl: span("max_token_ttl", Duration::from_secs(900)),
        leeway: span("leeway", Duration::from_secs(60)),
        min_propagation: span("min_propagation", Duration::from_secs(900)),
        min_expected: 0,
        hold: span("hold", days(1)),
    };
    // From the age at which it begins a rotation has to come to its new key.
    if policy.rotate_at + policy.min_propagation > policy.lifetime {
        let hint = "`rotate_at` and `min_propagation` together must not be longer";
        section.problem("lifetime", "ends before the next key can sign", hint);
    }
    if policy.min_age > policy.rotate_at {
        section.problem("min_age", "must not be longer than `rotate_at`", "make it shorter");
    }
    let schedule = schedule(&section.section("schedule", &SCHEDULE));
    let place = KeysetPlace { mount: mount?, path: path? };
    Some(Keyset { name: name.to_owned(), place, algorithm, policy, schedule })
}

fn schedule(section: &Section<'_>) -> Schedule {
    let zone = zone(section);
    let cron = |key: &str| {
        let cron = Cron::new(&section.text(key)?, zone.clone());
        cron.map_err(|problem| {
            let hint = "minute, hour, day of the month, month, day of the week, as `0 0 1 */3 *`";
            section.problem(key, problem, hint);
        })
        .ok()
    };
    let (initiate, complete, cleanup) = (cron("initiate"), cron("complete"), cron("cleanup"));
    Schedule { initiate, complete, cleanup }
}

/// The zone by its name; UTC needs no list of zones, which an image may not have.
fn zone(section: &Section<'_>) -> TimeZone {
    let Some(name) = section.text("timezone").filter(|name| name != "UTC") else {
        return TimeZone::UTC;
    };
    TimeZone::get(&name).unwrap_or_else(|_| {
        let text = format!("not a time zone that is known here: `{}`", shown(&name));
        let hint = "`UTC`, or a name of `/usr/share/zoneinfo`, as `Europe/Berlin`";
        section.problem("timezone", text, hint);
        TimeZone::UTC
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let vault = "vault: { address: 'http://127.0.0.1:1', auth: { token_file: /t } }\n";
        std::fs::write(file.path(), format!("{vault}{text}")).unwrap();
        file
    }

    fn loaded(text: &str) -> Result<Controller, ConfigError> {
        load(written(text).path(), &Environment::default())
    }

    #[test]
    fn the_least_gets_the_guides_durations() {
        let file = loaded("keysets: { app: { path: jwt } }").unwrap();
        let [set] = file.keysets.as_slice() else { panic!("{file:?}") };
        assert_eq!(set.place, KeysetPlace { mount: "secret".into(), path: "jwt".into() });
        assert_eq!(set.algorithm, Algorithm::EdDSA);
        assert_eq!(set.policy.rotate_at, Duration::from_secs(83 * 86_400));
        assert_eq!(set.schedule, Schedule::default());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let error = chain(
            &loaded(
                "keysets:
  App: { path: /x, algorithm: HS384, lifetime: 80d, min_age: 84d }
  b: { path: jwt, mount: a//b, schedule: { initiate: hourly, timezone: Nowhere } }
  c: {}
",
            )
            .unwrap_err(),
        );
        for wanted in [
            "keysets.App: cannot be a key set's name: `App`",
            "keysets.App.path: not a path in Vault",
            "keysets.App.algorithm: unknown word: `HS384`",
            "keysets.App.lifetime: ends before the next key can sign",
            "keysets.App.min_age: must not be longer than `rotate_at`",
            "keysets.b.mount: not a path in Vault",
            "keysets.b.schedule.initiate: it must have five fields",
            "keysets.b.schedule.timezone: not a time zone that is known here: `Nowhere`",
            "keysets.c.path: missing",
        ] {
            assert!(error.contains(wanted), "{wanted}\n{error}");
        }
        assert!(chain(&loaded("").unwrap_err()).contains("keysets: missing"));
    }

    #[test]
    fn the_list_of_keys_has_every_algorithm() {
        assert_eq!(ALGORITHMS, Algorithm::ALL.map(Algorithm::as_str));
    }
}
