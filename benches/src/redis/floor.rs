use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use idempotency::redis::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use idempotency::redis::redis::{Client, Script, cmd};

use super::gate::{Gate, GatedDesk};
use crate::orders::{Desk, Order, Receipt, deliver};

const LEASE_MILLIS: u64 = 30_000;
const TTL_MILLIS: u64 = 24 * 60 * 60 * 1000;
const OWNER_CHARACTERS: usize = 32;
const COMPLETE: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1
end
return 0";

/// What a careful engineer writes on Redis: one command that claims, and a script that completes if
/// the claim still holds.
///
/// It knows neither fingerprints nor attempts nor fences, wakes nobody, and does not renew.
#[derive(Clone)]
pub(super) struct Floor {
    complete: Arc<Script>,
    connection: ConnectionManager,
    text: &'static str,
}

impl Floor {
    /// Connects as the toolkit does.
    pub(super) async fn connect(url: &str, text: &'static str) -> Result<Self> {
        let timeout = Some(Duration::from_secs(2));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(timeout)
            .set_response_timeout(timeout)
            .set_pipeline_buffer_size(4_096)
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_with_config(Client::open(url)?, config).await?;
        Ok(Self {
            complete: Arc::new(Script::new(COMPLETE)),
            connection,
            text,
        })
    }
}

impl Desk for Floor {
    async fn take(&self, order: Order) -> Result<Receipt> {
        self.take_through(None, order).await
    }
}

impl GatedDesk for Floor {
    async fn take_through(&self, gate: Option<&Gate>, order: Order) -> Result<Receipt> {
        let key = format!(
            "idempotency:orders.take/{}:{}",
            order.customer, order.request
        );
        let running = format!("P{}", owner()?);
        let found: Option<Vec<u8>> = cmd("SET")
            .arg(&key)
            .arg(&running)
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(LEASE_MILLIS)
            .query_async(&mut self.connection.clone())
            .await?;
        if let Some(found) = found {
            let (state, record) = found
                .split_at_checked(1 + OWNER_CHARACTERS)
                .unwrap_or_default();
            ensure!(state.starts_with(b"C"), "the order is being taken");
            return Ok(serde_json::from_slice(record)?);
        }
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let receipt = deliver(self.text, &order);
        let mut record = running.clone().into_bytes();
        record[0] = b'C';
        serde_json::to_writer(&mut record, &receipt)?;
        let completed: bool = self
            .complete
            .key(&key)
            .arg(&running)
            .arg(record)
            .arg(TTL_MILLIS)
            .invoke_async(&mut self.connection.clone())
            .await?;
        if !completed {
            bail!("another took the order");
        }
        Ok(receipt)
    }
}

/// 32 random hexadecimal digits.
fn owner() -> Result<String> {
    let mut bytes = [0; OWNER_CHARACTERS / 2];
    getrandom::fill(&mut bytes)?;
    let mut owner = String::with_capacity(OWNER_CHARACTERS);
    for byte in bytes {
        write!(owner, "{byte:02x}")?;
    }
    Ok(owner)
}
