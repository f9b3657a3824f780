//! Pictures of mails: what is known of them, and their bytes in a table of their own, so that lists
//! read none of these.

use tidings_domain::{ImageId, Timestamp};

use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// What is known of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    pub number: i32,
    /// The part of its public address that nobody can guess.
    pub secret: String,
    pub name: String,
    /// The end of its address: `png`, `jpg`, `gif` or `webp`.
    pub kind: String,
    /// In pixels.
    pub width: i64,
    pub height: i64,
    pub size_bytes: i64,
    pub created_at: Timestamp,
}

/// A picture to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImage {
    pub secret: String,
    pub name: String,
    pub kind: String,
    pub width: i64,
    pub height: i64,
    pub bytes: Vec<u8>,
}

static ADD: Sql = Sql::reference(
    "add_image",
    "insert into {s}images (number, id, secret, name, kind, width, height, size_bytes, created_at)
     select coalesce(?9, max(number) + 1, 1), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
     from {s}images where true
     returning number",
);
static ADD_FILE: Sql = Sql::reference(
    "add_image_file",
    "insert into {s}image_files (image_number, bytes) values (?1, ?2)",
);
static GET: Sql = Sql::reference(
    "image",
    "select id, number, secret, name, kind, width, height, size_bytes, created_at
     from {s}images where id = ?1",
);
static LIST: Sql = Sql::reference(
    "images",
    "select id, number, secret, name, kind, width, height, size_bytes, created_at
     from {s}images where number < ?1 order by number desc limit ?2",
);
static BYTES: Sql = Sql::reference(
    "image_bytes",
    "select i.kind, f.bytes from {s}images i join {s}image_files f on f.image_number = i.number
     where i.secret = ?1",
);
static TOTAL: Sql = Sql::reference(
    "images_total",
    "select cast(coalesce(sum(size_bytes), 0) as bigint) from {s}images",
);
static DROP_FILE: Sql = Sql::reference(
    "drop_image_file",
    "delete from {s}image_files where image_number = (select number from {s}images where id = ?1)",
);
static DROP: Sql = Sql::reference("drop_image", "delete from {s}images where id = ?1");

pub(crate) static SQL: &[&Sql] = &[&ADD, &ADD_FILE, &GET, &LIST, &BYTES, &TOTAL, &DROP_FILE, &DROP];

fn image(row: &Row) -> Result<Image> {
    Ok(Image {
        id: ImageId(row.uuid(0)?),
        number: row.small(1)?,
        secret: row.text(2)?,
        name: row.text(3)?,
        kind: row.text(4)?,
        width: row.int(5)?,
        height: row.int(6)?,
        size_bytes: row.int(7)?,
        created_at: row.time(8)?,
    })
}

/// What is known of every picture, oldest first.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Image>> {
    let rows = tx.query(&LIST, crate::params![i64::from(i32::MAX), i64::MAX]).await?;
    rows.iter().rev().map(image).collect()
}

/// Keeps a picture, with a number that is known to be free or the next one.
pub(crate) async fn add(
    tx: &mut Tx,
    id: ImageId,
    number: Option<i32>,
    new: &NewImage,
    most_bytes: i64,
    at: Timestamp,
) -> Result<()> {
    let size_bytes = new.bytes.len() as i64;
    let total = tx.first(&TOTAL, &[]).await?.map_or(Ok(0), |row| row.int(0))?;
    if total + size_bytes > most_bytes {
        let text = "the library is full; remove pictures that are not used";
        return Err(Error::Conflict(text.to_owned()));
    }
    let params = crate::params![
        id,
        &new.secret,
        &new.name,
        &new.kind,
        new.width,
        new.height,
        size_bytes,
        at,
        number
    ];
    let row = tx.first(&ADD, params).await?;
    let row = row.ok_or_else(|| Error::Corrupt("no number for an image".into()))?;
    tx.execute(&ADD_FILE, crate::params![row.int(0)?, new.bytes.clone()]).await.map(drop)
}

/// Drops a picture; false where there is none.
pub(crate) async fn remove(tx: &mut Tx, id: ImageId) -> Result<bool> {
    tx.execute(&DROP_FILE, crate::params![id]).await?;
    Ok(tx.execute(&DROP, crate::params![id]).await? > 0)
}

impl Workspace {
    /// Keeps a picture. One that would make all of them larger than `most_bytes` is a conflict.
    pub async fn add_image(
        &self,
        new: NewImage,
        most_bytes: i64,
        at: Timestamp,
    ) -> Result<ImageId> {
        let id = ImageId::generate();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, id, None, &new, most_bytes, at).await.map(|()| id) })
        })
        .await
    }

    pub async fn image(&self, id: ImageId) -> Result<Option<Image>> {
        self.find(&GET, crate::params![id], image).await
    }

    /// Pictures, newest first; `before` is the last number of the page before.
    pub async fn images(&self, before: i32, limit: usize) -> Result<Page<Image, i32>> {
        self.find_page(&LIST, crate::params![before], limit, image, |one| one.number).await
    }

    /// A picture's kind and bytes by the secret of its address.
    pub async fn image_bytes(&self, secret: &str) -> Result<Option<(String, Vec<u8>)>> {
        let secret = secret.to_owned();
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&BYTES, crate::params![&secret]).await?;
                row.map(|row| Ok((row.text(0)?, row.bytes(1)?))).transpose()
            })
        })
        .await
    }

    /// Drops a picture; false where there is none.
    pub async fn drop_image(&self, id: ImageId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, id).await })
        })
        .await
    }
}
