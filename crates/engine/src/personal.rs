//! Everything on one person: shown to them, or erased.

pub mod again;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;
use tidings_domain::CustomerId;
use tidings_domain::change::{CustomerRef, Identity};
use tokio::io::AsyncReadExt;

use crate::{Ctx, Error, Result, customers, imports};

/// The rows of a customer in every table, as they are kept, by table.
pub async fn rows(ctx: &Ctx, customer: CustomerId) -> Result<BTreeMap<String, Vec<Json>>> {
    Ok(ctx.workspace.personal_rows(customer).await?)
}

/// Erases a customer: from every table, and uploads that name them. A keyed hash of each name
/// stays, so that no import brings them back, and a suppression stays as a hash.
pub async fn erase(ctx: &Ctx, reference: CustomerRef) -> Result<()> {
    let id = match ctx.workspace.is_done_already().await? {
        // A repeated call of one whose answer was lost: its customer is gone, and so is this id.
        true => CustomerId(uuid::Uuid::nil()),
        false => customers::find(ctx, reference).await?,
    };
    // Files come first: until the rows are gone a call that broke off can be made again.
    drop_uploads_of(ctx, id).await?;
    ctx.workspace.erase(id, ctx.now()).await?;
    ctx.wake();
    if let Err(error) = again::keep(ctx).await {
        // They are erased. The next erasure and the next start write the list again.
        tracing::error!(%error, "write the list of the erased");
    }
    Ok(())
}

/// Removes the uploads that name a customer.
async fn drop_uploads_of(ctx: &Ctx, id: CustomerId) -> Result<()> {
    let names = ctx.workspace.names_of(id).await?;
    let needles: Vec<Vec<u8>> = names
        .into_iter()
        // A short number would be found in the files of everybody.
        .filter(|name| name.value.len() >= 6)
        .flat_map(|name| needles_of(&name.value))
        .collect();
    match needles.is_empty() {
        true => Ok(()),
        false => drop_uploads(ctx, &needles).await,
    }
}

/// Lets somebody be known again by a name that was erased.
pub async fn readmit(ctx: &Ctx, name: Identity) -> Result<()> {
    match ctx.workspace.readmit(name).await? {
        true => Ok(()),
        false => Err(Error::NotFound("an erasure of this name".to_owned())),
    }
}

/// Removes uploads of this workspace that name somebody, with everything that was made of them. What
/// they brought in is in the tables; an import that still reads such a file fails and says that its
/// file is gone.
async fn drop_uploads(ctx: &Ctx, needles: &[Vec<u8>]) -> Result<()> {
    let failed = |error: std::io::Error| Error::Internal(format!("look through uploads: {error}"));
    let mut before = None;
    loop {
        let page = ctx.workspace.imports(before, 500).await?;
        for import in page.items {
            for path in imports::files_of(&ctx.hub, import.id) {
                match names_one(&path, needles).await {
                    Ok(true) => {
                        imports::remove_files(&ctx.hub, import.id).await.map_err(failed)?;
                        break;
                    }
                    Ok(false) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        before = page.next;
        if before.is_none() {
            return Ok(());
        }
    }
}

/// A name as the encodings of uploads write it, in small letters of ASCII.
fn needles_of(name: &str) -> Vec<Vec<u8>> {
    let wide = || name.encode_utf16();
    let mut needles: Vec<Vec<u8>> = vec![
        name.as_bytes().to_vec(),
        wide().flat_map(u16::to_le_bytes).collect(),
        wide().flat_map(u16::to_be_bytes).collect(),
    ];
    // Windows-1252 and ISO-8859-1 write these letters as their numbers.
    let narrow: Result<Vec<u8>, _> = name.chars().map(|one| u8::try_from(u32::from(one))).collect();
    if let Ok(narrow) = narrow {
        needles.push(narrow);
    }
    needles.iter_mut().for_each(|needle| needle.make_ascii_lowercase());
    needles.sort();
    needles.dedup();
    needles
}

/// Whether a file holds one of these texts, in small or capital letters of ASCII.
async fn names_one(path: &Path, needles: &[Vec<u8>]) -> std::io::Result<bool> {
    let longest = needles.iter().map(Vec::len).max().unwrap_or_default();
    let mut file = tokio::fs::File::open(path).await?;
    let mut window: Vec<u8> = Vec::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut block).await?;
        if read == 0 {
            return Ok(false);
        }
        window.extend(block[..read].iter().map(u8::to_ascii_lowercase));
        if needles.iter().any(|needle| holds(&window, needle)) {
            return Ok(true);
        }
        // The end of this block may be the beginning of a text.
        let kept = window.len().saturating_sub(longest.saturating_sub(1));
        window.drain(..kept);
    }
}

fn holds(window: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let starts = window.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.into_iter().any(|(at, _)| window[at..].starts_with(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_found_also_across_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let needles: Vec<Vec<u8>> = ["ann@example.com", "10001-x", "Zo\u{eb}-00017"]
            .into_iter()
            .flat_map(needles_of)
            .collect();
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        for (before, text, expected) in [
            (0, b"Ann@Example.com".to_vec(), true),
            (64 * 1024 - 5, b"ANN@example.com".to_vec(), true),
            (64 * 1024 - 5, b"bob@example.com".to_vec(), false),
            (10, b"10001-".to_vec(), false),
            (64 * 1024 - 6, wide("Ann@Example.COM"), true),
            (0, "ANN@EXAMPLE.COM".encode_utf16().flat_map(u16::to_be_bytes).collect(), true),
            (0, wide("bob@example.com"), false),
            (3, "Zo\u{eb}-00017".as_bytes().to_vec(), true),
            (3, b"ZO\xeb-00017".to_vec(), true),
            (3, b"Zoe-00017".to_vec(), false),
        ] {
            let content = [&vec![b'x'; before][..], &text, b";rest"].concat();
            std::fs::write(&path, content).unwrap();
            assert_eq!(names_one(&path, &needles).await.unwrap(), expected, "{before} {text:?}");
        }
    }
}
