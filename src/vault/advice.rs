//! What an operator can do about an answer of Vault that only time or a person mends.
//!
//! Receives the status, or nothing where none came; gives one sentence. Never decides whether to
//! try again.

/// For an answer with this status.
pub(super) fn for_status(status: u16) -> &'static str {
    match status {
        412 => {
            "this node lags behind the one that was written to; nothing to do unless it stays so"
        }
        429 => {
            "raise the quota that limits requests in Vault, or ask less often (`lookup`, `poll`)"
        }
        472 | 473 => "this node serves no requests: let `vault.address` lead to the active node",
        502 | 504 => "look at what stands before Vault: it finds no node behind it",
        503 => "unseal Vault, or wait until it is back; what is published stays to its own end",
        500..=599 => "look into Vault's own log; what is published stays to its own end",
        _ => "look into Vault's own log, and compare its version with what Leasehold supports",
    }
}

/// For a request that no answer came to.
pub(super) const NO_ANSWER: &str = "see whether Vault runs, and whether this machine reaches \
     `vault.address`; what is published stays to its own end";

/// For a token that its login does not renew.
pub(super) const NOT_RENEWED: &str = "the role was changed, or its certificate is another one by \
     now; a new login comes before this token ends";

/// For a success that is none of Vault's.
pub(super) const NO_SENSE: &str =
    "see whether `vault.address` leads to Vault itself, and what stands between may change answers";
