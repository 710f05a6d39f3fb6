//! A small run of simulations. `cargo xtask verify --full` has the long one.

use std::process::Command;

use verification::{Control, Report, sim, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_verification");
/// Simulations are the same in every run, and so is what comes of them.
const SEED: u64 = 2026;

fn play(seeds: u64, control: Option<Control>) -> Vec<Report> {
    let seeds = sim::Seeds::new(SEED, seeds).control(control);
    sim::run(seeds).expect("the simulation itself does not fail")
}

fn history(seed: u64) -> String {
    sim::history(seed, None).expect("the simulation itself does not fail")
}

#[test]
fn no_fault_in_the_network_breaks_a_promise() {
    let reports = play(100, None);
    let is_good = reports.iter().all(Report::is_good);
    assert!(is_good && reports.len() == 3, "\n{}", table(&reports));
}

#[test]
fn a_seed_is_the_same_history_again() {
    for seed in SEED..SEED + 10 {
        let first = history(seed);
        assert!(first.lines().count() > 100);
        assert_eq!(first, history(seed), "seed {seed}");
        assert_ne!(first, history(seed + 10));
    }
}

#[test]
fn a_seed_is_the_same_history_in_another_process() {
    let seed = format!("--seed={SEED}");
    let output = Command::new(PROGRAM)
        .args(["sim", "--seeds=1", "--history", &seed])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&history(SEED)), "{text}");
}

#[track_caller]
fn check(control: Control) {
    let reports = play(60, Some(control));
    let found = reports.iter().all(Report::is_good);
    assert!(found, "\n{}", table(&reports));
}

#[test]
fn deletion_on_release_is_found_out() {
    check(Control::DeleteOnRelease);
}

#[test]
fn a_lease_as_the_expiry_is_found_out() {
    check(Control::LeaseAsExpiry);
}

#[test]
fn unconditional_completion_is_found_out() {
    check(Control::UnconditionalComplete);
}
