//! Every kind of function can be idempotent: it runs once, replays, and its future is `Send`.

use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::{Engine, Error, MemoryStore, Outcome, idempotent};
use serde::Serialize;

/// A number that no other run of any function has returned.
fn fresh() -> u32 {
    static RUNS: AtomicU32 = AtomicU32::new(1);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

fn engine() -> Engine {
    Engine::new(MemoryStore::new())
}

/// Checks that `call` replays its answer for the key it was called with, and for no other.
async fn replays<F>(mut call: impl FnMut(u32) -> F) -> Result<(), Error>
where
    F: Future<Output = Result<u32, Error>> + Send,
{
    let first = call(1).await?;
    assert_eq!(call(1).await?, first);
    assert_ne!(call(2).await?, first);
    Ok(())
}

#[idempotent(key = id, engine = engine)]
async fn free(engine: &Engine, id: u32) -> Result<u32, Error> {
    Ok(fresh())
}

#[tokio::test]
async fn a_free_function() -> Result<(), Error> {
    let engine = engine();
    replays(|id| free(&engine, id)).await
}

#[idempotent(key = id, engine = engine)]
async fn generic<T, const N: usize>(engine: &Engine, id: T, _rest: [u8; N]) -> Result<u32, Error>
where
    T: idempotency::KeyPart + Serialize + Sync + Send,
    [u8; N]: Serialize,
{
    Ok(fresh())
}

#[tokio::test]
async fn a_generic_function_with_a_where_clause() -> Result<(), Error> {
    let engine = engine();
    replays(|id| generic(&engine, id.to_string(), [0; 4])).await
}

#[idempotent(key = "{prefix}-{id}", engine = engine)]
async fn borrowing<'a>(engine: &Engine, prefix: &'a str, id: &'a str) -> Result<u32, Error> {
    Ok(fresh())
}

#[tokio::test]
async fn a_function_that_borrows() -> Result<(), Error> {
    let engine = engine();
    let first = borrowing(&engine, "a", "1").await?;
    assert_eq!(borrowing(&engine, "a", "1").await?, first);
    assert_ne!(borrowing(&engine, "a", "2").await?, first);
    Ok(())
}

#[idempotent(key = "{id.to_string()}", engine = engine, skip(id))]
async fn with_impl_trait(engine: &Engine, id: impl Display + Send + Sync) -> Result<u32, Error> {
    Ok(fresh())
}

#[tokio::test]
async fn a_function_that_takes_an_impl_trait() -> Result<(), Error> {
    let engine = engine();
    replays(|id| with_impl_trait(&engine, id)).await
}

struct Pair {
    left: u32,
    right: (u32, u32),
}

#[idempotent(key = (left, b), engine = engine)]
async fn with_patterns(
    engine: &Engine,
    (a, mut b): (u32, u32),
    Pair {
        left,
        right: (middle, ..),
    }: Pair,
    _: PhantomData<Db>,
) -> Result<u32, Error> {
    b += a + middle;
    Ok(fresh() + b - b)
}

/// `_` may be of any type: it is not part of the fingerprint.
#[tokio::test]
async fn a_function_that_takes_its_arguments_apart() -> Result<(), Error> {
    let engine = engine();
    let call = async |left| {
        let pair = Pair {
            left,
            right: (3, 4),
        };
        with_patterns(&engine, (1, 2), pair, PhantomData)
            .await
            .unwrap()
    };
    let first = call(1).await;
    assert_eq!(call(1).await, first);
    assert_ne!(call(2).await, first);
    Ok(())
}

#[idempotent(key = id, engine = engine)]
async fn leaving_early(engine: &Engine, id: u32) -> Result<u32, Error> {
    if id == 1 {
        return Ok(fresh());
    }
    let id: u32 = free(engine, id).await?;
    Ok(id + fresh())
}

#[tokio::test]
async fn a_function_that_returns_early() -> Result<(), Error> {
    let engine = engine();
    replays(|id| leaving_early(&engine, id)).await
}

type Reply<T = u32> = Result<T, Error>;

#[idempotent(key = id, engine = engine)]
async fn aliased(engine: &Engine, id: u32) -> Reply {
    Ok(fresh())
}

#[tokio::test]
async fn a_function_whose_result_has_another_name() -> Result<(), Error> {
    let engine = engine();
    replays(|id| aliased(&engine, id)).await
}

#[idempotent(key = id, engine = engine)]
async fn telling(engine: &Engine, id: u32) -> Result<Outcome<u32>, Error> {
    Ok(fresh().into())
}

#[tokio::test]
async fn a_function_that_tells_how_its_value_came_about() -> Result<(), Error> {
    let engine = engine();
    assert!(telling(&engine, 1).await?.is_executed());
    assert!(telling(&engine, 1).await?.is_replayed());
    Ok(())
}

#[idempotent(key = id, engine = engine, skip(runs))]
async fn nothing(engine: &Engine, runs: &AtomicU32, id: u32) -> Result<(), Error> {
    runs.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[idempotent(key = id, engine = engine, skip(runs))]
async fn maybe(engine: &Engine, runs: &AtomicU32, id: u32) -> Result<Option<u32>, Error> {
    runs.fetch_add(1, Ordering::Relaxed);
    Ok(None)
}

/// "Nothing" is a result like any other.
#[tokio::test]
async fn functions_without_a_value() -> Result<(), Error> {
    let (engine, runs) = (engine(), AtomicU32::new(0));
    nothing(&engine, &runs, 1).await?;
    nothing(&engine, &runs, 1).await?;
    assert_eq!(runs.load(Ordering::Relaxed), 1);

    maybe(&engine, &runs, 1).await?;
    maybe(&engine, &runs, 1).await?;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    Ok(())
}

#[derive(Clone)]
struct Service {
    engine: Engine,
    last: u32,
}

impl Service {
    fn new() -> Self {
        Self {
            engine: engine(),
            last: 0,
        }
    }

    #[idempotent(key = id, engine = self.engine)]
    async fn by_ref(&self, id: u32) -> Result<u32, Error> {
        Ok(fresh() + self.last)
    }

    #[idempotent(key = id, engine = self.engine)]
    async fn by_mut(&mut self, id: u32) -> Result<u32, Error> {
        self.last = fresh();
        Ok(self.last)
    }

    #[idempotent(key = "{self.last}:{id}", engine = self.engine)]
    async fn by_value(mut self, id: u32) -> Result<u32, Error> {
        self.last = fresh();
        drop(self.engine);
        Ok(self.last)
    }

    #[idempotent(key = id, engine = self.engine)]
    async fn by_arc(self: Arc<Self>, id: u32) -> Result<u32, Error> {
        Ok(fresh() + self.last)
    }

    #[idempotent(key = id, engine = service.engine)]
    async fn associated(service: &Self, id: u32) -> Result<u32, Error> {
        Ok(fresh() + service.last)
    }
}

#[tokio::test]
async fn methods() -> Result<(), Error> {
    let mut service = Service::new();
    replays(|id| service.by_ref(id)).await?;
    replays(|id| service.clone().by_value(id)).await?;
    replays(|id| Arc::new(service.clone()).by_arc(id)).await?;
    replays(|id| Service::associated(&service, id)).await?;

    let first = service.by_mut(1).await?;
    assert_eq!(service.by_mut(1).await?, first);
    assert_eq!(service.last, first, "the replay did not touch `self`");
    Ok(())
}

trait Native {
    fn engine(&self) -> &Engine;

    fn required(&self, id: u32) -> impl Future<Output = Result<u32, Error>> + Send;

    #[idempotent(key = id, engine = self.engine())]
    async fn provided(&self, id: u32) -> Result<u32, Error> {
        Ok(fresh())
    }
}

impl Native for Service {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    #[idempotent(key = id, engine = self.engine)]
    async fn required(&self, id: u32) -> Result<u32, Error> {
        Ok(fresh() + self.last)
    }
}

#[tokio::test]
async fn methods_of_a_trait() -> Result<(), Error> {
    let service = Service::new();
    replays(|id| Native::required(&service, id)).await?;
    replays(|id| Native::provided(&service, id)).await
}

/// Not serializable: an argument that is `_` need not be.
struct Db;

#[async_trait::async_trait]
trait Boxed: Sync {
    fn engine(&self) -> &Engine;

    async fn required(&mut self, order: (u32, u32), _: &Db, _: Db) -> Result<u32, Error>;

    #[idempotent(key = id, scope = "boxed.provided", engine = self.engine())]
    async fn provided(&self, id: u32, mut times: u32) -> Result<u32, Error> {
        times += 1;
        if times == 0 {
            return Ok(0);
        }
        Ok(fresh())
    }
}

#[async_trait::async_trait]
impl Boxed for Service {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    #[idempotent(key = "{id}:{line}", scope = "boxed.required", engine = self.engine)]
    async fn required(&mut self, (id, mut line): (u32, u32), _: &Db, _: Db) -> Result<u32, Error> {
        line += 1;
        self.last = fresh();
        Ok(self.last + line - line)
    }
}

#[tokio::test]
async fn methods_of_an_async_trait() -> Result<(), Error> {
    let mut service: Box<dyn Boxed + Send> = Box::new(Service::new());
    replays(|id| service.provided(id, 0)).await?;

    let first = service.required((1, 2), &Db, Db).await?;
    assert_eq!(service.required((1, 2), &Db, Db).await?, first);
    assert_ne!(service.required((1, 3), &Db, Db).await?, first);
    Ok(())
}

#[idempotent(key = id, engine = engine)]
fn boxed(
    engine: &Engine,
    id: u32,
) -> Pin<Box<dyn Future<Output = Result<u32, Error>> + Send + '_>> {
    let extra = 0;
    Box::pin(async move { Ok(fresh() + extra) })
}

#[tokio::test]
async fn a_function_that_boxes_its_future() -> Result<(), Error> {
    let engine = engine();
    replays(|id| boxed(&engine, id)).await
}

/// Adds up.
#[must_use = "the sum is all it gives"]
#[idempotent(key = id, engine = engine)]
#[inline]
#[doc(alias = "sum")]
async fn with_attributes(engine: &Engine, id: u32) -> Result<u32, Error> {
    #![expect(
        unused_variables,
        reason = "the attribute inside the body still applies to it"
    )]
    let unused = 1;
    Ok(fresh())
}

#[tokio::test]
async fn a_function_with_attributes() -> Result<(), Error> {
    let engine = engine();
    replays(|id| with_attributes(&engine, id)).await
}
