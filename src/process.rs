//! Signals that we receive, and from whom.
