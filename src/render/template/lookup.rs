//! What a template finds under its names.
//!
//! Receives values, gives objects that the engine looks names up in, and what was looked up in
//! vain. Never gives anything for a name that is not there but an error: what the engine calls
//! undefined becomes an empty text in some filters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{ErrorKind, Value};
use serde_json::value::RawValue;

use crate::render::formats::{Item, fields};
use crate::snapshot::{SecretName, Snapshot};

/// The map of all secrets, for names that are no variable's.
pub(super) const ALL: &str = "secrets";

/// JSON of more levels is text to a template, in levels.
const DEEPEST: usize = 32;

/// What stands for a secret that has no value in the snapshot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Nothing: the file has to wait for it.
    Absent,
    /// Any text under any name: it is not the one that is tried out.
    Unknown,
}

/// What became of the lookups.
#[derive(Default)]
pub(super) struct Seen {
    /// A secret that has no value was used.
    pub(super) other: bool,
    /// The first name that was not there.
    pub(super) missing: Option<Missing>,
}

/// A name that was not there. It may be a value, where a template looks up one by the other.
pub(super) enum Missing {
    /// There is no such secret.
    Secret(String),
    /// The secret has no such field.
    Field {
        /// Which secret.
        secret: SecretName,
        /// The name.
        name: String,
        /// What it has.
        known: Vec<String>,
    },
    /// Something is not there inside of a field of this secret. What is there is part of the value.
    Inside(SecretName),
}

/// What became of the lookups, so far.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    fn with(&self, change: impl FnOnce(&mut Seen)) -> Value {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // The engine stops where it is handed this.
        Value::from(minijinja::Error::from(ErrorKind::UndefinedError))
    }

    fn misses(&self, missing: Missing) -> Value {
        self.with(|seen| {
            seen.missing.get_or_insert(missing);
        })
    }

    /// What was seen.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The variables of a template: each of `secrets` by its name, and all of them.
pub(super) fn context(
    secrets: &[SecretName],
    snapshot: &Snapshot,
    others: Others,
) -> (Value, Shared) {
    let seen = Shared::default();
    let value = |secret: &SecretName| {
        let value = snapshot.secrets.get(secret)?;
        let inside = Inside { secret: secret.clone(), seen: seen.clone() };
        let text = |(field, item): (&str, Item<'_>)| (field.to_owned(), inside.text(&item));
        let named = fields(value).into_iter().map(text).collect();
        Some(Value::from_object(Fields { named, inside, all: true }))
    };
    let named = secrets.iter().map(|name| (name.clone(), value(name))).collect();
    let all = Arc::new(All { named, others, seen: seen.clone() });
    (Value::from_object(Root(all)), seen)
}

/// Where values are made.
#[derive(Clone)]
struct Inside {
    secret: SecretName,
    seen: Shared,
}

impl Inside {
    fn text(&self, item: &Item<'_>) -> Value {
        match item {
            Item::Plain(plain) => Value::from(plain.as_ref()),
            Item::Number(number) => Value::from(*number),
            Item::Text(secret) => Value::from(secret.expose()),
            Item::Made(secret) => Value::from(secret.expose()),
            Item::Json(json) => self.json(json.expose(), DEEPEST),
        }
    }

    /// JSON as a template sees it. A number that would not be written back as it stands is text,
    /// and so is what is more than `depth` levels deep.
    fn json(&self, json: &str, depth: usize) -> Value {
        let json = json.trim();
        let Some(next) = depth.checked_sub(1) else { return Value::from(json) };
        let below = |raw: &RawValue| self.json(raw.get(), next);
        if json == "null" {
            Value::from(())
        } else if let Ok(flag) = json.parse::<bool>() {
            Value::from(flag)
        } else if let Ok(number) = json.parse::<i64>() {
            Value::from(number)
        } else if let Ok(text) = serde_json::from_str::<String>(json) {
            Value::from(text)
        } else if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json) {
            Value::from_object(List(list.into_iter().map(below).collect(), self.clone()))
        } else if let Ok(map) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
            let named = map.into_iter().map(|(name, raw)| (name, below(raw))).collect();
            Value::from_object(Fields { named, inside: self.clone(), all: false })
        } else {
            Value::from(json)
        }
    }

    fn misses(&self) -> Value {
        self.seen.misses(Missing::Inside(self.secret.clone()))
    }
}

/// The template's variables. What is no secret may be a variable or a function of the template.
struct Root(Arc<All>);

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            ALL => Some(Value::from_dyn_object(self.0.clone())),
            name => self.0.find(name),
        }
    }
}

/// All secrets by name; `None` for one without a value.
struct All {
    named: BTreeMap<SecretName, Option<Value>>,
    others: Others,
    seen: Shared,
}

impl All {
    fn find(&self, name: &str) -> Option<Value> {
        let found = self.named.get(name)?;
        Some(found.clone().unwrap_or_else(|| {
            let stop = self.seen.with(|seen| seen.other = true);
            match self.others {
                Others::Absent => stop,
                Others::Unknown => Value::from_object(Unknown),
            }
        }))
    }
}

impl Object for All {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let missing = || self.seen.misses(Missing::Secret(key.to_string()));
        Some(key.as_str().and_then(|name| self.find(name)).unwrap_or_else(missing))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.named.keys().map(|name| Value::from(name.as_ref())).collect())
    }
}

/// One secret's fields, or the members of a map in one of them.
struct Fields {
    named: BTreeMap<String, Value>,
    inside: Inside,
    /// Whether these are all of a secret.
    all: bool,
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let missing = || match self.all {
            true => self.inside.seen.misses(Missing::Field {
                secret: self.inside.secret.clone(),
                name: key.to_string(),
                known: self.named.keys().cloned().collect(),
            }),
            false => self.inside.misses(),
        };
        let found = key.as_str().and_then(|name| self.named.get(name)).cloned();
        Some(found.unwrap_or_else(missing))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.named.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// A list in a field.
struct List(Vec<Value>, Inside);

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = key.as_usize().and_then(|index| self.0.get(index)).cloned();
        Some(found.unwrap_or_else(|| self.1.misses()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

/// A secret of which nothing is known.
struct Unknown;

impl Object for Unknown {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from("x"))
    }
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[redacted]")
            }
        }
    )*};
}

redacted!(Root, All, Fields, List, Unknown);
