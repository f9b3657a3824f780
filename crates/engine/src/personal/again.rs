//! The list of the erased beside the data, `erased/{workspace}.json` in the data folder, one file a
//! workspace. It is no part of archives: one from before an erasure still holds the person, and what
//! was restored from it is cleared by the list.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidings_domain::WorkspaceId;
use tidings_store::erasures::Erasures;
use uuid::Uuid;

use super::drop_uploads_of;
use crate::{Ctx, Error, Hub, Result};

/// Where the lists of a data folder are.
pub fn folder(data: &Path) -> PathBuf {
    data.join("erased")
}

fn file_of(hub: &Hub, workspace: WorkspaceId) -> PathBuf {
    folder(&hub.settings.data_dir).join(format!("{workspace}.json"))
}

/// Adds the lists of a folder to those of a data folder.
pub fn take(from: &Path, data: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Internal(format!("{}: {error}", from.display()));
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|e| e == "json"))
        else {
            continue;
        };
        let Some(list) = read(&path)? else { continue };
        let target = folder(data).join(name);
        let mut all = read(&target)?.unwrap_or_default();
        if all.key.is_empty() {
            all.key.clone_from(&list.key);
        }
        let more = list.beyond(&all);
        all.erased.extend(more);
        write(&target, &all)?;
    }
    Ok(())
}

/// In every workspace that has a list: erases again whom it knows and the workspace does not. Gives
/// how many were erased.
pub async fn erase_again(hub: &Arc<Hub>) -> Result<u64> {
    let mut erased = 0;
    for row in hub.store.system.workspaces().await? {
        let Some(list) = read(&file_of(hub, row.id))? else { continue };
        let ctx = hub.ctx(row.id).await?;
        let key = list.key.clone();
        for erasure in list.beyond(&ctx.workspace.erasures().await?) {
            drop_uploads_of(&ctx, erasure.customer).await?;
            ctx.workspace.erase_again(key.clone(), erasure).await?;
            erased += 1;
            ctx.wake();
        }
    }
    Ok(erased)
}

/// Writes every list that an erasure could not write.
pub(crate) async fn keep_all(hub: Arc<Hub>) {
    let kept = async {
        for row in hub.store.system.workspaces().await? {
            keep(&hub.ctx(row.id).await?).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = kept.await {
        tracing::warn!(%error, "write the lists of the erased");
    }
}

/// Writes the list of a workspace, where it is not what the file says.
pub(super) async fn keep(ctx: &Ctx) -> Result<()> {
    let list = ctx.workspace.erasures().await?;
    let path = file_of(&ctx.hub, ctx.workspace.row.id);
    match read(&path)?.unwrap_or_default() == list {
        true => Ok(()),
        false => write(&path, &list),
    }
}

fn read(path: &Path) -> Result<Option<Erasures>> {
    let failed = |error: String| Error::Internal(format!("read {}: {error}", path.display()));
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The old list or the new one, whenever it is broken off.
fn write(path: &Path, list: &Erasures) -> Result<()> {
    let written = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // Two erasures at once each write the whole list, under a name of their own.
        let aside = path.with_extension(format!("{}.new", Uuid::new_v4().simple()));
        let mut file = File::create_new(&aside)?;
        file.write_all(&serde_json::to_vec_pretty(list)?)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| Error::Internal(format!("write {}: {error}", path.display())))
}
