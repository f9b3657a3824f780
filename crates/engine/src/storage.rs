//! How much room a workspace takes, table by table, and how fast it grows: measured once a day, or
//! when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::Timestamp;
use tidings_store::storage::{Sample, TableSize, day_of};

use crate::{Ctx, Hub, Result};

/// Growth is told over so many days, and these are shown.
const SHOWN_DAYS: i32 = 90;
const GROWTH_DAYS: i32 = 30;

/// The room of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    pub measured_at: Timestamp,
    /// The largest first.
    pub tables: Vec<Table>,
}

/// One table with its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// As it is named in the database.
    pub name: String,
    /// As the user named it, where it is one of theirs.
    pub title: Option<String>,
    pub rows: i64,
    pub is_estimate: bool,
    pub bytes: i64,
    /// Over the last 30 days, or as many as are known; `None` on the first day.
    pub rows_per_day: Option<i64>,
    pub bytes_per_day: Option<i64>,
    /// The samples that are kept, the oldest first: day since 1970 in UTC, rows and bytes.
    pub days: Vec<(i32, i64, i64)>,
}

/// What was measured last; where nothing was yet, it is measured now.
pub async fn show(ctx: &Ctx) -> Result<Storage> {
    if ctx.workspace.last_storage_sample().await?.is_none() {
        return measure(ctx).await;
    }
    kept(ctx).await
}

/// Measures now and keeps it as the sample of today.
pub async fn measure(ctx: &Ctx) -> Result<Storage> {
    let sizes = ctx.workspace.measure_storage().await?;
    ctx.workspace.keep_storage_sample(sizes, ctx.now()).await?;
    kept(ctx).await
}

async fn kept(ctx: &Ctx) -> Result<Storage> {
    let samples = ctx.workspace.storage_samples(day_of(ctx.now()) - SHOWN_DAYS).await?;
    let samples = match samples.is_empty() {
        // The hub slept longer than what is shown.
        true => ctx.workspace.storage_samples(0).await?,
        false => samples,
    };
    let schema = ctx.workspace.schema().await?;
    let mut storage = summed_up(&samples);
    for table in &mut storage.tables {
        let own = schema.tables.iter().find(|one| one.physical == table.name);
        table.title = own.map(|one| one.name.clone());
    }
    Ok(storage)
}

/// Tables as they stand on the newest day, with what is known of the days before.
fn summed_up(samples: &[Sample]) -> Storage {
    let newest = samples.iter().map(|sample| sample.day).max().unwrap_or_default();
    let mut by_table: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        by_table.entry(&sample.size.name).or_default().push(sample);
    }
    let mut tables = Vec::new();
    let mut measured_at = Timestamp(0);
    for (name, samples) in by_table {
        let Some(last) = samples.last().filter(|sample| sample.day == newest) else {
            // The table is gone.
            continue;
        };
        measured_at = measured_at.max(last.measured_at);
        let first = samples.iter().find(|sample| sample.day >= newest - GROWTH_DAYS);
        let per_day = |of: fn(&TableSize) -> i64| {
            let first = first.filter(|first| first.day < newest)?;
            Some((of(&last.size) - of(&first.size)) / i64::from(newest - first.day))
        };
        tables.push(Table {
            name: name.to_owned(),
            title: None,
            rows: last.size.rows,
            is_estimate: last.size.is_estimate,
            bytes: last.size.bytes,
            rows_per_day: per_day(|size| size.rows),
            bytes_per_day: per_day(|size| size.bytes),
            days: samples.iter().map(|one| (one.day, one.size.rows, one.size.bytes)).collect(),
        });
    }
    tables.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    Storage { measured_at, tables }
}

/// Sees to the sample of today in every workspace, one after the other.
pub(crate) async fn sample_all(hub: Arc<Hub>) {
    let rows = match hub.store.system.workspaces().await {
        Ok(rows) => rows,
        Err(error) => return tracing::warn!(%error, "list workspaces"),
    };
    for row in rows {
        if let Err(error) = sample(&hub, row.id).await {
            tracing::warn!(%error, workspace = row.slug, "measure the storage");
        }
    }
}

async fn sample(hub: &Arc<Hub>, id: tidings_domain::WorkspaceId) -> Result<()> {
    let ctx = hub.ctx(id).await?;
    let today = day_of(ctx.now());
    if ctx.workspace.last_storage_sample().await?.is_none_or(|last| last < today) {
        measure(&ctx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(day: i32, name: &str, rows: i64, bytes: i64) -> Sample {
        let size = TableSize { name: name.to_owned(), rows, is_estimate: false, bytes };
        Sample { day, size, measured_at: Timestamp(i64::from(day)) }
    }

    #[test]
    fn growth_is_told_over_the_last_thirty_days() {
        let storage = summed_up(&[
            sample(50, "gone", 7, 7),
            sample(50, "events", 0, 0),
            sample(70, "events", 1_000, 40_000),
            sample(80, "events", 2_000, 60_000),
            sample(100, "events", 4_000, 100_000),
            sample(90, "shrunk", 30, 900_000),
            sample(100, "shrunk", 10, 700_000),
            sample(100, "new", 1, 4_096),
        ]);
        assert_eq!(storage.measured_at, Timestamp(100));
        let told: Vec<_> = storage
            .tables
            .iter()
            .map(|one| (one.name.as_str(), one.rows_per_day, one.bytes_per_day, one.days.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("shrunk", Some(-2), Some(-20_000), 2),
                ("events", Some(100), Some(2_000), 4),
                ("new", None, None, 1),
            ]
        );
        assert_eq!(summed_up(&[]).tables, []);
    }
}
