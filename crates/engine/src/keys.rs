//! The master key: its file, what hangs on it, and its change for another.
//!
//! The master key itself signs and seals nothing. A key made from it seals the secrets: passwords of
//! relays, private halves of DKIM keys, second factors, and the hub's *root*, with which links are
//! signed and the audit log is sealed. The root stays when the master key changes, because the
//! links in mails that were sent have to go on working. It is kept in the database under seal, so
//! that neither a copy of the database nor the key file alone gives it away.

mod ring;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Timestamp, WorkspaceId};
use tidings_store::Store;
use tidings_store::sealed::{Kept, Sealed};
use uuid::Uuid;

use crate::mail::{RELAY_SECRET, key_secret};
use crate::secrets::{Sealer, key_of};
use crate::{Error, Hub, Result};

pub use ring::{KeyId, KeyRing, MasterKey};

/// What the root is sealed for; it belongs to nobody in particular.
const ROOT: (Uuid, &str) = (Uuid::nil(), "root");
/// How long nodes may take to come by the new key, and how often they are asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A node that says nothing for so long is dead; it says that it lives every two seconds.
const SILENCE: Duration = Duration::from_secs(6);
/// How many times all secrets are gone through before it is given up, while others make new ones.
const ROUNDS: usize = 10;

/// What a hub runs with: what seals its secrets, and its root.
pub struct Unlocked {
    pub sealer: Sealer,
    pub root: [u8; 32],
}

/// Whether secrets wait in the store for their key, so that a new one would be of no use.
pub async fn is_set_up(store: &Store) -> Result<bool> {
    Ok(!all_sealed(store).await?.is_empty())
}

/// Opens the hub's root, or makes one on the first start. Refused where the secrets are sealed with
/// a key that the ring lacks. `file` names the key file in what it says.
pub async fn unlock(store: &Store, ring: &KeyRing, file: &str) -> Result<Unlocked> {
    let sealer = Sealer::new(ring);
    if let Some(sealed) = store.system.root().await? {
        let root = open_root(&sealer, &sealed, ring, file)?;
        return Ok(Unlocked { sealer, root });
    }
    for (_, sealed) in all_sealed(store).await? {
        known_key(&sealed.bytes, ring, file)?;
    }
    // A hub from before there were roots signed its links with the master key itself.
    let root = match store.system.workspaces().await?.is_empty() {
        true => rand::random(),
        false => *ring.keys()[ring.keys().len() - 1].bytes(),
    };
    store.system.add_root(&sealer.seal(ROOT.0, ROOT.1, &root)?).await?;
    let kept = store.system.root().await?;
    let kept = kept.ok_or_else(|| Error::Internal("the hub's root was not kept".to_owned()))?;
    let root = open_root(&sealer, &kept, ring, file)?;
    Ok(Unlocked { sealer, root })
}

fn open_root(sealer: &Sealer, sealed: &[u8], ring: &KeyRing, file: &str) -> Result<[u8; 32]> {
    known_key(sealed, ring, file)?;
    let root = sealer.open(ROOT.0, ROOT.1, sealed)?;
    <[u8; 32]>::try_from(root).map_err(|_| Error::Internal("the hub's root is cut off".to_owned()))
}

/// Refuses a secret whose key is not in the ring.
fn known_key(sealed: &[u8], ring: &KeyRing, file: &str) -> Result<()> {
    match key_of(sealed) {
        Some(id) if ring.keys().iter().all(|key| key.id() != id) => Err(Error::Conflict(format!(
            "{file} holds the master key {}, but the secrets of this hub are sealed with the key \
             {id}: name the file that holds it by --master-key-file; if it is lost for good, see \
             tidings key lost",
            ring.id()
        ))),
        _ => Ok(()),
    }
}

/// Every sealed secret with the workspace that it belongs to.
async fn all_sealed(store: &Store) -> Result<Vec<(Option<WorkspaceId>, Sealed)>> {
    let mut all: Vec<_> = Vec::new();
    for sealed in store.system.sealed().await? {
        all.push((None, sealed));
    }
    for row in store.system.workspaces().await? {
        for sealed in store.workspace(row.id).await?.sealed().await? {
            all.push((Some(row.id), sealed));
        }
    }
    Ok(all)
}

/// How many secrets are sealed with which key.
pub async fn counts(store: &Store) -> Result<BTreeMap<KeyId, usize>> {
    let mut counts = BTreeMap::new();
    for (_, sealed) in all_sealed(store).await? {
        if let Some(id) = key_of(&sealed.bytes) {
            *counts.entry(id).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Waits until every living node seals with the key of this id; the error names those that do not.
pub async fn wait_for_nodes(store: &Store, id: KeyId, patience: Duration) -> Result<()> {
    let begun = tokio::time::Instant::now();
    let id = id.to_string();
    // When each node was first seen to have said what it said last.
    let mut said: HashMap<_, (Timestamp, tokio::time::Instant)> = HashMap::new();
    loop {
        let now = tokio::time::Instant::now();
        let mut others = Vec::new();
        for node in store.system.nodes().await? {
            let (seen_at, since) = said.entry(node.id).or_insert((node.seen_at, now));
            if *seen_at != node.seen_at {
                (*seen_at, *since) = (node.seen_at, now);
            }
            let is_silent = now.duration_since(*since) >= SILENCE;
            if node.key_id.as_deref() != Some(id.as_str()) && !is_silent {
                others.push(node.id.to_string());
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= patience {
            return Err(Error::Conflict(format!(
                "nodes without the new key are at work ({}): put the key file where they read \
                 theirs, and run this again",
                others.join(", ")
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Seals every secret with the first key of the ring; each by itself, so that a kill leaves some
/// done and the next run does the rest. Gives how many it sealed.
pub async fn reseal(store: &Store, ring: &KeyRing, file: &str) -> Result<usize> {
    let sealer = Sealer::new(ring);
    let mut count = 0;
    for _ in 0..ROUNDS {
        let mut left = 0;
        for (workspace, sealed) in all_sealed(store).await? {
            if key_of(&sealed.bytes) == Some(ring.id()) {
                continue;
            }
            left += 1;
            known_key(&sealed.bytes, ring, file)?;
            let (owner, purpose) = bound_to(workspace, &sealed.kept);
            let secret = sealer.open(owner, &purpose, &sealed.bytes)?;
            let new = sealer.seal(owner, &purpose, &secret)?;
            let is_done = match workspace {
                None => store.system.reseal(&sealed, new).await?,
                Some(id) => store.workspace(id).await?.reseal(&sealed, new).await?,
            };
            count += usize::from(is_done);
        }
        if left == 0 {
            return Ok(count);
        }
    }
    Err(Error::Conflict("secrets go on being sealed with an old key; run this again".to_owned()))
}

/// Whom a secret belongs to and what it is for.
fn bound_to(workspace: Option<WorkspaceId>, kept: &Kept) -> (Uuid, String) {
    let workspace = workspace.map_or(Uuid::nil(), |id| id.0);
    match kept {
        Kept::Root => (ROOT.0, ROOT.1.to_owned()),
        Kept::Totp(user) | Kept::PendingTotp(user) => {
            (user.0, crate::accounts::totp::PURPOSE.to_owned())
        }
        Kept::Relay(_) => (workspace, RELAY_SECRET.to_owned()),
        Kept::Dkim { domain, selector } => (workspace, key_secret(domain, selector)),
    }
}

/// Goes on with another ring, unless it cannot open the hub's root.
pub async fn take_up(hub: &Arc<Hub>, ring: &KeyRing, file: &str) -> Result<()> {
    if let Some(sealed) = hub.store.system.root().await? {
        known_key(&sealed, ring, file)?;
    }
    hub.sealer.turn_to(ring);
    Ok(())
}

/// Goes on without a key that is lost for good: with a new root, under the ring's first key. Links in
/// mails that were sent lead nowhere from then on, and what cannot be opened is to be entered anew:
/// gives how many secrets these are.
pub async fn go_on_without(store: &Store, ring: &KeyRing) -> Result<usize> {
    let is_known = |sealed: &[u8]| {
        key_of(sealed).is_some_and(|id| ring.keys().iter().any(|key| key.id() == id))
    };
    if store.system.root().await?.is_some_and(|root| is_known(&root)) {
        let text = format!("the key {} opens this hub; nothing is lost", ring.id());
        return Err(Error::Conflict(text));
    }
    store.system.drop_root().await?;
    let root: [u8; 32] = rand::random();
    let sealed = Sealer::new(ring).seal(ROOT.0, ROOT.1, &root)?;
    store.system.add_root(&sealed).await?;
    let all = all_sealed(store).await?;
    Ok(all.iter().filter(|(_, sealed)| !is_known(&sealed.bytes)).count())
}
