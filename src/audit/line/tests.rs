use std::collections::BTreeSet;

use super::*;
use crate::error::Class;

fn failure() -> Failure {
    Failure::new(Class::Denied, "why").hint("what to do")
}

/// One of each. A variant that is missing here is found by `names_are_the_variants_names`, which
/// counts them in the catalogue's source.
pub(crate) fn every_record() -> Vec<Record> {
    let secret = || "db".into();
    let lease = || "0123456789abcdef".to_owned();
    let span = Duration::from_secs(7);
    let generation = Generation(17);
    let target = || "api".into();
    let username = || "v-app-1".to_owned();
    let cause = || "cause".to_owned();
    let (retry_in, remaining) = (span, span);
    vec![
        Record::Adopted { leases: 2, generation },
        Record::Reloaded { added: vec![secret()], removed: vec!["mail".into()] },
        Record::ReloadWaits { secrets: vec![secret()] },
        Record::SessionOpened { ttl: Some(span), renewable: true },
        Record::SecretIdUnwrapped,
        Record::LoginFailed { failure: failure(), retry_in },
        Record::LoginRefused { failure: failure() },
        Record::SessionRenewed { ttl: Some(span) },
        Record::SessionRenewalFailed { failure: failure() },
        Record::SessionLookupFailed { failure: failure() },
        Record::LookupFailed { secret: secret(), lease: lease(), failure: failure() },
        Record::SessionEnding { remaining },
        Record::SessionLost { cause: cause() },
        Record::SessionEnded,
        Record::IssueRequested { secret: secret() },
        Record::LeaseIssued {
            secret: secret(),
            lease: lease(),
            username: username(),
            ttl: span,
            request_id: "r".to_owned(),
        },
        Record::IssueFailed { secret: secret(), failure: failure(), retry_in },
        Record::IssueUnanswered { secret: secret(), undone: true },
        Record::NoChildTokens { failure: failure() },
        Record::BudgetSpent { secret: secret(), retry_in },
        Record::CredentialProved { secret: secret(), lease: lease() },
        Record::CredentialRefused { secret: secret(), lease: lease(), failure: failure() },
        Record::ProbeFailed { secret: secret(), failure: failure() },
        Record::PublishedUnproved { secret: secret(), lease: lease() },
        Record::MaximumLearned { secret: secret(), lease: lease(), remaining },
        Record::MaximumUnknown { secret: secret(), lease: lease(), failure: failure() },
        Record::GraceCut { secret: secret(), grace: span },
        Record::LeaseRenewed { secret: secret(), lease: lease(), ttl: span },
        Record::RenewalFailed { secret: secret(), lease: lease(), failure: failure(), remaining },
        Record::LeaseLost { secret: secret(), lease: lease(), cause: cause() },
        Record::Rotated { secret: secret(), lease: lease(), username: username(), took: span },
        Record::Confirmed { secret: secret(), lease: lease(), after: span },
        Record::Unconfirmed { secret: secret(), lease: lease(), remaining },
        Record::CountFailed { secret: secret(), failure: failure() },
        Record::Draining { secret: secret(), lease: lease(), grace: span },
        Record::DrainFailed { secret: secret(), lease: lease(), failure: failure() },
        Record::GraceViolated { secret: secret(), lease: lease(), missing: span },
        Record::LeaseEnded { secret: secret(), lease: lease() },
        Record::EndFailed { secret: secret(), lease: lease(), failure: failure() },
        Record::RevokeDenied { secret: secret(), lease: lease(), failure: failure() },
        Record::ValueRead { secret: secret(), version: "3".into() },
        Record::ValueEnded { secret: secret(), version: "3".into() },
        Record::ReadFailed { secret: secret(), failure: failure(), stale: true },
        Record::ReadStopped { secret: secret(), failure: failure() },
        Record::RehearsalFailed { failure: failure(), retry_in },
        Record::Published { generation, secrets: vec![secret(), "mail".into()] },
        Record::PublishFailed { generation, failure: failure(), retry_in },
        Record::Repairing { file: "app.env".to_owned() },
        Record::Tampered { file: "app.env".to_owned(), times: 4 },
        Record::Delivered { target: target(), generation },
        Record::DeliveryFailed { target: target(), generation, failure: failure(), retry_in },
        Record::Stopping { leases: 1 },
        Record::Stopped { leases: 1 },
    ]
}

#[test]
fn names_are_the_variants_names() {
    for record in every_record() {
        let variant: String =
            format!("{record:?}").chars().take_while(char::is_ascii_alphabetic).collect();
        let mut name = String::new();
        for c in variant.chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        assert_eq!(line(&record).event, name);
    }
    let (_, catalogue) = include_str!("../event.rs").split_once("pub enum Record {").unwrap();
    let variants = catalogue
        .lines()
        .filter(|line| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase))
        .count();
    let names: BTreeSet<_> = every_record().iter().map(|record| line(record).event).collect();
    assert_eq!(names.len(), variants);
}

#[test]
fn what_may_cost_the_app_its_credentials_is_an_error() {
    let errors: Vec<_> = every_record()
        .iter()
        .map(line)
        .filter(|line| line.level == Level::Error)
        .map(|line| line.event)
        .collect();
    assert_eq!(
        errors,
        [
            "login_refused",
            "session_lost",
            "lease_lost",
            "grace_violated",
            "value_ended",
            "read_stopped",
            "publish_failed",
            "tampered"
        ]
    );
}

#[test]
fn a_failure_is_never_only_information() {
    for record in every_record() {
        let line = line(&record);
        let failed = line.fields.iter().any(|(name, _)| *name == "error");
        assert!(!failed || line.level != Level::Info, "{}", line.event);
    }
}

#[test]
fn a_hint_stands_beside_its_error() {
    let line = line(&Record::LoginRefused { failure: failure() });
    assert_eq!(
        line.fields,
        [("error", Value::Text("why".to_owned())), ("hint", Value::Text("what to do".to_owned()))]
    );
}
