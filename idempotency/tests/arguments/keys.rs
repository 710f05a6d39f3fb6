//! `key`, `scope` and `engine`.

use std::sync::Arc;

use idempotency::{Engine, Error, Inspect, Key, KeyPart, KeyText, MemoryStore, Query, idempotent};

use super::engine;

/// The keys of all records, as a store's operator sees them.
async fn keys(store: &MemoryStore) -> Result<Vec<String>, Error> {
    let page = store
        .list(&Query::all())
        .await
        .map_err(|source| Error::Store {
            store: "memory",
            source,
        })?;
    let keys = page
        .entries
        .iter()
        .map(|entry| entry.key.as_str().to_owned());
    Ok(keys.collect())
}

struct Order {
    customer: String,
    number: (u32, u32),
}

impl Order {
    fn new(customer: &str, number: u32) -> Self {
        Self {
            customer: customer.to_owned(),
            number: (number, 0),
        }
    }
}

#[idempotent(key = "{{{order.customer}}}:{order.number.0}", engine = engine, skip(order))]
async fn by_template(engine: &Engine, order: Order) -> Result<String, Error> {
    Ok(format!("{} {}", order.customer, order.number.0))
}

#[tokio::test]
async fn a_template_reads_fields_and_escapes_braces() -> Result<(), Error> {
    let store = MemoryStore::new();
    let engine = Engine::new(store.clone());
    by_template(&engine, Order::new("ada", 7)).await?;
    assert_eq!(
        keys(&store).await?,
        ["arguments::keys::by_template/{ada}:7"]
    );
    Ok(())
}

#[idempotent(key = "{a}:{b}", engine = engine, fingerprint = none)]
async fn two_values(engine: &Engine, a: &str, b: &str) -> Result<String, Error> {
    Ok(format!("{a} and {b}"))
}

#[tokio::test]
async fn two_lists_of_values_never_give_one_key() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(two_values(&engine, "a:b", "c").await?, "a:b and c");
    assert_eq!(two_values(&engine, "a", "b:c").await?, "a and b:c");
    assert_eq!(two_values(&engine, "a%3Ab", "c").await?, "a%3Ab and c");
    Ok(())
}

#[idempotent(key = (order.customer, order.number.0), engine = engine, skip(order))]
async fn by_tuple(engine: &Engine, order: Order) -> Result<String, Error> {
    Ok(order.customer)
}

/// The body gets the arguments whole, although the key used parts of them.
#[tokio::test]
async fn a_tuple_takes_nothing_from_the_arguments() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(by_tuple(&engine, Order::new("ada", 1)).await?, "ada");
    Ok(())
}

#[idempotent(key = 2 * id + 1, engine = engine)]
async fn by_expression(engine: &Engine, id: u32) -> Result<u32, Error> {
    Ok(id)
}

struct RequestId(u128);

impl KeyPart for RequestId {
    fn write_part(&self, text: &mut KeyText) {
        self.0.write_part(text);
    }
}

#[idempotent(key = id, engine = engine, skip(id))]
async fn by_own_type(engine: &Engine, id: RequestId) -> Result<(), Error> {
    Ok(())
}

#[idempotent(key = Key::fixed("2026"), scope = "backfills", engine = engine)]
async fn once(engine: &Engine) -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn an_expression_is_a_key() -> Result<(), Error> {
    let store = MemoryStore::new();
    let engine = Engine::new(store.clone());
    by_expression(&engine, 3).await?;
    by_own_type(&engine, RequestId(5)).await?;
    once(&engine).await?;
    let expected = [
        "arguments::keys::by_expression/7",
        "arguments::keys::by_own_type/5",
        "backfills/2026",
    ];
    assert_eq!(keys(&store).await?, expected);
    Ok(())
}

#[idempotent(key = key, engine = engine, skip(runs))]
async fn by_header(engine: &Engine, key: Option<&str>, runs: &mut u32) -> Result<u32, Error> {
    *runs += 1;
    Ok(*runs)
}

#[tokio::test]
async fn a_call_without_a_key_runs_unprotected() -> Result<(), Error> {
    let (engine, mut runs) = (engine(), 0);
    assert_eq!(by_header(&engine, None, &mut runs).await?, 1);
    assert_eq!(by_header(&engine, None, &mut runs).await?, 2);
    assert_eq!(by_header(&engine, Some("a"), &mut runs).await?, 3);
    assert_eq!(by_header(&engine, Some("a"), &mut runs).await?, 3);
    Ok(())
}

#[idempotent(key = name, engine = engine)]
async fn changing(engine: &Engine, mut name: String, times: u32) -> Result<String, Error> {
    for _ in 0..times {
        name.push('!');
    }
    Ok(name)
}

/// Neither the key nor the fingerprint is taken from what the body made of the arguments.
#[tokio::test]
async fn the_key_is_taken_before_the_body_changes_the_arguments() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(changing(&engine, "a".to_owned(), 1).await?, "a!");
    assert_eq!(changing(&engine, "a".to_owned(), 1).await?, "a!");
    assert_eq!(changing(&engine, "a!".to_owned(), 1).await?, "a!!");
    Ok(())
}

#[tokio::test]
async fn an_empty_key_is_an_error() {
    let error = changing(&engine(), String::new(), 1).await.unwrap_err();
    assert!(matches!(error, Error::Key(_)), "{error:?}");
}

mod here {
    use super::{Engine, Error, idempotent};

    #[idempotent(key = id, engine = engine)]
    pub(super) async fn charge(engine: &Engine, id: u32) -> Result<String, Error> {
        Ok("charged here".to_owned())
    }

    #[idempotent(key = id, engine = engine)]
    pub(super) async fn refund(engine: &Engine, id: u32) -> Result<String, Error> {
        Ok("refunded here".to_owned())
    }
}

mod there {
    use super::{Engine, Error, idempotent};

    #[idempotent(key = id, engine = engine)]
    pub(super) async fn charge(engine: &Engine, id: u32) -> Result<String, Error> {
        Ok("charged there".to_owned())
    }
}

#[tokio::test]
async fn functions_do_not_share_keys() -> Result<(), Error> {
    let engine = engine();
    assert_eq!(here::charge(&engine, 1).await?, "charged here");
    assert_eq!(here::refund(&engine, 1).await?, "refunded here");
    assert_eq!(there::charge(&engine, 1).await?, "charged there");
    Ok(())
}

#[idempotent(key = id, scope = "taken", engine = engine)]
async fn first_of_its_scope(engine: &Engine, id: u32) -> Result<(), Error> {
    Ok(())
}

#[idempotent(key = id, scope = "taken", engine = engine)]
async fn second_of_its_scope(engine: &Engine, id: u32) -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn a_scope_that_is_taken_is_an_error_that_names_both_places() {
    let engine = engine();
    first_of_its_scope(&engine, 1).await.unwrap();
    let error = second_of_its_scope(&engine, 1)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error.matches("keys.rs:").count(), 2, "{error}");
    first_of_its_scope(&engine, 1).await.unwrap();
}

struct Context {
    engine: Arc<Engine>,
    db: NotSerializable,
}

struct NotSerializable;

impl Context {
    fn engine(&self) -> &Engine {
        &self.engine
    }
}

#[idempotent(key = id, engine = context.engine)]
async fn engine_in_a_field(context: &Context, id: u32) -> Result<u32, Error> {
    let NotSerializable = context.db;
    Ok(id)
}

#[idempotent(key = id, engine = context.engine())]
async fn engine_of_a_method(context: &Context, id: u32) -> Result<u32, Error> {
    let NotSerializable = context.db;
    Ok(id)
}

#[idempotent(key = id, engine = engine)]
async fn engine_by_value(engine: Box<Engine>, id: u32) -> Result<u32, Error> {
    drop(engine);
    Ok(id)
}

/// What the engine comes from is not part of the fingerprint: these would not compile if it were.
#[tokio::test]
async fn an_engine_comes_from_anywhere() -> Result<(), Error> {
    let context = Context {
        engine: Arc::new(engine()),
        db: NotSerializable,
    };
    assert_eq!(engine_in_a_field(&context, 1).await?, 1);
    assert_eq!(engine_of_a_method(&context, 1).await?, 1);
    assert_eq!(engine_by_value(Box::new(engine()), 1).await?, 1);
    Ok(())
}
