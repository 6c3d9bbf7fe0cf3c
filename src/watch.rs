//! Notices that somebody changed the publish directory.
