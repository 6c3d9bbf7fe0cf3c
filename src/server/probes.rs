//! `/livez`, `/readyz`, `/startupz`.
