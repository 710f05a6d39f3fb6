//! The promises hold in small worlds, and each variant of the protocol breaks the one that it should.
//! `cargo xtask verify model` looks at larger worlds.

use clap::ValueEnum;
use verification::model::{Progress, Variant, World, fail, hold, story, summary};

#[test]
fn the_promises_hold_in_small_worlds() {
    for world in World::small() {
        let found = hold(world, Progress::Silent).expect("the checker does not fail");
        assert!(
            found.is_good(),
            "\n{}{}",
            story(&found),
            summary(std::slice::from_ref(&found))
        );
    }
}

#[test]
fn every_variant_breaks_its_promises() {
    for variant in Variant::value_variants() {
        for promise in variant.breaks() {
            let found =
                fail(*variant, *promise, Progress::Silent).expect("the checker does not fail");
            assert!(found.is_good(), "\n{}", summary(&[found]));
        }
    }
}

/// The counterexample is the shortest one, so its length is a fact that can be cited.
#[test]
fn a_counterexample_is_told_step_by_step() {
    let [promise, ..] = Variant::CounterFences.breaks() else {
        panic!("it breaks something");
    };
    let found = fail(Variant::CounterFences, *promise, Progress::Silent)
        .expect("the checker does not fail");
    let text = story(&found);
    assert_eq!(found.broken[0].steps.len(), 5, "{text}");
    assert!(text.contains("4. the store loses the record"), "{text}");
}
