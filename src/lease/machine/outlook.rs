//! What is about to become of a lease.

use super::Lease;
use crate::time::Moment;

impl Lease {
    /// When it is renewed.
    pub fn renewal(&self) -> Option<Moment> {
        let renewed = self.kept() && !self.lost && self.renewable();
        renewed.then(|| self.retry.not_before(self.renew_at))
    }
}
