//! Fingerprints of two values: equal if the values are, and only then; an error if one is broken.

#![no_main]

use idempotent_core::{Fingerprint, FingerprintBuilder};
use idempotent_fuzz::shapes::{Name, Shape};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pair: (Shape, Shape)| {
    let (one, other) = pair;
    let (first, second) = (fingerprint(&one), fingerprint(&other));
    assert_eq!(first == second, one.normal() == other.normal());

    let fields = vec![(Name::A, one), (Name::B, other)];
    let whole = fingerprint(&Shape::Struct(fields.clone()));
    // Arguments count by name, in any order.
    let arguments = fields
        .iter()
        .rev()
        .fold(FingerprintBuilder::new(), |builder, (name, value)| {
            builder.arg(name.text(), value)
        });
    assert_eq!(arguments.finish().ok(), whole);
});

/// The fingerprint, which every value has that is not broken.
fn fingerprint(value: &Shape) -> Option<Fingerprint> {
    let fingerprint = Fingerprint::of(value).ok();
    assert_eq!(fingerprint.is_some(), value.normal().is_some());
    fingerprint
}
