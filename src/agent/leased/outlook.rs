//! What is about to become of its leases, for people.

use super::{Leased, Surroundings};
use crate::lease::machine::Lease;
use crate::time::Moment;

impl Leased {
    /// When the lease in use is renewed.
    pub fn renewal(&self) -> Option<Moment> {
        self.kept.current.as_ref().and_then(Lease::renewal)
    }

    /// When it is replaced, as far as that is known: renewals may go on for as long as nobody has
    /// learned how far they reach.
    pub fn replacement(&self, now: Moment, around: &Surroundings) -> Option<Moment> {
        let current = self.kept.current.as_ref().filter(|lease| lease.works(now));
        let Some(current) = current else { return self.issue_at(now, around) };
        let (session, _) = around.session.token()?;
        let must = current.end().map(|_| self.must_replace_at(session));
        must.into_iter().chain(self.rotate_at()).min()
    }

    /// When the last of those that were replaced ends.
    pub fn last_end(&self) -> Option<Moment> {
        self.kept.leaving.iter().filter_map(|old| old.lease.deadline()).max()
    }
}
