//! Owners, fingerprints and keys as text: what is read is written the same.

#![no_main]

use idempotent_core::{Fingerprint, Key, Owner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let is_hex = |digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let owner = text.parse::<Owner>().ok();
    assert_eq!(owner.is_some(), is_hex(32));
    if let Some(owner) = owner {
        assert_eq!(owner.to_string(), text.to_ascii_lowercase());
        assert_eq!(Owner::from_bytes(*owner.as_bytes()), owner);
    }

    let fingerprint = text.parse::<Fingerprint>().ok();
    assert_eq!(fingerprint.is_some(), is_hex(64));
    if let Some(fingerprint) = fingerprint {
        assert_eq!(fingerprint.to_string(), text.to_ascii_lowercase());
    }

    if let Ok(key) = Key::parse(text) {
        assert_eq!(key.as_str(), text);
        assert_eq!(Key::new(&key.scope(), key.value()), Ok(key));
    }
    if let Some((scope, value)) = text.split_once('\n')
        && let Ok(key) = Key::new(scope, value)
    {
        assert_eq!((&*key.scope(), key.value()), (scope, value));
        assert!(!key.as_str().contains(char::is_control));
        assert_eq!(Key::parse(key.as_str()), Ok(key));
    }
});
