//! The operation that every measurement runs.

use std::future::Future;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, bail};
use idempotency::{Engine, Error, Key, idempotent};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::clock::{Stopwatch, processor_time};
use crate::rounds::count;

/// The arguments of the operation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) customer: String,
    pub(crate) request: String,
    pub(crate) item: String,
    pub(crate) quantity: u32,
}

impl Order {
    /// The key under which the toolkit records it.
    pub(crate) fn key(&self) -> Result<Key> {
        let value = format!("{}:{}", self.customer, self.request);
        Ok(Key::new("orders.take", &value)?)
    }
}

/// The result of the operation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Receipt {
    pub(crate) quantity: u32,
    pub(crate) text: String,
}

/// Something that takes each order once, however often it is asked to.
pub(crate) trait Desk: Clone + Send + Sync + 'static {
    fn take(&self, order: Order) -> impl Future<Output = Result<Receipt>> + Send;
}

/// The desk that the toolkit makes.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    engine: Engine,
    text: &'static str,
}

impl Ours {
    pub(crate) const fn new(engine: Engine, text: &'static str) -> Self {
        Self { engine, text }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) const fn text(&self) -> &'static str {
        self.text
    }
}

impl Desk for Ours {
    async fn take(&self, order: Order) -> Result<Receipt> {
        Ok(take_order(&self.engine, self.text, order).await?)
    }
}

#[idempotent(
    key = "{order.customer}:{order.request}",
    ttl = "24h",
    scope = "orders.take",
    engine = engine,
    skip(text)
)]
async fn take_order(engine: &Engine, text: &str, order: Order) -> Result<Receipt, Error> {
    Ok(deliver(text, &order))
}

/// What is to be done once for each order: nothing but to make the result.
pub(crate) fn deliver(text: &str, order: &Order) -> Receipt {
    Receipt {
        quantity: order.quantity,
        text: text.to_owned(),
    }
}

/// The text of a receipt that takes `bytes` as JSON.
pub(crate) fn receipt_text(bytes: usize) -> &'static str {
    const AROUND: usize = r#"{"quantity":12,"text":""}"#.len();
    const WORDS: &str = "One pot of tea, black, with milk, no sugar. ";

    let text: String = WORDS.chars().cycle().take(bytes - AROUND).collect();
    // There are two or three in the life of this program.
    text.leak()
}

/// Different orders, the first of them the `from`th.
pub(crate) fn orders(from: usize, count: usize) -> Vec<Order> {
    (from..from + count)
        .map(|number| Order {
            customer: format!("customer-{:05}", number % 1000),
            request: format!("7f9c24e8-3b12-4d5a-9c01-{number:012}"),
            item: "a pot of tea".to_owned(),
            quantity: 12,
        })
        .collect()
}

/// A runtime on the calling thread.
pub(crate) fn one_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// A runtime on threads of its own.
pub(crate) fn threads(workers: usize) -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    Ok(runtime)
}

/// Takes `orders` one after another. Returns how long that took.
pub(crate) async fn one_by_one(desk: &impl Desk, orders: Vec<Order>) -> Result<Duration> {
    let watch = Stopwatch::start();
    for order in orders {
        _ = black_box(desk.take(order).await?);
    }
    Ok(watch.elapsed())
}

/// What it took to take orders with many callers at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    orders: usize,
    elapsed: Duration,
    work: Duration,
}

impl Taken {
    /// Takes `orders` with `callers` at a time.
    pub(crate) fn all(
        runtime: &Runtime,
        desk: &impl Desk,
        orders: &[Order],
        callers: usize,
    ) -> Result<Self> {
        let before = processor_time()?;
        let elapsed = runtime.block_on(side_by_side(desk, orders, callers))?;
        let work = processor_time()?.saturating_sub(before);
        Ok(Self {
            orders: orders.len(),
            elapsed,
            work,
        })
    }

    /// Orders in a second.
    pub(crate) fn rate(self) -> f64 {
        count(self.orders) / self.elapsed.as_secs_f64()
    }

    /// For how many nanoseconds this program, on all cores together, has worked on each order.
    pub(crate) fn work(self) -> f64 {
        self.work.as_secs_f64() * 1e9 / count(self.orders)
    }
}

async fn side_by_side(desk: &impl Desk, orders: &[Order], callers: usize) -> Result<Duration> {
    let shares: Vec<Vec<Order>> = orders
        .chunks(orders.len().div_ceil(callers))
        .map(<[Order]>::to_vec)
        .collect();
    if shares.len() != callers {
        bail!("{} orders are too few for {callers} callers", orders.len());
    }
    let mut tasks = JoinSet::new();
    let watch = Stopwatch::start();
    for share in shares {
        let desk = desk.clone();
        tasks.spawn(async move { one_by_one(&desk, share).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(watch.elapsed())
}
