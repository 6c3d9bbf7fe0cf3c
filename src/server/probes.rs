//! `/livez`, `/readyz`, `/startupz`.
//!
//! Receives what the agent shows of itself and a sign of life of its loop, gives 200 or 503. Never
//! names a secret: another pod may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::watch;

use crate::agent::view::View;
use crate::server::{Answer, Page};
use crate::time::Moment;

/// How late the loop may be for a turn that it promised before it counts as dead.
pub const SILENCE: Duration = Duration::from_secs(15);

/// The loop's sign of life; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// The loop turns now, and again at `next` at the latest; where nothing is due, when something
    /// happens. So a sign of life costs no wake-up of its own.
    pub fn promise(&self, next: Option<Moment>) {
        self.0.store(next.map_or(u64::MAX, Moment::as_micros), Ordering::Relaxed);
    }

    /// Whether no promised turn is more than [`SILENCE`] late at `now`.
    pub fn alive(&self, now: Moment) -> bool {
        Moment::from_micros(self.0.load(Ordering::Relaxed)) + SILENCE >= now
    }
}

/// The probes' answers; `alive` says whether the loop turns.
pub fn answer(
    view: watch::Receiver<View>,
    alive: impl Fn() -> bool + Send + Sync + 'static,
) -> Answer {
    Arc::new(move |path| match path {
        "/livez" => Some(if alive() { ok() } else { no("the loop does not turn") }),
        "/startupz" => {
            Some(if view.borrow().started { ok() } else { no("nothing is published yet") })
        }
        "/readyz" => Some(ready(&view.borrow())),
        _ => None,
    })
}

fn ready(view: &View) -> Page {
    match (view.started, view.unready()) {
        (true, 0) => ok(),
        (false, 0) => no("nothing is published yet"),
        (_, 1) => no("1 required secret is not valid"),
        (_, many) => no(&format!("{many} required secrets are not valid")),
    }
}

fn ok() -> Page {
    Page::text(StatusCode::OK, "ok")
}

fn no(why: &str) -> Page {
    Page::text(StatusCode::SERVICE_UNAVAILABLE, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::view::SecretView;

    fn ask(view: &View, alive: bool, path: &str) -> (u16, String) {
        let (_sender, receiver) = watch::channel(view.clone());
        let page = answer(receiver, move || alive)(path).unwrap();
        (page.status.as_u16(), page.body)
    }

    fn secret(required: bool, valid: bool) -> SecretView {
        SecretView { required, valid, ..SecretView::default() }
    }

    #[test]
    fn readiness_counts_what_is_required_and_not_valid() {
        let view = |started, secrets: &[SecretView]| View {
            started,
            secrets: secrets
                .iter()
                .enumerate()
                .map(|(index, secret)| (format!("canary{index}").into(), secret.clone()))
                .collect(),
            ..View::default()
        };
        for (view, status, body) in [
            (view(false, &[secret(true, false)]), 503, "1 required secret is not valid\n"),
            (view(false, &[]), 503, "nothing is published yet\n"),
            (view(true, &[secret(true, true), secret(false, false)]), 200, "ok\n"),
            (
                view(true, &[secret(true, false), secret(true, false), secret(true, true)]),
                503,
                "2 required secrets are not valid\n",
            ),
        ] {
            assert_eq!(ask(&view, true, "/readyz"), (status, body.to_owned()));
            assert_eq!(ask(&view, true, "/livez").0, 200);
            assert_eq!(ask(&view, true, "/startupz").0, if view.started { 200 } else { 503 });
        }
        assert_eq!(ask(&View::default(), false, "/livez").0, 503);
    }

    #[test]
    fn a_change_of_the_view_shows_at_once() {
        let (sender, receiver) = watch::channel(View::default());
        let answer = answer(receiver, || true);
        assert_eq!(answer("/startupz").unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        sender.send(View { started: true, ..View::default() }).unwrap();
        assert_eq!(answer("/startupz").unwrap().status, StatusCode::OK);
        assert_eq!(answer("/metrics"), None);
    }

    #[test]
    fn a_silent_loop_is_dead_after_a_while() {
        let heartbeat = Heartbeat::default();
        let now = Moment::from_micros(1_000_000_000_000);
        assert!(!heartbeat.alive(now));
        heartbeat.clone().promise(Some(now));
        assert!(heartbeat.alive(now + SILENCE));
        assert!(!heartbeat.alive(now + SILENCE + Duration::from_micros(1)));
    }
}
