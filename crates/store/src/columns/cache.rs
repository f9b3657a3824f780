//! The bound on what all workspaces of a process hold together.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::held::{Held, Key};

type Shared = tokio::sync::Mutex<Held>;

/// Columns of customers in memory, of all workspaces. It holds nothing until it is given a limit.
#[derive(Debug, Default)]
pub struct ColumnCache {
    limit: AtomicU64,
    bytes: AtomicU64,
    /// How many questions were asked.
    clock: AtomicU64,
    workspaces: Mutex<Vec<Weak<Shared>>>,
}

impl ColumnCache {
    /// Allows so many bytes; 0 switches it off.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether anything may be held.
    pub fn is_on(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn resized(&self, from: u64, to: u64) {
        self.bytes.fetch_add(to, Ordering::Relaxed);
        self.bytes.fetch_sub(from, Ordering::Relaxed);
    }

    pub(super) fn join(&self, held: &Arc<Shared>) {
        let mut workspaces = self.workspaces.lock();
        workspaces.retain(|other| other.strong_count() > 0);
        workspaces.push(Arc::downgrade(held));
    }

    /// Drops what was asked for the longest ago until the rest fits: a column of this workspace, or
    /// everything of another one. If nothing else is left, the wanted columns are too large.
    pub(super) fn make_room(&self, own: &mut Held, wanted: &BTreeSet<Key>) {
        while self.bytes() > self.limit.load(Ordering::Relaxed) {
            let column = own.oldest(wanted);
            let other = self.oldest_other();
            match (column, other) {
                (Some((used, key)), other)
                    if other.as_ref().is_none_or(|held| used <= held.last_used()) =>
                {
                    own.forget(|one| *one == key);
                }
                (_, Some(mut held)) => held.clear(),
                (_, None) => {
                    for key in wanted {
                        own.refuse(key);
                    }
                    break;
                }
            }
        }
        own.watch(&[]);
    }

    /// The workspace that was asked about the longest ago, of those that hold something and that
    /// nobody is asking about now.
    fn oldest_other(&self) -> Option<OwnedMutexGuard<Held>> {
        let others: Vec<Arc<Shared>> =
            self.workspaces.lock().iter().filter_map(Weak::upgrade).collect();
        let free = others.into_iter().filter_map(|held| held.try_lock_owned().ok());
        free.filter(|held| held.keys().next().is_some()).min_by_key(|held| held.last_used())
    }
}
