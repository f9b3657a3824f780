//! `/v1/storage`: how much room the workspace takes, table by table, and how fast it grows.

use axum::Json;
use serde::Serialize;
use tidings_domain::Timestamp;
use tidings_engine::storage;
use utoipa::ToSchema;

use crate::call::{Administer, Call};
use crate::errors::Result;

/// The room of a workspace as it was measured last.
#[derive(Debug, Serialize, ToSchema)]
pub struct Storage {
    #[schema(value_type = String, format = DateTime)]
    pub measured_at: Timestamp,
    /// Of all tables together.
    pub bytes: i64,
    /// Over the last 30 days; null on the first day.
    pub bytes_per_day: Option<i64>,
    /// The largest first.
    pub tables: Vec<StorageTable>,
}

/// One table of the database, with its indexes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageTable {
    /// As the database names it.
    #[schema(example = "events")]
    pub name: String,
    /// As you named it, where it is one of your own tables.
    pub title: Option<String>,
    pub rows: i64,
    /// Whether `rows` is the database's own estimate, as it is for large tables on PostgreSQL.
    pub is_estimate: bool,
    pub bytes: i64,
    /// Over the last 30 days, or as many as are known; null on the first day.
    pub rows_per_day: Option<i64>,
    pub bytes_per_day: Option<i64>,
    /// One a day for 90 days, the oldest first.
    pub days: Vec<StorageDay>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StorageDay {
    /// In UTC.
    #[schema(value_type = String, format = Date)]
    pub day: String,
    pub rows: i64,
    pub bytes: i64,
}

/// Days since 1970 as a date.
fn date(day: i32) -> String {
    let at = Timestamp(i64::from(day) * 24 * 3_600 * 1_000_000).to_string();
    at.split('T').next().unwrap_or_default().to_owned()
}

pub(crate) fn shown(found: storage::Storage) -> Storage {
    let tables: Vec<StorageTable> = found
        .tables
        .into_iter()
        .map(|table| StorageTable {
            name: table.name,
            title: table.title,
            rows: table.rows,
            is_estimate: table.is_estimate,
            bytes: table.bytes,
            rows_per_day: table.rows_per_day,
            bytes_per_day: table.bytes_per_day,
            days: table
                .days
                .into_iter()
                .map(|(day, rows, bytes)| StorageDay { day: date(day), rows, bytes })
                .collect(),
        })
        .collect();
    let growth: Vec<i64> = tables.iter().filter_map(|table| table.bytes_per_day).collect();
    Storage {
        measured_at: found.measured_at,
        bytes: tables.iter().map(|table| table.bytes).sum(),
        bytes_per_day: (!growth.is_empty()).then(|| growth.iter().sum()),
        tables,
    }
}

/// How much room each table takes, as it was measured today or last, and how it grew.
#[utoipa::path(get, path = "/v1/storage", tag = "Workspace",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = Storage)))]
pub async fn show(call: Call<Administer>) -> Result<Json<Storage>> {
    Ok(Json(shown(storage::show(&call.ctx).await?)))
}

/// Measure now. On SQLite this reads the workspace's whole file.
#[utoipa::path(post, path = "/v1/storage/measure", tag = "Workspace",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = Storage)))]
pub async fn measure(call: Call<Administer>) -> Result<Json<Storage>> {
    Ok(Json(shown(storage::measure(&call.ctx).await?)))
}
