//! Nothing of a request is in a log.

use std::fmt;
use std::sync::{Arc, Mutex};

use idempotent_testkit::faults::Op;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::world::{Client, World, order_of};

/// Takes down everything that is said, with its fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;

        let mut log = self.0.lock().unwrap();
        write!(log, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// H-58, on every way that a request can go.
#[tokio::test(start_paused = true)]
async fn no_log_and_no_error_holds_a_key_a_caller_or_a_body() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let world = World::new();
    let service = world.counting(world.layer());
    let send = |key: &str, body: &'static str| {
        let mut request = order_of(key, body);
        request
            .headers_mut()
            .insert("x-caller", "sesame".parse().unwrap());
        service.send(request)
    };
    let mut replies = vec![
        send("hushkey", "hushbody").await,
        send("hushkey", "hushbody").await,
        send("hushkey", "hushother").await,
        send("hush key", "hushbody").await,
        send("hush,key", "hushbody").await,
    ];
    world.faults.on(Op::Claim).fail();
    replies.push(send("hushkey", "hushbody").await);
    let log = log.0.lock().unwrap();
    assert!(
        log.contains("replayed") && log.contains("mismatch"),
        "{log}"
    );
    for secret in ["hush", "sesame"] {
        assert!(!log.contains(secret), "{log}");
        for reply in &replies {
            assert!(!reply.text().contains(secret), "{}", reply.text());
        }
    }
}
