use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn record() -> Record {
    let fence = Fence::from_u64(1_732_420_000_123_456);
    let mut record = Record::new(Owner::random().unwrap(), fence, Fingerprint::EMPTY);
    record.keep = Duration::from_secs(86_400);
    record.expires_at = Timestamp::default();
    record
}

#[test]
fn a_record_survives_its_text() {
    let mut running = record();
    running.attempt = u32::MAX;
    running.failures = 3;
    running.late = 10;
    running.previous = Some(Ending::Healed);
    running.ending = Some(Ending::Panicked);
    running.at_most_once = true;
    running.waiter = true;
    running.started_at = Timestamp::from_micros(1_732_000_000_000_001);
    running.steps = vec![
        Step {
            name: "charge".into(),
            value: "ch_1".into(),
        },
        Step {
            name: "1,2:|".into(),
            value: Bytes::from_static(b"|\0\xff1,1:"),
        },
        Step {
            name: String::new(),
            value: Bytes::new(),
        },
    ];
    let payload = Payload {
        codec: CodecId::JSON,
        bytes: Bytes::from_static(b"|,1\0"),
    };
    let completion = Completion::error(payload, Duration::from_secs(60));
    let finished = finished(
        record(),
        &completion,
        Timestamp::from_micros(1_732_420_001_000_000),
    );
    for record in [record(), running, finished] {
        assert_eq!(read(&write(&record).into()).unwrap(), record);
    }
}

/// The layout is a promise to operators, and to other versions of this program.
#[test]
fn the_layout_is_as_documented() {
    let mut record = record();
    record.owner = Owner::from_bytes([0x9f; 16]);
    let payload = Payload {
        codec: CodecId::JSON,
        bytes: Bytes::from_static(b"{}"),
    };
    let completion = Completion::value(payload, Duration::from_secs(86_400));
    let text = write(&finished(
        record,
        &completion,
        Timestamp::from_micros(1_732_420_000_276_667),
    ));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        &text[..PREFIX],
        format!("idr1C{}1732420000123456", "9f".repeat(16))
    );
    assert_eq!(&text[PREFIX..57], "---r");
    assert_eq!(&text[57..NUMBERS], Fingerprint::EMPTY.to_string());
    assert_eq!(&text[NUMBERS..], "1,0,0,86400000,0,1,153211,86400000|{}");
}

#[test]
fn numbers_have_all_their_digits() {
    for number in [0, 9, 10, 1_000_000, u64::MAX] {
        let mut text = Vec::new();
        push_digits(&mut text, number, 1);
        assert_eq!(text, number.to_string().as_bytes());
    }
    let mut text = Vec::new();
    push_fence(&mut text, Fence::from_u64(7));
    assert_eq!(text, b"0000000000000007");
}

#[test]
fn nothing_else_is_a_record() {
    let text = write(&record());
    for end in 0..text.len() {
        assert!(
            read(&Bytes::copy_from_slice(&text[..end])).is_err(),
            "the first {end} bytes"
        );
    }
    let mut longer = text.clone();
    longer.push(b'1');
    assert!(read(&longer.into()).is_err());
    for at in 0..text.len() {
        let mut damaged = text.clone();
        damaged[at] = b'~';
        assert!(read(&damaged.into()).is_err(), "with byte {at} damaged");
    }
}

/// C2: the takeover of a grant with a longer number would move everything that stands behind it.
#[test]
fn a_fence_that_no_grant_can_have_is_damage() {
    let mut last = record();
    last.fence = Fence::from_u64(Fence::LIMIT - 1);
    last.started_at = last.fence.granted_at();
    assert_eq!(read(&write(&last).into()).unwrap(), last);
    for fence in [Fence::LIMIT, 9_999_999_999_999_999] {
        last.fence = Fence::from_u64(fence);
        assert!(matches!(
            read(&write(&last).into()),
            Err(Unreadable::Damaged)
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Another version, or a person, may have written it with other digits.
    #[test]
    fn what_is_read_is_written_so_that_it_reads_the_same(
        state in "[CFIPR]",
        fence in "[0-9]{16}",
        letters in "[w-][cnexhp-][cnexhp-][mr]",
        numbers in vec("[0-9]{1,20}", 8),
        finished in any::<bool>(),
        steps in vec(("[a,1:|]{0,3}", vec(any::<u8>(), 0..4)), 0..3),
    ) {
        let mut text = format!("idr1{state}{}{fence}{letters}{}", "9f".repeat(16), "0a".repeat(32));
        text += &numbers[..if finished { 8 } else { 5 }].join(",");
        let mut text = text.into_bytes();
        text.push(b'|');
        for (name, value) in steps {
            text.extend(format!("{},{}:{name}", name.len(), value.len()).bytes());
            text.extend(value);
        }
        let text = Bytes::from(text);
        if let Ok(record) = read(&text) {
            let written = Bytes::from(write(&record));
            prop_assert_eq!(&written[..PREFIX], &text[..PREFIX]);
            prop_assert_eq!(read(&written).unwrap(), record);
        }
    }

    /// C1g: bytes of any kind are a record, or an error.
    #[test]
    fn any_bytes_are_a_record_or_refused(damages in vec((0..400_usize, any::<u8>()), 0..4)) {
        let mut text = write(&record());
        for (at, byte) in damages {
            let at = at % text.len();
            text[at] = byte;
        }
        if let Ok(record) = read(&text.into()) {
            prop_assert_eq!(read(&write(&record).into()).unwrap(), record);
        }
    }
}
