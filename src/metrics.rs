//! Prometheus metrics out of records and views.
