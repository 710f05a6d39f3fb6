//! What it costs to keep the record in the transaction of the operation's own rows, and what a lease
//! costs beside it.

mod postgres;
mod sqlite;

use anyhow::Result;
use idempotency::{Engine, Error, idempotent};
use tokio::runtime::Runtime;

use crate::args::Args;
use crate::orders::{Desk, Order, Receipt, Taken, orders, receipt_text, threads};
use crate::progress::Progress;
use crate::rounds::Pair;
use crate::table::{Bar, Row, Table, Unit};

const RESULT_BYTES: usize = 200;
/// Callers at a time, and the calls of a round.
const LOADS: [(usize, usize); 2] = [(1, 200), (16, 16 * 100)];

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let (runtime, text) = (threads(2)?, receipt_text(RESULT_BYTES));
    sqlite::measure(&runtime, text, args, progress, table)?;
    postgres::measure(&runtime, text, args, progress, table)
}

/// The ways to take an order in one database.
struct Desks<P, T, L, S> {
    /// A transaction of the order's own rows, and nothing else: the floor.
    plain: P,
    transaction: T,
    lease: L,
    /// A look at one row by its primary key: the floor of a replay.
    select: S,
}

/// What the rows of the table are called.
struct Names {
    progress: &'static str,
    transaction: &'static str,
    lease: &'static str,
    replay: &'static str,
}

impl<P: Desk, T: Desk, L: Desk, S: Desk> Desks<P, T, L, S> {
    fn measure(
        &self,
        runtime: &Runtime,
        names: &Names,
        args: &Args,
        progress: &Progress,
        table: &mut Table,
    ) -> Result<()> {
        for (callers, calls) in LOADS {
            let mut figures = [Pair::default(), Pair::default(), Pair::default()];
            for round in progress.rounds(names.progress, args.rounds(5)) {
                let [transaction, lease, replay] = &mut figures;
                let number = callers * 1_000_000 + round * calls * 3;
                let fresh = |part| orders(number + part * calls, calls);
                let plain = rate(runtime, &self.plain, &fresh(0), callers)?;
                let taken = fresh(1);
                transaction.floor.add(plain);
                transaction
                    .ours
                    .add(rate(runtime, &self.transaction, &taken, callers)?);
                lease.floor.add(plain);
                lease
                    .ours
                    .add(rate(runtime, &self.lease, &fresh(2), callers)?);
                replay
                    .floor
                    .add(rate(runtime, &self.select, &taken, callers)?);
                replay
                    .ours
                    .add(rate(runtime, &self.transaction, &taken, callers)?);
            }
            let operations = [names.transaction, names.lease, names.replay];
            for (operation, figures) in operations.into_iter().zip(figures) {
                table.add(Row {
                    operation,
                    callers,
                    unit: Unit::Rate,
                    figures,
                    bar: Bar::None,
                });
            }
        }
        Ok(())
    }
}

/// Rows in a transaction of their own, under a lease.
#[derive(Clone)]
struct Lease<P> {
    engine: Engine,
    plain: P,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl<P: Desk> Lease<P> {
    #[idempotent(key = order.request, scope = "shop.lease", engine = self.engine)]
    async fn order(&self, order: Order) -> Result<Receipt, Failure> {
        Ok(self.plain.take(order).await?)
    }
}

impl<P: Desk> Desk for Lease<P> {
    async fn take(&self, order: Order) -> Result<Receipt> {
        Ok(self.order(order).await?)
    }
}

fn rate(runtime: &Runtime, desk: &impl Desk, orders: &[Order], callers: usize) -> Result<f64> {
    Taken::all(runtime, desk, orders, callers).map(Taken::rate)
}
