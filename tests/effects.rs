//! What reaches out of the process, against the real thing: file systems, parsers, a database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_in_result,
    reason = "a test that cannot go on has failed"
)]

#[path = "effects/configuration.rs"]
mod configuration;
#[path = "effects/confinement.rs"]
mod confinement;
#[path = "effects/corpus.rs"]
mod corpus;
#[path = "effects/crash.rs"]
mod crash;
#[path = "effects/directory.rs"]
mod directory;
#[path = "effects/examples.rs"]
mod examples;
#[path = "effects/exec.rs"]
mod exec;
#[allow(clippy::wildcard_enum_match_arm, reason = "most commands need no answer there")]
#[path = "fuzz/targets.rs"]
mod fuzzed;
#[path = "effects/hostile.rs"]
mod hostile;
#[path = "effects/parsers.rs"]
mod parsers;
#[path = "effects/quickstart.rs"]
mod quickstart;
#[path = "effects/readers.rs"]
mod readers;
#[path = "effects/recipes.rs"]
mod recipes;
#[path = "effects/space.rs"]
mod space;
#[path = "effects/support.rs"]
mod support;
#[path = "effects/targets.rs"]
mod targets;
#[path = "effects/watch.rs"]
mod watch;
