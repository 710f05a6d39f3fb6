//! The text of a Redis record: whatever is read is written so that it reads the same, and whatever
//! is written is read.

#![no_main]

#[path = "../../idempotent-redis/src/text.rs"]
#[rustfmt::skip]
#[expect(dead_code, reason = "some of it is for the scripts")]
mod text;

use bytes::Bytes;
use idempotent_fuzz::records;
use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};

/// What a write of the owner is compared with.
const PREFIX: usize = 53;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = text::read(&Bytes::copy_from_slice(bytes)) {
        let written = Bytes::from(text::write(&record));
        let again = text::read(&written).expect("what was written is a record");
        assert_eq!(again, record);
        assert_eq!(text::write(&again), written);
        assert_eq!(written[..PREFIX], bytes[..PREFIX]);
    }
    if let Ok(record) = records::record(&mut Unstructured::new(bytes)) {
        let written = Bytes::from(text::write(&record));
        assert_eq!(
            text::read(&written).expect("what was written is a record"),
            record
        );
    }
});
