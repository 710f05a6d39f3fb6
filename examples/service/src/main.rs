//! Calls a payment service as its clients would: once, again, and with another amount.

use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::sqlite::SqliteStore;
use idempotency::{BoxError, Engine, Outcome};
use service::{Bank, Charge, PaymentError, PaymentService, Payments, Receipt};

/// A bank that says what it does.
struct PrintingBank {
    transfers: AtomicU32,
}

impl Bank for PrintingBank {
    async fn transfer(&self, key: &str, cents: u64) -> Result<String, PaymentError> {
        let number = self.transfers.fetch_add(1, Ordering::Relaxed) + 1;
        println!("    bank: transfer {number} moves {cents} cents under the key {key:.8}..");
        Ok(format!("transfer {number}"))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let engine = Engine::new(SqliteStore::open("service.sqlite")?);
    let bank = PrintingBank {
        transfers: AtomicU32::new(0),
    };
    let payments = PaymentService::new(engine, bank);
    let charge = Charge {
        account: "ada".to_owned(),
        request_id: "r1".to_owned(),
        cents: 1250,
    };

    println!("Ada is charged 1250 cents:");
    let first = tell(payments.charge(charge.clone()).await)?;

    println!("The answer was lost, so her client asks again:");
    let again = tell(payments.charge(charge.clone()).await)?;
    assert_eq!(first, again);

    println!("It asks for another amount under the same request id:");
    match payments
        .charge(Charge {
            cents: 9900,
            ..charge
        })
        .await
    {
        Ok(_) => return Err("the second amount was charged".into()),
        Err(error) => println!("    refused: {error}"),
    }

    println!("She is given her money back, and so is her client's retry:");
    tell(payments.refund(first.clone()).await)?;
    tell(payments.refund(first).await)?;
    Ok(())
}

/// Prints how a receipt came about.
fn tell(result: Result<Outcome<Receipt>, PaymentError>) -> Result<Receipt, PaymentError> {
    let outcome = result?;
    let how = if outcome.is_replayed() {
        "replayed"
    } else {
        "executed"
    };
    println!("    {how}: {}", outcome.value().transfer);
    Ok(outcome.into_value())
}
