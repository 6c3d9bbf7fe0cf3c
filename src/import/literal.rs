//! A file of `NAME=value` lines in which each value is what stands there: Docker's `--env-file`.
//!
//! Receives its text, gives the fields. Never takes quotes or spaces away.

use crate::error::Failure;
use crate::import::env::{name, wrong};
use crate::import::{Wanted, text};
use crate::snapshot::Fields;

/// The fields of `file` that are `wanted`.
///
/// # Errors
/// With the first line that is no such line, or that names a field twice.
pub fn literal(file: &str, wanted: Wanted<'_>) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    for (number, line) in file.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = name(line)
            .ok_or_else(|| wrong(number, "it is no `NAME=value`", "comments begin with `#`"))?;
        if wanted(name) && fields.insert(name.to_owned(), text(value)).is_some() {
            let why = format!("`{name}` stands above it already");
            return Err(wrong(number, &why, "keep one of the two"));
        }
    }
    Ok(fields)
}
