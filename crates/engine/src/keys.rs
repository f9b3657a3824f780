//! The master key: its file, what hangs on it, and its change for another.
//!
//! The master key itself signs and seals nothing. A key made from it seals the secrets: passwords of
//! relays, private halves of DKIM keys, second factors, and the hub's *root*, with which links are
//! signed and the audit log is sealed. The root stays when the master key changes, because the
//! links in mails that were sent have to go on working. It is kept in the database under seal, so
//! that neither a copy of the database nor the key file alone gives it away.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidings_domain::Timestamp;
use tidings_store::Store;
use tidings_store::sealed::{Kept, Sealed};
use uuid::Uuid;

use crate::links::hmac;
use crate::mail::{RELAY_SECRET, key_secret};
use crate::secrets::{Sealer, key_of};
use crate::{Error, Result};

/// What the root is sealed for; it belongs to nobody in particular.
const ROOT: (Uuid, &str) = (Uuid::nil(), "root");
/// How long nodes may take to come by the new key, and how often they are asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A node that says nothing for so long is dead; it says that it lives every two seconds.
const SILENCE: Duration = Duration::from_secs(6);
/// How many times all secrets are gone through before it is given up, while others make new ones.
const ROUNDS: usize = 10;

/// A short name of a master key, from which nobody learns the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 32 random bytes. `Debug` is left out on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    pub fn new(bytes: [u8; 32]) -> MasterKey {
        MasterKey(bytes)
    }

    pub fn generate() -> MasterKey {
        MasterKey(rand::random())
    }

    pub fn id(&self) -> KeyId {
        let [a, b, c, d, ..] = hmac(&self.0, b"id of the key of secrets");
        KeyId([a, b, c, d])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As a line of a key file: `key 1a2b3c4d` and the bytes in base 64.
    pub fn line(&self) -> String {
        format!("key {} {}", self.id(), STANDARD.encode(self.0))
    }
}

/// The keys of a key file: the first one seals, the others only open.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing(Vec<MasterKey>);

impl KeyRing {
    /// Of these keys, at least one.
    pub fn of(keys: Vec<MasterKey>) -> KeyRing {
        assert!(!keys.is_empty(), "a ring holds a key");
        KeyRing(keys)
    }

    pub fn keys(&self) -> &[MasterKey] {
        &self.0
    }

    pub fn id(&self) -> KeyId {
        self.0[0].id()
    }

    /// Reads a key file: 32 bytes as they are, or a line for each key. The error says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<KeyRing, String> {
        if let Ok(key) = <[u8; 32]>::try_from(bytes) {
            return Ok(KeyRing(vec![MasterKey(key)]));
        }
        let expected = "expected 32 bytes, or lines such as `key 1a2b3c4d` and the key in base 64";
        let text = std::str::from_utf8(bytes).map_err(|_| expected.to_owned())?;
        let mut keys: Vec<MasterKey> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = read_line(line).map_err(|why| format!("line {}: {why}", at + 1))?;
            if keys.contains(&key) {
                return Err(format!("line {}: the key {} stands twice", at + 1, key.id()));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(expected.to_owned());
        }
        Ok(KeyRing(keys))
    }

    /// As a key file holds it.
    pub fn text(&self) -> String {
        let mut text =
            "# The master key of Tidings. Who has it and the database reads every secret.\n\
                        # The first key seals, those below it only open what they sealed.\n"
                .to_owned();
        for key in &self.0 {
            text.push_str(&key.line());
            text.push('\n');
        }
        text
    }

    /// With a new key in front.
    pub fn with_new(&self) -> KeyRing {
        let mut keys = vec![MasterKey::generate()];
        keys.extend(self.0.iter().cloned());
        KeyRing(keys)
    }

    /// Without the keys that only open.
    pub fn first_alone(&self) -> KeyRing {
        KeyRing(vec![self.0[0].clone()])
    }
}

fn read_line(line: &str) -> Result<MasterKey, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["key", id, text] = words[..] else {
        return Err("expected `key`, its id and the key in base 64".to_owned());
    };
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = MasterKey(bytes.ok_or("the key is not 32 bytes in base 64")?);
    if key.id().to_string() != id {
        return Err(format!("this is not the key {id}; a character was lost or changed"));
    }
    Ok(key)
}

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
async fn all_sealed(store: &Store) -> Result<Vec<(Option<tidings_domain::WorkspaceId>, Sealed)>> {
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
pub async fn counts(store: &Store) -> Result<std::collections::BTreeMap<KeyId, usize>> {
    let mut counts = std::collections::BTreeMap::new();
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
    let mut said: std::collections::HashMap<_, (Timestamp, tokio::time::Instant)> =
        std::collections::HashMap::new();
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
fn bound_to(workspace: Option<tidings_domain::WorkspaceId>, kept: &Kept) -> (Uuid, String) {
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
pub async fn take_up(hub: &Arc<crate::Hub>, ring: &KeyRing, file: &str) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_read_in_both_forms() {
        let one = KeyRing::parse(&[7; 32]).unwrap();
        assert!(one == KeyRing::of(vec![MasterKey::new([7; 32])]));
        let two = one.with_new();
        assert_eq!(two.keys()[1].id(), one.id());
        let read = KeyRing::parse(two.text().as_bytes()).unwrap();
        assert!(read == two);
        assert!(read.first_alone().keys().len() == 1 && read.first_alone().id() == two.id());
        let blanks = format!("\n#x\n  {}\t\r\n", two.keys()[0].line());
        assert!(KeyRing::parse(blanks.as_bytes()).unwrap() == two.first_alone());
    }

    #[test]
    fn a_damaged_key_file_is_told_plainly() {
        let key = MasterKey::new([7; 32]);
        let line = key.line();
        let bent = line.replacen("Bw", "Bx", 1);
        let twice = format!("{line}\n{line}\n");
        let short = format!("key {} Bwc=", key.id());
        for (text, expected) in [
            ("", "expected 32 bytes"),
            ("# nothing\n", "expected 32 bytes"),
            ("secret", "line 1: expected `key`"),
            (&bent, "line 1: this is not the key"),
            (&short, "line 1: the key is not 32 bytes"),
            (&twice, "line 2: the key"),
        ] {
            let why = KeyRing::parse(text.as_bytes()).err().expect("it is refused");
            assert!(why.contains(expected), "{why}");
        }
        assert!(KeyRing::parse(&[0xff; 31]).is_err());
        // The file names a key by its id alone, and no message holds the key.
        assert!(!KeyRing::parse(bent.as_bytes()).err().unwrap().contains("Bx"));
    }
}
