//! A look at a lease before its time.

use super::{Ask, Lease};

impl Lease {
    /// Vault is asked about it first of all, and it is renewed where it lives. Tries that failed
    /// keep their pauses.
    pub fn check(&mut self) {
        self.doubted |= self.kept() && !self.lost;
    }

    /// Whether Vault has said that it lives, as far as that was to be asked.
    pub fn checked(&self) -> bool {
        !self.doubted
    }

    /// Whether what becomes of it is not in the state yet: a request is under way that changes it,
    /// or it still ends with the child token that it was born under.
    pub fn changing(&self) -> bool {
        let asked = self.asked.is_some_and(|(_, ask)| ask != Ask::Lookup);
        asked || (self.kept() && !self.lost && self.fleeting())
    }
}
