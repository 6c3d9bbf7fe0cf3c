//! What single values look like: durations, modes, signals, names.
//!
//! Receives the text of one value, gives what it means or `None`. Never knows where it stands.

use std::time::Duration;

use nix::sys::signal::Signal;

/// `500ms`, `90s`, `5m`, `24h`, `90d`, or several in a row as `1h30m`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(sum))
}

/// A duration as [`duration`] reads it.
pub(super) fn duration_text(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(86_400_000) => format!("{}d", millis / 86_400_000),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// Permission bits in octal, three digits or four with a leading zero.
pub(super) fn mode(text: &str) -> Option<u32> {
    let digits = match text.len() {
        3 => text,
        4 => text.strip_prefix('0')?,
        _ => return None,
    };
    let octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
}

/// The signals that may tell a process to look again, with and without `SIG`.
pub(super) const SIGNALS: [(&str, Signal); 8] = [
    ("HUP", Signal::SIGHUP),
    ("USR1", Signal::SIGUSR1),
    ("USR2", Signal::SIGUSR2),
    ("INT", Signal::SIGINT),
    ("QUIT", Signal::SIGQUIT),
    ("TERM", Signal::SIGTERM),
    ("WINCH", Signal::SIGWINCH),
    ("CONT", Signal::SIGCONT),
];

/// A signal's number by its name.
pub fn signal(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal as i32)
}

/// Whether this may name a secret or a target: lower case letters, digits, `_` and `-`.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(allowed)
}

/// Whether this is a path inside Vault: parts with `/` between, none empty, none `.` or `..`.
pub(super) fn is_vault_path(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    text.len() <= 512 && !text.contains(['?', '#', '%', '\\']) && text.split('/').all(part)
}

/// Whether this names a file below a directory and nothing outside of it.
pub(super) fn is_file_path(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 200;
    text.len() <= 1024 && !text.chars().any(char::is_control) && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("90d", Some(7_776_000_000)),
            ("1h30m", Some(5_400_000)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 m", None),
            ("-5m", None),
            ("1.5h", None),
            ("5M", None),
            ("99999999999999999999s", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
            if let Some(span) = duration(text) {
                assert_eq!(duration(&duration_text(span)), Some(span), "{text}");
            }
        }
    }

    #[test]
    fn modes() {
        for (text, bits) in [
            ("0440", Some(0o440)),
            ("440", Some(0o440)),
            ("0600", Some(0o600)),
            ("4755", None),
            ("0o440", None),
            ("44", None),
            ("0448", None),
            ("+440", None),
            ("", None),
        ] {
            assert_eq!(mode(text), bits, "{text}");
        }
    }

    #[test]
    fn signals() {
        assert_eq!(signal("HUP"), Some(1));
        assert_eq!(signal("SIGUSR1"), Some(10));
        for refused in ["KILL", "STOP", "SEGV", "1", "hup", ""] {
            assert_eq!(signal(refused), None, "{refused}");
        }
    }

    #[test]
    fn names_and_paths() {
        for (name, good) in
            [("db", true), ("my-db_2", true), ("Db", false), ("", false), ("a.b", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
        for (path, good) in [
            ("app.env", true),
            ("db/pgpass", true),
            (".env", true),
            ("../x", false),
            ("a/./b", false),
            ("/etc/x", false),
            ("a//b", false),
            ("a/", false),
            ("a\0b", false),
        ] {
            assert_eq!(is_file_path(path), good, "{path}");
        }
        for (path, good) in
            [("sendgrid/current", true), ("a/../b", false), ("a?b", false), ("/a", false)]
        {
            assert_eq!(is_vault_path(path), good, "{path}");
        }
    }
}
