//! What an operator sees: one catalogue of records for the log, the metrics and the audit trail.

pub mod event;
pub mod line;
