use super::*;

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()
}

fn all(_: &str) -> bool {
    true
}

#[test]
fn what_nobody_wants_is_not_judged() {
    let wanted = |name: &str| name == "A";
    let file = "B=a$b#c\nA=x\nC='quo\nted'\nD=\"q\"\n";
    assert_eq!(env(file, &wanted), Ok(fields(&[("A", "x")])));
    let file = "kind: Secret\nmetadata: { name: s }\ndata: { A: eA==, B: //8= }";
    assert_eq!(manifest(file, &wanted), Ok(vec![("s".to_owned(), fields(&[("A", "x")]))]));
}

#[test]
fn what_every_reader_agrees_on_is_read() {
    for (file, wanted) in [
        ("A=b\nC=d", &[("A", "b"), ("C", "d")][..]),
        ("\u{feff}# a comment\n\n export A = b c \r\nB=\r\n", &[("A", "b c"), ("B", "")]),
        ("A='it is # $HOME \"x\" \\d'\n", &[("A", "it is # $HOME \"x\" \\d")]),
        ("A=\"one\\ntwo # three\" # a comment\nB=x", &[("A", "one\ntwo # three"), ("B", "x")]),
        ("A='one\ntwo'\nB='x'", &[("A", "one\ntwo"), ("B", "x")]),
        ("A=postgres://u:p@h/db?x=1&y=a\\b'c\n", &[("A", "postgres://u:p@h/db?x=1&y=a\\b'c")]),
        ("", &[]),
    ] {
        assert_eq!(env(file, &all), Ok(fields(wanted)), "{file}");
    }
}

#[test]
fn what_readers_differ_in_is_refused_and_not_shown() {
    for (file, wanted) in [
        ("A=x\nnonsense-canary", "line 2: it is no `NAME=value`"),
        ("1A=canary", "line 1: it is no `NAME=value`"),
        ("A=canary#x", "line 1: readers differ in where a comment begins"),
        ("A=can$ary", "line 1: some readers put a variable in at `$`"),
        ("A=\"can$ary\"", "line 1: some readers put a variable in at `$`"),
        ("A=`canary`", "line 1: only some readers know the quote `"),
        ("A='one\ntwo'\nB=\"can\\tary\"", "line 3: readers differ in what this backslash means"),
        ("A='can\\'ary'", "line 1: readers differ in what this backslash means"),
        ("A='can\r\nary'", "line 1: a value goes over lines that end with `\\r\\n`"),
        ("A='canary", "line 1: a quote is not closed"),
        ("A='can'ary", "line 1: something stands behind the closing quote"),
        ("A=canary\nA=canary", "line 2: `A` stands above it already"),
    ] {
        assert_eq!(env(file, &all).unwrap_err().text, wanted, "{file}");
    }
}

#[test]
fn a_literal_file_keeps_everything() {
    let wanted = fields(&[("A", " 'b' # $C "), ("D", "")]);
    assert_eq!(literal("# x\nA= 'b' # $C \r\n\nD=\n", &all), Ok(wanted));
    assert_eq!(
        literal("A=canary\ncanary", &all).unwrap_err().text,
        "line 2: it is no `NAME=value`"
    );
    assert!(literal("A=1\nA=2", &all).is_err());
}

#[test]
fn secrets_are_found_in_what_kubectl_prints() {
    let one = "apiVersion: v1\nkind: Secret\nmetadata: { name: api, labels: { a: b } }\n\
               type: Opaque\ndata:\n  a: dGV4dA==\n  b: |\n    dGV4\n    dA==\n\
               stringData: { b: over, c: \"007\" }\n---\nkind: ConfigMap\ndata: { x: plain }\n";
    let wanted = fields(&[("a", "text"), ("b", "over"), ("c", "007")]);
    assert_eq!(manifest(one, &all), Ok(vec![("api".to_owned(), wanted)]));
    let list = r#"{"kind":"List","items":[
        {"kind":"Secret","metadata":{"name":"x"},"data":{"k":""}},
        {"kind":"Service","metadata":{"name":"y"}},
        {"kind":"Secret","metadata":{"name":"z"},"data":null}]}"#;
    let wanted = vec![("x".to_owned(), fields(&[("k", "")])), ("z".to_owned(), Fields::new())];
    assert_eq!(manifest(list, &all), Ok(wanted));
}

#[test]
fn what_is_no_secret_or_no_text_is_told_without_it() {
    for (file, wanted) in [
        ("kind: ConfigMap\ndata: { a: canary }", "there is no object of the kind `Secret`"),
        ("kind: Secret\ndata: { a: Y2FuYXJ5 }", "a Secret has no `metadata.name`"),
        (
            "kind: Secret\nmetadata: { name: s }\ndata: { a: canary!! }",
            "Secret `s`, field `a`: it is no base64",
        ),
        (
            "kind: Secret\nmetadata: { name: s }\ndata: { a: //8= }",
            "Secret `s`, field `a`: its bytes are no text, and KV holds text",
        ),
    ] {
        assert_eq!(manifest(file, &all).unwrap_err().text, wanted, "{file}");
    }
    let wrong = manifest("kind: Secret\nmetadata: canary\n", &all).unwrap_err();
    assert!(wrong.text.starts_with("line ") && !wrong.text.contains("canary"), "{wrong}");
}

fn parcel(list: &[(&str, &str)]) -> Parcel {
    Parcel { to: "secret/api".to_owned(), fields: fields(list) }
}

#[test]
fn a_field_is_same_new_or_different_and_equal_values_have_equal_checksums() {
    let (there, here) =
        (fields(&[("a", "1"), ("b", "2"), ("z", "9")]), [("a", "1"), ("b", "3"), ("c", "4")]);
    let key = key().unwrap();
    let rows = compare(&parcel(&here), &there, false, &key);
    let states: Vec<State> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Same, State::Differs, State::New]);
    let replacing = compare(&parcel(&here), &there, true, &key);
    assert_eq!(replacing[1].state, State::Replaced);
    assert_eq!(rows[0].checksum, checksum(&key, "a", &text("1")));
    assert_ne!(rows[0].checksum, checksum(&key, "a", &text("2")));
    assert_ne!(rows[0].checksum, checksum(&super::key().unwrap(), "a", &text("1")));
}

#[test]
fn only_what_is_named_is_brought_and_a_wrong_name_is_told() {
    let parcels = vec![parcel(&[("a", "1"), ("b", "2")]), parcel(&[("c", "3")])];
    let kept = only(parcels.clone(), &["b".to_owned()]).unwrap();
    assert_eq!(kept, [parcel(&[("b", "2")])]);
    assert!(only(parcels.clone(), &["d".to_owned()]).unwrap_err().text.contains("`d`"));
    assert_eq!(only(parcels.clone(), &[]), Ok(parcels));
}
