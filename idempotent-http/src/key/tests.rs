use http::HeaderValue;

use super::*;

fn parsed(syntax: KeySyntax, lines: &[&[u8]]) -> Result<Option<String>, InvalidKey> {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| HeaderValue::from_bytes(line).unwrap())
        .collect();
    let rules = KeyRules::default();
    let key = parse(&lines, syntax)?;
    key.map(|key| rules.check(&key).map(|()| key)).transpose()
}

/// The table of the specification: raw, strict, lenient. `None` is refused.
const TABLE: &[(&str, Option<&str>, Option<&str>)] = &[
    (
        r#""8e03978e-40d5-43e8-bc93-6894a57f9324""#,
        Some("8e03978e-40d5-43e8-bc93-6894a57f9324"),
        Some("8e03978e-40d5-43e8-bc93-6894a57f9324"),
    ),
    (r#"  "abc"  "#, Some("abc"), Some("abc")),
    (r#""abc";v=1"#, Some("abc"), Some("abc")),
    (r#""abc"; v=1"#, Some("abc"), Some("abc")),
    (r#""abc";v="x,y";w"#, Some("abc"), Some("abc")),
    (r#""a,b""#, Some("a,b"), Some("a,b")),
    (r#""a\"b""#, Some(r#"a"b"#), Some(r#"a"b"#)),
    (r#""a\\b""#, Some(r"a\b"), Some(r"a\b")),
    (r#"" ""#, Some(" "), Some(" ")),
    (
        "8e03978e-40d5-43e8-bc93-6894a57f9324",
        None,
        Some("8e03978e-40d5-43e8-bc93-6894a57f9324"),
    ),
    ("KG5LxwFBepaKHyUD", None, Some("KG5LxwFBepaKHyUD")),
    ("*tok", None, Some("*tok")),
    ("123", None, Some("123")),
    ("1.5", None, Some("1.5")),
    (":YWJj:", None, Some(":YWJj:")),
    ("?1", None, Some("?1")),
    ("@1659578233", None, Some("@1659578233")),
    (r#"%"f%c3%bc""#, None, None),
    ("", None, None),
    ("   ", None, None),
    (r#""""#, None, None),
    (r#""a", "b""#, None, None),
    ("a,b", None, None),
    ("a;v=1", None, None),
    ("a b", None, None),
    (r"a\b", None, None),
    (r#""abc" ;v=1"#, None, None),
    (r#""abc"x"#, None, None),
    (r#""abc"#, None, None),
    (r#"abc""#, None, None),
    ("'abc'", None, Some("'abc'")),
    (r#""a\b""#, None, None),
    ("(\"a\")", None, None),
    ("\"a\tb\"", None, None),
    ("\"f\u{fc}\"", None, None),
    ("f\u{fc}", None, None),
];

#[test]
fn the_header_is_read_as_the_table_says() {
    for (raw, strict, lenient) in TABLE {
        for (syntax, expected) in [(KeySyntax::Strict, strict), (KeySyntax::Lenient, lenient)] {
            let key = parsed(syntax, &[raw.as_bytes()]).ok().flatten();
            assert_eq!(key.as_deref(), *expected, "{syntax:?} {raw:?}");
        }
    }
}

/// What RFC 9651 says of Strings: all of printable ASCII may stand in one, of which the quote and the
/// backslash are escaped, and nothing else may be.
#[test]
fn every_string_of_the_rfc_is_a_key_and_nothing_else_is() {
    for byte in 0..=u8::MAX {
        let is_string = matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let Ok(line) = HeaderValue::from_bytes(&[b'"', byte, b'"']) else {
            continue;
        };
        let key = parse([&line], KeySyntax::Strict);
        assert_eq!(key.is_ok(), is_string, "{byte:#x}");
        let escaped = HeaderValue::from_bytes(&[b'"', b'\\', byte, b'"']).unwrap();
        let key = parse([&escaped], KeySyntax::Strict);
        assert_eq!(key.is_ok(), matches!(byte, b'"' | b'\\'), "{byte:#x}");
    }
}

/// What is echoed reads as it was.
#[test]
fn every_key_that_is_written_reads_the_same() {
    for key in ["k", "a b", "a,b", r#"a"b"#, r"a\b", "a;b", r#"\""#] {
        let line = HeaderValue::from_str(&write(key)).unwrap();
        let read = parse([&line], KeySyntax::Lenient);
        assert_eq!(read.unwrap().as_deref(), Some(key));
    }
}

/// H-7: even if the two are the same.
#[test]
fn two_lines_are_refused() {
    for syntax in [KeySyntax::Strict, KeySyntax::Lenient] {
        let two = parsed(syntax, &[b"\"a\"", b"\"a\""]);
        assert_eq!(two, Err(InvalidKey::Repeated));
        assert_eq!(parsed(syntax, &[]), Ok(None));
    }
}

/// H-11.
#[test]
fn a_key_has_1_to_255_characters() {
    let key = |length: usize| parsed(KeySyntax::Lenient, &["k".repeat(length).as_bytes()]);
    assert!(key(255).is_ok());
    assert_eq!(
        key(256),
        Err(InvalidKey::Length {
            length: 256,
            least: 1,
            most: 255
        })
    );
}

/// H-12: of any version, as Stripe's client for Python sends them.
#[test]
fn a_uuid_of_any_version_has_the_shape_of_one() {
    for good in [
        "8e03978e-40d5-43e8-bc93-6894a57f9324",
        "8E03978E-40D5-F3E8-0C93-6894A57F9324",
    ] {
        assert!(has_uuid_shape(good), "{good}");
    }
    for bad in [
        "8e03978e40d543e8bc936894a57f9324",
        "8e03978e-40d5-43e8-bc93-6894a57f932",
        "8e03978e-40d5-43e8-bc93-6894a57f932g",
        "8e03978e-40d5-43e8-bc93_6894a57f9324",
    ] {
        assert!(!has_uuid_shape(bad), "{bad}");
    }
}
