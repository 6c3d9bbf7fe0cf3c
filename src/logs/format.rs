//! One event as one line.
//!
//! Receives an event of `tracing`, gives JSON or text with time, level and event first. Never
//! breaks a line: control characters are escaped wherever the text came from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Number, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How lines look.
pub(super) struct Lines {
    /// As JSON, else as text.
    pub(super) json: Arc<AtomicBool>,
}

/// The fields of one event.
#[derive(Default)]
struct Fields {
    event: Option<String>,
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        // An event without a name is not ours; where it came from is its only name.
        let name = fields.event.take().unwrap_or_else(|| "log".to_owned());
        if name == "log" {
            fields.rest.push(("source", event.metadata().target().into()));
        }
        let level = event.metadata().level();
        if self.json.load(Ordering::Relaxed) {
            write_json(&mut out, &timestamp, *level, &name, fields)
        } else {
            write_text(&mut out, &timestamp, *level, &name, fields)
        }
    }
}

// `serde_json` would sort the keys; a person reads a line from the left.
fn write_json(
    out: &mut Writer<'_>,
    timestamp: &str,
    level: tracing::Level,
    event: &str,
    fields: Fields,
) -> fmt::Result {
    let text = |text: &str| Value::from(text);
    write!(out, "{{\"timestamp\":{},\"level\":\"{level}\"", text(timestamp))?;
    write!(out, ",\"event\":{}", text(event))?;
    let mut seen = Map::new();
    for (name, value) in fields.rest {
        if seen.insert(name.to_owned(), Value::Null).is_none() {
            write!(out, ",{}:{value}", text(name))?;
        }
    }
    writeln!(out, ",\"message\":{}}}", text(&fields.message))
}

fn write_text(
    out: &mut Writer<'_>,
    timestamp: &str,
    level: tracing::Level,
    event: &str,
    fields: Fields,
) -> fmt::Result {
    write!(out, "{timestamp} {level:>5} {event}: {}", fields.message)?;
    for (name, value) in fields.rest {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
        match value.as_str() {
            Some(text) if !text.is_empty() && text.chars().all(plain) => {
                write!(out, " {name}={text}")?;
            }
            Some(_) | None => write!(out, " {name}={value}")?,
        }
    }
    writeln!(out)
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("event", Value::String(text)) => self.event = Some(text),
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, visible(&format!("{value:?}")).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, visible(value).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    #[expect(clippy::cast_possible_truncation, reason = "whole and far below 2^52")]
    fn record_f64(&mut self, field: &Field, value: f64) {
        let whole = value.fract() == 0.0 && value.abs() < 4e15;
        let number = if whole { Some(Number::from(value as i64)) } else { Number::from_f64(value) };
        self.put(field, number.map_or(Value::Null, Value::Number));
    }
}

/// `text` with every character escaped that could steer a terminal, break a line or change the
/// direction of what is read.
pub fn visible(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}
