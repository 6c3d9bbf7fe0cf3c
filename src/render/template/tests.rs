use std::sync::Arc;

use super::*;
use crate::render::tests::{connection, database, kv, secret};
use crate::render::{File, Format, render, try_file};
use crate::snapshot::{Field, Generation, Value};

/// Stands in every value of [`secrets`].
const CANARY: &str = "kcanary9";

fn secrets() -> Vec<(&'static str, Value)> {
    let text = |text: &str| Field::Text(secret(text));
    let json = |text: &str| Field::Json(secret(text));
    vec![
        ("db", database(&format!("{CANARY}\"'\n<&"), vec![], Some(connection()))),
        (
            "mail-x",
            kv(&[
                ("key", text(CANARY)),
                ("big", json("12345678901234567890123")),
                ("price", json("1.10")),
                ("off", json("false")),
                ("none", json("null")),
                ("list", json("[1, {\"a\": \"b\"}]")),
            ]),
        ),
    ]
}

fn compile(source: &str) -> Result<File, Failure> {
    let names = ["db", "mail-x", "later"].map(SecretName::from).to_vec();
    let template = Template::compile("/t.j2".to_owned(), source.to_owned(), names)?;
    let format = Format::Template(template);
    Ok(File { path: "app.toml".to_owned(), mode: 0o440, format })
}

fn snapshot(secrets: &[(&str, Value)]) -> Snapshot {
    let secrets = secrets.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect();
    Snapshot { generation: Generation(1), secrets }
}

fn rendered(source: &str) -> Result<Option<String>, Failure> {
    let rendering = render(&[compile(source)?], &snapshot(&secrets()))?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok(rendering.files.get("app.toml").map(|file| text(&file.bytes)))
}

#[test]
fn golden() {
    let source = "user = {{ db.username|tojson }}\n\
                  password = {{ db.password|tojson }}\n\
                  url = \"postgresql://{{ db.username }}@{{ db.host }}:{{ db.port }}/\"\n\
                  key = '{{ secrets['mail-x'].key }}'\n\
                  {% for item in secrets['mail-x'].list -%}\n\
                  {{ loop.index }}: {{ item|tojson }}\n\
                  {% endfor -%}\n\
                  {% if not secrets['mail-x'].off %}off{% endif %} \
                  {{ secrets['mail-x'].off }} {{ secrets['mail-x'].none }}\n\
                  {{ secrets['mail-x'].big }} {{ secrets['mail-x'].price }} \
                  {{ secrets['mail-x'].list[1].a }} {{ db.port + 1 }}\n\
                  {{ secrets['mail-x'].list[-1].a }} {{ secrets|join(' ') }}\n";
    let expected = "user = \"v-app-1\"\n\
                    password = \"kcanary9\\\"\\u0027\\n\\u003c\\u0026\"\n\
                    url = \"postgresql://v-app-1@a.internal,b.internal:5432/\"\n\
                    key = 'kcanary9'\n\
                    1: 1\n\
                    2: {\"a\": \"b\"}\n\
                    off false null\n\
                    12345678901234567890123 1.10 b 5433\n\
                    b db later mail-x\n";
    assert_eq!(rendered(source).unwrap().unwrap(), expected);
}

#[test]
fn nothing_is_escaped_and_the_whole_value_is_there() {
    assert_eq!(rendered("{{ db.password }}").unwrap().unwrap(), format!("{CANARY}\"'\n<&"));
    let encoded = rendered("{{ db.sslrootcert|urlencode }}").unwrap().unwrap();
    assert_eq!(encoded, "%2Fetc%2Fca.pem");
}

#[test]
fn deep_json_is_no_danger() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let deep = [("db", kv(&[("deep", Field::Json(secret(&deep)))]))];
    let file = compile("{{ db.deep|length }}").unwrap();
    let rendering = render(&[file], &snapshot(&deep)).unwrap();
    assert_eq!(rendering.files["app.toml"].bytes.as_slice(), b"1");
}

#[test]
fn a_template_that_uses_a_secret_without_a_value_is_left_out() {
    for source in [
        "{{ later.key }}",
        "{{ secrets.later.key }}",
        "{{ secrets['later']['key'] }}",
        "{% if later is defined %}{{ later.key }}{% endif %}",
    ] {
        assert_eq!(rendered(source).unwrap(), None, "{source}");
    }
    assert_eq!(rendered("{% if false %}{{ later.key }}{% endif %}").unwrap().as_deref(), Some(""));
}

#[test]
fn what_is_wrong_with_the_template_is_told_before_there_is_a_value() {
    for (source, expected) in [
        ("a\n{{ db.", "`/t.j2`, line 2: unexpected end of input, expected identifier or integer"),
        ("{% if db %}\n", "`/t.j2`, line 1: unexpected end of input, expected end of block"),
        ("{% include '/etc/passwd' %}", "`/t.j2`, line 1: unknown statement include"),
        ("{% import '/etc/passwd' as x %}", "`/t.j2`, line 1: unknown statement import"),
        ("{{ pw.x }}{{ bd.username }}", "`/t.j2`: there is no secret `bd`"),
        ("{{ debug() }}", "`/t.j2`: there is no secret `debug`"),
    ] {
        let failure = compile(source).unwrap_err();
        assert_eq!(failure.text, expected, "{source}");
    }
    let hint = compile("{{ bd.username }}").unwrap_err().hint;
    assert_eq!(hint.as_deref(), Some("there is: db, mail-x, later"));
}

#[test]
fn an_error_names_the_line_and_never_shows_a_value() {
    let unsaid = "\nhint: no more is said, since a value may stand in it";
    for (source, expected) in [
        (
            "\n{{ db.pasword }}",
            "line 2: secret `db` has no field `pasword`\nhint: it has: dbname, host, password, port, sslmode, sslrootcert, username",
        ),
        (
            "{{ secrets.mail }}",
            "line 1: there is no secret `mail`\nhint: there is: db, mail-x, later",
        ),
        (
            "{% if db.tls %}x{% endif %}",
            "line 1: secret `db` has no field `tls`\nhint: it has: dbname, host, password, port, sslmode, sslrootcert, username",
        ),
        (
            "{{ db[db.password] }}",
            "line 1: secret `db` has no such field\nhint: it has: dbname, host, password, port, sslmode, sslrootcert, username",
        ),
        (
            "{{ secrets[db.password] }}",
            "line 1: there is no such secret\nhint: there is: db, mail-x, later",
        ),
        ("{{ db.password.x.y }}", "line 1: something that is not there is used"),
        ("{{ db.password|quote }}", "line 1: unknown filter `quote`"),
        ("{{ [db.port]|map(db.password)|list }}", "line 1: unknown filter"),
        ("{{ [db.port]|select(db.password)|list }}", "line 1: unknown test"),
        ("{{ 1|round(**{db.password: 1}) }}", "line 1: too many arguments"),
        ("{{ ('%' ~ db.password)|format(1) }}", "line 1: invalid operation"),
        ("{{ db.password|int }}", "line 1: invalid operation"),
        ("{{ db.password|float }}", "line 1: invalid operation"),
        ("{{ db.password + 1 }}", "line 1: invalid operation"),
        ("{{ db.password() }}", "line 1: invalid operation"),
        ("{{ range(db.password) }}", "line 1: invalid operation"),
        ("{{ db.port|round(db.password) }}", "line 1: invalid operation"),
        ("{% for a, b in [db.password] %}{% endfor %}", "line 1: cannot unpack"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "line 1: does more than a template may",
        ),
        ("{{ 'x' * 99999999 }}", "line 1: does more than a template may"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "line 1: invalid operation"),
        ("{% set x = 'x' * 600000 %}{{ x }}{{ x }}", "its text is longer than 1048576 bytes"),
    ] {
        let failure = rendered(source).expect_err(source);
        let (text, hint) = (failure.text.as_str(), failure.to_string());
        let between = if expected.starts_with("line") { ", " } else { ": " };
        let expected = format!("render `app.toml`: template `/t.j2`{between}{expected}");
        assert!(hint == expected || hint == format!("{expected}{unsaid}"), "{source}: {hint}");
        assert!(!text.contains(CANARY) && !format!("{failure:?}").contains(CANARY), "{source}");
    }
    let file = compile(CANARY).unwrap();
    assert!(!format!("{file:?}").contains(CANARY));
}

#[test]
fn the_engine_itself_would_show_a_value() {
    let (context, _) = lookup::context(&["db".into()], &snapshot(&secrets()[..1]), Others::Absent);
    let engine = engine();
    let template = engine.template_from_str("{{ 1|round(**{db.password: 1}) }}").unwrap();
    assert!(template.render(context).unwrap_err().to_string().contains(CANARY));
}

#[test]
fn a_trial_judges_by_what_is_known() {
    let known = snapshot(&secrets()[..1]);
    let trial = |source: &str| try_file(&compile(source).unwrap(), &known);
    trial("{{ db.password }} {{ secrets['mail-x'].any }} {{ later.key }}").unwrap();
    trial("{{ later.number + 1 }}").unwrap();
    trial("{{ later.list.x.y }}").unwrap();
    trial("{% for field in later %}{{ field }}{% endfor %}").unwrap();
    let failure = trial("{{ later.key }}{{ db.pasword }}").unwrap_err();
    assert!(failure.text.ends_with("secret `db` has no field `pasword`"), "{failure}");
    trial("{{ db.password|int }}").unwrap_err();
}

#[test]
fn a_name_that_is_not_there_is_an_error_whatever_is_done_with_it() {
    let uses = [
        "X",
        "X|tojson",
        "X|urlencode",
        "X|default('d')",
        "X|indent(2)",
        "X|string",
        "X|upper",
        "X|length",
        "X|chain([1])|list",
        "X|zip([1])|list",
        "[X]",
        "[X]|join",
        "{'a': X}|tojson",
        "X ~ 'x'",
        "X == 1",
        "X in [1]",
        "X is defined",
        "X is none",
        "not X",
        "X or 1",
        "X|attr('y')",
        "1 if X",
        "namespace(a=X)|tojson",
        "[1, 2]|join(X)",
    ];
    let names = [
        ("db.pw", "secret `db` has no field `pw`"),
        ("db['pw']", "secret `db` has no field `pw`"),
        ("secrets.bd", "there is no secret `bd`"),
        ("secrets['bd'].x", "there is no secret `bd`"),
        ("secrets['mail-x'].list[2]", "a field of secret `mail-x` has no such member"),
        ("secrets['mail-x'].list[1].z", "a field of secret `mail-x` has no such member"),
    ];
    for (name, expected) in names {
        for usage in uses {
            let source = format!("{{{{ {} }}}}", usage.replace('X', &format!("({name})")));
            let failure = rendered(&source).expect_err(&source);
            assert_eq!(failure.class, Class::Missing, "{source}");
            assert!(failure.text.ends_with(expected), "{source}: {failure}");
        }
    }
    for source in [
        "{{ 'pw' in db }}",
        "{{ db|attr('pw') }}",
        "{{ [db]|map(attribute='pw')|join }}",
        "{% set x = db.pw %}",
        "{% for x in db.pw %}{% endfor %}",
    ] {
        rendered(source).expect_err(source);
    }
    // A text has no members.
    for usage in ["X", "X|tojson", "X|urlencode", "X|upper", "X ~ 'x'"] {
        let source = format!("{{{{ {} }}}}", usage.replace('X', "db.password.pw"));
        rendered(&source).expect_err(&source);
    }
    let listed = "{% if 'pw' in db|list %}{{ db.pw }}{% else %}none{% endif %}";
    assert_eq!(rendered(listed).unwrap().as_deref(), Some("none"));
}
