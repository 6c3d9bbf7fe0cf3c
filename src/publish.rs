//! The publish directory: all files of a generation become visible in one rename.
//!
//! Receives a [`Rendering`], gives a [`Visible`]. Never shows a partial set and never leaves the
//! directory that it was given.

use std::path::PathBuf;

use crate::agent::event::Visible;
use crate::error::{Class, Failure};
use crate::render::Rendering;
use crate::snapshot::Generation;
use crate::time::Moment;

/// Where to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory that the app mounts.
    pub directory: PathBuf,
    /// Allow a directory that is not memory-backed.
    pub allow_disk: bool,
    /// Allow a directory that others may write.
    pub allow_writers: bool,
    /// How long a generation that is no longer pointed to is kept for readers that still have it.
    pub keep: std::time::Duration,
}

/// The directory, opened, checked and swept.
pub struct Publisher {}

fn unbuilt() -> Failure {
    Failure::new(Class::Ours, "not built yet")
}

impl Publisher {
    /// Makes the directory where it is missing, checks it, sweeps what a killed process left.
    ///
    /// # Errors
    /// When it cannot be made, is not memory-backed, or others may write it.
    pub fn open(_settings: Settings) -> Result<Self, Failure> {
        Err(unbuilt())
    }

    /// The generation that is visible now; zero when there is none.
    pub fn generation(&self) -> Generation {
        Generation(0)
    }

    /// Tries whether a set of this size could be published, and keeps room for it.
    pub fn rehearse(&mut self, _rendering: &Rendering) -> Result<(), Failure> {
        Err(unbuilt())
    }

    /// Makes `rendering` visible as `generation`, or finds it visible already and says under which
    /// number.
    pub fn publish(
        &mut self,
        _now: Moment,
        _generation: Generation,
        _rendering: Rendering,
    ) -> Result<Visible, Failure> {
        Err(unbuilt())
    }

    /// The first file that is not as it was published.
    pub fn drift(&self) -> Option<String> {
        None
    }

    /// Puts the visible generation back as it was published, in a new directory.
    pub fn repair(&mut self, _now: Moment) -> Result<Visible, Failure> {
        Err(unbuilt())
    }

    /// Replaces `status.json`.
    pub fn write_status(&mut self, _json: &[u8]) -> Result<(), Failure> {
        Err(unbuilt())
    }
}
