//! What came of an import, for a person and for a program.
//!
//! Receives the report, gives lines or JSON. Never shows a value.

use serde::Serialize;

use crate::import::{Mode, Report, Row, State};
use crate::logs::visible;

impl State {
    /// Its word in both forms.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::New => "new",
            Self::Replaced => "replaced",
            Self::Differs => "differs",
        }
    }
}

/// A line for each field, and what came of all.
pub fn table(report: &Report, mode: Mode) -> Vec<String> {
    let width = |of: fn(&Row) -> usize| report.rows.iter().map(of).max();
    let to = width(|row| row.to.chars().count()).unwrap_or_default();
    let field = width(|row| row.field.chars().count()).unwrap_or_default();
    let rows = report.rows.iter().map(|row| {
        let (word, sum) = (row.state.word(), &row.checksum);
        format!("{word:<8}  {:<to$}  {:<field$}  {sum}", row.to, row.field)
    });
    rows.chain(verdict(report, mode)).map(|line| visible(&line)).collect()
}

fn verdict(report: &Report, mode: Mode) -> Vec<String> {
    let count = |state| report.count(state);
    let (new, replaced, same) = (count(State::New), count(State::Replaced), count(State::Same));
    let mut lines = vec![
        String::new(),
        format!("{} fields: {same} were there, {new} new, {replaced} replaced", report.rows.len()),
    ];
    let differs = count(State::Differs);
    if differs > 0 {
        lines.push(format!(
            "{differs} are there with another value: nothing was written; `--replace` replaces them"
        ));
    } else if mode.dry {
        lines.push("nothing was written: this is what would be".to_owned());
    } else {
        lines.push("each was read again from Vault, and is what was read before".to_owned());
        lines.push("the source is as it was: remove it once nothing reads it any more".to_owned());
    }
    lines
}

#[derive(Serialize)]
struct Whole<'a> {
    complete: bool,
    written: bool,
    fields: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    path: &'a str,
    field: &'a str,
    state: &'static str,
    checksum: &'a str,
}

/// The same for a program. A checksum is of this run and of no other.
pub fn json(report: &Report) -> String {
    fn one(row: &Row) -> One<'_> {
        One { path: &row.to, field: &row.field, state: row.state.word(), checksum: &row.checksum }
    }
    let whole = Whole {
        complete: report.is_done(),
        written: report.written,
        fields: report.rows.iter().map(one).collect(),
    };
    serde_json::to_string_pretty(&whole).unwrap_or_default()
}
