//! Steps whose rows are in the database that keeps the record, with both drivers.

use std::sync::Arc;
use std::time::Duration;

use idempotent_core::{Attempt, Inspect, Key, Lent, Query, Record, State};
use idempotent_postgres::Isolation;
use idempotent_testkit::server::{Cut, PostgresServer, Proxy};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::common::World;
use crate::cost::Quiet;
use crate::transactions::{
    Driver, Failure, Shop, cut_with_all_that_was_sent, through, with_both_drivers,
};

impl<D: Driver> Shop<D> {
    /// Writes an order in a step of its own.
    async fn step(&self, run: &Attempt, name: &'static str, id: &str) -> Result<u32, Failure> {
        let write = |mut tx: Lent<D::Transaction>| async move { self.write(&mut tx, id).await };
        run.tx_step(name, &self.transactions, write).await
    }

    /// Writes two orders, each in a step of its own, and then fails as told.
    async fn two_steps(&self, key: &str, fails: bool) -> Result<u32, Failure> {
        let body = async |run: Attempt| {
            self.step(&run, "first", "1").await?;
            let last = self.step(&run, "second", "2").await?;
            if fails {
                Err(Failure::Declined)
            } else {
                Ok(last)
            }
        };
        self.operation(key).run_with(body).await
    }

    async fn key_record(&self, key: &str) -> Record {
        let key = Key::new("test", key).unwrap();
        self.store.get(&key).await.unwrap().unwrap()
    }
}

/// R15, S-6.
async fn rows_and_their_step_are_committed_together_and_once<D: Driver>() {
    let shop = Shop::<D>::new().await;
    shop.two_steps("a", true).await.unwrap_err();
    let same = "SELECT count(*) FROM orders o
                  JOIN idempotency_record_step s ON o.xmin::text = s.xmin::text";
    let same = shop.world.sql(same, &[]).await;
    assert_eq!(same[0].get::<_, i64>(0), 2, "each in one transaction");
    assert_eq!(shop.two_steps("a", false).await.unwrap(), 2);
    assert_eq!((shop.runs(), shop.orders().await), (2, 2));
    assert_eq!(shop.key_record("a").await.state, State::Completed);
}

/// R15, S-9.
async fn an_error_of_a_step_rolls_its_rows_back_and_keeps_those_before<D: Driver>() {
    let shop = Shop::<D>::new().await;
    let body = async |run: Attempt| {
        shop.step(&run, "first", "1").await?;
        let fails = |mut tx: Lent<D::Transaction>| {
            let shop = &shop;
            async move {
                shop.write(&mut tx, "2").await?;
                Err::<u32, _>(Failure::Declined)
            }
        };
        run.tx_step("second", &shop.transactions, fails).await
    };
    shop.operation("a").run_with(body).await.unwrap_err();
    assert_eq!(shop.orders().await, 1);
    assert_eq!(shop.two_steps("a", false).await.unwrap(), 3);
    assert_eq!(shop.orders().await, 2);
}

/// R10, R15.
async fn a_late_owner_writes_no_rows<D: Driver>() {
    let shop = Shop::<D>::new().await;
    let body = async |run: Attempt| {
        shop.step(&run, "first", "1").await?;
        let takeover = "UPDATE idempotency_record SET fence = fence + 1";
        shop.world.sql(takeover, &[]).await;
        shop.step(&run, "second", "2").await
    };
    let error = shop.operation("a").run_with(body).await.unwrap_err();
    assert!(error.to_string().contains("LeaseLost"), "{error}");
    assert_eq!(shop.orders().await, 1);
}

/// R15: the server is killed between the rows and the commit, and so is what is left of both.
async fn a_step_whose_backend_is_killed_is_done_again<D: Driver>() {
    let shop = &Shop::<D>::new().await;
    let body = async |run: Attempt| {
        let write = |mut tx: Lent<D::Transaction>| async move {
            let run = shop.write(&mut tx, "1").await?;
            if run == 1 {
                let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                             WHERE state = 'idle in transaction' AND query LIKE '%orders%'";
                shop.world.sql(kill, &[]).await;
            }
            Ok::<_, Failure>(run)
        };
        run.tx_step("first", &shop.transactions, write).await
    };
    assert_eq!(shop.operation("a").run_with(body).await.unwrap(), 2);
    assert_eq!((shop.runs(), shop.orders().await), (2, 1));
}

/// R15: what became of a commit whose answer was lost is looked up.
async fn a_step_whose_commit_was_not_answered_is_looked_up<D: Driver>() {
    for (cut, runs) in [
        (Cut::Reply { after: 0 }, if D::PIPELINES { 1 } else { 2 }),
        (Cut::Request { after: 0 }, 2),
    ] {
        let server = PostgresServer::builder().tcp().start().unwrap();
        let world = Arc::new(World::on(server));
        let proxy = &Proxy::start(world.server.endpoint().unwrap())
            .await
            .unwrap();
        let url = through(world.server.url(), proxy);
        let shop = &Shop::<D>::on(world, &url, Isolation::default(), |engine| engine).await;
        let create = "CREATE TABLE orders (id text PRIMARY KEY)";
        shop.world.sql(create, &[]).await;
        // Once, so that all is prepared.
        shop.create_step("0", |_| {}).await.unwrap();
        let cut_once = |run| {
            if run == 2 {
                cut_with_all_that_was_sent(proxy, cut);
            }
        };
        shop.create_step("1", cut_once).await.unwrap();
        assert!(proxy.has_cut());
        assert_eq!((shop.orders().await, shop.runs()), (2, 1 + runs), "{cut:?}");
    }
}

impl<D: Driver> Shop<D> {
    async fn create_step(
        &self,
        id: &str,
        then: impl Fn(u32) + Send + Sync,
    ) -> Result<u32, Failure> {
        let then = &then;
        let body = async |run: Attempt| {
            let write = |mut tx: Lent<D::Transaction>| async move {
                let run = self.write(&mut tx, id).await?;
                then(run);
                Ok::<_, Failure>(run)
            };
            run.tx_step("first", &self.transactions, write).await
        };
        self.operation(id).run_with(body).await
    }
}

/// R16: whoever waits is told of an end that is committed with rows.
async fn the_last_part_commits_with_the_result_and_wakes_those_who_wait<D: Driver>() {
    let shop = Arc::new(Shop::<D>::new().await);
    let other = shop.other(|engine| engine).await;
    let running = {
        let shop = Arc::clone(&shop);
        async move {
            let body = async |run: Attempt| {
                shop.step(&run, "first", "1").await?;
                sleep(Duration::from_millis(300)).await;
                let shop = &shop;
                let write =
                    |mut tx: Lent<D::Transaction>| async move { shop.write(&mut tx, "2").await };
                run.finish_in(&shop.transactions, write).await
            };
            shop.operation("a").run_with(body).await
        }
    };
    let waiting = async {
        sleep(Duration::from_millis(100)).await;
        timeout(Duration::from_secs(5), other.two_steps("a", false))
            .await
            .unwrap()
    };
    let (first, second) = tokio::join!(running, waiting);
    assert_eq!((first.unwrap(), second.unwrap()), (2, 2));
    let record = shop.key_record("a").await;
    assert_eq!((record.state, record.late), (State::Completed, 0));
    assert!(record.steps.is_empty());
    assert_eq!((shop.runs(), shop.orders().await), (2, 2));
    let same = "SELECT count(*) FROM orders o
                  JOIN idempotency_record r ON o.xmin::text = r.xmin::text";
    assert_eq!(shop.world.sql(same, &[]).await[0].get::<_, i64>(0), 1);
}

/// R15, S-18.
async fn of_32_concurrent_callers_in_two_processes_each_step_is_done_once<D: Driver>() {
    let shop = Arc::new(Shop::<D>::new().await);
    let other = Arc::new(shop.other(|engine| engine).await);
    let mut callers = JoinSet::new();
    for number in 0..32 {
        let shop = Arc::clone([&shop, &other][number % 2]);
        callers.spawn(async move { shop.two_steps("a", shop.runs() < 2).await.ok() });
    }
    let answers = callers.join_all().await;
    assert!(answers.iter().flatten().all(|answer| *answer == 2));
    shop.two_steps("a", false).await.unwrap();
    assert_eq!((shop.runs(), shop.orders().await), (2, 2));
}

/// What a completer looks for, without a look at what is finished.
async fn only_unfinished_operations_with_steps_are_listed<D: Driver>() {
    let shop = Shop::<D>::new().await;
    shop.two_steps("done", false).await.unwrap();
    let fails = shop.operation("1").run_with(async |run: Attempt| {
        run.value("n", || 1).await?;
        Err::<u32, _>(Failure::Declined)
    });
    fails.await.unwrap_err();
    let page = shop.store.list(&Query::all().with_steps()).await.unwrap();
    let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.value()).collect();
    assert_eq!(keys, ["1"]);
}

with_both_drivers! {
    rows_and_their_step_are_committed_together_and_once,
    an_error_of_a_step_rolls_its_rows_back_and_keeps_those_before,
    a_late_owner_writes_no_rows,
    a_step_whose_backend_is_killed_is_done_again,
    a_step_whose_commit_was_not_answered_is_looked_up,
    the_last_part_commits_with_the_result_and_wakes_those_who_wait,
    of_32_concurrent_callers_in_two_processes_each_step_is_done_once,
    only_unfinished_operations_with_steps_are_listed,
}

/// R16.
#[tokio::test]
async fn n_steps_in_transactions_take_n_commits_more_than_the_claim() {
    use idempotent_core::Engine;
    use idempotent_postgres::deadpool_postgres::{Manager, Pool};
    use idempotent_postgres::tokio_postgres::NoTls;

    let quiet = Quiet::start();
    let store = quiet.connect().await;
    let manager = Manager::new(quiet.url().parse().unwrap(), NoTls);
    let pool = Pool::builder(manager).max_size(1).build().unwrap();
    let transactions = &store.transactions(pool);
    let engine = Engine::new(store.clone());
    let commits = async |steps: usize| {
        let (_, before) = quiet.position();
        let operation = engine.operation("test").key(u64::try_from(steps).unwrap());
        let run = operation.run_with(async |run: Attempt| {
            for n in 1..steps {
                let write = |tx: Lent<_>| async move {
                    drop(tx);
                    Ok::<_, Failure>(())
                };
                run.tx_step(n.to_string(), transactions, write).await?;
            }
            let last = |tx: Lent<_>| async move {
                drop(tx);
                Ok::<_, Failure>(())
            };
            run.finish_in(transactions, last).await
        });
        run.await.unwrap();
        let (_, after) = quiet.position();
        after.parse::<u64>().unwrap() - before.parse::<u64>().unwrap()
    };
    for steps in [1, 2, 5] {
        assert_eq!(commits(steps).await, u64::try_from(steps).unwrap() + 1);
    }
}
