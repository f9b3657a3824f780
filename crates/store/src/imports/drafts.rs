//! An import before it runs: made, changed, started or called off.

use tidings_domain::{ImportId, Timestamp};

use super::{Import, RUN_IMPORT, changed, existing, nothing_more, refresh_segments, signed};
use crate::engines::Priority;
use crate::jobs;
use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// What a new import is made of.
#[derive(Clone, Debug)]
pub struct NewImport {
    pub id: ImportId,
    pub filename: String,
    pub table: Option<String>,
    pub layout: String,
    pub columns: String,
    pub mapping: String,
    pub bytes_total: u64,
    pub at: Timestamp,
}

/// How the file of a draft is written, found out anew.
#[derive(Clone, Debug)]
pub struct NewLayout {
    pub layout: String,
    pub columns: String,
    pub mapping: String,
    pub bytes_total: u64,
}

static ADD: Sql = Sql::reference(
    "add_import",
    "insert into {s}imports (number, id, filename, target_table, state, layout, columns, mapping,
       bytes_total, bytes_done, position, rows_read, rows_created, rows_updated, rows_unchanged,
       rows_refused, created_at)
     select coalesce(max(number), 0) + 1, ?1, ?2, ?3, 'draft', ?4, ?5, ?6, ?7, 0, '',
       0, 0, 0, 0, 0, ?8 from {s}imports where true
     on conflict do nothing",
);
static SET_MAPPING: Sql = Sql::reference(
    "set_import_mapping",
    "update {s}imports set mapping = ?2, trial = null, trial_run = null
     where id = ?1 and state = 'draft'",
);
static SET_LAYOUT: Sql = Sql::reference(
    "set_import_layout",
    "update {s}imports set layout = ?2, columns = ?3, mapping = ?4, bytes_total = ?5,
       trial = null, trial_run = null
     where id = ?1 and state = 'draft'",
);
static START: Sql = Sql::reference(
    "start_import",
    "update {s}imports set state = 'queued', mapping = ?2 where id = ?1 and state = 'draft'",
);
static CANCEL: Sql = Sql::reference(
    "cancel_import",
    "update {s}imports set state = 'cancelled', finished_at = ?2
     where id = ?1 and state in ('draft', 'queued', 'running')",
);

pub(super) static SQL: &[&Sql] = &[&ADD, &SET_MAPPING, &SET_LAYOUT, &START, &CANCEL];

impl Workspace {
    /// Makes an import in the state draft.
    pub async fn add_import(&self, new: NewImport) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                // Another node may take the number in the same moment; then the next one is free.
                for _ in 0..8 {
                    let params = crate::params![
                        new.id,
                        &new.filename,
                        new.table.clone(),
                        &new.layout,
                        &new.columns,
                        &new.mapping,
                        signed(new.bytes_total),
                        new.at,
                    ];
                    if tx.execute(&ADD, params).await? > 0 {
                        return existing(tx, new.id).await;
                    }
                }
                Err(Error::Unavailable("numbers of imports keep moving".to_owned()))
            })
        })
        .await
    }

    /// Changes the mapping of a draft.
    pub async fn set_import_mapping(&self, id: ImportId, mapping: String) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&SET_MAPPING, crate::params![id, mapping]).await?;
                changed(tx, id, touched, "its mapping can no longer change").await
            })
        })
        .await
    }

    /// Changes how the file of a draft is read.
    pub async fn set_import_layout(&self, id: ImportId, new: NewLayout) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let bytes = signed(new.bytes_total);
                let params = crate::params![id, &new.layout, &new.columns, &new.mapping, bytes];
                let touched = tx.execute(&SET_LAYOUT, params).await?;
                changed(tx, id, touched, "its file can no longer be read another way").await
            })
        })
        .await
    }
    /// Starts a draft: its job is written in the same transaction.
    pub async fn start_import(
        &self,
        id: ImportId,
        mapping: String,
        at: Timestamp,
    ) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&START, crate::params![id, mapping]).await?;
                if touched > 0 {
                    jobs::add(tx, RUN_IMPORT, &id.to_string(), "", at).await?;
                }
                changed(tx, id, touched, "it was started before").await
            })
        })
        .await
    }

    /// Cancels an import that is not finished; rows that were applied stay.
    pub async fn cancel_import(&self, id: ImportId, at: Timestamp) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&CANCEL, crate::params![id, at]).await?;
                let import = changed(tx, id, touched, "it is finished").await?;
                if import.counts.read > 0 {
                    refresh_segments(tx, at).await?;
                }
                Ok(import)
            })
        })
        .await
    }
}
