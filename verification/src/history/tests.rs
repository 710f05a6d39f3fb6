use idempotency::{CodecId, Fence, Fingerprint, Owner, Payload};

use super::*;

const RERUN: Rules = Rules {
    mode: Mode::Rerun,
    lease: Some(Duration::from_millis(100)),
    effects: Effects::Lines,
};
const ROWS: Rules = Rules {
    effects: Effects::Rows,
    ..RERUN
};

fn entry(what: What, execution: &str, attempt: u32, fence: u64) -> Entry {
    Entry {
        what,
        key: "key".to_owned(),
        call: execution.as_bytes()[0].into(),
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

/// Calls one after the other: of those whose execution begins with `1` and `2`, and of others.
fn calls(answers: impl IntoIterator<Item = Answer>) -> Vec<Call> {
    let start = Instant::now();
    let at = |index: usize| start + Duration::from_millis(10 * index as u64);
    let silent = Call {
        number: b'1'.into(),
        began: start,
        answer: None,
    };
    let answered = answers.into_iter().enumerate().map(|(index, answer)| Call {
        number: u64::from(b'2') + index as u64,
        began: at(2 * index + 1),
        answer: Some((at(2 * index + 2), answer)),
    });
    [silent].into_iter().chain(answered).collect()
}

/// The record at last, when all calls have been answered.
fn look(record: Option<Record>) -> Look {
    let later = Instant::now() + Duration::from_secs(1);
    Look {
        began: later,
        ended: later,
        record,
    }
}

/// A takeover after a crash: two effects, of which the second was told.
fn takeover() -> History {
    History {
        entries: [ran("1-1", 1, 1_000), ran("2-1", 2, 200_000)].concat(),
        calls: calls([value("2-1"), value("2-1")]),
        looks: vec![look(Some(completed("2-1", 2, 200_000)))],
        rows: Vec::new(),
        resolution: None,
    }
}

/// Two attempts of which the first was rolled back, and these rows before and after a look at `record`.
fn committed(before: &[&str], record: Option<Record>, after: &[&str]) -> History {
    let owned = |rows: &[&str]| rows.iter().map(|&row| row.to_owned()).collect();
    History {
        entries: [ran("1-1", 1, 3_000), ran("2-1", 1, 2_000)].concat(),
        calls: calls([value("2-1")]),
        looks: vec![look(Some(completed("2-1", 1, 2_000)))],
        rows: vec![RowsLook {
            before: owned(before),
            record,
            after: owned(after),
        }],
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
    history.looks.insert(0, look(Some(first)));
    assert_eq!(promises(&history, RERUN), ["P1", "linearizable"]);
    history.looks = vec![look(Some(completed("2-1", 2, 200_000))), look(None)];
    assert!(promises(&history, RERUN).contains(&"P1"));
}

#[test]
fn callers_get_one_value() {
    let mut history = takeover();
    history.calls = calls([value("1-1"), value("2-1")]);
    assert_eq!(promises(&history, RERUN), ["P2", "P6", "linearizable"]);
}

#[test]
fn a_marked_value_binds_nobody() {
    let mut history = takeover();
    let mark = Some(Mark::Unrecorded);
    history.calls[0].answer = Some((Instant::now(), Answer::LeaseLost(Some("1-1".to_owned()))));
    assert!(promises(&history, RERUN).is_empty());
    history.calls[0].answer = Some((Instant::now(), Answer::Unrecorded(Some("1-1".to_owned()))));
    assert!(promises(&history, RERUN).is_empty());
    history.calls[0].answer = Some((Instant::now(), Answer::Value("1-1".to_owned(), mark)));
    assert!(promises(&history, RERUN).is_empty());
}

#[test]
fn an_owner_that_was_taken_over_does_not_commit() {
    let mut history = takeover();
    history.looks = vec![look(Some(completed("1-1", 1, 1_000)))];
    history.calls = calls([value("1-1")]);
    assert_eq!(promises(&history, RERUN), ["P3"]);
}

#[test]
fn a_result_is_recorded_under_its_own_grant() {
    let mut history = takeover();
    history.looks = vec![look(Some(completed("2-1", 2, 300_000)))];
    assert_eq!(promises(&history, RERUN), ["P3"]);
    history.looks = vec![look(Some(completed("9-9", 2, 200_000)))];
    history.calls.clear();
    assert_eq!(promises(&history, RERUN), ["P3", "linearizable"]);
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
    history.looks = vec![look(Some(completed("2-1", 1, 200_000)))];
    assert_eq!(promises(&history, RERUN), ["P5", "effect"]);
}

#[test]
fn an_unmarked_value_was_recorded() {
    let mut history = takeover();
    history.looks = vec![look(None)];
    assert_eq!(promises(&history, RERUN), ["P6", "linearizable"]);
}

#[test]
fn a_value_had_its_effect() {
    let mut history = takeover();
    history.entries.pop();
    assert_eq!(promises(&history, RERUN), ["P6", "linearizable"]);
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
    history.calls = calls([Answer::InDoubt, value("by hand")]);
    history.looks = vec![look(Some(completed("by hand", 1, 1_000)))];
    assert!(!promises(&history, RERUN).is_empty());
    history.resolution = Some(Resolution {
        began: history.calls[1].began,
        ended: history.calls[2].began,
        value: "by hand".to_owned(),
    });
    assert!(promises(&history, RERUN).is_empty());
}

/// The one that was rolled back had the higher fence, as it may.
#[test]
fn a_row_comes_with_its_record() {
    let record = || Some(completed("2-1", 1, 2_000));
    let good = [
        committed(&[], record(), &["2-1"]),
        committed(&[], None, &["2-1"]),
        committed(&["2-1"], record(), &["2-1"]),
    ];
    for history in good {
        assert_eq!(promises(&history, ROWS), [""; 0], "{:?}", history.rows);
    }
    let apart = [
        committed(&["2-1"], None, &["2-1"]),
        committed(&[], record(), &["1-1"]),
    ];
    for history in apart {
        assert_eq!(promises(&history, ROWS), ["together"], "{:?}", history.rows);
    }
}

#[test]
fn there_is_one_row() {
    let record = || Some(completed("2-1", 1, 2_000));
    let twice = committed(&["1-1"], record(), &["1-1", "2-1"]);
    assert_eq!(promises(&twice, ROWS), ["one row"]);
    let none = committed(&[], None, &[]);
    assert_eq!(promises(&none, ROWS), ["one row"]);
    let lost = committed(&[], record(), &[]);
    assert_eq!(promises(&lost, ROWS), ["one row", "together"]);
}

#[test]
fn a_claim_is_not_seen_before_its_commit() {
    let mut claim = completed("2-1", 1, 2_000);
    claim.state = State::InProgress;
    let seen = committed(&[], Some(claim), &["2-1"]);
    assert_eq!(promises(&seen, ROWS), ["together"]);
}

#[test]
fn an_error_that_no_chaos_explains_is_told() {
    let mut history = takeover();
    history.calls[0].answer = Some((Instant::now(), Answer::Unexpected("?".to_owned())));
    assert_eq!(promises(&history, RERUN), ["contract"]);
}

#[test]
fn a_caller_does_not_find_nothing_after_another_was_told() {
    let mut history = takeover();
    history.calls = calls([value("2-1"), Answer::InDoubt]);
    assert_eq!(promises(&history, RERUN), ["linearizable"]);
}

/// The second attempt takes itself for the first, because the first one's record was lost.
fn after_a_loss() -> (History, Instant) {
    let mut history = takeover();
    history.entries = [ran("1-1", 1, 1_000), ran("2-1", 1, 200_000)].concat();
    history.calls[0].answer = Some((history.calls[1].began, value("1-1")));
    history.looks = vec![look(Some(completed("2-1", 1, 200_000)))];
    let lost = history.calls[1].began + Duration::from_millis(1);
    (history, lost)
}

#[test]
fn a_loss_explains_a_second_first_attempt() {
    let (history, lost) = after_a_loss();
    let (broken, given_up) = history.judge_loss(RERUN, lost);
    assert!(broken.is_empty(), "{broken:?}");
    assert!(given_up.iter().any(|violation| violation.promise == "P5"));
    assert!(given_up.iter().any(|violation| violation.promise == "P2"));
}

#[test]
fn a_loss_explains_nothing_that_comes_after_it() {
    let (mut history, lost) = after_a_loss();
    history.calls[2].answer = Some((history.calls[2].began, value("1-1")));
    let (broken, _) = history.judge_loss(RERUN, lost);
    assert!(broken.iter().any(|violation| violation.promise == "P2"));
}
