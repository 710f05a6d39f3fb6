//! The processes that are killed.

use std::time::Duration;

use idempotency::{BoxError, Completer, Engine, OnConflict};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::args::Args;
use crate::crash::{self, Point};
use crate::payments::Payments;
use crate::ride::{CENTS, LEASE, Ride, Shop, create_ride};

/// How many rides a client books at once.
const AT_ONCE: usize = 8;

fn engine<S: Shop>(shop: &S) -> Engine {
    let engine = Engine::builder(shop.store().clone());
    engine
        .on_conflict(OnConflict::Wait(LEASE * 10))
        .version(env!("CARGO_PKG_VERSION"))
        .build()
}

fn payments(args: &Args) -> Result<Payments, BoxError> {
    let address = args
        .payments
        .ok_or("say where the payment provider listens: `--payments ADDRESS`")?;
    Ok(Payments(address))
}

const fn ride(id: u32) -> Ride {
    Ride { id, cents: CENTS }
}

/// Books a ride, and says what the answer is.
pub(crate) async fn book<S: Shop>(
    args: &Args,
    shop: S,
    id: u32,
    crash_at: Option<Point>,
) -> Result<bool, BoxError> {
    crash::plan(crash_at);
    crash::at(Point::Start);
    let booked = create_ride(&engine(&shop), &shop, payments(args)?, ride(id)).await?;
    let how = if booked.is_replayed() {
        "replayed"
    } else {
        "executed"
    };
    println!("{} {how}", booked.value().charge);
    Ok(true)
}

/// Books rides until all are booked.
pub(crate) async fn client<S: Shop>(args: &Args, shop: S, rides: u32) -> Result<bool, BoxError> {
    let (engine, payments) = (engine(&shop), payments(args)?);
    let mut booking = JoinSet::new();
    // Each process goes another way, so that they meet everywhere.
    let start = std::process::id() % rides;
    for id in (0..rides).map(|id| (start + id * 7) % rides) {
        while booking.len() >= AT_ONCE {
            booking.join_next().await;
        }
        let (engine, shop) = (engine.clone(), shop.clone());
        booking.spawn(async move {
            while create_ride(&engine, &shop, payments, ride(id))
                .await
                .is_err()
            {
                sleep(Duration::from_millis(50)).await;
            }
        });
    }
    booking.join_all().await;
    Ok(true)
}

/// Finishes what no client has come back for.
pub(crate) async fn complete<S: Shop>(args: &Args, shop: S, once: bool) -> Result<bool, BoxError> {
    let (engine, payments) = (engine(&shop), payments(args)?);
    let (store, resumed) = (shop.store().clone(), engine.clone());
    let completer = Completer::new(engine, store)
        .register("rides.create", move |(ride,): (Ride,)| {
            let (engine, shop) = (resumed.clone(), shop.clone());
            async move { create_ride(&engine, &shop, payments, ride).await }
        })
        .grace(Duration::ZERO)
        .backoff(Duration::ZERO)
        .max_attempts(u32::MAX);
    loop {
        let pass = completer.pass().await?;
        if once {
            println!("{} finished", pass.finished);
            return Ok(true);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
