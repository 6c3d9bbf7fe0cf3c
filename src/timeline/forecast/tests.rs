use std::collections::BTreeSet;

use super::*;
use crate::agent::{Confirm, Gives, LeasedPolicy, OnStop, PolledPolicy, Until};

const HOUR: u64 = 3600;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn policy(grace: u64, rotate_every: Option<u64>) -> Policy {
    let leased = LeasedPolicy {
        source: "database/creds/app".to_owned(),
        required: true,
        gives: Gives::Login,
        connection: None,
        confirm: Confirm::Told,
        grace: seconds(grace),
        unconfirmed_after: None,
        rotate_every: rotate_every.map(seconds),
        lookup: seconds(1),
    };
    let polled =
        PolledPolicy { source: "secret/mail".to_owned(), required: true, poll: seconds(1) };
    let db = SecretName::from("db");
    Policy {
        secrets: BTreeMap::from([
            (db.clone(), SecretPolicy::Leased(leased)),
            ("mail".into(), SecretPolicy::Polled(polled)),
        ]),
        targets: BTreeMap::from([("api".into(), BTreeSet::from([db]))]),
        on_stop: OnStop::Drain,
        stop_timeout: seconds(10),
        until: Until::Stopped,
    }
}

fn terms(ttl: u64, longest: u64, token: u64, token_longest: Option<u64>) -> Terms {
    let token = TokenTerms {
        ttl: Some(seconds(token)),
        renewable: true,
        longest: token_longest.map(seconds),
        ours: true,
    };
    let lease = LeaseTerms { ttl: seconds(ttl), renewable: true, longest: Some(seconds(longest)) };
    Terms { token, leases: BTreeMap::from([("db".into(), lease)]) }
}

/// When each of a login's days comes, in seconds.
fn at(forecast: &Forecast, wanted: impl Fn(&Happening) -> bool) -> Vec<u64> {
    let entries = forecast.entries.iter().filter(|entry| wanted(&entry.what));
    entries.map(|entry| entry.at.as_secs()).collect()
}

#[test]
fn the_guides_login_is_renewed_three_times_and_replaced_after_66_hours() {
    for seed in 0..20 {
        let seen = forecast(&policy(300, None), &terms(24 * HOUR, 72 * HOUR, HOUR, None), seed);
        assert_eq!(seen.broken, [] as [SecretName; 0]);
        let renewed = at(&seen, |what| matches!(what, Happening::Renewed(_, 1)));
        let hours: Vec<u64> = renewed.iter().map(|at| at / HOUR).collect();
        assert!(renewed.len() == 3, "{hours:?}");
        for (at, hour) in renewed.iter().zip([18, 36, 54]) {
            assert!(at.abs_diff(hour * HOUR) < 3 * HOUR + 600, "{hours:?}");
        }
        let replaced = at(&seen, |what| matches!(what, Happening::Issued(_, 2)))[0];
        assert!((66 * HOUR..=67 * HOUR + 720).contains(&replaced), "{replaced}");
        let left = at(&seen, |what| matches!(what, Happening::Drains(..)))[0];
        let ended = at(&seen, |what| matches!(what, Happening::Ends(_, 1)))[0];
        assert!(left - replaced <= 1 && (299..=301).contains(&(ended - left)), "{left} {ended}");
        let tokens = at(&seen, |what| matches!(what, Happening::TokenRenewed)).len();
        assert!((80..100).contains(&tokens), "{tokens}");
    }
}

#[test]
fn what_comes_first_replaces_a_login() {
    let replaced = |policy: &Policy, terms: &Terms| {
        let seen = forecast(policy, terms, 3);
        at(&seen, |what| matches!(what, Happening::Issued(_, 2)))[0]
    };
    let day = terms(24 * HOUR, 72 * HOUR, HOUR, None);
    let rotated = replaced(&policy(300, Some(24 * HOUR)), &day);
    assert!((22 * HOUR..=24 * HOUR).contains(&rotated), "{rotated}");
    let token = replaced(&policy(300, None), &terms(24 * HOUR, 72 * HOUR, HOUR, Some(8 * HOUR)));
    assert!((6 * HOUR..8 * HOUR).contains(&token), "{token}");
}

#[test]
fn a_grace_that_does_not_fit_is_seen() {
    let fits = |grace, terms: &Terms| forecast(&policy(grace, None), terms, 3).broken.is_empty();
    let short = terms(6, 20, HOUR, None);
    assert!(fits(5, &short) && !fits(60, &short));
    // The token ends both logins, whatever the lease says.
    let token = terms(24 * HOUR, 72 * HOUR, HOUR, Some(8 * HOUR));
    assert!(fits(HOUR, &token) && !fits(9 * HOUR, &token));
    // Nobody may renew: what is left at the last chance is all that there is.
    let mut unrenewed = terms(HOUR, HOUR, HOUR, None);
    unrenewed.leases.get_mut("db").unwrap().longest = None;
    assert!(fits(300, &unrenewed) && !fits(1800, &unrenewed));
}

#[test]
fn somebody_elses_token_is_used_to_its_end() {
    let mut terms = terms(24 * HOUR, 72 * HOUR, HOUR, Some(HOUR));
    (terms.token.ours, terms.token.renewable) = (false, false);
    let seen = forecast(&policy(300, None), &terms, 3);
    assert_eq!(at(&seen, |what| matches!(what, Happening::TokenEnds)), [HOUR]);
    terms.token.ttl = None;
    terms.token.longest = None;
    let seen = forecast(&policy(300, None), &terms, 3);
    assert_eq!(at(&seen, |what| matches!(what, Happening::Ends(_, 1))).len(), 1);
}
