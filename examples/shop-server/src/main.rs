//! A shop over HTTP whose orders are safe to retry: `cargo run -p shop-server`, and then curl.

mod api;
mod args;
mod caller;
mod demo;
mod ledger;
mod open;
mod outage;
mod serve;
mod stripe;
mod webhooks;

use std::process::ExitCode;

use clap::Parser;
use idempotency::BoxError;

use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop-server: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), BoxError> {
    if args.demo {
        return demo::run().await;
    }
    let server = serve::bind(&args).await?;
    println!("listening on http://{}", server.address());
    server.run(serve::told_to_stop()).await
}
