//! Text that is being written and holds secrets.
//!
//! Receives pieces, gives bytes. Never leaves a copy behind in memory: growing wipes the old place.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// A growing text that is wiped wherever it was.
#[derive(Default)]
pub(super) struct Text(Zeroizing<String>);

impl Text {
    /// Appends `piece`.
    pub(super) fn push(&mut self, piece: &str) {
        let needed = self.0.len() + piece.len();
        if needed > self.0.capacity() {
            // `String` would move to a larger place and leave the old one as it is.
            let capacity = needed.max(self.0.capacity() * 2).max(256);
            let mut larger = Zeroizing::new(String::with_capacity(capacity));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        self.0.push_str(piece);
    }

    /// Appends one character.
    pub(super) fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]));
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it.
    pub(super) fn into_secret(mut self) -> Secret {
        Secret::new(std::mem::take(&mut *self.0))
    }

    /// The bytes.
    pub(super) fn into_bytes(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut *self.0).into_bytes())
    }
}
