//! The life of one lease.
