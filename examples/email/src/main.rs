//! Sends notifications, each of them at most once: a second mail would be worse than a late one.
//!
//! An ordinary retry is answered from the record. If the sender died in the middle, nobody knows
//! whether the mail went out. Then nothing is sent until an operator has looked.

mod server;

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use idempotency::sqlite::SqliteStore;
use idempotency::{
    BoxError, CodecId, Engine, Error, Inspect, InspectExt, Outcome, Payload, Query, Resolution,
    State, idempotent,
};
use server::{Death, MailServer};

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Idempotency(#[from] Error),
    #[error("the mail server cannot be reached")]
    Server(#[from] io::Error),
}

/// Notifies somebody of an invoice, at most once. Returns the mail's number in the outbox.
#[idempotent(
    key = "{to}/{invoice}",
    scope = "invoices.notify",
    ttl = "7d",
    lease = "1s",
    engine = engine,
    skip(server),
    on_abandoned = in_doubt
)]
async fn notify(
    engine: &Engine,
    server: &MailServer,
    to: &str,
    invoice: u32,
) -> Result<Outcome<usize>, SendError> {
    let number = server.send(to, &format!("invoice {invoice}")).await?;
    Ok(number.into())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match env::args().collect::<Vec<_>>().as_slice() {
        [_] => tell_the_story().await,
        [_, folder, to, death] => {
            let death = match death.as_str() {
                "after" => Death::AfterSending,
                _ => Death::BeforeSending,
            };
            let (store, server) = open(Path::new(folder), Some(death))?;
            notify(&Engine::new(store), &server, to, 7).await?;
            Ok(())
        }
        _ => Err("`email` takes no arguments".into()),
    }
}

fn open(folder: &Path, death: Option<Death>) -> Result<(SqliteStore, MailServer), BoxError> {
    let store = SqliteStore::open(folder.join("email.sqlite"))?;
    let outbox = folder.join("outbox.txt");
    Ok((store, MailServer { outbox, death }))
}

async fn tell_the_story() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (store, server) = open(folder.path(), None)?;
    let engine = Engine::new(store.clone());
    let notify = async |to| match notify(&engine, &server, to, 7).await {
        Ok(mail) if mail.is_replayed() => println!("{to}: mail {}, sent before", mail.value()),
        Ok(mail) => println!("{to}: mail {}, sent now", mail.value()),
        Err(error) => println!("{to}: not sent: {error}"),
    };

    println!("A notification is asked for twice.");
    notify("ada").await;
    notify("ada").await;

    println!("\nTwo senders are killed: bob's after the mail server took the mail, eve's before.");
    kill_sender(folder.path(), "bob", "after")?;
    kill_sender(folder.path(), "eve", "before")?;

    println!("\nTheir notifications are asked for again.");
    notify("bob").await;
    notify("eve").await;

    println!("\nAn operator compares the doubts with the outbox.");
    resolve_doubts(&store, &server).await?;

    println!("\nThe notifications are asked for once more.");
    notify("bob").await;
    notify("eve").await;

    println!("\nThe outbox:");
    for mail in server.outbox()? {
        println!("{mail}");
    }
    Ok(())
}

/// Runs this program as a sender that is killed in the middle.
fn kill_sender(folder: &Path, to: &str, death: &str) -> Result<(), BoxError> {
    let mut sender = Command::new(env::current_exe()?);
    let status = sender.arg(folder).args([to, death]).status()?;
    println!("{to}: {status}");
    Ok(())
}

/// Does what an operator does about notifications of which nobody knows whether they went out.
async fn resolve_doubts(store: &SqliteStore, server: &MailServer) -> Result<(), BoxError> {
    let doubts = store.list(&Query::all().with_state(State::InDoubt)).await?;
    for entry in doubts.entries {
        let key = entry.key.value();
        let (to, invoice) = key.split_once('/').ok_or("a key of another form")?;
        let mails = server.outbox()?;
        let mail = format!("{to}: invoice {invoice}");
        let resolution = if let Some(index) = mails.iter().position(|sent| *sent == mail) {
            println!("{to}: it is in the outbox, so that is the answer");
            let payload = Payload {
                codec: CodecId::JSON,
                bytes: serde_json::to_vec(&(index + 1))?.into(),
            };
            Resolution::Completed(payload, Duration::from_secs(7 * 24 * 60 * 60))
        } else {
            println!("{to}: it is not in the outbox, so it may be sent");
            Resolution::NotExecuted
        };
        store.resolve(&entry.key, resolution).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use idempotent_testkit::interruptions::Interruptions;

    use super::*;

    #[test]
    fn no_mail_goes_out_twice_wherever_its_sender_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = folder.path().join("outbox.txt");
        let server = || MailServer {
            outbox: outbox.clone(),
            death: None,
        };
        let sent = server();
        let report = Interruptions::of(|store| {
            let server = server();
            async move {
                notify(&Engine::new(store), &server, "ada", 7)
                    .await
                    .map(Outcome::into_value)
            }
        })
        .effects(move || sent.outbox().unwrap().len())
        .run();
        report.assert_at_most(1);
        report.assert_same_answers();
    }
}
