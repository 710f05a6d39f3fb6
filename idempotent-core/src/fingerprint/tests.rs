use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write;

use proptest::prelude::*;
use serde::ser::{SerializeMap, Serializer};
use serde_json::json;

use super::*;

mod pinned;

fn of(value: &(impl Serialize + ?Sized)) -> Fingerprint {
    Fingerprint::of(value).unwrap()
}

/// A map that serializes its entries as they are, like a `serde_json::Map` once any crate of the
/// build turns on `preserve_order`.
struct Ordered<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Ordered<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0
            .iter()
            .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// Bytes, as `bytes::Bytes` and `serde_bytes` serialize them.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn no_arguments_have_the_empty_fingerprint() {
    assert_eq!(
        FingerprintBuilder::new().finish().unwrap(),
        Fingerprint::EMPTY
    );
    assert_ne!(
        FingerprintBuilder::new().arg("a", &()).finish().unwrap(),
        Fingerprint::EMPTY
    );
}

#[test]
fn neighbours_do_not_run_together() {
    assert_ne!(of(&("ab", "c")), of(&("a", "bc")));
    assert_ne!(of(&[vec![1], vec![2]]), of(&[vec![1, 2], vec![]]));
    assert_ne!(of(&((1, 2), 3)), of(&(1, (2, 3))));
    let two = |a: &str, b: &str| {
        FingerprintBuilder::new()
            .arg("a", a)
            .arg("b", b)
            .finish()
            .unwrap()
    };
    assert_ne!(two("xy", "z"), two("x", "yz"));
    assert_ne!(two("x", "y"), two("y", "x"));
}

/// A result of `()` or `None` was mistaken for a missing one elsewhere.
#[test]
fn nothing_has_kinds() {
    let nothings = [
        of(&()),
        of(&None::<u8>),
        of(&Some(())),
        of(&Some(None::<u8>)),
        of(""),
        of(&[0_u8; 0]),
        of(&Raw(b"")),
        of(&json!({})),
        of(&0),
        of(&0.0),
        of(&false),
        Fingerprint::of("\0").unwrap(),
    ];
    for (index, nothing) in nothings.iter().enumerate() {
        assert!(!nothings[..index].contains(nothing), "{index}");
    }
    assert_ne!(of(&Some(7)), of(&7));
}

/// RFC 8785 folds these together.
#[test]
fn integers_above_2_to_the_53_differ() {
    assert_ne!(of(&(1_u64 << 53)), of(&((1_u64 << 53) + 1)));
    assert_ne!(of(&u64::MAX), of(&(u64::MAX - 1)));
    assert_ne!(of(&u128::MAX), of(&(u128::MAX - 1)));
    assert_ne!(of(&u64::MAX), of(&-1_i64));
}

/// Widening a field must not break the calls in flight.
#[test]
fn integers_are_equal_by_value() {
    for other in [
        of(&5_u64),
        of(&5_i8),
        of(&5_i128),
        of(&5_u128),
        of(&5_usize),
    ] {
        assert_eq!(of(&5_u8), other);
    }
    assert_eq!(of(&-5_i8), of(&-5_i128));
    assert_eq!(of(&0.5_f32), of(&0.5_f64));
    assert_ne!(of(&5), of(&5.0));
    assert_ne!(of(&5), of("5"));
}

#[test]
fn floats_are_equal_by_value() {
    assert_eq!(of(&0.0), of(&-0.0));
    assert_eq!(of(&f64::NAN), of(&-f64::NAN));
    assert_eq!(of(&f64::NAN), of(&f32::NAN));
    assert_ne!(of(&0.1), of(&(0.1 + f64::EPSILON)));
    assert_ne!(of(&f64::INFINITY), of(&f64::NEG_INFINITY));
}

/// Refactoring changed every key elsewhere.
#[test]
fn refactoring_keeps_the_fingerprint() {
    #[derive(Serialize)]
    struct Before {
        id: u32,
        name: &'static str,
        at: (i32, i32),
        kind: Kind,
    }
    #[derive(Serialize)]
    enum Kind {
        Big,
    }
    #[derive(Serialize)]
    struct After {
        kind: Sort,
        #[serde(skip_serializing_if = "Option::is_none")]
        new: Option<u8>,
        #[serde(flatten)]
        name: Named,
        at: [i64; 2],
        id: Id,
    }
    #[derive(Serialize)]
    struct Named {
        name: String,
    }
    #[derive(Serialize)]
    struct Id(u64);
    #[derive(Serialize)]
    enum Sort {
        #[expect(dead_code, reason = "moves the other variant to another position")]
        Small,
        Big,
    }

    let before = of(&Before {
        id: 7,
        name: "n",
        at: (1, -2),
        kind: Kind::Big,
    });
    let name = Named {
        name: "n".to_owned(),
    };
    let after = of(&After {
        kind: Sort::Big,
        new: None,
        name,
        at: [1, -2],
        id: Id(7),
    });
    assert_eq!(before, after);
}

#[test]
fn order_of_arguments_does_not_matter() {
    let empty = FingerprintBuilder::new;
    let fingerprint = empty().arg("a", "x").arg("b", &1).finish().unwrap();
    assert_eq!(
        empty().arg("b", &1).arg("a", "x").finish().unwrap(),
        fingerprint
    );
    assert_ne!(
        empty().arg("c", "x").arg("b", &1).finish().unwrap(),
        fingerprint
    );
    assert_eq!(of(&json!({ "a": "x", "b": 1 })), fingerprint);
}

/// `preserve_order` anywhere in a build made equal maps differ elsewhere.
#[test]
fn order_of_json_members_does_not_matter() {
    let inner = |x: &'static str, y: &'static str| Ordered(vec![(x, 1), (y, 1)]);
    let ordered = Ordered(vec![("b", inner("x", "y")), ("a", inner("y", "x"))]);
    assert_eq!(
        of(&ordered),
        of(&json!({ "a": { "x": 1, "y": 1 }, "b": { "x": 1, "y": 1 } }))
    );
}

#[test]
fn entry_that_is_there_twice_counts_twice() {
    let once = of(&Ordered(vec![("a", 1)]));
    let twice = of(&Ordered(vec![("a", 1), ("a", 1)]));
    let other = of(&Ordered(vec![("a", 1), ("a", 2)]));
    let other_order = of(&Ordered(vec![("a", 2), ("a", 1)]));
    let all = [once, twice, other, other_order];
    for (index, fingerprint) in all.iter().enumerate() {
        assert!(!all[..index].contains(fingerprint), "{index}");
    }
}

#[test]
fn keys_of_maps_keep_their_kind() {
    assert_ne!(
        of(&BTreeMap::from([(1, "")])),
        of(&BTreeMap::from([("1", "")]))
    );
    assert_eq!(
        of(&BTreeMap::from([(-1_i8, "")])),
        of(&HashMap::from([(-1_i64, "")]))
    );
}

#[test]
fn long_texts_differ() {
    let text = "a".repeat(5000);
    let mut other = text.clone();
    other.replace_range(4000..4001, "b");
    assert_eq!(of(&text), of(&text.clone()));
    assert_ne!(of(&text), of(&other));
    assert_ne!(of(&text), of(&text[1..]));
    assert_ne!(of(&text), of(&Raw(text.as_bytes())));
}

#[test]
fn human_readable_form_counts() {
    assert_eq!(of(&std::net::Ipv4Addr::LOCALHOST), of("127.0.0.1"));
}

#[test]
fn first_argument_that_fails_is_named_with_its_source() {
    let locked = RefCell::new(1);
    let _guard = locked.borrow_mut();
    let error = FingerprintBuilder::new()
        .arg("fine", &1)
        .arg("locked", &locked)
        .arg("fine_too", &1)
        .arg("last", &(1, &locked))
        .finish()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument `locked` cannot be serialized for the fingerprint"
    );
    assert_eq!(
        error.source().expect("a source").to_string(),
        "already mutably borrowed"
    );
    let error = Fingerprint::of(&locked).unwrap_err();
    assert_eq!(
        error.source().expect("a source").to_string(),
        "already mutably borrowed"
    );
}

#[test]
fn map_with_half_an_entry_is_refused() {
    struct Half(&'static str);

    impl Serialize for Half {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            for step in self.0.chars() {
                match step {
                    'k' => map.serialize_key("k")?,
                    _ => map.serialize_value("v")?,
                }
            }
            map.end()
        }
    }

    assert_eq!(
        of(&Half("kvkv")),
        of(&Ordered(vec![("k", "v"), ("k", "v")]))
    );
    for half in ["k", "v", "kk", "kvv", "kvk"] {
        assert!(Fingerprint::of(&Half(half)).is_err(), "{half}");
    }
}

#[test]
fn hex_is_read_back() {
    let fingerprint = of("tea");
    let hex = fingerprint.to_string();
    assert_eq!(hex.len(), 64);
    assert_eq!(hex.parse(), Ok(fingerprint));
    assert_eq!(Fingerprint::from_hex(&hex.to_uppercase()), Ok(fingerprint));
    assert_eq!(
        Fingerprint::from_bytes(*fingerprint.as_bytes()),
        fingerprint
    );
    for wrong in [
        "",
        "00",
        &hex[1..],
        &hex[2..],
        &format!("{hex}0"),
        &format!("{hex}00"),
    ] {
        assert_eq!(
            Fingerprint::from_hex(wrong),
            Err(ParseFingerprintError),
            "{wrong}"
        );
    }
    assert!(Fingerprint::from_hex(&hex.replacen(&hex[..1], "g", 1)).is_err());
    let mut debug = String::new();
    write!(
        debug,
        "{:?} {:?}",
        Fingerprint::from_bytes([0xab; 32]),
        FingerprintBuilder::new()
    )
    .unwrap();
    assert_eq!(
        debug,
        format!(
            "Fingerprint({}) FingerprintBuilder {{ .. }}",
            "ab".repeat(32)
        )
    );
}

proptest! {
    #[test]
    fn hash_maps_with_equal_entries_are_equal(
        entries in prop::collection::vec(("[a-c]{0,3}", any::<u8>()), 0..40),
    ) {
        // Each has its own random hasher, and another history of insertions.
        let map: HashMap<_, _> = entries.iter().cloned().collect();
        let mut shuffled = HashMap::with_capacity(1000);
        shuffled.extend(map.clone());
        let sorted: BTreeMap<_, _> = map.clone().into_iter().collect();
        prop_assert_eq!(of(&map), of(&shuffled));
        prop_assert_eq!(of(&map), of(&sorted));
    }

    #[test]
    fn order_of_entries_does_not_matter(
        (entries, shuffled) in prop::collection::btree_map("[a-c]{0,3}", any::<u8>(), 0..20)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
    ) {
        prop_assert_eq!(of(&Ordered(entries)), of(&Ordered(shuffled)));
    }
}
