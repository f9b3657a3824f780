//! Counts by columns in memory: the third evaluator of rules, beside the SQL of `audience` and the
//! judge of one customer. It serves counts alone, never membership or a send.
//!
//! A column is read when a count first asks for it, and follows what is committed afterwards: every
//! transaction says whose rows it writes (`engines::touched`), and those customers are read anew
//! before the next count. An answer stands at the store's last commit of the moment it was asked in,
//! or there is none, and SQL answers. What this process does not write it cannot follow: `Db::alone`
//! tells whether somebody else has written, and then everything held is dropped.

mod bits;
mod cache;
mod column;
mod held;
mod read;
mod select;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_domain::Timestamp;
use tidings_domain::rule::{BoundRule, OwnColumn};
use tidings_domain::schema::Schema;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use cache::ColumnCache;
use column::Moment;
use held::{Held, Key};
use read::Wanted;

use crate::Result;
use crate::engines::Db;
use crate::workspace::Workspace;

/// The columns of one workspace.
pub(crate) struct Columns {
    cache: Arc<ColumnCache>,
    held: Arc<Mutex<Held>>,
    /// Whether somebody reads columns now; nobody waits for them.
    reading: AtomicBool,
}

impl Columns {
    pub(crate) fn new(cache: Arc<ColumnCache>, db: &Db) -> Columns {
        let held = Held::new(cache.clone(), db.committed().clone());
        let held = Arc::new(Mutex::new(held));
        cache.join(&held);
        Columns { cache, held, reading: AtomicBool::new(false) }
    }
}

impl Workspace {
    /// How many customers meet a rule, and how many there are, by columns in memory; `None` where
    /// they cannot tell, or not yet: columns that the rule asks for are then read in the background.
    /// `schema` is the one that the rule was bound to.
    pub async fn count_by_columns(
        self: &Arc<Workspace>,
        rule: &BoundRule,
        schema: &Arc<Schema>,
        now: Timestamp,
    ) -> Option<(i64, i64)> {
        if !self.columns.cache.is_on() {
            return None;
        }
        let keys = select::keys(&rule.root)?;
        let (workspace, rule, schema) = (self.clone(), rule.clone(), schema.clone());
        // A task of its own, because a caller that goes away must not leave half a change.
        let counting =
            tokio::spawn(async move { workspace.count_held(rule, keys, schema, now).await });
        match counting.await {
            Ok(Ok(count)) => count,
            Ok(Err(error)) => {
                tracing::warn!(%error, "count by columns");
                None
            }
            Err(error) => {
                tracing::error!(%error, "count by columns");
                None
            }
        }
    }

    async fn count_held(
        self: Arc<Workspace>,
        rule: BoundRule,
        keys: BTreeSet<Key>,
        schema: Arc<Schema>,
        now: Timestamp,
    ) -> Result<Option<(i64, i64)>> {
        if self.columns.reading.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut held = self.columns.held.clone().lock_owned().await;
        if self.db.committed().is_silent() || !held.whole {
            held.clear();
            return Ok(None);
        }
        if held.refuses(&keys) {
            return Ok(None);
        }
        if !held.missing(&keys).is_empty() {
            drop(held);
            tokio::spawn(async move {
                if let Err(error) = self.read_columns(keys, &schema).await {
                    tracing::warn!(%error, "read columns");
                }
            });
            return Ok(None);
        }
        if !self.db.committed().is_quiet() {
            held = self.bring_columns(held, Vec::new()).await?;
        }
        held.used(&keys);
        let chosen = tokio::task::spawn_blocking(move || {
            let moment = Moment { now, zone: rule.zone() };
            let count = select::select(&rule.root, &held, moment).map(|mut bits| {
                bits.and(held.present());
                (bits.count() as i64, held.customers() as i64)
            });
            (held, count)
        });
        let (mut held, count) =
            chosen.await.map_err(|_| crate::Error::Database("a count panicked".to_owned()))?;
        // Who looks at the store after the count sees whether anybody else has written before.
        if held.alone.is_none() || self.db.alone().await? != held.alone {
            held.clear();
            return Ok(None);
        }
        Ok(count)
    }

    /// Brings what is held up to date, and reads columns that are missing.
    async fn bring_columns(
        &self,
        mut held: OwnedMutexGuard<Held>,
        wanted: Vec<Wanted>,
    ) -> Result<OwnedMutexGuard<Held>> {
        let committed = self.db.committed().clone();
        self.read(move |tx| {
            Box::pin(async move {
                read::bring(tx, &mut held, &committed, &wanted).await?;
                Ok(held)
            })
        })
        .await
    }

    /// Reads the columns that are not held yet; at once nothing where somebody does so already.
    async fn read_columns(&self, keys: BTreeSet<Key>, schema: &Schema) -> Result<()> {
        if self.columns.reading.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let done = self.read_missing(keys, schema).await;
        self.columns.reading.store(false, Ordering::Release);
        done
    }

    async fn read_missing(&self, keys: BTreeSet<Key>, schema: &Schema) -> Result<()> {
        let mut held = self.columns.held.clone().lock_owned().await;
        let Some(alone) = self.db.alone().await? else {
            held.clear();
            return Ok(());
        };
        if held.alone != Some(alone) || !held.whole {
            held.clear();
            held.alone = Some(alone);
        }
        let missing = held.missing(&keys);
        let Some(wanted) = wanted(&missing, schema) else { return Ok(()) };
        held.watch(&missing);
        let mut held = self.bring_columns(held, wanted).await?;
        self.columns.cache.make_room(&mut held, &keys);
        Ok(())
    }

    /// Reads at once what a rule asks for, for tests.
    #[cfg(test)]
    pub(crate) async fn hold(&self, rule: &BoundRule, schema: &Schema) -> Result<()> {
        let Some(keys) = select::keys(&rule.root) else { return Ok(()) };
        loop {
            // A count that found nothing may have begun to read.
            while self.columns.reading.load(Ordering::Acquire) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            self.columns.held.lock().await.resume();
            self.read_columns(keys.clone(), schema).await?;
            let held = self.columns.held.lock().await;
            if !self.columns.reading.load(Ordering::Acquire)
                && (held.alone.is_none() || held.refuses(&keys) || held.missing(&keys).is_empty())
            {
                return Ok(());
            }
        }
    }
}

/// Whether columns can answer a rule at all.
#[cfg(test)]
pub(crate) fn can_answer(rule: &BoundRule) -> bool {
    select::keys(&rule.root).is_some()
}

/// How the columns are kept in the store; `None` where the schema has no such attribute any more.
fn wanted(keys: &[Key], schema: &Schema) -> Option<Vec<Wanted>> {
    let storage = |name: &str| match OwnColumn::parse(name) {
        Some(own) => Some(own.kind().storage()),
        None => {
            let attribute = schema.attributes.iter().find(|one| one.column == name)?;
            Some(attribute.kind.storage())
        }
    };
    keys.iter()
        .map(|key| {
            let storage = match key {
                Key::Column(name) => Some(storage(name)?),
                _ => None,
            };
            Some(Wanted { key: key.clone(), storage })
        })
        .collect()
}
