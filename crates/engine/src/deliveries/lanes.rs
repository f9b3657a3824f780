//! Limits by receiver's domain: a worker whose message must wait for its domain's turn puts it into
//! the domain's lane and takes another one, so that a slow domain holds up nobody else's mail.
//!
//! A lane that has messages always has a worker, at work or waiting for its first turn, and that one
//! takes them out; so nothing is left lying.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tidings_store::deliveries::DueDelivery;
use tokio::sync::mpsc::WeakSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Messages that wait in lanes at most; a worker that comes with more waits itself.
const MOST_WAITING: usize = 2_000;

/// The lanes of one run.
pub(super) struct Lanes<T = DueDelivery> {
    by_domain: Mutex<HashMap<String, Lane<T>>>,
    waiting: AtomicUsize,
}

struct Lane<T> {
    /// Workers that have a turn at the domain, or wait for one.
    workers: usize,
    waiting: VecDeque<T>,
}

/// A turn at a receiver's domain; dropping it without [`Lanes::next`] is for a worker's end only.
pub(super) struct Place {
    domain: String,
    turns: Arc<Semaphore>,
    _permit: OwnedSemaphorePermit,
}

/// What becomes of a message that comes to its domain's lane.
pub(super) enum Entered<T> {
    Go(T, Place),
    /// Another worker will take it.
    Waits,
}

impl<T> Default for Lanes<T> {
    fn default() -> Lanes<T> {
        Lanes { by_domain: Mutex::default(), waiting: AtomicUsize::new(0) }
    }
}

impl<T> Lanes<T> {
    /// Takes a turn at the domain, or leaves the message to a worker who has one.
    pub(super) async fn enter(
        &self,
        domain: String,
        turns: Arc<Semaphore>,
        message: T,
    ) -> Entered<T> {
        {
            let mut lanes = self.by_domain.lock();
            let lane = lanes
                .entry(domain.clone())
                .or_insert_with(|| Lane { workers: 0, waiting: VecDeque::new() });
            if let Ok(permit) = turns.clone().try_acquire_owned() {
                lane.workers += 1;
                return Entered::Go(message, Place { domain, turns, _permit: permit });
            }
            if lane.workers > 0 && self.waiting.load(Ordering::Relaxed) < MOST_WAITING {
                lane.waiting.push_back(message);
                self.waiting.fetch_add(1, Ordering::Relaxed);
                return Entered::Waits;
            }
            // Another campaign has all the turns: one worker of ours stands in line.
            lane.workers += 1;
        }
        match turns.clone().acquire_owned().await {
            Ok(permit) => Entered::Go(message, Place { domain, turns, _permit: permit }),
            // Turns are never closed; if they were, the message would go to the next worker.
            Err(_) => {
                let mut lanes = self.by_domain.lock();
                if let Some(lane) = lanes.get_mut(&domain) {
                    lane.waiting.push_back(message);
                }
                Entered::Waits
            }
        }
    }

    /// After a message: the next one of the domain with the same turn, or the turn is given up.
    /// Further turns that have become free are offered to other workers through their queue.
    pub(super) fn next(&self, place: Place, queue: &WeakSender<T>) -> Option<(T, Place)> {
        let mut lanes = self.by_domain.lock();
        let Some(lane) = lanes.get_mut(&place.domain) else {
            return None;
        };
        let Some(message) = lane.waiting.pop_front() else {
            lane.workers -= 1;
            if lane.workers == 0 {
                lanes.remove(&place.domain);
            }
            // The turn is given up under the lock, so that nobody who missed it leaves a message.
            drop(place);
            return None;
        };
        let mut taken = 1;
        if let Some(queue) = queue.upgrade() {
            for _ in 0..place.turns.available_permits().min(lane.waiting.len()) {
                let Ok(slot) = queue.try_reserve() else { break };
                if let Some(message) = lane.waiting.pop_front() {
                    slot.send(message);
                    taken += 1;
                }
            }
        }
        self.waiting.fetch_sub(taken, Ordering::Relaxed);
        Some((message, place))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn turns(count: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(count))
    }

    async fn go(lanes: &Lanes<u32>, turns: &Arc<Semaphore>, message: u32) -> Option<Place> {
        match lanes.enter("b.example".to_owned(), turns.clone(), message).await {
            Entered::Go(_, place) => Some(place),
            Entered::Waits => None,
        }
    }

    #[tokio::test]
    async fn what_waits_is_taken_by_those_who_have_a_turn() {
        let (lanes, turns) = (Lanes::default(), turns(2));
        let (queue, _items) = mpsc::channel(8);
        let queue = queue.downgrade();
        let first = go(&lanes, &turns, 1).await.expect("a turn");
        let second = go(&lanes, &turns, 2).await.expect("a turn");
        assert!(go(&lanes, &turns, 3).await.is_none());
        let (message, first) = lanes.next(first, &queue).expect("the third waits");
        assert_eq!(message, 3);
        assert!(lanes.next(second, &queue).is_none());
        assert!(lanes.next(first, &queue).is_none());
        assert_eq!((turns.available_permits(), lanes.by_domain.lock().len()), (2, 0));
    }

    #[tokio::test]
    async fn turns_that_become_free_are_offered() {
        let (lanes, turns) = (Lanes::default(), turns(3));
        let (queue, mut items) = mpsc::channel(8);
        // Another campaign has two of the three turns.
        let others = turns.clone().acquire_many_owned(2).await.expect("turns");
        let place = go(&lanes, &turns, 1).await.expect("a turn");
        for message in 2..=5 {
            assert!(go(&lanes, &turns, message).await.is_none());
        }
        drop(others);
        let (message, place) = lanes.next(place, &queue.downgrade()).expect("more wait");
        assert_eq!((message, items.try_recv(), items.try_recv()), (2, Ok(3), Ok(4)));
        assert!(items.try_recv().is_err());
        assert_eq!(lanes.next(place, &queue.downgrade()).map(|(message, _)| message), Some(5));
        assert_eq!(lanes.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn one_worker_stands_in_line_for_another_campaigns_turns() {
        let (lanes, turns) = (Arc::new(Lanes::default()), turns(1));
        let held = turns.clone().acquire_owned().await.expect("a turn");
        let line = tokio::spawn({
            let (lanes, turns) = (lanes.clone(), turns.clone());
            async move { go(&lanes, &turns, 1).await }
        });
        while lanes.by_domain.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(go(&lanes, &turns, 2).await.is_none(), "the second does not wait as well");
        drop(held);
        let place = line.await.expect("no panic").expect("its turn came");
        let (queue, _items) = mpsc::channel(8);
        let next = lanes.next(place, &queue.downgrade());
        assert_eq!(next.map(|(message, _)| message), Some(2));
    }
}
