//! Asking Vault about the login in use before its time.

use super::Leased;
use crate::lease::machine::Lease;

impl Leased {
    /// Vault is asked with the next step whether the login in use lives.
    pub fn check(&mut self) {
        self.kept.current.iter_mut().for_each(Lease::check);
    }

    /// Whether Vault has said that it does.
    pub fn checked(&self) -> bool {
        self.kept.current.as_ref().is_some_and(Lease::checked)
    }

    /// Whether something is under way that a next process should find in the state.
    pub fn busy(&self) -> bool {
        self.issuing() || self.kept.leases().any(Lease::changing)
    }
}
