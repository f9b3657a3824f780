//! What has been committed since somebody last looked: whose rows, in the order of commits.
//!
//! A transaction says what it has written before it commits and that it is over after. Whoever holds
//! rows in memory looks in between: what a snapshot may hold is among what was said before it was
//! looked at, and what was over before the snapshot began is in it for sure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::touched::{TABLES, Touched};

/// How long nobody may trust what is in memory after a commit of which nobody knows whether it came
/// to be: longer than the server lets a statement run.
const SILENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Default)]
pub(crate) struct Commits {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// The number of the last transaction that began to commit.
    opened: u64,
    /// How many have finished.
    finished: u64,
    /// Tables that somebody holds rows of.
    watched: [bool; TABLES.len()],
    silent_until: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    touched: Touched,
    /// Its place among the finished ones.
    finished: Option<u64>,
}

/// A transaction that is about to commit. Dropped without `finish`, nobody knows whether it did.
pub(crate) struct Committing<'c> {
    commits: &'c Commits,
    number: Option<u64>,
}

impl Committing<'_> {
    /// The commit has come to be, or is known not to have.
    pub(crate) fn finish(mut self) {
        if let Some(number) = self.number.take() {
            self.commits.inner.lock().finish(number);
        }
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            let mut inner = self.commits.inner.lock();
            inner.finish(number);
            inner.silent_until = Some(Instant::now() + SILENCE);
        }
    }
}

impl Inner {
    fn finish(&mut self, number: u64) {
        self.finished += 1;
        let finished = self.finished;
        let watched = self.watched;
        let Some(at) = self.entries.iter().position(|entry| entry.number == number) else { return };
        let entry = &mut self.entries[at];
        entry.finished = Some(finished);
        entry.touched.keep(watched);
        if entry.touched.is_empty() {
            self.entries.remove(at);
            return;
        }
        // Finished ones side by side become one, so that their number stays small while nobody
        // looks. It counts as finished when the last of them did.
        if at > 0 && self.entries[at - 1].finished.is_some() {
            let Some(entry) = self.entries.remove(at) else { return };
            let before = &mut self.entries[at - 1];
            before.touched.merge(&entry.touched);
            before.finished = before.finished.max(entry.finished);
        }
    }
}

impl Touched {
    pub(crate) fn merge(&mut self, other: &Touched) {
        for (own, other) in self.tables.iter_mut().zip(&other.tables) {
            own.merge(other);
        }
        self.removed.merge(&other.removed);
    }

    /// Forgets what was written to tables that nobody watches.
    fn keep(&mut self, watched: [bool; TABLES.len()]) {
        for (rows, watched) in self.tables.iter_mut().zip(watched) {
            if !watched {
                *rows = Default::default();
            }
        }
        if !watched[super::touched::CUSTOMERS] {
            self.removed = Default::default();
        }
    }
}

impl Commits {
    /// Says what a transaction will have written once it is committed.
    pub(crate) fn open(&self, touched: Touched) -> Committing<'_> {
        if touched.is_empty() {
            return Committing { commits: self, number: None };
        }
        let mut inner = self.inner.lock();
        inner.opened += 1;
        let number = inner.opened;
        inner.entries.push_back(Entry { number, touched, finished: None });
        Committing { commits: self, number: Some(number) }
    }

    /// A write of which nobody can say more.
    pub(crate) fn unknown(&self) {
        self.inner.lock().silent_until = Some(Instant::now() + SILENCE);
    }

    /// From now on what is written to these tables is kept until it is taken.
    pub(crate) fn watch(&self, tables: [bool; TABLES.len()]) {
        let mut inner = self.inner.lock();
        inner.watched = tables;
        let Inner { entries, watched, .. } = &mut *inner;
        for entry in entries.iter_mut().filter(|entry| entry.finished.is_some()) {
            entry.touched.keep(*watched);
        }
        entries.retain(|entry| entry.finished.is_none() || !entry.touched.is_empty());
    }

    /// Whether what is in memory may not be trusted for a while.
    pub(crate) fn is_silent(&self) -> bool {
        let mut inner = self.inner.lock();
        match inner.silent_until {
            Some(until) if Instant::now() < until => true,
            Some(_) => {
                inner.silent_until = None;
                false
            }
            None => false,
        }
    }

    /// Whether nothing watched was written since it was last taken, nor is about to be.
    pub(crate) fn is_quiet(&self) -> bool {
        let inner = self.inner.lock();
        inner.entries.iter().all(|entry| {
            let mut tables = entry.touched.tables.iter().zip(inner.watched);
            tables.all(|(rows, watched)| !watched || rows.is_empty())
        })
    }

    /// What was finished up to this mark is in every snapshot that begins after it was asked for.
    pub(crate) fn mark(&self) -> u64 {
        self.inner.lock().finished
    }

    /// What has been said so far; to be asked once a snapshot has begun. What was finished by the
    /// mark is forgotten, and all else is told again next time.
    pub(crate) fn take(&self, mark: u64) -> Touched {
        let mut inner = self.inner.lock();
        let watched = inner.watched;
        let mut all = Touched::default();
        for entry in &inner.entries {
            all.merge(&entry.touched);
        }
        all.keep(watched);
        inner.entries.retain(|entry| entry.finished.is_none_or(|at| at > mark));
        all
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::engines::touched::{CUSTOMERS, TAGS};

    const ALL: [bool; TABLES.len()] = [true; TABLES.len()];

    fn of(table: usize) -> (Touched, Uuid) {
        let (mut touched, id) = (Touched::default(), Uuid::now_v7());
        touched.tables[table].add(id);
        (touched, id)
    }

    #[test]
    fn what_a_snapshot_may_lack_is_told_again() {
        let commits = Commits::default();
        commits.watch(ALL);
        let ((first, a), (second, b)) = (of(CUSTOMERS), of(CUSTOMERS));
        commits.open(first).finish();
        let open = commits.open(second);
        let mark = commits.mark();
        assert_eq!(commits.take(mark).tables[CUSTOMERS].ids, [a, b]);
        assert_eq!(commits.take(commits.mark()).tables[CUSTOMERS].ids, [b]);
        // It finishes after a mark was asked for, so the snapshot may be without it.
        let mark = commits.mark();
        open.finish();
        assert_eq!(commits.take(mark).tables[CUSTOMERS].ids, [b]);
        assert!(!commits.is_quiet());
        assert_eq!(commits.take(commits.mark()).tables[CUSTOMERS].ids, [b]);
        assert!(commits.is_quiet());
        assert!(commits.take(commits.mark()).is_empty());
    }

    #[test]
    fn what_nobody_watches_is_not_kept() {
        let commits = Commits::default();
        commits.open(of(TAGS).0).finish();
        let mut watched = [false; TABLES.len()];
        watched[CUSTOMERS] = true;
        let before = commits.open(of(CUSTOMERS).0);
        commits.watch(watched);
        commits.open(of(TAGS).0).finish();
        before.finish();
        let taken = commits.take(commits.mark());
        assert!(taken.tables[TAGS].is_empty());
        assert_eq!(taken.tables[CUSTOMERS].ids.len(), 1, "it was open when the watch began");
    }

    #[test]
    fn an_unknown_end_silences() {
        let commits = Commits::default();
        commits.open(of(TAGS).0).finish();
        assert!(!commits.is_silent());
        drop(commits.open(Touched::default()));
        assert!(!commits.is_silent());
        drop(commits.open(of(TAGS).0));
        assert!(commits.is_silent());
    }

    #[test]
    fn many_commits_are_kept_as_few() {
        let commits = Commits::default();
        commits.watch(ALL);
        for _ in 0..100 {
            commits.open(of(TAGS).0).finish();
        }
        assert_eq!(commits.inner.lock().entries.len(), 1);
        assert_eq!(commits.take(commits.mark()).tables[TAGS].ids.len(), 100);
    }
}
