//! Results of a foreign store: the engine returns what the JSON says, or an error, and runs nothing.

#![no_main]

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion};
use idempotent_core::{
    Codec, CodecId, Engine, Error, Fingerprint, Json, Key, MemoryStore, Owner, Payload, Store,
};
use idempotent_fuzz::records;
use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

const TTL: Duration = Duration::from_secs(60);

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    id: u64,
    lines: Vec<(String, i32)>,
    #[serde(default)]
    state: State,
    tags: BTreeMap<String, Option<bool>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
enum State {
    #[default]
    Open,
    Paid(u128),
    Refused {
        why: char,
    },
}

fuzz_target!(|bytes: &[u8]| {
    check::<()>(bytes);
    check::<Option<i64>>(bytes);
    check::<Receipt>(bytes);
    check::<String>(bytes);

    let mut u = Unstructured::new(bytes);
    if let (Ok(failed), Ok(payload)) = (u.arbitrary(), records::payload(&mut u)) {
        RUNTIME.with(|runtime| {
            let runtime = runtime.get_or_init(|| {
                Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime")
            });
            runtime.block_on(replay(payload, failed));
        });
    }
});

/// The codec reads what `serde_json` reads, and what it writes.
fn check<T: Clone + Debug + DeserializeOwned + PartialEq + Serialize>(bytes: &[u8]) {
    let expected = serde_json::from_slice::<T>(bytes).ok();
    let value = decode::<T>(bytes);
    assert_eq!(value, expected);
    if let Some(value) = value {
        let written = Json.encode(&value).expect("JSON");
        assert_eq!(decode(&written), Some(value));
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut value = None;
    let read = Json.decode(bytes, &mut |deserializer| {
        value = Some(T::deserialize(deserializer)?);
        Ok(())
    });
    read.ok().and(value)
}

async fn replay(payload: Payload, failed: bool) {
    let store = MemoryStore::new();
    let key = Key::new("orders.create", "7").expect("a key");
    // That of a call whose arguments are not compared.
    let fingerprint = Fingerprint::from_bytes([0; 32]);
    let owner = Owner::from_bytes([7; 16]);
    let request = ClaimRequest::new(owner, fingerprint, TTL, TTL);
    let Ok(Claim::Granted(grant)) = store.claim(&key, &request).await else {
        panic!("the store is empty");
    };
    let mut completion = Completion::value(payload.clone(), TTL);
    completion.failed = failed;
    store
        .complete(&key, &grant, &completion)
        .await
        .expect("memory");

    let engine = Engine::new(store);
    let call = engine.operation("orders.create").key("7");
    let result = call.run(async { unreachable!("it has run already") }).await;
    let result: Result<Receipt, Error> = result;
    let is_json = payload.codec == CodecId::JSON && !failed;
    match (serde_json::from_slice::<Receipt>(&payload.bytes), result) {
        (Ok(expected), Ok(receipt)) if is_json => assert_eq!(receipt, expected),
        (_, Err(Error::ResultUnavailable)) => assert_eq!(payload.codec, CodecId::NONE),
        (expected, Err(Error::Incompatible(_))) => assert!(!is_json || expected.is_err()),
        (_, result) => panic!("{payload:?} was replayed as {result:?}"),
    }
}
