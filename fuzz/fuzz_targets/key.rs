//! Keys that are tuples: the parts can be read back, and two different tuples are two keys.

#![no_main]

use idempotent_core::{IntoKey, Key};
use idempotent_fuzz::values::Reader;
use libfuzzer_sys::fuzz_target;

type Parts<'a> = (&'a str, &'a str, &'a str);

fuzz_target!(|pair: (Parts<'_>, Parts<'_>)| {
    let (one, other) = pair;
    let (flat, nested) = (key(&one), key(&((one.0, one.1), one.2)));
    if let Some(flat) = &flat {
        assert_eq!(read(flat.value()), [one.0, one.1, one.2]);
    }
    if let Some(nested) = &nested {
        let outer = read(nested.value());
        assert_eq!(outer[1..], [one.2]);
        assert_eq!(read(&outer[0]), [one.0, one.1]);
    }
    if one != other {
        assert!(flat.is_none() || flat != key(&other));
        assert!(nested.is_none() || nested != key(&((other.0, other.1), other.2)));
    }
});

/// The key, unless it is too long.
fn key(parts: &impl IntoKey) -> Option<Key> {
    let key = Key::of("orders.create", parts).ok().flatten()?;
    assert_eq!(Key::parse(key.as_str()).as_ref(), Ok(&key));
    Some(key)
}

fn read(text: &str) -> Vec<String> {
    let mut reader = Reader(text);
    let mut parts = vec![reader.value(",")];
    while !reader.0.is_empty() {
        reader.skip(",");
        parts.push(reader.value(","));
    }
    parts
}
