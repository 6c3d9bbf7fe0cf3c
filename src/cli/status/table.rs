//! An agent's account of itself for a person: the verdict first, then a line for each thing.

use jiff::Timestamp;

use crate::logs::visible;
use crate::server::status::{Due, Secret, Status};
use crate::timeline::span;

/// The lines; `now` is what times are told from.
pub(super) fn lines(status: &Status, now: Timestamp) -> Vec<String> {
    let mut lines = vec![verdict(status), token(status, now), String::new()];
    let secrets = status.secrets.iter().map(|(name, secret)| {
        [
            name.clone(),
            state(secret).to_owned(),
            secret.version.clone().unwrap_or_else(none),
            secret.obtained_at.as_deref().map_or_else(none, |at| ago(at, now)),
            secret.expires_at.as_deref().map_or_else(none, |at| relative(at, now)),
            next(status, &["renew", "replace", "read"], name, now).unwrap_or_else(|| {
                let rotating = secret.rotating_since.is_some();
                if rotating { "is being replaced".to_owned() } else { none() }
            }),
            old(status, secret, name, now),
        ]
    });
    let head = ["SECRET", "STATE", "VERSION", "AGE", "ENDS", "NEXT", "OLD"].map(str::to_owned);
    lines.extend(columns(std::iter::once(head).chain(secrets).collect()));
    if !status.targets.is_empty() {
        lines.push(String::new());
        let targets = status.targets.iter().map(|(name, target)| {
            let again = next(status, &["tell"], name, now).unwrap_or_else(none);
            let state = if target.pending { "not told" } else { "told" };
            [name.clone(), state.to_owned(), again]
        });
        let head = ["TARGET", "STATE", "NEXT"].map(str::to_owned);
        lines.extend(columns(std::iter::once(head).chain(targets).collect()));
    }
    lines.iter().map(|line| visible(line.trim_end())).collect()
}

fn none() -> String {
    "-".to_owned()
}

fn verdict(status: &Status) -> String {
    let unready = status.secrets.values().filter(|secret| secret.required && !secret.valid).count();
    let state = match (status.stopping, status.ready, status.started) {
        (true, ..) => "stopping".to_owned(),
        (false, true, _) => "ready".to_owned(),
        (false, false, true) => format!("NOT READY: {unready} required not valid"),
        (false, false, false) => "NOT READY: nothing is published yet".to_owned(),
    };
    format!("{}  {state}  generation {}", status.instance, status.generation)
}

fn token(status: &Status, now: Timestamp) -> String {
    let next = status.next.iter().find(|due| ["login", "renew_token"].contains(&&*due.what));
    let next = next.map(|due| format!(", {}", happens(due, now))).unwrap_or_default();
    match (status.session.valid, &status.session.expires_at) {
        (true, Some(end)) => format!("token  valid, ends {}{next}", relative(end, now)),
        (true, None) => format!("token  valid, without an end{next}"),
        (false, _) if !status.session.needed => "token  none, nothing comes from Vault".to_owned(),
        (false, _) => format!("token  NONE{next}"),
    }
}

fn state(secret: &Secret) -> &'static str {
    match (secret.version.is_some(), secret.valid, secret.stale, secret.required) {
        (false, _, _, true) => "MISSING",
        (false, _, _, false) => "none, optional",
        (true, false, ..) => "NOT VALID",
        (true, true, true, _) => "stale",
        (true, true, false, _) => "valid",
    }
}

/// The soonest of `whats` that is due with `name`.
fn next(status: &Status, whats: &[&str], name: &str, now: Timestamp) -> Option<String> {
    let mine = |due: &&Due| due.of.as_deref() == Some(name) && whats.contains(&&*due.what);
    status.next.iter().find(mine).map(|due| happens(due, now))
}

/// Logins that were replaced and still work.
fn old(status: &Status, secret: &Secret, name: &str, now: Timestamp) -> String {
    match (secret.leaving, next(status, &["end_old"], name, now)) {
        (0, _) => none(),
        (count, Some(end)) => format!("{count}, {end}"),
        (count, None) => format!("{count}, in use"),
    }
}

fn happens(due: &Due, now: Timestamp) -> String {
    let what = match due.what.as_str() {
        "renew_token" => "renewed",
        "login" => "login",
        "renew" => "renewed",
        "replace" => "replaced",
        "read" => "read",
        "tell" => "told again",
        "end_old" => "ends",
        other => other,
    };
    format!("{what} {}", relative(&due.at, now))
}

fn relative(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else { return at.to_owned() };
    let apart = span(at.duration_since(now).unsigned_abs());
    if at <= now { "now".to_owned() } else { format!("in {apart}") }
}

fn ago(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else { return at.to_owned() };
    span(now.duration_since(at).unsigned_abs())
}

/// Cells below one another.
fn columns<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: [String; N]| {
        let cells = row.into_iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests;
