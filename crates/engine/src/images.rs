//! The library of pictures: checked by what they hold, shown at an address that nobody can guess.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidings_domain::ImageId;
use tidings_store::Page;
pub use tidings_store::images::Image;
use tidings_store::images::NewImage;

use crate::blocks::{self, Use};
use crate::{Ctx, Error, Hub, Result};
use std::sync::Arc;

/// The most that one picture may take. Mail readers load every picture of a mail at once.
pub const MAX_BYTES: usize = 5 * 1024 * 1024;
/// The most that all pictures of a workspace may take.
pub(crate) const MAX_TOTAL_BYTES: i64 = 1024 * 1024 * 1024;
/// The most pixels of a side: what decoders of phones still take.
const MAX_SIDE: u32 = 10_000;

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub kind: &'static str,
    pub width: u32,
    pub height: u32,
}

/// Keeps a picture; gives its id. What its name says about its kind is not believed.
pub async fn create(ctx: &Ctx, name: &str, bytes: Vec<u8>) -> Result<ImageId> {
    let found = checked(name, &bytes)?;
    let new = NewImage {
        secret: fresh_secret(),
        name: name.to_owned(),
        kind: found.kind.to_owned(),
        width: i64::from(found.width),
        height: i64::from(found.height),
        bytes,
    };
    Ok(ctx.workspace.add_image(new, MAX_TOTAL_BYTES, ctx.now()).await?)
}

/// The part of a new picture's address that nobody can guess.
pub(crate) fn fresh_secret() -> String {
    let mut secret = [0_u8; 18];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut secret);
    URL_SAFE_NO_PAD.encode(secret)
}

/// Whether a text can be that part.
pub(crate) fn is_secret(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Checks a picture by what it holds.
pub(crate) fn checked(name: &str, bytes: &[u8]) -> Result<Found> {
    tidings_domain::schema::checked_name(name).map_err(|text| Error::invalid("name", text))?;
    if bytes.len() > MAX_BYTES {
        return Err(Error::invalid("", "a picture has at most 5 MB"));
    }
    let found = look(bytes)
        .ok_or_else(|| Error::invalid("", "expected a PNG, JPEG, GIF or WebP picture"))?;
    if found.width == 0 || found.height == 0 || found.width.max(found.height) > MAX_SIDE {
        return Err(Error::invalid("", "a picture has 1 to 10,000 pixels a side"));
    }
    Ok(found)
}

/// One picture by its id.
pub async fn get(ctx: &Ctx, id: ImageId) -> Result<Image> {
    let found = ctx.workspace.image(id).await?;
    found.ok_or_else(|| Error::NotFound(format!("image {id}")))
}

/// A page of pictures, newest first.
pub async fn page(ctx: &Ctx, before: i32, limit: usize) -> Result<Page<Image, i32>> {
    Ok(ctx.workspace.images(before, limit).await?)
}

/// Where everybody who has the address sees a picture.
pub fn url(ctx: &Ctx, image: &Image) -> String {
    let public = &ctx.hub.settings.public_url;
    format!("{public}/i/{}/{}.{}", ctx.workspace.row.number, image.secret, image.kind)
}

/// The templates and blocks that show a picture.
pub async fn uses(ctx: &Ctx, image: &Image) -> Result<Vec<Use>> {
    blocks::uses_of(ctx, |text| text.contains(&image.secret)).await
}

/// Drops a picture that no template or block shows. Mails that went out with it lose it too.
pub async fn drop(ctx: &Ctx, id: ImageId) -> Result<()> {
    if !ctx.workspace.is_done_already().await? {
        let image = get(ctx, id).await?;
        if let Some(first) = uses(ctx, &image).await?.first() {
            return Err(Error::Conflict(format!("{} shows this picture", first.name)));
        }
    }
    match ctx.workspace.drop_image(id).await? {
        true => Ok(()),
        false => Err(Error::NotFound(format!("image {id}"))),
    }
}

/// The kind and the bytes of a picture by the parts of its address: `SECRET.KIND`.
pub async fn show(hub: &Arc<Hub>, workspace: i64, file: &str) -> Result<(String, Vec<u8>)> {
    let gone = || Error::NotFound("this picture".to_owned());
    let (secret, kind) = file.split_once('.').ok_or_else(gone)?;
    if !is_secret(secret) {
        return Err(gone());
    }
    let rows = hub.store.system.workspaces().await?;
    let row = rows.into_iter().find(|row| i64::from(row.number) == workspace).ok_or_else(gone)?;
    let ctx = hub.ctx(row.id).await?;
    let (known, bytes) = ctx.workspace.image_bytes(secret).await?.ok_or_else(gone)?;
    if known == kind { Ok((known, bytes)) } else { Err(gone()) }
}

/// Finds out by its first bytes what a picture is and how large it is shown.
pub fn look(bytes: &[u8]) -> Option<Found> {
    png(bytes).or_else(|| gif(bytes)).or_else(|| webp(bytes)).or_else(|| jpeg(bytes))
}

fn big16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

fn little16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

fn png(bytes: &[u8]) -> Option<Found> {
    let rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    if rest.get(4..8)? != b"IHDR" {
        return None;
    }
    let side = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?))
    };
    Some(Found { kind: "png", width: side(8)?, height: side(12)? })
}

fn gif(bytes: &[u8]) -> Option<Found> {
    if !bytes.starts_with(b"GIF87a") && !bytes.starts_with(b"GIF89a") {
        return None;
    }
    Some(Found { kind: "gif", width: little16(bytes, 6)?, height: little16(bytes, 8)? })
}

fn webp(bytes: &[u8]) -> Option<Found> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let three = |at: usize| -> Option<u32> {
        let bytes = bytes.get(at..at + 3)?;
        Some(u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16)
    };
    let (width, height) = match bytes.get(12..16)? {
        b"VP8 " if bytes.get(23..26)? == b"\x9d\x01\x2a" => {
            (little16(bytes, 26)? & 0x3fff, little16(bytes, 28)? & 0x3fff)
        }
        b"VP8L" if bytes.get(20)? == &0x2f => {
            let bits = u32::from_le_bytes(bytes.get(21..25)?.try_into().ok()?);
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8X" => (three(24)? + 1, three(27)? + 1),
        _ => return None,
    };
    Some(Found { kind: "webp", width, height })
}

/// The frame header holds the size; what stands before it is passed over segment by segment.
fn jpeg(bytes: &[u8]) -> Option<Found> {
    if !bytes.starts_with(b"\xff\xd8\xff") {
        return None;
    }
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let (height, width) = (big16(bytes, at + 5)?, big16(bytes, at + 7)?);
                return Some(Found { kind: "jpg", width, height });
            }
            0xd9 | 0xda => return None,
            _ => at += 2 + (big16(bytes, at + 2)?.max(2)) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x02\0\0\0\x03\x08\x02\0\0\0";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x06JFIF\xff\xff\xc2\0\x11\x08\0\x20\x01\x40\x03";

    fn check(bytes: &[u8], expected: Option<(&'static str, u32, u32)>) {
        let found = look(bytes).map(|found| (found.kind, found.width, found.height));
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn pictures_are_known_by_what_they_hold() {
        check(PNG, Some(("png", 258, 3)));
        check(b"GIF89a\x05\x01\x02\0\x80", Some(("gif", 261, 2)));
        check(JPEG, Some(("jpg", 320, 32)));
        check(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x0f\0\0\x1f\0\0", Some(("webp", 16, 32)));
        check(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x0f\xc0\x07\0", Some(("webp", 16, 32)));
        check(
            b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x10\0\x20\0",
            Some(("webp", 16, 32)),
        );
    }

    #[test]
    fn anything_else_is_no_picture() {
        for bytes in [
            &b""[..],
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"<html>GIF89a",
            b"%PDF-1.7",
            b"GIF90a\x01\0\x01\0",
            b"\xff\xd8\xff\xd9",
            b"RIFF\0\0\0\0WAVEfmt ",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT\0\0\0\x01\0\0\0\x01",
        ] {
            check(bytes, None);
        }
        // Cut off anywhere before the size is known, nothing is found and nothing breaks.
        for whole in [PNG, JPEG] {
            for end in 0..20.min(whole.len()) {
                check(&whole[..end], None);
            }
        }
    }
}
