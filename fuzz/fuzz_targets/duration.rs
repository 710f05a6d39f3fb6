//! Durations of the attribute: the first line is a `ttl`, the second a `lease`.

#![no_main]

use idempotent_fuzz::expansion::{call_of, expand, is_error};
use libfuzzer_sys::fuzz_target;
use proc_macro2::{Literal, TokenStream, TokenTree};

fuzz_target!(|text: &str| {
    let (ttl, lease) = text.split_once('\n').unwrap_or((text, "1ms"));
    let args = format!(
        "key = \"{{a}}\", ttl = {}, lease = {}",
        Literal::string(ttl),
        Literal::string(lease)
    );
    let expansion = expand(args.parse().expect("tokens"));
    match (millis(ttl), millis(lease)) {
        (Some(ttl), Some(lease)) if ttl >= lease => {
            assert_eq!(read(&expansion, "ttl"), Some(ttl));
            assert_eq!(read(&expansion, "lease"), Some(lease));
        }
        _ => assert!(is_error(&expansion), "{text} is refused"),
    }
});

/// The duration by another way than the macro's: the longest unit at its end, and what is before it.
fn millis(text: &str) -> Option<u64> {
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let millis = digits
        .trim_start_matches('0')
        .parse::<u128>()
        .ok()?
        .checked_mul(unit)?;
    u64::try_from(millis).ok().filter(|millis| *millis > 0)
}

/// The milliseconds that the expansion gives to the method `name`.
fn read(expansion: &TokenStream, name: &str) -> Option<u64> {
    let argument = call_of(expansion, name)?;
    let number = |name, unit: u64| match call_of(&argument, name)?.into_iter().next()? {
        TokenTree::Literal(number) => number.to_string().parse::<u64>().ok()?.checked_mul(unit),
        _ => None,
    };
    number("from_secs", 1_000).or_else(|| number("from_millis", 1))
}
