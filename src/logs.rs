//! Log lines out of records, as text or JSON.
