//! A token that does what a child token would: what was asked for first under it, and whose answer
//! is lost, ends with it.
//!
//! Receives word of what is asked for and of what is lost. Such a token is haunted: it has a
//! successor at once, and ends when nothing that is known is under it, and nothing can come to be.

use super::{Session, SessionId};
use crate::agent::context::Context;
use crate::lease::schedule::{self, Retry};

impl Session {
    /// Whether what is asked for now can be undone by ending the token in use: it is ours, which we
    /// may end, and nothing was asked for under it before.
    pub fn is_unused(&self) -> bool {
        self.revocable && self.kept.up.as_ref().is_some_and(|up| up.unused)
    }

    /// Something is asked for under the token in use.
    pub fn used(&mut self, cx: &mut Context) {
        if let Some(up) = self.kept.up.as_mut().filter(|up| up.unused) {
            up.unused = false;
            cx.dirty();
        }
    }

    /// A lease that nobody knows may be under session `id`, or come to be: the token is to end, once
    /// Vault can no longer be working on it.
    pub fn haunt(&mut self, cx: &mut Context, id: SessionId) {
        let in_use = self.kept.up.as_ref().is_some_and(|up| up.id == id && up.haunted.is_none());
        if in_use {
            self.retry = Retry::default();
        }
        let mut all = self.kept.up.iter_mut().chain(&mut self.kept.old);
        if let Some(up) = all.find(|up| up.id == id) {
            up.haunted = Some(cx.now + schedule::CHILD_TERM);
            cx.dirty();
        }
    }

    /// Nothing needs a token any more: a haunted one has no successor to wait for.
    pub fn let_go(&mut self, cx: &mut Context) {
        if let Some(up) = self.kept.up.take_if(|up| up.haunted.is_some()) {
            self.kept.old.push(up);
            cx.dirty();
        }
    }

    /// Whether a token is to end that may have something under it.
    pub fn leaves(&self) -> bool {
        !self.kept.old.is_empty() || self.kept.up.as_ref().is_some_and(|up| up.haunted.is_some())
    }

    /// Whether another token is about to be there, unless the login fails.
    pub fn awaits_successor(&self) -> bool {
        let haunted = self.kept.up.as_ref().is_some_and(|up| up.haunted.is_some());
        haunted && self.retry.attempt == 0
    }
}
