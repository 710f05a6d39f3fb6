//! Digests that a change of the encoding would change.

use super::*;

#[derive(Serialize)]
enum Payment {
    Cash,
    Card { number: String, holder: String },
    Transfer(u64, i8),
    Voucher(Option<&'static str>),
}

#[derive(Serialize)]
struct Order {
    id: u64,
    total_cents: i64,
    note: Option<String>,
    lines: Vec<(String, u32)>,
    tags: BTreeMap<String, f64>,
    payment: Payment,
}

fn order() -> Order {
    Order {
        id: u64::MAX,
        total_cents: -1250,
        note: None,
        lines: vec![("tea".to_owned(), 2), ("cup".to_owned(), 1)],
        tags: BTreeMap::from([("weight".to_owned(), 0.25)]),
        payment: Payment::Card {
            number: "4111".to_owned(),
            holder: "J. Doe".to_owned(),
        },
    }
}

/// Calls in flight during a deploy of a new version of this crate must find their records.
#[test]
fn digests_are_the_same_in_every_release() {
    let pinned = [
        (
            of(&()),
            "9dcf97a184f32623d11a73124ceb99a5709b083721e878a16d78f596718ba7b2",
        ),
        (
            of(&order()),
            "ca8bf67ed030fc0f37973a7b49f5f54d755936b9a9e0c6394e33c4f5448b18ff",
        ),
        (
            of(&(
                Payment::Cash,
                Payment::Transfer(1, -128),
                Payment::Voucher(Some("x")),
            )),
            "c7f6ee4a98e46ce4242e67ae462bd90de7a218fcadf7ff8a80218e69ce7fe7e6",
        ),
        (
            of(&(u128::MAX, i128::MIN, 300, true, f64::NAN, -0.0, 'x')),
            "7fa439e46f44b5b11dfbc3acb7d334fc4f6c75a0e9ee77fc7efa7bb92ffef058",
        ),
        (
            of(&(Raw(b"\x00\xff"), "a".repeat(2000), Raw(&[7; 2000]))),
            "34559bacaf6c04d1bcd8945ebf87f64dc8163746af7d725143dcc0312f75c223",
        ),
        (
            FingerprintBuilder::new()
                .arg("order", &order())
                .arg("retry", &false)
                .finish()
                .unwrap(),
            "bad440cf91a50be6269f5b44fc405c2716ce4ff9669f968117aa3a36e12e4c13",
        ),
    ];
    for (fingerprint, expected) in pinned {
        assert_eq!(fingerprint.to_string(), expected);
    }
}
