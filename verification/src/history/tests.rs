use idempotency::{CodecId, Fence, Fingerprint, Owner, Payload};

use super::*;

const RERUN: Rules = Rules {
    mode: Mode::Rerun,
    lease: Some(Duration::from_millis(100)),
};

fn entry(what: What, execution: &str, attempt: u32, fence: u64) -> Entry {
    Entry {
        what,
        key: "key".to_owned(),
        execution: execution.to_owned(),
        attempt,
        fence,
        previous: (attempt > 1).then_some('x'),
        at: fence,
    }
}

fn ran(execution: &str, attempt: u32, fence: u64) -> [Entry; 2] {
    [What::Start, What::Effect].map(|what| entry(what, execution, attempt, fence))
}

fn completed(value: &str, attempt: u32, fence: u64) -> Record {
    let owner = Owner::from_bytes([0; 16]);
    let fingerprint = Fingerprint::from_bytes([0; 32]);
    let mut record = Record::new(owner, Fence::from_u64(fence), fingerprint);
    record.attempt = attempt;
    record.state = State::Completed;
    record.result = Payload {
        codec: CodecId::JSON,
        bytes: serde_json::json!(value).to_string().into_bytes().into(),
    };
    record
}

fn value(value: &str) -> Answer {
    Answer::Value(value.to_owned(), None)
}

/// A takeover after a crash: two effects, of which the second was told.
fn takeover() -> History {
    History {
        entries: [ran("1-1", 1, 1_000), ran("2-1", 2, 200_000)].concat(),
        answers: vec![value("2-1"), value("2-1")],
        looks: vec![Some(completed("2-1", 2, 200_000))],
        resolution: None,
    }
}

fn promises(history: &History, rules: Rules) -> Vec<&'static str> {
    let violations = history.judge(rules).into_iter();
    let mut promises: Vec<_> = violations.map(|violation| violation.promise).collect();
    promises.sort_unstable();
    promises.dedup();
    promises
}

#[test]
fn a_takeover_breaks_no_promise() {
    assert!(promises(&takeover(), RERUN).is_empty());
}

#[test]
fn a_takeover_is_no_excuse_where_at_most_one_effect_is_promised() {
    let mode = Mode::InDoubt;
    assert_eq!(
        promises(&takeover(), Rules { mode, ..RERUN }),
        ["at most once"]
    );
}

#[test]
fn a_key_has_one_completion() {
    let mut history = takeover();
    let first = completed("1-1", 1, 1_000);
    history.looks.insert(0, Some(first));
    assert_eq!(promises(&history, RERUN), ["P1"]);
    history.looks = vec![Some(completed("2-1", 2, 200_000)), None];
    assert!(promises(&history, RERUN).contains(&"P1"));
}

#[test]
fn callers_get_one_value() {
    let mut history = takeover();
    history.answers[0] = value("1-1");
    assert_eq!(promises(&history, RERUN), ["P2", "P6"]);
}

#[test]
fn a_marked_value_binds_nobody() {
    let mut history = takeover();
    let mark = Some(Mark::Unrecorded);
    history.answers.extend([
        Answer::Value("1-1".to_owned(), mark),
        Answer::LeaseLost(Some("1-1".to_owned())),
        Answer::Unrecorded(Some("1-1".to_owned())),
    ]);
    assert!(promises(&history, RERUN).is_empty());
}

#[test]
fn an_owner_that_was_taken_over_does_not_commit() {
    let mut history = takeover();
    history.looks = vec![Some(completed("1-1", 1, 1_000))];
    history.answers = vec![value("1-1")];
    assert_eq!(promises(&history, RERUN), ["P3"]);
}

#[test]
fn a_result_is_recorded_under_its_own_grant() {
    let mut history = takeover();
    history.looks = vec![Some(completed("2-1", 2, 300_000))];
    assert_eq!(promises(&history, RERUN), ["P3"]);
    history.looks = vec![Some(completed("9-9", 2, 200_000))];
    history.answers.clear();
    assert_eq!(promises(&history, RERUN), ["P3"]);
}

#[test]
fn fences_rise() {
    let mut history = takeover();
    history.entries = [ran("1-1", 1, 200_000), ran("2-1", 2, 200_000)].concat();
    history.entries[0].at -= 1;
    assert!(promises(&history, RERUN).contains(&"P4"));
}

#[test]
fn the_first_attempt_is_the_first() {
    let mut history = takeover();
    history.entries = [ran("1-1", 1, 1_000), ran("2-1", 1, 200_000)].concat();
    history.looks = vec![Some(completed("2-1", 1, 200_000))];
    assert_eq!(promises(&history, RERUN), ["P5", "effect"]);
}

#[test]
fn an_unmarked_value_was_recorded() {
    let mut history = takeover();
    history.looks = vec![None];
    assert_eq!(promises(&history, RERUN), ["P6"]);
}

#[test]
fn a_value_had_its_effect() {
    let mut history = takeover();
    history.entries.pop();
    assert_eq!(promises(&history, RERUN), ["P6"]);
}

#[test]
fn a_lease_holds_until_it_ends() {
    let mut history = takeover();
    history.entries = [ran("1-1", 1, 150_000), ran("2-1", 2, 200_000)].concat();
    assert_eq!(promises(&history, RERUN), ["lease"]);
    // After an error, the next may run at once.
    history.entries[2].previous = Some('e');
    assert!(promises(&history, RERUN).is_empty());
}

#[test]
fn what_an_operator_says_counts() {
    let mut history = takeover();
    history.entries.truncate(2);
    history.answers = vec![Answer::InDoubt, value("by hand")];
    history.looks = vec![Some(completed("by hand", 1, 1_000))];
    assert!(!promises(&history, RERUN).is_empty());
    history.resolution = Some("by hand".to_owned());
    assert!(promises(&history, RERUN).is_empty());
}

#[test]
fn an_error_that_no_chaos_explains_is_told() {
    let mut history = takeover();
    history.answers.push(Answer::Unexpected("?".to_owned()));
    assert_eq!(promises(&history, RERUN), ["contract"]);
}
