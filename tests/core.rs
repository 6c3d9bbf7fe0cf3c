//! The decisions in virtual time, and the rules that the source itself must keep.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

#[path = "core/keysets.rs"]
mod keysets;
#[path = "core/layers.rs"]
mod layers;
#[path = "core/properties.rs"]
mod properties;
#[path = "core/scenarios.rs"]
mod scenarios;
#[path = "core/simulation.rs"]
mod simulation;
#[path = "core/sources.rs"]
mod sources;
#[path = "core/world.rs"]
mod world;
