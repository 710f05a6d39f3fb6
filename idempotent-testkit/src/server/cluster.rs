use std::thread;
use std::time::Duration;

use super::start::free_port;
use super::{RedisServer, ServerError};

const SLOTS: usize = 16_384;
/// How often, and how long apart, the nodes are asked whether they agree.
const TRIES: usize = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A Redis Cluster of this test's own: real nodes on the loopback interface, without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts `nodes` nodes, shares out the slots, and waits until all agree about it.
    ///
    /// # Errors
    ///
    /// If the server is not installed, or the nodes do not find each other.
    pub fn start(nodes: usize) -> Result<Self, ServerError> {
        let mut started = Vec::new();
        for index in 0..nodes {
            let bus = free_port()?;
            let node = RedisServer::builder()
                .tcp()
                .arg("--cluster-enabled", "yes")
                .arg("--cluster-port", &bus.to_string())
                .arg("--cluster-node-timeout", "2000")
                .start()?;
            let (first, last) = (SLOTS * index / nodes, SLOTS * (index + 1) / nodes - 1);
            node.ask(&[
                "CLUSTER",
                "ADDSLOTSRANGE",
                &first.to_string(),
                &last.to_string(),
            ])?;
            started.push((node, bus));
        }
        if let Some((first, others)) = started.split_first() {
            for (node, bus) in others {
                let port = node.port().unwrap_or_default().to_string();
                first
                    .0
                    .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus.to_string()])?;
            }
        }
        let cluster = Self {
            nodes: started.into_iter().map(|(node, _)| node).collect(),
        };
        cluster.wait_until_agreed()?;
        Ok(cluster)
    }

    /// Where to connect, one URL for each node.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.url().to_owned())
            .collect()
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The nodes, to be killed and restarted.
    #[must_use]
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    fn wait_until_agreed(&self) -> Result<(), ServerError> {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        let slots = format!("cluster_slots_ok:{SLOTS}");
        let mut said = String::new();
        for _ in 0..TRIES {
            let mut agreed = 0;
            for node in &self.nodes {
                said = node.ask(&["CLUSTER", "INFO"])?;
                let says = |line: &str| said.lines().any(|found| found.trim_end() == line);
                agreed += usize::from(says("cluster_state:ok") && says(&known) && says(&slots));
            }
            if agreed == self.nodes.len() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Err(ServerError::NotReady { log: said })
    }
}
