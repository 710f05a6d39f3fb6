//! The model's worlds and variants, one after the other.

use anyhow::Result;
use clap::ValueEnum;
use verification::model::{Exploration, Progress, Variant, World, fail, hold, story, summary};

/// Explores, and returns whether all was found that should be.
pub(crate) fn run(full: bool, only: Option<Variant>) -> Result<bool> {
    let mut found = Vec::new();
    if only.is_none() {
        for world in World::quick() {
            found.push(hold(world, Progress::Shown)?);
        }
    }
    for variant in Variant::value_variants() {
        if only.is_none_or(|only| only == *variant) {
            for promise in variant.breaks() {
                found.push(fail(*variant, *promise, Progress::Shown)?);
            }
        }
    }
    if full {
        for world in World::full() {
            found.push(hold(world, Progress::Shown)?);
        }
    }
    // A way to break what should hold is always worth telling.
    let told = |found: &&Exploration| only.is_some() || found.expected.is_none();
    for found in found.iter().filter(told) {
        print!("{}", story(found));
    }
    println!("{}", summary(&found));
    Ok(found.iter().all(Exploration::is_good))
}
