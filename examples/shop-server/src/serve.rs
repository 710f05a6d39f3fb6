//! The routes, the layers around them, and the end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use idempotency::http::{Builder, IdempotencyLayer, MissingKey, Scope};
use idempotency::{BoxError, Engine, OnConflict};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::args::Args;
use crate::ledger::Ledger;
use crate::open::{Memory, open};
use crate::webhooks::Secret;
use crate::{api, caller, stripe, webhooks};

/// How long the end waits for handlers whose clients have left.
const PATIENCE: Duration = Duration::from_secs(30);

/// A shop that is open.
pub(crate) struct Server {
    address: SocketAddr,
    listener: TcpListener,
    memory: Memory,
    router: Router,
}

/// Opens what `args` name.
pub(crate) async fn bind(args: &Args) -> Result<Server, BoxError> {
    let memory = open(&args.store).await?;
    let router = router(args, &memory, Ledger::open(&args.data)?)?;
    let listener = TcpListener::bind(args.listen).await;
    let listener =
        listener.map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    Ok(Server {
        address: listener.local_addr()?,
        listener,
        memory,
        router,
    })
}

impl Server {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is told to stop, and until what has begun has been recorded.
    pub(crate) async fn run(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), BoxError> {
        let Memory { engine, purger, .. } = self.memory;
        let served = axum::serve(self.listener, self.router).with_graceful_shutdown(stop);
        served.await?;
        // The last connection is gone; a handler whose client has left may still run.
        if timeout(PATIENCE, engine.drained()).await.is_err() {
            eprintln!(
                "shop-server: some handlers take too long; their keys are free after the lease"
            );
        }
        purger.stop().await;
        Ok(())
    }
}

fn router(args: &Args, memory: &Memory, ledger: Ledger) -> Result<Router, BoxError> {
    let orders = layer(args, &memory.engine, "orders").build()?;
    let customers = layer(args, &memory.engine, "customers")
        .stripe_v1()
        .build()?;
    let api = Router::new()
        .route("/api", post(api::create).patch(api::create))
        .route_layer(orders)
        .route("/api", get(api::list))
        .route("/__orders", get(api::count));
    let v1 = Router::new()
        .route("/v1/customers", post(stripe::create_customer))
        .route_layer(customers);
    let mut router = api
        .merge(v1)
        .layer(middleware::from_fn(caller::identify))
        .with_state(ledger.clone());
    if let Some(secret) = &args.webhook_secret {
        let secret = Secret(Arc::from(secret.as_str()));
        router = router.merge(events(&memory.engine, secret, ledger)?);
    }
    let outage = post(api::outage).with_state(memory.switch.clone());
    Ok(router
        .route("/__store", outage)
        .route("/openapi.json", get(openapi)))
}

/// Stripe's events, each of them once.
fn events(engine: &Engine, secret: Secret, ledger: Ledger) -> Result<Router, BoxError> {
    let once = IdempotencyLayer::builder(engine.clone())
        .unscoped()
        .stripe_webhooks()
        .namespace("stripe-events")
        .build()?;
    Ok(Router::new()
        .route("/webhooks/stripe", post(webhooks::receive))
        .route_layer(once)
        // The last is the outermost.
        .route_layer(middleware::from_fn(webhooks::verify))
        .layer(Extension(secret))
        .route("/__events", get(webhooks::count))
        .with_state(ledger))
}

fn layer(args: &Args, engine: &Engine, namespace: &str) -> Builder {
    let missing = if args.require_key {
        MissingKey::Refuse
    } else {
        MissingKey::Pass
    };
    IdempotencyLayer::builder(engine.clone())
        .scope(|parts| parts.extensions.get::<Scope>().cloned())
        .namespace(namespace)
        .lease(args.lease)
        .on_conflict(args.wait.map_or(OnConflict::Fail, OnConflict::Wait))
        .on_missing_key(missing)
}

async fn openapi(_: Request) -> ([(axum::http::HeaderName, &'static str); 1], &'static str) {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, include_str!("../openapi.json"))
}

/// Ends when the process is asked to.
pub(crate) async fn told_to_stop() {
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};

        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => _ = terminated.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
