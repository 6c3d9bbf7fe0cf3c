//! The names that Vault gives to database users.
//!
//! Receives a role's or a user's name, gives the pattern of its users or when one was made. Never
//! sure: a role may have a `username_template` of its own.

use std::time::Duration;

use jiff::Timestamp;

/// Vault puts so much of a role's name into its users'.
const OF_ROLE: usize = 8;
/// How many digits a time has in this century.
const DIGITS: usize = 10;

/// What the users of `role` are named like: `v-<display name>-<role>-<random>-<time>`.
pub fn like(role: &str) -> String {
    let mut part = String::new();
    for c in role.chars().take(OF_ROLE) {
        if matches!(c, '\\' | '%' | '_') {
            part.push('\\');
        }
        part.push(c);
    }
    format!("v-%-{part}-%")
}

/// When `user` was made, where its name ends with that.
pub fn made(user: &str) -> Option<Timestamp> {
    let (_, last) = user.rsplit_once('-')?;
    let time = last.len() == DIGITS && last.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = last.parse().ok().filter(|_| time)?;
    Timestamp::from_second(seconds).ok()
}

/// How old `user` was at `now`, where its name tells. Vault wrote the name by its clock, and `now`
/// is the database's: where that is ahead of Vault's, a user is taken for so much older, and where
/// by more than users have to settle, none is young. Nothing here could see it: the leases of Vault
/// that show its clock need not be there.
pub fn age(user: &str, now: Timestamp) -> Option<Duration> {
    let age = now.duration_since(made(user)?);
    Some(Duration::try_from(age).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_holds_the_beginning_of_the_role_as_it_is() {
        for (role, pattern) in [
            ("intelligence-service", "v-%-intellig-%"),
            ("app", "v-%-app-%"),
            ("a_b%c\\d", "v-%-a\\_b\\%c\\\\d-%"),
        ] {
            assert_eq!(like(role), pattern);
        }
    }

    #[test]
    fn a_name_tells_its_time_or_nothing() {
        let name = "v-token-intellig-jSmQjV94TWllZLjp08OT-1795787418";
        let now = Timestamp::from_second(1_795_787_500).unwrap();
        assert_eq!(age(name, now), Some(Duration::from_secs(82)));
        let before = Timestamp::from_second(1_795_787_400).unwrap();
        assert_eq!(age(name, before), Some(Duration::ZERO));
        for name in ["", "app", "v-token-app-abc", "app-123", "app-17957874181", "app--179578741"] {
            assert_eq!(made(name), None, "{name}");
        }
    }
}
