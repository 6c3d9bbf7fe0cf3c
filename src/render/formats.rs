//! What all formats share: a value as named fields, and how to say that one cannot be held.
//!
//! Receives a value, gives its fields by name. Never decides how a format writes them.

use std::borrow::Cow;

use crate::error::{Class, Failure};
use crate::render::text::Text;
use crate::secret::{Credential, Secret};
use crate::snapshot::{Connection, Content, Field, Value};

/// Where in the rendering a problem is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The file's path.
    pub(super) file: &'a str,
    /// The secret's name.
    pub(super) secret: &'a str,
}

impl Place<'_> {
    /// `field` has a value that `format` has no way to write down; `because` names no part of it.
    pub(super) fn cannot_hold(self, format: &str, field: &str, because: &str) -> Failure {
        let Self { file, secret } = self;
        let text = format!(
            "render `{file}`: a {format} file cannot hold field `{field}` of secret `{secret}`: \
             {because}"
        );
        Failure::new(Class::Ours, text)
            .hint("change the value, or publish this field as `raw` or `json`")
    }

    /// The secret has the fields `known`, and the file names another.
    pub(super) fn has_no<'k>(self, field: &str, known: impl Iterator<Item = &'k str>) -> Failure {
        let Self { file, secret } = self;
        let text = format!("render `{file}`: secret `{secret}` has no field `{field}`");
        let hint = format!("it has: {}", known.collect::<Vec<_>>().join(", "));
        Failure::new(Class::Missing, text).hint(hint)
    }

    /// The format needs a login and a place to use it.
    pub(super) fn wants_connection(self, format: &str) -> Failure {
        let Self { file, secret } = self;
        let text = format!(
            "render `{file}`: a {format} file needs a database secret with a connection, and \
             `{secret}` is none"
        );
        Failure::new(Class::Ours, text).hint(format!("add `connection` to secret `{secret}`"))
    }
}

/// The login, those before it, and where to use them; `None` for what has no connection.
pub(super) fn database(value: &Value) -> Option<(&Credential, &[Credential], &Connection)> {
    match &value.content {
        Content::Database { credential, previous, connection } => {
            connection.as_deref().map(|connection| (credential, previous.as_slice(), connection))
        }
        Content::Fields(_) => None,
    }
}

/// One field's value.
pub(super) enum Item<'a> {
    /// Text that may be shown.
    Plain(Cow<'a, str>),
    /// A number.
    Number(u16),
    /// Text that may not.
    Text(&'a Secret),
    /// JSON text.
    Json(&'a Secret),
    /// Text that may not, made of several fields.
    Made(Secret),
}

impl Item<'_> {
    /// As text, a JSON value as its JSON text.
    pub(super) fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Text(secret) | Self::Json(secret) => Cow::Borrowed(secret.expose()),
            Self::Made(secret) => Cow::Borrowed(secret.expose()),
        }
    }
}

/// The fields of `value`, in the order in which files list them.
pub(super) fn fields(value: &Value) -> Vec<(&str, Item<'_>)> {
    match &value.content {
        Content::Database { credential, previous: _, connection } => {
            let mut fields = vec![
                ("username", Item::Plain(Cow::Borrowed(credential.username.as_str()))),
                ("password", Item::Text(&credential.password)),
            ];
            if let Some(connection) = connection {
                fields.push(("host", Item::Plain(Cow::Owned(connection.hosts.join(",")))));
                fields.push(("port", Item::Number(connection.port)));
                fields.push(("dbname", Item::Plain(Cow::Borrowed(&connection.dbname))));
                let sslmode = connection.sslmode.as_str();
                fields.push(("sslmode", Item::Plain(Cow::Borrowed(sslmode))));
                if let Some(file) = &connection.sslrootcert {
                    fields.push(("sslrootcert", Item::Plain(Cow::Borrowed(file))));
                }
            }
            fields
        }
        Content::Fields(fields) => fields
            .iter()
            .map(|(name, field)| match field {
                Field::Text(text) => (name.as_str(), Item::Text(text)),
                Field::Json(json) => (name.as_str(), Item::Json(json)),
            })
            .collect(),
    }
}

/// One field and nothing else: no newline, no quoting.
pub(super) fn write_raw(
    text: &mut Text,
    place: Place<'_>,
    value: &Value,
    field: &str,
) -> Result<(), Failure> {
    let fields = fields(value);
    match fields.iter().find(|(name, _)| *name == field) {
        Some((_, item)) => {
            text.push(&item.as_text());
            Ok(())
        }
        None => Err(place.has_no(field, fields.iter().map(|(name, _)| *name))),
    }
}
