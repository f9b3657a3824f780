//! Several nodes on one database: who is there, and whether they may be there together.
//!
//! What is a row, all nodes see. What is a file, such as an upload, lies in one node's data folder,
//! and another node that came to import it would not find it. So a node joins others only where all
//! of them say that they share the folder.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{NodeId, Timestamp};
use tidings_store::system::Node;

use crate::{Error, Hub, Result};

/// How often a node says that it is alive.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// A node that says nothing while it is watched for so long is dead.
const WATCH: Duration = Duration::from_secs(5);
/// How often one that is watched is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Signs this node on. Nodes that a crash left signed on are watched for some seconds, because the
/// clocks of two machines cannot tell whether one is alive.
pub async fn join(hub: &Arc<Hub>, files_shared: bool) -> Result<()> {
    let system = &hub.store.system;
    system.node_seen(hub.node, Timestamp::now(), files_shared, &hub.key_id()).await?;
    if hub.store.is_embedded() {
        // The lock on the data folder has settled it.
        return Ok(());
    }
    let mut before: HashMap<NodeId, Timestamp> = HashMap::new();
    for node in strangers(hub, files_shared).await? {
        before.insert(node.id, node.seen_at);
    }
    if before.is_empty() {
        return Ok(());
    }
    tracing::info!("another node was at work on this database; watching whether it lives");
    let until = tokio::time::Instant::now() + WATCH;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        system.node_seen(hub.node, Timestamp::now(), files_shared, &hub.key_id()).await?;
        let now = strangers(hub, files_shared).await?;
        if now.iter().any(|node| before.get(&node.id) != Some(&node.seen_at)) {
            system.node_gone(hub.node).await?;
            return Err(Error::Conflict(refusal(files_shared)));
        }
    }
    for dead in before.into_keys() {
        system.node_gone(dead).await?;
    }
    Ok(())
}

/// The other nodes that do not share their files with this one.
async fn strangers(hub: &Hub, files_shared: bool) -> Result<Vec<Node>> {
    let mut nodes = hub.store.system.nodes().await?;
    nodes.retain(|node| node.id != hub.node && !(files_shared && node.files_shared));
    Ok(nodes)
}

fn refusal(files_shared: bool) -> String {
    let which = match files_shared {
        true => "another node, which was started without --files-shared, works on this database",
        false => "another node works on this database, and this one does not share its files",
    };
    format!(
        "{which}: put the data folder on storage that every node can reach, and start each node \
         with --files-shared and that folder as --data-dir; or stop the other node"
    )
}

/// Says that this node is alive, for as long as it is asked to.
pub async fn say_alive(hub: Arc<Hub>, files_shared: bool) {
    loop {
        tokio::time::sleep(SAY_EVERY).await;
        let (now, key) = (Timestamp::now(), hub.key_id());
        if let Err(error) = hub.store.system.node_seen(hub.node, now, files_shared, &key).await {
            tracing::warn!(%error, "say that this node is alive");
        }
    }
}
