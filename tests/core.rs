//! The decisions in virtual time, and the rules that the source itself must keep.

#[path = "core/layers.rs"]
mod layers;
#[path = "core/properties.rs"]
mod properties;
#[path = "core/scenarios.rs"]
mod scenarios;
#[path = "core/world.rs"]
mod world;
