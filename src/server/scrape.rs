//! `/metrics`.
//!
//! Receives the metrics and the view of the moment, gives Prometheus' text. Never computes
//! anything between two scrapes.

use std::sync::Arc;

use hyper::StatusCode;
use tokio::sync::watch;

use crate::agent::view::View;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::server::{Answer, Page};
use crate::time::Clock;

/// The answer to a scrape.
pub fn metrics(metrics: Arc<Metrics>, view: watch::Receiver<View>, clock: Clock) -> Answer {
    Arc::new(move |path| {
        (path == "/metrics").then(|| {
            let now = clock.now();
            metrics.observe(&view.borrow(), now, clock.wall_micros(now));
            Page::new(StatusCode::OK, CONTENT_TYPE, metrics.page())
        })
    })
}
