//! The file of the master key: made on the first start, read, and written anew by a rotation.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidings_engine::Hub;
use tidings_engine::keys::{self, KeyRing, MasterKey, Unlocked};
use tidings_store::Store;

use crate::config::Config;

/// How often a running hub looks whether its file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where the master key is kept.
#[derive(Clone, Debug)]
pub struct KeyFile {
    pub path: PathBuf,
    /// Whether it is the one in the data folder, which may be made.
    may_be_made: bool,
}

impl fmt::Display for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl KeyFile {
    pub fn of(config: &Config) -> KeyFile {
        match &config.master_key_file {
            Some(path) => KeyFile { path: path.clone(), may_be_made: false },
            None => KeyFile { path: config.data_dir.join("master.key"), may_be_made: true },
        }
    }

    /// The keys in it; `None` where there is no file.
    pub fn read(&self) -> Result<Option<KeyRing>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(self.parse(&bytes)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {self}")),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<KeyRing> {
        KeyRing::parse(bytes).map_err(|why| anyhow::anyhow!("{self} is no key file: {why}"))
    }

    /// Makes a key that only this user can read; one that appears meanwhile stays.
    pub fn make(&self) -> Result<KeyRing> {
        let aside = self.aside("make the master key", &KeyRing::of(vec![MasterKey::generate()]))?;
        // A link, not a rename, so that two first starts agree on one key.
        let linked = fs::hard_link(&aside, &self.path);
        fs::remove_file(&aside).context("tidy up the master key")?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context("keep the master key");
            }
            _ => {}
        }
        self.read()?.context("the master key is gone again")
    }

    /// Puts other keys into the file, whole or not at all; who may read it stays.
    pub fn write(&self, ring: &KeyRing) -> Result<()> {
        let now = fs::metadata(&self.path).with_context(|| format!("look at {self}"))?;
        let aside = self.aside("write the master key", ring)?;
        let kept = (|| {
            let mode = now.permissions().mode() & 0o777;
            fs::set_permissions(&aside, fs::Permissions::from_mode(mode))?;
            let made = fs::metadata(&aside)?;
            if (made.uid(), made.gid()) != (now.uid(), now.gid()) {
                // Whoever rotates the key may not be who runs the hub.
                std::os::unix::fs::chown(&aside, Some(now.uid()), Some(now.gid()))?;
            }
            fs::rename(&aside, &self.path)?;
            File::open(folder_of(&self.path))?.sync_all()
        })();
        if kept.is_err() {
            let _ = fs::remove_file(&aside);
        }
        kept.with_context(|| format!("replace {self}"))
    }

    /// A file beside it with these keys, on the disk.
    fn aside(&self, step: &'static str, ring: &KeyRing) -> Result<PathBuf> {
        let aside = self.path.with_extension(format!("new{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut out = options.open(&aside).context(step)?;
        out.write_all(ring.text().as_bytes()).and_then(|()| out.sync_all()).context(step)?;
        Ok(aside)
    }

    /// Opens what the hub has sealed. A key is made where none is there and nothing waits for one.
    pub async fn unlock(&self, store: &Store) -> Result<Unlocked> {
        let ring = match self.read()? {
            Some(ring) => ring,
            None if self.may_be_made && !keys::is_set_up(store).await? => self.make()?,
            None => bail!(
                "the master key is missing: {self} is not there, and the secrets of this hub are \
                 sealed with it; put the file back, or name it by --master-key-file; if it is lost \
                 for good, see tidings key lost"
            ),
        };
        Ok(keys::unlock(store, &ring, &self.to_string()).await?)
    }

    /// Takes up the file's keys when a rotation changes them, so that the hub need not be restarted.
    pub async fn watch(self, hub: Arc<Hub>) {
        let mut seen = fs::read(&self.path).unwrap_or_default();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // A file that is being replaced, or kept away on purpose, is none of the hub's business.
            let Ok(found) = fs::read(&self.path) else { continue };
            if found == seen {
                continue;
            }
            match self.take_up(&hub, &found).await {
                Ok(()) => tracing::info!(key = hub.key_id(), "the key file has changed"),
                Err(error) => tracing::error!(
                    error = format!("{error:#}"),
                    "the changed key file is not taken up; the keys before it stay"
                ),
            }
            seen = found;
        }
    }

    async fn take_up(&self, hub: &Arc<Hub>, found: &[u8]) -> Result<()> {
        let ring = self.parse(found)?;
        Ok(keys::take_up(hub, &ring, &self.to_string()).await?)
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_folder() -> (tempfile::TempDir, KeyFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        (folder, KeyFile { path, may_be_made: true })
    }

    #[test]
    fn a_key_is_made_once_and_closed_to_others() {
        let (folder, file) = in_folder();
        assert!(file.read().expect("nothing is wrong").is_none());
        let made = file.make().expect("a key");
        assert!(file.make().expect("the same key") == made);
        let mode = fs::metadata(&file.path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left");
    }

    #[test]
    fn it_is_replaced_whole_and_keeps_its_readers() {
        let (folder, file) = in_folder();
        let made = file.make().expect("a key");
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).expect("set");
        let two = made.with_new();
        file.write(&two).expect("written");
        assert!(file.read().expect("fine").expect("there") == two);
        let mode = fs::metadata(&file.path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left");
        fs::write(&file.path, "nonsense").expect("written");
        let why = file.read().err().expect("it is refused").to_string();
        assert!(why.contains("master.key is no key file: line 1"), "{why}");
    }
}
