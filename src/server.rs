//! The HTTP listeners.

pub mod probes;
