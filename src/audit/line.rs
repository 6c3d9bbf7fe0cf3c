//! A record as words and flat fields, the same for every sink.
//!
//! Receives a [`Record`], gives a [`Line`]: a name, a level, a sentence, and values by name. Never
//! writes it anywhere. Durations are seconds, in fields that end in `_seconds`.

use std::time::Duration;

use crate::audit::event::{Level, Record};
use crate::error::Failure;
use crate::snapshot::Generation;

/// A record that a sink can write down.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The record's name, as `lease_issued`.
    pub event: &'static str,
    /// How much an operator should care.
    pub level: Level,
    /// A short sentence.
    pub message: String,
    /// Values by name, in the order in which they are best read.
    pub fields: Vec<(&'static str, Value)>,
}

/// One value of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; from outside, so it may have anything in it but a secret.
    Text(String),
    /// A count or seconds.
    Number(f64),
    /// Yes or no.
    Flag(bool),
}

impl Line {
    fn new(event: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self { event, level, message: message.into(), fields: Vec::new() }
    }

    fn text(mut self, name: &'static str, text: impl AsRef<str>) -> Self {
        self.fields.push((name, Value::Text(text.as_ref().to_owned())));
        self
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn count(mut self, name: &'static str, count: usize) -> Self {
        self.fields.push((name, Value::Number(count as f64)));
        self
    }

    #[expect(clippy::cast_precision_loss, reason = "generations stay far below 2^52")]
    fn generation(mut self, generation: Generation) -> Self {
        self.fields.push(("generation", Value::Number(generation.0 as f64)));
        self
    }

    fn flag(mut self, name: &'static str, flag: bool) -> Self {
        self.fields.push((name, Value::Flag(flag)));
        self
    }

    fn span(mut self, name: &'static str, span: Duration) -> Self {
        let seconds = (span.as_secs_f64() * 1000.0).round() / 1000.0;
        self.fields.push((name, Value::Number(seconds)));
        self
    }

    fn failure(mut self, failure: &Failure) -> Self {
        self = self.text("error", &failure.text);
        match &failure.hint {
            Some(hint) => self.text("hint", hint),
            None => self,
        }
    }
}

/// `record` for a sink.
#[expect(clippy::too_many_lines, reason = "one arm a record: the catalogue in words")]
pub fn line(record: &Record) -> Line {
    use Level::{Error, Info, Warn};
    match record {
        Record::Adopted { leases, generation } => {
            Line::new("adopted", Info, "going on where an earlier process stopped")
                .count("leases", *leases)
                .generation(*generation)
        }
        Record::SessionOpened { ttl, renewable } => {
            let line = Line::new("session_opened", Info, "logged in to Vault");
            optional(line, "ttl_seconds", *ttl).flag("renewable", *renewable)
        }
        Record::SecretIdUnwrapped => {
            Line::new("secret_id_unwrapped", Info, "the wrapped secret id is unwrapped and kept")
        }
        Record::LoginFailed { failure, retry_in } => {
            Line::new("login_failed", Warn, "login to Vault failed, trying again")
                .span("retry_in_seconds", *retry_in)
                .failure(failure)
        }
        Record::LoginRefused { failure } => {
            let message =
                "Vault refuses these credentials; others are used as soon as they are there";
            Line::new("login_refused", Error, message).failure(failure)
        }
        Record::SessionRenewed { ttl } => {
            optional(Line::new("session_renewed", Info, "token renewed"), "ttl_seconds", *ttl)
        }
        Record::SessionRenewalFailed { failure } => {
            let message = "token not renewed; trying again, or logging in anew before it ends";
            Line::new("session_renewal_failed", Warn, message).failure(failure)
        }
        Record::SessionLookupFailed { failure } => {
            let message = "Vault cannot be asked about the token, trying again";
            Line::new("session_lookup_failed", Warn, message).failure(failure)
        }
        Record::LookupFailed { secret, lease, failure } => {
            let message =
                format!("Vault cannot be asked about the login for `{secret}`, trying again");
            Line::new("lookup_failed", Warn, message)
                .text("secret", secret)
                .text("lease", lease)
                .failure(failure)
        }
        Record::SessionEnding { remaining } => {
            Line::new("session_ending", Info, "token nears its end, logging in anew")
                .span("remaining_seconds", *remaining)
        }
        Record::SessionLost { cause } => {
            let message = "token is no longer valid, and no lease under it";
            let hint = "look into Vault's audit log for who ended it; a new login follows";
            Line::new("session_lost", Error, message).text("cause", cause).text("hint", hint)
        }
        Record::SessionEnded => Line::new("session_ended", Info, "old token let go"),
        Record::IssueRequested { secret } => {
            let message = format!("asking for a new login for `{secret}`");
            Line::new("issue_requested", Info, message).text("secret", secret)
        }
        Record::LeaseIssued { secret, lease, username, ttl, request_id } => {
            let message = match username.as_str() {
                "" => format!("new lease for `{secret}`"),
                username => format!("new login `{username}` for `{secret}`"),
            };
            let line = leased("lease_issued", Info, message, secret, lease);
            user(line, username).span("ttl_seconds", *ttl).text("request_id", request_id)
        }
        Record::IssueFailed { secret, failure, retry_in } => {
            let message = format!("no new login for `{secret}`, trying again");
            Line::new("issue_failed", Warn, message)
                .text("secret", secret)
                .span("retry_in_seconds", *retry_in)
                .failure(failure)
        }
        Record::IssueUnanswered { secret, undone } => {
            let (level, fate) =
                if *undone { (Info, "and is being ended") } else { (Warn, "that nobody knows") };
            let message = format!("a login for `{secret}` may exist {fate}");
            let hint = "see what cuts answers off between here and Vault";
            Line::new("issue_unanswered", level, message)
                .text("secret", secret)
                .flag("undone", *undone)
                .text("hint", hint)
        }
        Record::NoChildTokens { failure } => {
            let message =
                "no child tokens: an issue whose answer is lost leaves a login to its end";
            Line::new("no_child_tokens", Warn, message).failure(failure)
        }
        Record::BudgetSpent { secret, retry_in } => {
            let message = format!("too many new logins for `{secret}`, waiting");
            Line::new("budget_spent", Warn, message)
                .text("secret", secret)
                .span("retry_in_seconds", *retry_in)
        }
        Record::CredentialProved { secret, lease } => {
            let message = format!("the database accepts the new login for `{secret}`");
            leased("credential_proved", Info, message, secret, lease)
        }
        Record::CredentialRefused { secret, lease, failure } => {
            let message = format!("the database refuses the new login for `{secret}`");
            leased("credential_refused", Warn, message, secret, lease).failure(failure)
        }
        Record::ProbeFailed { secret, failure } => {
            let message = format!("the new login for `{secret}` could not be tried");
            Line::new("probe_failed", Warn, message).text("secret", secret).failure(failure)
        }
        Record::PublishedUnproved { secret, lease } => {
            let message = format!("new login for `{secret}` published without having been tried");
            leased("published_unproved", Warn, message, secret, lease)
        }
        Record::MaximumLearned { secret, lease, remaining } => {
            let message = format!("longest life of the login for `{secret}` learned");
            leased("maximum_learned", Info, message, secret, lease)
                .span("remaining_seconds", *remaining)
        }
        Record::MaximumUnknown { secret, lease, failure } => {
            let message = format!("longest life of the login for `{secret}` is not known");
            leased("maximum_unknown", Warn, message, secret, lease).failure(failure)
        }
        Record::GraceCut { secret, grace } => {
            let message = format!("`grace` of `{secret}` does not fit into its lease and is cut");
            Line::new("grace_cut", Warn, message)
                .text("secret", secret)
                .span("grace_seconds", *grace)
        }
        Record::LeaseRenewed { secret, lease, ttl } => {
            let message = format!("login for `{secret}` renewed");
            leased("lease_renewed", Info, message, secret, lease).span("ttl_seconds", *ttl)
        }
        Record::RenewalFailed { secret, lease, failure, remaining } => {
            let message = format!("login for `{secret}` not renewed, trying again");
            leased("renewal_failed", Warn, message, secret, lease)
                .span("remaining_seconds", *remaining)
                .failure(failure)
        }
        Record::LeaseLost { secret, lease, cause } => {
            let message = format!("a login for `{secret}` ended before its time");
            let hint = "look into Vault's audit log for who revoked it; a new login follows";
            leased("lease_lost", Error, message, secret, lease)
                .text("cause", cause)
                .text("hint", hint)
        }
        Record::Rotated { secret, lease, username, took } => {
            let message = match username.as_str() {
                "" => format!("`{secret}` rotated"),
                username => format!("`{secret}` rotated to `{username}`"),
            };
            user(leased("rotated", Info, message, secret, lease), username)
                .span("took_seconds", *took)
        }
        Record::Confirmed { secret, lease, after } => {
            let message = format!("the app uses the new login for `{secret}`");
            leased("confirmed", Info, message, secret, lease).span("after_seconds", *after)
        }
        Record::Unconfirmed { secret, lease, remaining } => {
            let message = format!("nothing shows that the app left the old login for `{secret}`");
            leased("unconfirmed", Warn, message, secret, lease)
                .span("remaining_seconds", *remaining)
        }
        Record::CountFailed { secret, failure } => {
            let message = format!("sessions of `{secret}` could not be counted");
            Line::new("count_failed", Warn, message).text("secret", secret).failure(failure)
        }
        Record::Draining { secret, lease, grace } => {
            let message = format!("the old login for `{secret}` ends by itself");
            leased("draining", Info, message, secret, lease).span("grace_seconds", *grace)
        }
        Record::DrainFailed { secret, lease, failure } => {
            let message = format!("the end of the old login for `{secret}` is not set yet");
            leased("drain_failed", Warn, message, secret, lease).failure(failure)
        }
        Record::GraceViolated { secret, lease, missing } => {
            let message = format!("the old login for `{secret}` ended before its grace had passed");
            leased("grace_violated", Error, message, secret, lease)
                .span("missing_seconds", *missing)
        }
        Record::LeaseEnded { secret, lease } => {
            let message = format!("a login for `{secret}` is revoked");
            leased("lease_ended", Info, message, secret, lease)
        }
        Record::EndFailed { secret, lease, failure } => {
            let message = format!("a login for `{secret}` is not revoked yet, trying again");
            leased("end_failed", Warn, message, secret, lease).failure(failure)
        }
        Record::RevokeDenied { secret, lease, failure } => {
            let message = format!("no right to revoke a login for `{secret}`; shortening it");
            leased("revoke_denied", Warn, message, secret, lease).failure(failure)
        }
        Record::ValueRead { secret, version } => {
            let message = format!("new value of `{secret}` read");
            Line::new("value_read", Info, message).text("secret", secret).text("version", version)
        }
        Record::ReadFailed { secret, failure, stale } => {
            let message = format!("`{secret}` could not be read, trying again");
            Line::new("read_failed", Warn, message)
                .text("secret", secret)
                .flag("stale", *stale)
                .failure(failure)
        }
        Record::ReadStopped { secret, failure } => {
            let message = format!("`{secret}` is not read again: it is leased");
            Line::new("read_stopped", Error, message).text("secret", secret).failure(failure)
        }
        Record::RehearsalFailed { failure, retry_in } => {
            let message = "the next files could not be published; no login is asked for until then";
            Line::new("rehearsal_failed", Warn, message)
                .span("retry_in_seconds", *retry_in)
                .failure(failure)
        }
        Record::Published { generation, secrets } => {
            Line::new("published", Info, format!("generation {generation} is visible"))
                .generation(*generation)
                .text("secrets", secrets.join(","))
        }
        Record::PublishFailed { generation, failure, retry_in } => {
            let message = format!("generation {generation} not published, the last one stays");
            Line::new("publish_failed", Error, message)
                .generation(*generation)
                .span("retry_in_seconds", *retry_in)
                .failure(failure)
        }
        Record::Repairing { file } => {
            let message = "somebody changed the publish directory; putting it back";
            Line::new("repairing", Warn, message).text("file", file)
        }
        Record::Tampered { file, times } => {
            let message = "somebody changes the publish directory again and again";
            let times = usize::try_from(*times).unwrap_or(usize::MAX);
            Line::new("tampered", Error, message).text("file", file).count("times", times)
        }
        Record::Delivered { target, generation } => {
            Line::new("delivered", Info, format!("`{target}` knows of generation {generation}"))
                .text("target", target)
                .generation(*generation)
        }
        Record::DeliveryFailed { target, generation, failure, retry_in } => {
            let message = format!("`{target}` not told of generation {generation}, trying again");
            Line::new("delivery_failed", Warn, message)
                .text("target", target)
                .generation(*generation)
                .span("retry_in_seconds", *retry_in)
                .failure(failure)
        }
        Record::Stopping { leases } => {
            Line::new("stopping", Info, "stopping").count("leases", *leases)
        }
        Record::Stopped { leases } => {
            let message = "stopped; the leases left are taken over, or end by themselves";
            Line::new("stopped", Info, message).count("leases", *leases)
        }
    }
}

fn leased(
    event: &'static str,
    level: Level,
    message: String,
    secret: impl AsRef<str>,
    lease: &str,
) -> Line {
    Line::new(event, level, message).text("secret", secret).text("lease", lease)
}

fn user(line: Line, username: &str) -> Line {
    if username.is_empty() { line } else { line.text("username", username) }
}

fn optional(line: Line, name: &'static str, span: Option<Duration>) -> Line {
    match span {
        Some(span) => line.span(name, span),
        None => line,
    }
}

#[cfg(test)]
pub(crate) mod tests;
