use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::agent::view::SecretView;
use crate::agent::{Confirm, Gives, LeasedPolicy, OnStop, PolledPolicy, Refresh, Until};
use crate::error::{Class, Failure};
use crate::snapshot::Generation;

fn metrics() -> Metrics {
    let leased = SecretPolicy::Leased(LeasedPolicy {
        source: "database/creds/r".to_owned(),
        gives: Gives::Login,
        required: true,
        connection: None,
        confirm: Confirm::None,
        grace: Duration::from_secs(300),
        unconfirmed_after: None,
        rotate_every: None,
        lookup: Duration::from_secs(30),
    });
    let polled = |gives, refresh| {
        let (source, required, connection) = ("somewhere".to_owned(), false, None);
        SecretPolicy::Polled(PolledPolicy { source, required, gives, connection, refresh })
    };
    let asked = Refresh::Asked(Duration::from_secs(15));
    let mail = polled(Gives::Fields, asked);
    let shared = polled(Gives::Login, asked);
    let tls = polled(Gives::Fields, Refresh::Made);
    Metrics::new(&Policy {
        secrets: [("db", leased), ("mail", mail), ("shared", shared), ("tls", tls)]
            .map(|(name, policy)| (name.into(), policy))
            .into(),
        targets: [("api".into(), BTreeSet::new())].into(),
        on_stop: OnStop::Drain,
        stop_timeout: Duration::from_secs(10),
        until: Until::Stopped,
    })
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let page = metrics.page();
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|text| text.parse().unwrap())
}

fn issued(lease: &str) -> Record {
    Record::LeaseIssued {
        secret: "db".into(),
        lease: lease.to_owned(),
        username: "v-canary".to_owned(),
        ttl: Duration::from_secs(60),
        request_id: "r".to_owned(),
    }
}

fn rotated(lease: &str) -> Record {
    let (username, took) = ("v-canary".to_owned(), Duration::from_secs(70));
    Record::Rotated { secret: "db".into(), lease: lease.to_owned(), username, took }
}

fn lost(lease: &str) -> Record {
    Record::LeaseLost { secret: "db".into(), lease: lease.to_owned(), cause: "c".to_owned() }
}

fn published() -> Record {
    Record::Published { generation: Generation(1), secrets: vec!["db".into()] }
}

/// `[success, failure, given up]` of the database after these records.
fn rotations(records: &[Record]) -> [f64; 3] {
    let metrics = metrics();
    records.iter().for_each(|record| metrics.record(record));
    [
        "secret_rotation_total{secret_type=\"database\",status=\"success\"}",
        "secret_rotation_total{secret_type=\"database\",status=\"failure\"}",
        "leasehold_db_credential_renewal_failures_total{secret_name=\"db\"}",
    ]
    .map(|series| value(&metrics, series).unwrap())
}

#[test]
fn the_guides_names_labels_help_and_buckets() {
    let metrics = metrics();
    let page = metrics.page();
    for line in [
        "# HELP secret_rotation_total Total number of secret rotations",
        "# TYPE secret_rotation_total counter",
        "# HELP secret_rotation_duration_seconds Duration of secret rotation in seconds",
        "# TYPE secret_rotation_duration_seconds histogram",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    for kind in TYPES {
        for status in ["success", "failure"] {
            let series =
                format!("secret_rotation_total{{secret_type=\"{kind}\",status=\"{status}\"}}");
            assert_eq!(value(&metrics, &series), Some(0.0), "{series}");
        }
        let bounds: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("secret_rotation_duration_seconds_bucket"))
            .filter(|line| line.contains(kind))
            .filter_map(|line| line.split("le=\"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(bounds, ["60.0", "300.0", "600.0", "1800.0", "3600.0", "+Inf"]);
    }
}

#[test]
fn a_rotation_counts_once_at_its_end() {
    let refused = Record::CredentialRefused {
        secret: "db".into(),
        lease: "b".to_owned(),
        failure: Failure::new(Class::Denied, "no"),
    };
    let adopted = Record::Adopted { leases: 2, generation: Generation(4) };
    let draining = |lease: &str| Record::Draining {
        secret: "db".into(),
        lease: lease.to_owned(),
        grace: Duration::from_secs(5),
    };
    let first = || vec![issued("a"), published()];
    let with = |more: Vec<Record>| [first(), more].concat();
    for (records, expected) in [
        (first(), [0.0, 0.0, 0.0]),
        (with(vec![issued("b"), rotated("b"), published()]), [1.0, 0.0, 0.0]),
        (with(vec![issued("b"), refused.clone(), issued("c"), rotated("c")]), [1.0, 0.0, 0.0]),
        (with(vec![lost("a")]), [0.0, 1.0, 1.0]),
        (with(vec![issued("b"), lost("a"), rotated("b")]), [1.0, 0.0, 1.0]),
        (with(vec![issued("b"), lost("b")]), [0.0, 0.0, 0.0]),
        (with(vec![issued("b"), refused, lost("a")]), [0.0, 1.0, 1.0]),
        (with(vec![issued("b"), rotated("b"), lost("a")]), [1.0, 0.0, 0.0]),
        (vec![adopted.clone(), lost("x")], [0.0, 1.0, 1.0]),
        (vec![adopted, draining("x"), lost("x")], [0.0, 0.0, 0.0]),
    ] {
        assert_eq!(rotations(&records), expected, "{records:?}");
    }
}

#[test]
fn a_first_value_is_no_rotation_and_a_later_one_is() {
    let read = || Record::ValueRead { secret: "mail".into(), version: "1".into() };
    let series = "secret_rotation_total{secret_type=\"api_key\",status=\"success\"}";
    let fresh = metrics();
    fresh.record(&read());
    assert_eq!(value(&fresh, series), Some(0.0));
    fresh.record(&read());
    assert_eq!(value(&fresh, series), Some(1.0));

    let restarted = metrics();
    restarted.record(&Record::Adopted { leases: 0, generation: Generation(2) });
    restarted.record(&read());
    assert_eq!(value(&restarted, series), Some(1.0));
}

#[test]
fn the_view_sets_the_gauges() {
    let metrics = metrics();
    let day = Duration::from_secs(86_400);
    let now = Moment::from_micros(1_000_000_000_000_000);
    let db = SecretView {
        version: Some("v".into()),
        obtained: Some(now - day / 2),
        expires: Some(now + day / 4),
        leases: 2,
        budget: 4,
        rotating_since: Some(now - Duration::from_secs(3)),
        username: Some("v-canary".to_owned()),
        ..SecretView::default()
    };
    let mail =
        SecretView { version: Some("7".into()), obtained: Some(now), ..SecretView::default() };
    let mut view = View {
        generation: Generation(17),
        secrets: [("db".into(), db), ("mail".into(), mail)].into(),
        targets: [("api".into(), true), ("other".into(), false)].into(),
        ..View::default()
    };
    metrics.observe(&view, now, 1_700_000_000_000_000);
    for (series, expected) in [
        ("secret_age_days{secret_type=\"database\",secret_name=\"db\"}", Some(0.5)),
        ("secret_age_days{secret_type=\"api_key\",secret_name=\"mail\"}", Some(0.0)),
        ("secret_expiration_days{secret_type=\"database\",secret_name=\"db\"}", Some(0.25)),
        ("secret_expiration_days{secret_type=\"api_key\",secret_name=\"mail\"}", None),
        (
            "leasehold_credential_expiry_timestamp_seconds{secret_name=\"db\"}",
            Some(1_700_000_000.0 + 21_600.0),
        ),
        ("leasehold_generation", Some(17.0)),
        ("leasehold_notify_pending", Some(1.0)),
        ("leasehold_leases_held{secret_name=\"db\"}", Some(2.0)),
        ("leasehold_issue_budget_remaining{secret_name=\"db\"}", Some(4.0)),
        ("leasehold_rotation_in_progress_seconds{secret_name=\"db\"}", Some(3.0)),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }

    let later = now + day;
    metrics.observe(&view, later, 1_700_000_000_000_000);
    let expired = "secret_expiration_days{secret_type=\"database\",secret_name=\"db\"}";
    assert_eq!(value(&metrics, expired), Some(-0.75));

    view.secrets.get_mut("db").unwrap().version = None;
    metrics.observe(&view, later, 0);
    assert_eq!(value(&metrics, expired), None);
}

#[test]
fn every_counter_is_there_at_zero_and_no_label_names_a_user() {
    let metrics = Arc::new(metrics());
    for series in [
        "leasehold_notify_attempts_total{target=\"api\",outcome=\"success\"}",
        "leasehold_notify_attempts_total{target=\"api\",outcome=\"failure\"}",
        "leasehold_vault_requests_total{operation=\"issue\",outcome=\"unclear\"}",
        "leasehold_db_credential_renewal_failures_total{secret_name=\"db\"}",
        "leasehold_grace_violations_total{secret_name=\"db\"}",
        "leasehold_vault_request_duration_seconds_count{operation=\"login\"}",
    ] {
        assert_eq!(value(&metrics, series), Some(0.0), "{series}");
    }
    let before = metrics.page().lines().filter(|line| !line.starts_with('#')).count();
    for record in crate::audit::line::tests::every_record() {
        metrics.record(&record);
    }
    metrics.vault_request("issue", "ok", Duration::from_millis(7));
    let page = metrics.page();
    assert!(!page.contains("v-app") && !page.contains("0123456789abcdef"), "{page}");
    assert_eq!(page.lines().filter(|line| !line.starts_with('#')).count(), before);
    assert!(
        page.contains(&format!(
            "leasehold_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        ))
    );
}

/// What a reader of the text format 0.0.4, and `promtool check metrics`, insist on.
#[test]
fn the_page_is_well_formed() {
    let metrics = metrics();
    let now = Moment::from_micros(7);
    let secret = SecretView {
        version: Some("v".into()),
        obtained: Some(now),
        expires: Some(now),
        ..SecretView::default()
    };
    let view = View { secrets: [("db".into(), secret)].into(), ..View::default() };
    metrics.observe(&view, now, 7);
    let page = metrics.page();
    assert!(page.ends_with('\n') && !page.contains("# EOF") && !page.contains("# UNIT"));
    let mut described = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let (mut name, mut kind) = ("", "");
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            name = rest.split(' ').next().unwrap();
            assert!(described.insert(name), "{name} is described twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (typed, found) = rest.split_once(' ').unwrap();
            assert_eq!(typed, name);
            kind = found;
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let base = series.split('{').next().unwrap();
            let stem = match kind {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| base.strip_suffix(suffix))
                    .unwrap_or(base),
                _ => base,
            };
            assert_eq!(stem, name, "{line} stands below another name");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned()), "{series} stands there twice");
        }
    }
    assert_eq!(described.len(), 18, "{described:?}");
}
