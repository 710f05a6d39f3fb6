use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use idempotent_testkit::interruptions::Interruptions;

use super::*;

#[test]
fn an_order_is_created_once_wherever_its_creation_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.jsonl");
    let order: NewOrder = serde_json::from_str(
        r#"{"customer":"ada","request_id":"r1","item":"tea","quantity":2,"price_cents":450}"#,
    )
    .unwrap();

    let orders_file = path.clone();
    let rows_before = AtomicUsize::new(0);
    let report = Interruptions::of(move |store| {
        let shop = Shop {
            engine: Engine::new(store),
            orders: OrdersFile::open(orders_file.clone()).unwrap(),
            payments: Payments::default(),
            crash: CrashPlan::new(None, CrashAt::AfterEffect),
        };
        let order = order.clone();
        async move { create_order(&shop, order).await.map(Outcome::into_value) }
    })
    .effects(move || {
        // Every point begins with an empty file: an earlier one's order would be found.
        let rows = fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .count();
        fs::write(&path, "").unwrap();
        rows_before.fetch_add(rows, Ordering::Relaxed) + rows
    })
    .run();

    report.assert_answered();
    report.assert_same_answers();
    report.assert_at_most(1);
    assert!(
        report.points().iter().all(|point| point.effects == 1),
        "{report}"
    );
    assert!(report.points().len() > 10, "{report}");
}
