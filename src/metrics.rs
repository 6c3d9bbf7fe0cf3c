//! Prometheus metrics out of records and views.
//!
//! Receives records as they happen and the view at each scrape, gives one page of text. Never
//! labels anything with a user name, a lease or a token: labels come from the configuration or from
//! fixed lists.

mod rotation;
mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use crate::agent::view::View;
use crate::agent::{Gives, Policy, Refresh, SecretPolicy};
use crate::audit::event::Record;
use crate::metrics::rotation::Known;
use crate::metrics::series::{Histograms, Series};
use crate::snapshot::SecretName;
use crate::time::Moment;

/// What a page of [`Metrics::page`] is, for the `Content-Type` header.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kinds of secrets that rotations are counted by.
const TYPES: [&str; 4] = ["database", "jwt", "api_key", "certificate"];

/// Every operation that `vault` may report.
const OPERATIONS: [&str; 13] = [
    "login",
    "lookup_wrapping",
    "unwrap",
    "lookup_token",
    "renew_token",
    "revoke_token",
    "create_token",
    "issue",
    "renew_lease",
    "lookup_lease",
    "revoke_lease",
    "read_metadata",
    "read",
];

/// Every outcome that `vault` may report.
const OUTCOMES: [&str; 8] =
    ["ok", "again", "denied", "missing", "gone", "conflict", "unclear", "ours"];

const ROTATION_BUCKETS: [f64; 5] = [60.0, 300.0, 600.0, 1800.0, 3600.0];

const REQUEST_BUCKETS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

const DAY: f64 = 86_400.0;

/// What the policy says of the secrets.
#[derive(Default)]
struct Names {
    types: BTreeMap<SecretName, &'static str>,
    /// Those that have leases, whatever their type.
    leased: BTreeSet<SecretName>,
    /// Those of which new ones are made, out of a budget.
    made: BTreeSet<SecretName>,
}

impl Names {
    fn of(policy: &Policy) -> Self {
        let types = policy.secrets.iter().map(|(name, policy)| (name.clone(), kind(policy)));
        let is_leased = |policy: &SecretPolicy| matches!(policy, SecretPolicy::Leased(_));
        let leased = policy.secrets.iter().filter(|(_, policy)| is_leased(policy));
        let is_made = |policy: &SecretPolicy| is_leased(policy) || kind(policy) == "certificate";
        let made = policy.secrets.iter().filter(|(_, policy)| is_made(policy));
        Self {
            types: types.collect(),
            leased: leased.map(|(name, _)| name.clone()).collect(),
            made: made.map(|(name, _)| name.clone()).collect(),
        }
    }
}

/// All metrics of one agent.
pub struct Metrics {
    registry: Registry,
    names: RwLock<Names>,
    rotations: Series,
    rotation_duration: Histograms,
    age: Series,
    expiration: Series,
    expiry: Series,
    generation: Series,
    notify_attempts: Series,
    notify_pending: Series,
    vault_requests: Series,
    vault_duration: Histograms,
    leases: Series,
    budget: Series,
    renewal_failures: Series,
    in_progress: Series,
    grace_violations: Series,
    reloads: Series,
    reloaded: Series,
    known: Mutex<Known>,
}

impl Metrics {
    /// Every counter at 0.
    pub fn new(policy: &Policy) -> Self {
        let mut registry = Registry::default();
        let secret = &["secret_name"];
        let both = &["secret_type", "secret_name"];
        let mut counter = |name: &str, help: &str, labels| {
            let series = Series::counter(labels);
            registry.register(name, help, series.clone());
            series
        };
        let rotations = counter(
            "secret_rotation_total",
            "Total number of secret rotations",
            &["secret_type", "status"],
        );
        let notify_attempts = counter(
            "leasehold_notify_attempts_total",
            "Attempts to tell a target",
            &["target", "outcome"],
        );
        let vault_requests = counter(
            "leasehold_vault_requests_total",
            "Requests to Vault",
            &["operation", "outcome"],
        );
        let renewal_failures = counter(
            "leasehold_db_credential_renewal_failures_total",
            "Database logins in use whose renewal was given up",
            secret,
        );
        let grace_violations = counter(
            "leasehold_grace_violations_total",
            "Old logins that ended before their grace had passed",
            secret,
        );
        let reloads = counter(
            "leasehold_config_reloads_total",
            "Changed configurations, applied or refused",
            &["outcome"],
        );
        let mut gauge = |name: &str, help: &str, labels| {
            let series = Series::gauge(labels);
            registry.register(name, help, series.clone());
            series
        };
        let age = gauge("secret_age_days", "Age of secret in days", both);
        let expiration = gauge("secret_expiration_days", "Days until secret expiration", both);
        let expiry = gauge(
            "leasehold_credential_expiry_timestamp_seconds",
            "When the published credential ends unless it is renewed",
            secret,
        );
        let generation = gauge("leasehold_generation", "The visible generation", &[]);
        let notify_pending =
            gauge("leasehold_notify_pending", "Targets that owe an acknowledgement", &[]);
        let leases = gauge("leasehold_leases_held", "Leases held, draining ones too", secret);
        let budget = gauge(
            "leasehold_issue_budget_remaining",
            "Logins or certificates that may still be asked for at once",
            secret,
        );
        let in_progress = gauge(
            "leasehold_rotation_in_progress_seconds",
            "How long a rotation has been under way, 0 without one",
            secret,
        );
        let reloaded = gauge(
            "leasehold_config_last_reload_successful",
            "Whether the agent goes on by the configuration as it is",
            &[],
        );
        let build = gauge("leasehold_build_info", "The version that runs", &["version"]);
        build.set(&[env!("CARGO_PKG_VERSION")], Some(1.0));
        let mut histogram = |name: &str, help: &str, labels, buckets| {
            let series = Histograms::new(labels, buckets);
            registry.register(name, help, series.clone());
            series
        };
        let rotation_duration = histogram(
            "secret_rotation_duration_seconds",
            "Duration of secret rotation in seconds",
            &["secret_type"],
            &ROTATION_BUCKETS,
        );
        let vault_duration = histogram(
            "leasehold_vault_request_duration_seconds",
            "How long requests to Vault took",
            &["operation"],
            &REQUEST_BUCKETS,
        );

        let metrics = Self {
            names: RwLock::default(),
            rotations,
            rotation_duration,
            age,
            expiration,
            expiry,
            generation,
            notify_attempts,
            notify_pending,
            vault_requests,
            vault_duration,
            leases,
            budget,
            renewal_failures,
            in_progress,
            grace_violations,
            reloads,
            reloaded,
            known: Mutex::default(),
            registry,
        };
        metrics.start();
        metrics.follow(policy);
        metrics
    }

    fn start(&self) {
        for kind in TYPES {
            self.rotations.start(&[kind, "success"]);
            self.rotations.start(&[kind, "failure"]);
            self.rotation_duration.start(&[kind]);
        }
        for operation in OPERATIONS {
            self.vault_duration.start(&[operation]);
            for outcome in OUTCOMES {
                self.vault_requests.start(&[operation, outcome]);
            }
        }
        self.reloads.start(&["applied"]);
        self.reloads.start(&["refused"]);
        self.reloaded.set(&[], Some(1.0));
    }

    /// Shows what `policy` names from now on. Counters go on, gauges of what it gave up are gone.
    pub fn follow(&self, policy: &Policy) {
        let names = Names::of(policy);
        for name in &names.leased {
            self.renewal_failures.start(&[name]);
            self.grace_violations.start(&[name]);
        }
        for target in policy.targets.keys() {
            self.notify_attempts.start(&[target, "success"]);
            self.notify_attempts.start(&[target, "failure"]);
        }
        let mut known = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, names);
        for (name, kind) in before.types {
            if known.types.get(&name) != Some(&kind) {
                self.age.set(&[kind, &name], None);
                self.expiration.set(&[kind, &name], None);
                self.expiry.set(&[&name], None);
            }
            if before.leased.contains(&name) && !known.leased.contains(&name) {
                self.leases.set(&[&name], None);
                self.in_progress.set(&[&name], None);
            }
            if before.made.contains(&name) && !known.made.contains(&name) {
                self.budget.set(&[&name], None);
            }
        }
    }

    /// Counts a changed configuration, which the agent goes on by or not.
    pub fn reloaded(&self, applied: bool) {
        self.reloads.add_one(&[if applied { "applied" } else { "refused" }]);
        self.configured(applied);
    }

    /// Whether the agent goes on by the configuration as it is.
    pub fn configured(&self, as_it_is: bool) {
        self.reloaded.set(&[], Some(f64::from(u8::from(as_it_is))));
    }

    /// Counts one request to Vault; the words are those of [`crate::vault::Observer`].
    pub fn vault_request(&self, operation: &str, outcome: &str, took: Duration) {
        self.vault_requests.add_one(&[operation, outcome]);
        self.vault_duration.observe(&[operation], took);
    }

    /// Counts what a record tells.
    ///
    /// A rotation is counted once, when it has ended. It succeeded when the new value took over
    /// (`Rotated`, or a later value of a polled secret). It failed when the login in use was lost
    /// (`LeaseLost`) and no new one had been obtained by then; a try that is tried again is
    /// neither. So is a value that ended with no newer one. A first value is no rotation.
    pub fn record(&self, record: &Record) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match record {
            Record::LeaseIssued { secret, lease, .. } => {
                known.candidate.insert(secret.clone(), lease.clone());
            }
            Record::CredentialRefused { secret, lease, .. } => {
                known.candidate.remove(secret);
                known.leaving.insert(lease.clone());
            }
            Record::Published { secrets, .. } => known.publish(secrets),
            Record::Rotated { secret, lease, took, .. } => {
                known.take_over(secret, lease);
                let kind = self.kind(secret);
                self.rotations.add_one(&[kind, "success"]);
                self.rotation_duration.observe(&[kind], *took);
            }
            Record::LeaseLost { secret, lease, .. } => {
                if known.lose(secret, lease) {
                    self.renewal_failures.add_one(&[secret]);
                    if !known.candidate.contains_key(secret) {
                        self.rotations.add_one(&[self.kind(secret), "failure"]);
                    }
                }
            }
            Record::ValueRead { secret, .. } => {
                if !known.read.insert(secret.clone()) {
                    self.rotations.add_one(&[self.kind(secret), "success"]);
                }
            }
            Record::ValueEnded { secret, .. } => {
                self.rotations.add_one(&[self.kind(secret), "failure"]);
            }
            Record::Adopted { generation, .. } if generation.0 > 0 => {
                known.read.extend(self.names().types.keys().cloned());
            }
            Record::Reloaded { removed, .. } => known.forget(removed),
            Record::Draining { lease, .. } | Record::Unconfirmed { lease, .. } => {
                known.leaving.insert(lease.clone());
            }
            Record::LeaseEnded { lease, .. } => {
                known.leaving.remove(lease);
            }
            Record::GraceViolated { secret, .. } => self.grace_violations.add_one(&[secret]),
            Record::Delivered { target, .. } => {
                self.notify_attempts.add_one(&[target, "success"]);
            }
            Record::DeliveryFailed { target, .. } => {
                self.notify_attempts.add_one(&[target, "failure"]);
            }
            Record::Adopted { .. }
            | Record::ReloadWaits { .. }
            | Record::SessionOpened { .. }
            | Record::SecretIdUnwrapped
            | Record::LoginFailed { .. }
            | Record::LoginRefused { .. }
            | Record::SessionRenewed { .. }
            | Record::SessionRenewalFailed { .. }
            | Record::SessionLookupFailed { .. }
            | Record::LookupFailed { .. }
            | Record::SessionEnding { .. }
            | Record::SessionLost { .. }
            | Record::SessionEnded
            | Record::IssueRequested { .. }
            | Record::IssueFailed { .. }
            | Record::IssueUnanswered { .. }
            | Record::NoChildTokens { .. }
            | Record::BudgetSpent { .. }
            | Record::CredentialProved { .. }
            | Record::ProbeFailed { .. }
            | Record::PublishedUnproved { .. }
            | Record::MaximumLearned { .. }
            | Record::MaximumUnknown { .. }
            | Record::GraceCut { .. }
            | Record::LeaseRenewed { .. }
            | Record::RenewalFailed { .. }
            | Record::Confirmed { .. }
            | Record::CountFailed { .. }
            | Record::DrainFailed { .. }
            | Record::EndFailed { .. }
            | Record::RevokeDenied { .. }
            | Record::ReadFailed { .. }
            | Record::ReadStopped { .. }
            | Record::RehearsalFailed { .. }
            | Record::PublishFailed { .. }
            | Record::Repairing { .. }
            | Record::Tampered { .. }
            | Record::Stopping { .. }
            | Record::Stopped { .. } => {}
        }
    }

    /// Sets every gauge to what `view` shows at `now`, when the wall clock reads `wall_micros`
    /// microseconds since 1970.
    #[expect(clippy::cast_precision_loss, reason = "microseconds and counts stay below 2^52")]
    pub fn observe(&self, view: &View, now: Moment, wall_micros: u64) {
        self.generation.set(&[], Some(view.generation.0 as f64));
        let pending = view.targets.values().filter(|owes| **owes).count();
        self.notify_pending.set(&[], Some(pending as f64));
        for (name, secret) in &view.secrets {
            let kind = self.kind(name);
            let visible = secret.version.is_some();
            let age = secret.obtained.filter(|_| visible).map(|at| now.since(at).as_secs_f64());
            self.age.set(&[kind, name], age.map(|age| age / DAY));
            // Below zero once it has passed.
            let left = secret
                .expires
                .filter(|_| visible)
                .map(|end| now.until(end).as_secs_f64() - now.since(end).as_secs_f64());
            self.expiration.set(&[kind, name], left.map(|left| left / DAY));
            let wall = wall_micros as f64 / 1e6;
            let end = left.map(|left| ((wall + left) * 1000.0).round() / 1000.0);
            self.expiry.set(&[name], end);
            if self.names().leased.contains(name) {
                self.leases.set(&[name], Some(secret.leases as f64));
                let since = secret.rotating_since.map(|since| now.since(since).as_secs_f64());
                self.in_progress.set(&[name], Some(since.unwrap_or(0.0)));
            }
            if self.names().made.contains(name) {
                self.budget.set(&[name], Some(f64::from(secret.budget)));
            }
        }
    }

    /// Everything as text.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a `String` cannot fail.
        let _ = encode_registry(&mut page, &self.registry);
        // The encoder ends every help text with a full stop; the texts are to be as they are here.
        let exact = |line: &str| match line.strip_prefix("# HELP ") {
            Some(help) => format!("# HELP {}\n", help.trim_end_matches('.')),
            None => format!("{line}\n"),
        };
        page.lines().map(exact).collect()
    }

    fn kind(&self, secret: &str) -> &'static str {
        self.names().types.get(secret).copied().unwrap_or("database")
    }

    fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What rotations of it are counted by.
fn kind(policy: &SecretPolicy) -> &'static str {
    let gives = match policy {
        SecretPolicy::Leased(leased) => leased.gives,
        SecretPolicy::Polled(polled) if polled.refresh == Refresh::Made => return "certificate",
        SecretPolicy::Polled(polled) => polled.gives,
    };
    match gives {
        Gives::Login => "database",
        Gives::Fields => "api_key",
    }
}

#[cfg(test)]
mod tests;
