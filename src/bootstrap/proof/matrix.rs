//! What a login may do with every table and sequence, compared with what it should.
//!
//! Receives what the database says that a login may do, gives what is too much and what is missing.
//! Never judges what the login's group owns: the owner may do everything.

use std::collections::BTreeSet;

use crate::bootstrap::wanted::{Group, ON_SEQUENCES, Postgres, Tables};
use crate::postgres::setup::{Entry, Power, Powers};

/// What came of the comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// How many tables and sequences were looked at.
    pub(super) seen: usize,
    /// What is missing, a line each.
    pub(super) lacking: Vec<String>,
    /// What is too much, a line each.
    pub(super) beyond: Vec<String>,
}

/// Compares; `later` is the table that was made after all grants.
pub(super) fn compare(postgres: &Postgres, group: &Group, later: &str, found: &Powers) -> Compared {
    let mut compared = Compared::default();
    let entry = |schema: &String| found.schemas.get(schema).copied().unwrap_or_default();
    for schema in &postgres.apart {
        let Entry { uses, creates } = entry(schema);
        if uses || creates {
            compared.beyond.push(format!("may enter schema `{schema}`"));
        }
    }
    let Entry { uses, creates } = entry(&postgres.schema);
    if !uses {
        compared.lacking.push(format!("may not use schema `{}`", postgres.schema));
    }
    let text = format!("make tables in schema `{}`", postgres.schema);
    match (creates, group.creates) {
        (true, false) => compared.beyond.push(format!("may {text}")),
        (false, true) => compared.lacking.push(format!("may not {text}")),
        (true, true) | (false, false) => {}
    }
    for ((schema, name), power) in &found.relations {
        compared.seen += 1;
        if power.owned {
            continue;
        }
        let wanted = wanted(postgres, group, schema, name, power);
        let has: BTreeSet<&str> = power.words.iter().map(String::as_str).collect();
        let place = if name.starts_with(later) {
            format!("what is made later (`{schema}.{name}`)")
        } else {
            format!("`{schema}.{name}`")
        };
        let line = |verb: &str, words: BTreeSet<&str>| {
            let words: Vec<&str> = words.into_iter().collect();
            (!words.is_empty()).then(|| format!("{verb} {} on {place}", words.join(", ")))
        };
        compared.lacking.extend(line("may not", &wanted - &has));
        compared.beyond.extend(line("may", &has - &wanted));
    }
    let made = found
        .relations
        .iter()
        .filter(|((_, name), power)| name.starts_with(later) && !power.sequence);
    if made.count() < postgres.owners.len() {
        compared.lacking.push("a table that was made later is gone: run it again".to_owned());
    }
    if let Tables::Only(tables) = &group.tables {
        let there = |table: &&String| {
            found.relations.contains_key(&(postgres.schema.clone(), (*table).clone()))
        };
        for table in tables.iter().filter(|table| !there(table)) {
            compared.lacking.push(format!("table `{}.{table}` is not there", postgres.schema));
        }
    }
    compared
}

fn wanted<'a>(
    postgres: &Postgres,
    group: &'a Group,
    schema: &str,
    name: &str,
    power: &Power,
) -> BTreeSet<&'a str> {
    if schema != postgres.schema {
        return BTreeSet::new();
    }
    if power.sequence {
        return ON_SEQUENCES.into();
    }
    let named = match &group.tables {
        Tables::All => true,
        Tables::Only(tables) => tables.contains(name),
    };
    if named { group.privileges.iter().map(String::as_str).collect() } else { BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::snapshot::{Connection, SslMode};

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn postgres() -> Postgres {
        Postgres {
            connection: Connection {
                hosts: Vec::new(),
                port: 5432,
                dbname: String::new(),
                sslmode: SslMode::Disable,
                sslrootcert: None,
            },
            superuser: "postgres".to_owned(),
            password_file: None,
            schema: "public".to_owned(),
            owners: BTreeSet::new(),
            groups: BTreeMap::new(),
            apart: set(&["audit"]),
        }
    }

    fn powers(list: &[(&str, &str, bool, &[&str])]) -> Powers {
        let relations = list.iter().map(|(schema, name, sequence, words)| {
            let power = Power { sequence: *sequence, owned: false, words: set(words) };
            (((*schema).to_owned(), (*name).to_owned()), power)
        });
        let uses = Entry { uses: true, creates: false };
        let schemas = [("public".to_owned(), uses), ("audit".to_owned(), Entry::default())];
        Powers { relations: relations.collect(), schemas: schemas.into() }
    }

    #[test]
    fn too_much_and_too_little_are_told_apart() {
        let all =
            Group { tables: Tables::All, privileges: set(&["SELECT", "INSERT"]), creates: false };
        let some = Group {
            tables: Tables::Only(set(&["users"])),
            privileges: set(&["SELECT"]),
            creates: false,
        };
        let found = powers(&[
            ("public", "users", false, &["SELECT", "INSERT"]),
            ("public", "memories", false, &["SELECT"]),
            ("public", "later", false, &[]),
            ("public", "later_id_seq", true, &["SELECT", "USAGE"]),
            ("audit", "events", false, &[]),
        ]);
        let Compared { seen, lacking, beyond } = compare(&postgres(), &all, "later", &found);
        let wanted = [
            "may not INSERT, SELECT on what is made later (`public.later`)",
            "may not INSERT on `public.memories`",
        ];
        assert_eq!(lacking, wanted);
        assert_eq!((seen, beyond.len()), (5, 0));
        let Compared { lacking, beyond, .. } = compare(&postgres(), &some, "later", &found);
        assert_eq!(beyond, ["may SELECT on `public.memories`", "may INSERT on `public.users`"]);
        assert_eq!(lacking, [""; 0]);
    }

    #[test]
    fn nobody_enters_what_is_apart_and_what_is_owned_is_left() {
        let none = Group {
            tables: Tables::Only(set(&["gone"])),
            privileges: set(&["SELECT"]),
            creates: false,
        };
        let mut found = powers(&[("audit", "events", false, &["DELETE"])]);
        found.schemas.insert("audit".to_owned(), Entry { uses: true, creates: false });
        found.schemas.insert("public".to_owned(), Entry { uses: false, creates: true });
        let own = Power { sequence: false, owned: true, words: set(&["TRUNCATE"]) };
        found.relations.insert(("public".to_owned(), "own".to_owned()), own);
        let Compared { lacking, beyond, .. } = compare(&postgres(), &none, "later", &found);
        let wanted = ["may not use schema `public`", "table `public.gone` is not there"];
        assert_eq!(lacking, wanted);
        let wanted = [
            "may enter schema `audit`",
            "may make tables in schema `public`",
            "may DELETE on `audit.events`",
        ];
        assert_eq!(beyond, wanted);
    }
}
