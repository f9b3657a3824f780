//! What is held of one workspace: its customers by their system ids, which are small numbers without
//! many gaps and so serve as positions, and the columns that were asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::bits::Bits;
use super::cache::ColumnCache;
use super::column::Column;
use crate::engines::commits::Commits;
use crate::engines::touched::{CONSENTS, CUSTOMERS, GROUP_MEMBERS, SEGMENT_MEMBERS, TABLES, TAGS};

/// After more was written than is worth following, such as by an import, nothing is read for so long.
const PAUSE: Duration = Duration::from_secs(3);

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The physical column of the customers table.
    Column(String),
    Tag(String),
    Group(i32),
    Segment(i32),
    /// Channel, topic and state.
    Consent(i16, String, &'static str),
}

impl Key {
    /// The watched table that it is read from.
    pub(super) fn table(&self) -> usize {
        match self {
            Key::Column(_) => CUSTOMERS,
            Key::Tag(_) => TAGS,
            Key::Group(_) => GROUP_MEMBERS,
            Key::Segment(_) => SEGMENT_MEMBERS,
            Key::Consent(..) => CONSENTS,
        }
    }
}

#[derive(Debug)]
struct Kept {
    column: Column,
    /// When it was last asked for, by the cache's count of questions.
    used: u64,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Held {
    cache: Arc<ColumnCache>,
    committed: Arc<Commits>,
    /// By position; nil where nobody is.
    ids: Vec<Uuid>,
    present: Bits,
    customers: u64,
    columns: BTreeMap<Key, Kept>,
    /// Columns that alone are more than the cache may hold.
    too_large: BTreeSet<Key>,
    /// What `Db::alone` said when the first column was read.
    pub(super) alone: Option<i64>,
    /// False while it is being changed: what is left of an interrupted change is worth nothing.
    pub(super) whole: bool,
    paused_until: Option<Instant>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.cache.resized(self.bytes, 0);
    }
}

impl Held {
    pub(super) fn new(cache: Arc<ColumnCache>, committed: Arc<Commits>) -> Held {
        Held {
            cache,
            committed,
            ids: Vec::new(),
            present: Bits::none(0),
            customers: 0,
            columns: BTreeMap::new(),
            too_large: BTreeSet::new(),
            alone: None,
            whole: true,
            paused_until: None,
            bytes: 0,
        }
    }

    pub(super) fn length(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn present(&self) -> &Bits {
        &self.present
    }

    pub(super) fn customers(&self) -> u64 {
        self.customers
    }

    pub(super) fn column(&self, key: &Key) -> Option<&Column> {
        self.columns.get(key).map(|kept| &kept.column)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.columns.keys()
    }

    pub(super) fn columns_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Column)> {
        self.columns.iter_mut().map(|(key, kept)| (key, &mut kept.column))
    }

    /// Which of these are not held and may be.
    pub(super) fn missing(&self, keys: &BTreeSet<Key>) -> Vec<Key> {
        keys.iter().filter(|key| !self.columns.contains_key(key)).cloned().collect()
    }

    /// Whether it is no use to read these columns now.
    pub(super) fn refuses(&self, keys: &BTreeSet<Key>) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
            || keys.iter().any(|key| self.too_large.contains(key))
    }

    /// Says that these were asked for.
    pub(super) fn used(&mut self, keys: &BTreeSet<Key>) {
        let now = self.cache.tick();
        for key in keys {
            if let Some(kept) = self.columns.get_mut(key) {
                kept.used = now;
            }
        }
    }

    pub(super) fn last_used(&self) -> u64 {
        self.columns.values().map(|kept| kept.used).max().unwrap_or_default()
    }

    /// The column that was asked for the longest ago, of those that are not among `wanted`.
    pub(super) fn oldest(&self, wanted: &BTreeSet<Key>) -> Option<(u64, Key)> {
        let others = self.columns.iter().filter(|(key, _)| !wanted.contains(key));
        others.map(|(key, kept)| (kept.used, key.clone())).min()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.ids = Vec::new();
        self.present = Bits::none(0);
        self.customers = 0;
        self.columns.clear();
        self.too_large.clear();
        self.alone = None;
        self.whole = true;
        self.changed();
        self.watch(&[]);
    }

    /// Forgets everything because more was written than is worth following.
    pub(super) fn give_up(&mut self) {
        self.clear();
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    /// Ends a pause.
    #[cfg(test)]
    pub(super) fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Forgets some columns.
    pub(super) fn forget(&mut self, goes: impl Fn(&Key) -> bool) {
        self.columns.retain(|key, _| !goes(key));
        self.changed();
    }

    /// Does without a column that is more than the cache may hold.
    pub(super) fn refuse(&mut self, key: &Key) {
        self.columns.remove(key);
        self.too_large.insert(key.clone());
        self.changed();
    }

    /// Takes a column that was read.
    pub(super) fn keep(&mut self, key: Key, column: Column) {
        let used = self.cache.tick();
        self.columns.insert(key, Kept { column, used, bytes: 0 });
    }

    /// Has commits noted that concern what is held, and what is about to be.
    pub(super) fn watch(&self, coming: &[Key]) {
        let mut tables = [false; TABLES.len()];
        for key in self.columns.keys().chain(coming) {
            tables[key.table()] = true;
            // Who there is at all concerns every column.
            tables[CUSTOMERS] = true;
        }
        self.committed.watch(tables);
    }

    /// Puts a customer at a position.
    pub(super) fn place(&mut self, at: u32, id: Uuid) {
        let at = at as usize;
        if at >= self.ids.len() {
            // Room for more, so that one new customer after the other costs no copy each.
            self.resize((at + 1).max(self.ids.len() + self.ids.len() / 64 + 1));
        }
        if self.ids[at].is_nil() {
            self.customers += 1;
        }
        self.ids[at] = id;
        self.present.put(at, true);
    }

    /// Takes whoever is at these positions away.
    pub(super) fn take_away(&mut self, gone: &BTreeSet<Uuid>) {
        let places: Vec<usize> = match gone.len() {
            0 => return,
            _ => self.ids.iter().enumerate().filter(|(_, id)| gone.contains(id)).map(|(at, _)| at),
        }
        .collect();
        for at in places {
            self.ids[at] = Uuid::nil();
            self.present.put(at, false);
            self.customers -= 1;
            for kept in self.columns.values_mut() {
                kept.column.put(at as u32, None);
            }
        }
    }

    pub(super) fn resize(&mut self, length: usize) {
        self.ids.resize(length, Uuid::nil());
        self.present.resize(length);
        for kept in self.columns.values_mut() {
            kept.column.resize(length);
        }
    }

    /// Counts anew how much memory it takes, after a change; worn columns go.
    pub(super) fn changed(&mut self) {
        let customers = self.customers;
        self.columns.retain(|_, kept| !kept.column.is_worn(customers));
        if self.columns.is_empty() {
            self.ids = Vec::new();
            self.present = Bits::none(0);
            self.customers = 0;
        }
        let mut bytes = self.ids.capacity() as u64 * 16 + self.present.bytes();
        for kept in self.columns.values_mut() {
            kept.bytes = kept.column.bytes();
            bytes += kept.bytes;
        }
        self.cache.resized(self.bytes, bytes);
        self.bytes = bytes;
    }
}
