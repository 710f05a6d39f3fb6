use std::any::Any;
use std::collections::HashMap;

use idempotent_core::StoreError;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ConnectionInfo, IntoConnectionInfo, Value, cmd};

use crate::connect::{ConnectOptions, client, tcp_settings};
use crate::error::Error;
use crate::store::RedisStore;

impl ConnectOptions {
    /// Connects to a cluster, some of whose nodes are `nodes`.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect), where every primary has to keep its records.
    pub async fn connect_cluster<N>(
        &self,
        nodes: impl IntoIterator<Item = N> + Send,
    ) -> Result<RedisStore<ClusterConnection>, StoreError>
    where
        N: IntoConnectionInfo,
    {
        let nodes = nodes
            .into_iter()
            .map(IntoConnectionInfo::into_connection_info);
        let nodes = nodes
            .collect::<Result<Vec<ConnectionInfo>, _>>()
            .map_err(Error::from)?;
        let clients = nodes
            .iter()
            .cloned()
            .map(client)
            .collect::<Result<Vec<_>, _>>()?;
        let cluster = ClusterClientBuilder::new(nodes)
            .connection_timeout(self.connection_timeout)
            .response_timeout(self.response_timeout)
            .overall_response_timeout(Some(self.response_timeout))
            .tcp_settings(tcp_settings())
            .build()
            .map_err(Error::from)?;
        let connection = cluster.get_async_connection().await.map_err(Error::from)?;
        let store = RedisStore::new(connection).with_notifications(clients);
        self.check(&store).await?;
        Ok(store)
    }
}

impl RedisStore<ClusterConnection> {
    /// Connects to a cluster with the [default options](ConnectOptions::new).
    ///
    /// # Errors
    ///
    /// As for [`ConnectOptions::connect_cluster`].
    pub async fn connect_cluster<N>(
        nodes: impl IntoIterator<Item = N> + Send,
    ) -> Result<Self, StoreError>
    where
        N: IntoConnectionInfo,
    {
        ConnectOptions::new().connect_cluster(nodes).await
    }
}

/// `connection`, if it is one to a cluster.
///
/// The keys of a cluster are spread over its nodes, and each lists its own. The driver's trait for
/// connections cannot tell, so the type is looked at.
pub(crate) fn connection<C: 'static>(connection: &C) -> Option<&ClusterConnection> {
    (connection as &dyn Any).downcast_ref()
}

/// Sends `command` to the primary that has `slot`.
pub(crate) async fn ask_node(
    connection: &ClusterConnection,
    command: Cmd,
    slot: u16,
) -> Result<Value, Error> {
    let node = SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master));
    Ok(connection
        .clone()
        .route_command(command, RoutingInfo::SingleNode(node))
        .await?)
}

/// The lowest slot of the primary that comes after the one whose lowest slot is `slot`.
pub(crate) async fn node_after(
    connection: &ClusterConnection,
    slot: u16,
) -> Result<Option<u16>, Error> {
    let slots = cmd("CLUSTER")
        .arg("SLOTS")
        .query_async(&mut connection.clone())
        .await?;
    let Value::Array(ranges) = slots else {
        return Err(Error::Reply);
    };
    let mut lowest = HashMap::new();
    for range in ranges {
        let (first, primary) = primary(range).ok_or(Error::Reply)?;
        let known = lowest.entry(primary).or_insert(first);
        *known = first.min(*known);
    }
    Ok(lowest.into_values().filter(|first| *first > slot).min())
}

/// The first slot of a range, and the id of its primary. A range is `[first, last, primary, ..]`,
/// and a node is `[host, port, id, ..]`.
fn primary(range: Value) -> Option<(u16, Vec<u8>)> {
    let Value::Array(range) = range else {
        return None;
    };
    match (range.first()?, range.get(2)?) {
        (Value::Int(first), Value::Array(primary)) => match primary.get(2)? {
            Value::BulkString(id) => Some((u16::try_from(*first).ok()?, id.clone())),
            _ => None,
        },
        _ => None,
    }
}
