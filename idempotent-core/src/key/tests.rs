use std::collections::HashMap;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;

use super::escape::{Escapes, unescape};
use super::*;

fn value_of(key: &(impl IntoKey + ?Sized)) -> String {
    Key::of("s", key)
        .unwrap()
        .expect("the key is there")
        .value()
        .to_owned()
}

/// Short texts in which every separator, escape and digit is likely.
fn tricky() -> impl Strategy<Value = String> {
    "[%,:/A2Cc4\u{0}\n\u{85}\u{e9}\u{1f600} ]{0,6}"
}

#[test]
fn stored_text_is_scope_slash_value() {
    let key = Key::new("orders::create", "customer-7/request 12").unwrap();
    assert_eq!(key.as_str(), "orders::create/customer-7/request 12");
    assert_eq!(key.scope(), "orders::create");
    assert_eq!(key.value(), "customer-7/request 12");
}

/// `refund` must not return what `charge` recorded.
#[test]
fn same_value_in_two_scopes_is_two_keys() {
    let mut records = HashMap::new();
    records.insert(Key::new("app::charge", "order-1").unwrap(), "charged");
    assert_eq!(
        records.get(&Key::new("app::refund", "order-1").unwrap()),
        None
    );
    assert_eq!(
        records.get(&Key::new("other::charge", "order-1").unwrap()),
        None
    );
    assert_eq!(
        records.get(&Key::new("app::charge", "order-1").unwrap()),
        Some(&"charged")
    );
}

/// A tenant cannot name a key of another tenant.
#[test]
fn a_slash_does_not_move_text_between_scope_and_value() {
    assert_ne!(Key::new("acme/eu", "1"), Key::new("acme", "eu/1"));
    assert_ne!(Key::new("acme%2Feu", "1"), Key::new("acme/eu", "1"));
    assert_eq!(
        Key::new("acme/e\u{0}", "1").unwrap().as_str(),
        "acme%2Fe%00/1"
    );
}

/// A missing key must not be hashed as nothing and share the record of every other one.
#[test]
fn missing_key_is_no_key() {
    assert_eq!(Key::of("s", &None::<String>), Ok(None));
    assert_eq!(Key::of("s", &&None::<u64>), Ok(None));
    assert_eq!(Key::of("s", &Some(None::<u64>)), Ok(None));
    assert_eq!(Key::of("s", &Some("")), Err(KeyError::Empty));
    assert_eq!(Key::of("s", &Some("a")).unwrap(), Key::new("s", "a").ok());
    assert_eq!(Key::of("s", &&Some("a")).unwrap(), Key::new("s", "a").ok());
}

#[test]
fn limits_are_errors() {
    assert_eq!(Key::new("s", ""), Err(KeyError::Empty));
    assert_eq!(Key::new("", "v"), Err(KeyError::EmptyScope));
    assert!(Key::new(&"s".repeat(255), &"v".repeat(512)).is_ok());
    let too_long = KeyError::TooLong {
        bytes: 513,
        limit: 512,
    };
    assert_eq!(Key::new("s", &"v".repeat(513)), Err(too_long.clone()));
    assert_eq!(
        Key::of("s", &("v".repeat(511), "")),
        Ok(Key::new("s", &format!("{:v<511},", "")).ok())
    );
    assert_eq!(Key::of("s", &("v".repeat(512), "")), Err(too_long));
    let scope_too_long = KeyError::ScopeTooLong {
        bytes: 256,
        limit: 255,
    };
    assert_eq!(Key::new(&"s".repeat(256), "v"), Err(scope_too_long));
    let longest = Key::new(&"/".repeat(255), &"v".repeat(512)).unwrap();
    assert_eq!(longest.as_str().len(), 1278);
}

/// Some stores refuse NUL, and a line break would garble a listing.
#[test]
fn control_character_is_refused_alone_and_escaped_as_a_part() {
    assert_eq!(
        Key::new("s", "a\u{0}"),
        Err(KeyError::ControlCharacter { at: 1 })
    );
    assert_eq!(
        Key::of("s", &'\n'),
        Err(KeyError::ControlCharacter { at: 0 })
    );
    assert_eq!(
        Key::new("s", "ab\u{85}"),
        Err(KeyError::ControlCharacter { at: 2 })
    );
    assert_eq!(
        value_of(&("a\u{0}", "\n", "\u{7f}\u{85}")),
        "a%00,%0A,%7F%C2%85"
    );
}

#[test]
fn debug_and_errors_do_not_show_the_value() {
    let key = Key::new("orders", "jane@example.com").unwrap();
    assert_eq!(
        format!("{key:?}"),
        r#"Key { scope: "orders", value: <16 bytes> }"#
    );
    let template = KeyTemplate::new("").value("jane@example.com");
    assert_eq!(format!("{template:?}"), "KeyTemplate(<16 bytes>)");
    assert_eq!(format!("{:?}", Key::fixed("secret")), "FixedKey(<6 bytes>)");
    let error = Key::new("orders", "jane\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key has a control character at byte 4; as a part of a tuple it is escaped"
    );
}

#[test]
fn everything_that_can_be_a_key_writes_readable_text() {
    assert_eq!(value_of("text"), "text");
    assert_eq!(value_of(&"text"), "text");
    assert_eq!(value_of(&String::from("text")), "text");
    assert_eq!(value_of(&Cow::Borrowed("text")), "text");
    assert_eq!(value_of(&Box::<str>::from("text")), "text");
    assert_eq!(value_of(&Arc::<str>::from("text")), "text");
    assert_eq!(value_of(&'\u{e9}'), "\u{e9}");
    assert_eq!(value_of(&true), "true");
    assert_eq!(value_of(&-7_i8), "-7");
    assert_eq!(value_of(&i128::MIN), i128::MIN.to_string());
    assert_eq!(value_of(&u128::MAX), u128::MAX.to_string());
    assert_eq!(value_of(&NonZeroU32::MIN), "1");
    assert_eq!(value_of(&Key::fixed("once")), "once");
    assert_eq!(
        value_of(&(1, "b", 'c', false, "e", 6_u8, 7_i64, "h")),
        "1,b,c,false,e,6,7,h"
    );
}

#[cfg(feature = "uuid")]
#[test]
fn uuid_is_written_in_its_usual_form() {
    let id = uuid::Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
    assert_eq!(value_of(&id), "67e55044-10b1-426f-9247-bb680e5fe0c8");
}

#[test]
fn tuples_keep_their_parts_apart() {
    assert_eq!(value_of(&("a,b", "c")), "a%2Cb,c");
    assert_eq!(value_of(&("a", "b,c")), "a,b%2Cc");
    assert_eq!(value_of(&("a%2Cb", "c")), "a%252Cb,c");
    assert_eq!(value_of(&("", "")), ",");
    assert_eq!(value_of(&("", ",")), ",%2C");
    assert_eq!(value_of(&(("a", "b"), "c")), "a%2Cb,c");
    assert_eq!(value_of(&(("a,b", ""), "c")), "a%252Cb%2C,c");
}

/// A release must find the records of the one before it.
#[test]
fn template_text_is_stable() {
    let order = |id: &str, line: u32| {
        value_of(
            &KeyTemplate::new(":")
                .text("order-")
                .value(id)
                .text(":")
                .value(&line),
        )
    };
    assert_eq!(order("A7", 12), "order-A7:12");
    assert_eq!(order("a-b", 12), "order-a-b:12");
    assert_eq!(order("a:b", 1), "order-a%3Ab:1");
    assert_eq!(order("50%", 1), "order-50%25:1");
    assert_eq!(order("", 1), "order-:1");
    let percent = KeyTemplate::new("%/")
        .value(&5)
        .text("% of ")
        .value("1/2")
        .text("/");
    assert_eq!(value_of(&percent), "5%% of 1%2F2/");
}

#[test]
#[cfg(debug_assertions)]
#[should_panic = "two placeholders need text between them"]
fn template_refuses_adjacent_placeholders() {
    _ = KeyTemplate::new("").value("a").value("b");
}

#[test]
#[cfg(debug_assertions)]
#[should_panic = "`new` must be given the character that follows a placeholder"]
fn template_refuses_an_end_that_is_not_escaped() {
    _ = KeyTemplate::new("-").value("a").text(":");
}

#[test]
fn parse_takes_canonical_texts_only() {
    let refused = [
        "", "s", "%2f/v", "%41/v", "a%/v", "a%2/v", "%+1/v", "%FF/v", "\n/v", "%2/5/v",
    ];
    for text in refused {
        assert_eq!(Key::parse(text), Err(KeyError::Malformed), "{text:?}");
    }
    assert_eq!(Key::parse("/v"), Err(KeyError::EmptyScope));
    assert_eq!(Key::parse("s/"), Err(KeyError::Empty));
    assert_eq!(Key::parse("s/100%"), Key::new("s", "100%"));
}

/// A template, written by the builder and read as its documentation says.
#[derive(Clone, Debug)]
struct Template {
    /// The text before the first value, between the values, and after the last.
    pieces: Vec<&'static str>,
    ends: &'static str,
}

impl Template {
    fn new(pieces: &[String], more_ends: &str) -> Self {
        // The builder asks for static text, as the macro has it; a test may leak a few bytes.
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let ends: String = pieces[1..]
            .iter()
            .filter_map(|piece| piece.chars().next())
            .collect();
        Self {
            pieces: pieces.iter().map(|piece| leak(piece)).collect(),
            ends: leak(&(ends + more_ends)),
        }
    }

    fn write(&self, values: &[String]) -> String {
        let mut template = KeyTemplate::new(self.ends).text(self.pieces[0]);
        for (value, piece) in values.iter().zip(&self.pieces[1..]) {
            template = template.value(value);
            if !piece.is_empty() {
                template = template.text(piece);
            }
        }
        let mut text = KeyText::new(String::new());
        template.write_part(&mut text);
        text.into_string()
    }

    /// Finds the values again, from the text and the template alone.
    fn read(&self, mut text: &str) -> Vec<String> {
        let skip_piece = |text: &mut &str, piece: &str| {
            *text = text
                .strip_prefix(&piece.replace('%', "%%"))
                .expect("the literal text");
        };
        skip_piece(&mut text, self.pieces[0]);
        let mut values = Vec::new();
        for piece in &self.pieces[1..] {
            let value = &text[..value_len(text, self.ends)];
            values.push(unescape(value).expect("an escape").into_owned());
            text = &text[value.len()..];
            skip_piece(&mut text, piece);
        }
        assert_eq!(text, "");
        values
    }
}

/// How many bytes there are before the first `%%` or the first of `ends`.
fn value_len(text: &str, ends: &str) -> usize {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        at += match c {
            '%' if text[at..].starts_with("%%") => return at,
            '%' => 3,
            _ if ends.contains(c) => return at,
            _ => c.len_utf8(),
        };
    }
    at
}

prop_compose! {
    /// One to four placeholders with text between any two, and values for them.
    fn template_and_values()(count in 1_usize..5)(
        first in tricky(),
        between in vec("[%,:/A2Cc4\u{e9}]{1,3}", count - 1),
        last in tricky(),
        more_ends in tricky(),
        values in vec(tricky(), count),
    ) -> (Template, Vec<String>) {
        let pieces: Vec<_> = [first].into_iter().chain(between).chain([last]).collect();
        (Template::new(&pieces, &more_ends), values)
    }
}

proptest! {
    /// What can be read back cannot be the text of two lists of values.
    #[test]
    fn values_of_a_template_can_be_read_back((template, values) in template_and_values()) {
        prop_assert_eq!(template.read(&template.write(&values)), values);
    }

    #[test]
    fn parts_of_a_tuple_can_be_read_back(a in tricky(), b in tricky(), c in tricky()) {
        let read = |text: &str| -> Vec<String> {
            text.split(',').map(|part| unescape(part).expect("an escape").into_owned()).collect()
        };
        let nested = value_of(&((&a, &b), &c));
        let outer = read(&nested);
        prop_assert_eq!(&outer[1..], std::slice::from_ref(&c));
        prop_assert_eq!(read(&outer[0]), [a.clone(), b.clone()]);
        prop_assert_eq!(read(&value_of(&(&a, &b, &c))), [a, b, c]);
    }

    #[test]
    fn scope_and_value_can_be_read_back(scope in tricky(), value in "[%,:/A2Cc4\u{e9} ]{0,6}") {
        prop_assume!(!scope.is_empty() && !value.is_empty());
        let key = Key::new(&scope, &value).unwrap();
        prop_assert_eq!(key.scope(), scope.as_str());
        prop_assert_eq!(key.value(), value.as_str());
        prop_assert!(!key.as_str().contains(char::is_control));
        prop_assert_eq!(Key::parse(key.as_str()), Ok(key));
    }

    #[test]
    fn parse_returns_a_key_of_the_same_text_or_an_error(text in "[%,/A2Cf\n]{0,8}") {
        if let Ok(key) = Key::parse(&text) {
            prop_assert_eq!(key.as_str(), text.as_str());
            prop_assert_eq!(Key::new(&key.scope(), key.value()), Ok(key));
        }
    }

    #[test]
    fn escaped_text_has_no_character_that_is_escaped(text in tricky()) {
        let escapes = Escapes::new(",:\u{e9}");
        let mut escaped = String::from("%,");
        escaped.push_str(&text);
        escapes.escape_from(&mut escaped, 2);
        let escaped = escaped.strip_prefix("%,").expect("what came before is as it was");
        prop_assert!(!escaped.chars().any(|c| c != '%' && escapes.contains(c)));
        prop_assert_eq!(unescape(escaped).expect("an escape"), text);
    }
}
