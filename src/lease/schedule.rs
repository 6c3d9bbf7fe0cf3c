//! When something is due: every waiting time of the agent, as named functions.
//!
//! Receives terms, moments and a jitter between 0 and 1, gives a moment or a span. Never reads a
//! clock and never draws the jitter itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Moment;

/// Least time allowed for trying a new login before the old one may be needed no more.
pub const PROBE_ALLOWANCE: Duration = Duration::from_secs(1);

/// A child token's life before its lease is known. Vault ends a request after 90 s, so whatever an
/// issue made that nobody reads ends with the token: a lease that came after it would not.
pub const CHILD_TERM: Duration = Duration::from_secs(120);

/// Asked of a lease or token to learn its longest life: more than any maximum in use (10 years).
pub const BEYOND_ANY_MAXIMUM: Duration = Duration::from_secs(315_360_000);

const RETRY_FLOOR: Duration = Duration::from_millis(250);
const RETRY_CEILING: Duration = Duration::from_secs(60);
const BUCKET_SIZE: u32 = 5;

/// `share` of `span`; `share` is taken between 0 and 1.
pub fn portion(span: Duration, share: f64) -> Duration {
    let micros = span.as_secs_f64() * 1e6 * share.clamp(0.0, 1.0);
    // A float to integer cast saturates, and is never negative here.
    Duration::from_micros(micros.round() as u64)
}

/// Renew after 70 to 79 % of the term, spread so that agents started together drift apart. What is
/// left of the term is for retries.
pub fn renew_at(granted: Moment, term: Duration, jitter: f64) -> Moment {
    granted + portion(term, 0.70 + 0.09 * jitter.clamp(0.0, 1.0))
}

/// The next look at something that was seen at `seen`: one in each interval of `every` since
/// `origin`, at a point of it that `spread` chooses, so that agents started together do not look
/// together.
pub fn look_at(origin: Moment, seen: Moment, every: Duration, spread: f64) -> Moment {
    let every = every.max(Duration::from_millis(1));
    let first = origin + portion(every, spread);
    let passed = seen.since(first).as_micros() / every.as_micros();
    let next = first + every.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX));
    if next > seen { next } else { next + every }
}

/// Wait before try number `attempt` + 1: full jitter under a ceiling that doubles from 1 s to 60 s,
/// at most a quarter of `remaining`, so that several tries fit into what is left.
pub fn retry_after(attempt: u32, remaining: Option<Duration>, jitter: f64) -> Duration {
    let ceiling = Duration::from_secs(1 << attempt.min(6)).min(RETRY_CEILING);
    let wait = RETRY_FLOOR + portion(ceiling.saturating_sub(RETRY_FLOOR), jitter);
    let cap = remaining.map_or(RETRY_CEILING, |left| (left / 4).max(RETRY_FLOOR));
    wait.min(cap)
}

/// Replace a lease that ends for good at `end` so early that the new one can be tried, taken up
/// and the old one drained (`overlap`), at least a fifth of the term before, up to 5 % of the term
/// earlier to spread a fleet; never in the first third of its life.
pub fn replace_at(
    issued: Moment,
    end: Moment,
    term: Duration,
    overlap: Duration,
    spread: f64,
) -> Moment {
    let ahead = overlap.max(portion(term, 0.2)) + portion(term, 0.05 * spread.clamp(0.0, 1.0));
    (end - ahead).max(issued + end.since(issued) / 3)
}

/// Replace a lease for its age: up to 5 % early to spread a fleet.
pub fn rotate_at(issued: Moment, every: Duration, spread: f64) -> Moment {
    issued + every.saturating_sub(portion(every, 0.05 * spread.clamp(0.0, 1.0)))
}

/// Make anew what ends at `end` once two thirds of its life have passed, or up to a twentieth of it
/// later to spread a fleet. What is left is for retries.
pub fn remake_at(obtained: Moment, end: Moment, jitter: f64) -> Moment {
    let share = 2.0 / 3.0 + 0.05 * jitter.clamp(0.0, 1.0);
    obtained + portion(end.since(obtained), share)
}

/// The next look at what somebody replaces at about `end`: from a second before on every 50 ms, and
/// less often the longer it is overdue.
pub fn look_for_successor_at(now: Moment, end: Moment) -> Moment {
    let first = end - Duration::from_secs(1);
    let pause = (now.since(end) / 60).max(Duration::from_millis(50));
    if now < first { first } else { now + pause }
}

/// The last chance to replace a lease whose renewals fail: a tenth of its term before it ends, at
/// least a second.
pub fn give_up_at(expires: Moment, term: Duration) -> Moment {
    expires - last_tenth(term)
}

fn last_tenth(term: Duration) -> Duration {
    portion(term, 0.1).max(Duration::from_secs(1))
}

/// The last renewal that spares a replacement: a twentieth of the term before [`give_up_at`],
/// between half a second and two, for the answer to come back.
pub fn last_renewal_at(expires: Moment, term: Duration) -> Moment {
    let answer = portion(term, 0.05).clamp(Duration::from_millis(500), Duration::from_secs(2));
    give_up_at(expires, term) - answer
}

/// The grace that fits into a life of `life` beside trying and taking up the new login; at least a
/// second.
pub fn grace_within(life: Duration, confirm: Duration, grace: Duration) -> Duration {
    portion(life, 0.8)
        .saturating_sub(PROBE_ALLOWANCE + confirm)
        .min(grace)
        .max(Duration::from_secs(1))
}

/// The grace that can be kept when the longest life is not known, for renewals may be denied too:
/// what is left of the term after [`give_up_at`].
pub fn grace_blind(term: Duration, confirm: Duration, grace: Duration) -> Duration {
    last_tenth(term)
        .saturating_sub(PROBE_ALLOWANCE + confirm)
        .min(grace)
        .max(Duration::from_secs(1))
}

/// Counts database sessions again: after a second while they look right, else less and less often
/// with the time since the new login was published, from 1 s to 15 s.
pub fn count_after(waiting: Duration, promising: bool) -> Duration {
    if promising {
        return Duration::from_secs(1);
    }
    (waiting / 8).clamp(Duration::from_secs(1), Duration::from_secs(15))
}

/// How many leases a secret may make: five at once, then one every quarter of a lease.
///
/// Part of the state: a process that crashes at once gets nothing new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Budget {
    left: u32,
    counted: Moment,
    term: Duration,
}

impl Budget {
    /// A full budget.
    pub fn full(now: Moment) -> Self {
        Self { left: BUCKET_SIZE, counted: now, term: Duration::from_secs(2400) }
    }

    fn interval(&self) -> Duration {
        (self.term / 4).clamp(Duration::from_secs(1), Duration::from_secs(600))
    }

    /// How many issues may be made at `now`.
    pub fn left(&self, now: Moment) -> u32 {
        let back = now.since(self.counted).as_micros() / self.interval().as_micros().max(1);
        self.left.saturating_add(u32::try_from(back).unwrap_or(u32::MAX)).min(BUCKET_SIZE)
    }

    /// Whether nothing of what was spent is missing.
    pub fn is_full(&self, now: Moment) -> bool {
        self.left(now) >= BUCKET_SIZE
    }

    /// When an issue may be made that leaves `reserve` for those that cannot wait; `now` or
    /// earlier while there are enough.
    pub fn next(&self, now: Moment, reserve: u32) -> Moment {
        let wanted = reserve.saturating_add(1);
        if self.left(now) >= wanted {
            return now;
        }
        self.counted + self.interval().saturating_mul(wanted.saturating_sub(self.left))
    }

    /// Takes one for a request that made, or may have made, a lease of `term`.
    pub fn spend(&mut self, now: Moment, term: Option<Duration>) {
        let left = self.left(now);
        // Full, the time since the last count is forfeit; otherwise it goes on counting.
        let passed = now.since(self.counted).as_micros() / self.interval().as_micros().max(1);
        self.counted = if left >= BUCKET_SIZE {
            now
        } else {
            let steps = u32::try_from(passed).unwrap_or(u32::MAX);
            self.counted + self.interval().saturating_mul(steps)
        };
        self.left = left.saturating_sub(1);
        self.term = term.unwrap_or(self.term);
    }
}

/// Tries of one thing that failed so far, and when the next may be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Failures in a row.
    pub attempt: u32,
    not_before: Option<Moment>,
}

impl Retry {
    /// `wanted`, or later when a failure asks for it.
    pub fn not_before(&self, wanted: Moment) -> Moment {
        self.not_before.map_or(wanted, |at| at.max(wanted))
    }

    /// Notes a failure at `now`; the next try comes after `wait`.
    pub fn failed(&mut self, now: Moment, wait: Duration) {
        self.attempt = self.attempt.saturating_add(1);
        self.not_before = Some(now + wait);
    }

    /// The next try comes at `latest` where it would come later.
    pub fn no_later_than(&mut self, latest: Moment) {
        self.not_before = self.not_before.map(|at| at.min(latest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_lease_is_renewed_between_70_and_80_percent_of_its_term() {
        for (term, jitter, low, high) in [
            (86_400, 0.0, 60_480, 60_480),
            (86_400, 1.0, 68_256, 69_120),
            (60, 0.5, 44, 45),
            (0, 0.5, 0, 0),
        ] {
            let due = renew_at(at(0), Duration::from_secs(term), jitter);
            assert!(at(low) <= due && due <= at(high), "{term} {jitter}: {due:?}");
        }
    }

    #[test]
    fn looks_come_once_in_each_interval_at_a_point_of_their_own() {
        for (seen, spread, due) in [
            (100, 0.0, 110),
            (100, 0.5, 105),
            (104, 0.5, 105),
            (105, 0.5, 115),
            (100, 1.0, 110),
            (1004, 0.5, 1005),
        ] {
            let next = look_at(at(100), at(seen), Duration::from_secs(10), spread);
            assert_eq!(next, at(due), "{seen} {spread}");
        }
    }

    #[test]
    fn the_guides_day_long_lease_is_replaced_at_66_to_67_hours() {
        for spread in [0.0, 0.5, 1.0] {
            let due = replace_at(at(0), at(72 * 3600), 24 * HOUR, HOUR / 12 + HOUR / 100, spread);
            assert!(at(66 * 3600) <= due && due <= at(67 * 3600 + 720), "{spread}: {due:?}");
        }
    }

    #[test]
    fn what_ends_is_made_anew_after_two_thirds_of_its_life() {
        for (jitter, due) in [(0.0, 60), (0.5, 62), (1.0, 64)] {
            let found = remake_at(at(0), at(90), jitter);
            assert!(at(due) <= found && found <= at(due + 1), "{jitter}: {found:?}");
        }
        assert_eq!(remake_at(at(10), at(5), 0.0), at(10));
    }

    #[test]
    fn what_is_replaced_is_looked_at_closely_around_that_moment_and_less_and_less_after_it() {
        for (now, due) in [(0, 99_000), (98_999, 99_000), (99_000, 99_050), (102_000, 102_050)] {
            let found = look_for_successor_at(Moment::from_micros(now * 1000), at(100));
            assert_eq!(found, Moment::from_micros(due * 1000), "{now}");
        }
        assert_eq!(look_for_successor_at(at(160), at(100)), at(161));
        let (mut looks, mut now) = (0, at(90));
        while now < at(160) {
            (looks, now) = (looks + 1, look_for_successor_at(now, at(100)));
        }
        assert!((200..300).contains(&looks), "{looks} looks");
    }

    #[test]
    fn a_short_lease_leaves_room_for_proof_and_grace() {
        let due = replace_at(at(0), at(20), Duration::from_secs(6), Duration::from_secs(9), 1.0);
        assert_eq!(due, Moment::from_micros(10_700_000));
    }

    #[test]
    fn an_overlap_longer_than_the_life_still_leaves_a_third_of_it() {
        assert_eq!(replace_at(at(0), at(30), Duration::from_secs(30), HOUR, 0.0), at(10));
    }

    #[test]
    fn retries_spread_and_fit_into_what_is_left() {
        for (attempt, remaining, jitter, wait) in [
            (0, None, 0.0, 250),
            (0, None, 1.0, 1_000),
            (3, None, 1.0, 8_000),
            (99, None, 1.0, 60_000),
            (99, Some(8_000), 1.0, 2_000),
            (99, Some(0), 1.0, 250),
        ] {
            let got = retry_after(attempt, remaining.map(Duration::from_millis), jitter);
            assert_eq!(got, Duration::from_millis(wait), "{attempt} {remaining:?} {jitter}");
        }
    }

    #[test]
    fn the_budget_gives_five_and_then_one_every_quarter_of_a_lease() {
        let mut budget = Budget::full(at(0));
        for left in (0..5).rev() {
            budget.spend(at(1), Some(Duration::from_secs(40)));
            assert_eq!(budget.left(at(1)), left);
        }
        assert_eq!((budget.next(at(2), 0), budget.next(at(2), 2)), (at(11), at(31)));
        assert_eq!((budget.left(at(10)), budget.left(at(11)), budget.left(at(31))), (0, 1, 3));
        budget.spend(at(12), None);
        assert_eq!((budget.left(at(12)), budget.next(at(12), 0)), (0, at(21)));
        assert_eq!(budget.left(at(10_000)), 5);
    }

    #[test]
    fn the_budgets_refill_is_bounded_both_ways() {
        for (term, second) in [(1, 1), (6, 1), (86_400, 600)] {
            let mut budget = Budget::full(at(0));
            for _ in 0..5 {
                budget.spend(at(0), Some(Duration::from_secs(term)));
            }
            let next = budget.next(at(0), 0);
            assert!(at(second) <= next && next <= at(second + 1), "{term}: {next:?}");
        }
    }

    #[test]
    fn grace_is_cut_to_what_the_life_allows() {
        let seconds = Duration::from_secs;
        for (life, confirm, grace, kept) in
            [(72 * 3600, 3, 300, 300), (20, 3, 5, 5), (10, 3, 60, 4)]
        {
            assert_eq!(
                grace_within(seconds(life), seconds(confirm), seconds(grace)),
                seconds(kept)
            );
        }
        assert_eq!(grace_blind(seconds(86_400), seconds(3), seconds(300)), seconds(300));
        assert_eq!(grace_blind(seconds(6), seconds(3), seconds(5)), seconds(1));
    }
}
