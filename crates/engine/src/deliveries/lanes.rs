//! Limits by receiver's domain: a worker whose message must wait for its domain's turn puts it into
//! the domain's lane and takes another one, so that a slow domain holds up nobody else's mail.
//!
//! A lane that has messages always has a worker, at work or waiting for its first turn, and that one
//! takes them out; so nothing is left lying.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

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
    /// Where workers take their messages from.
    queue: OnceLock<WeakSender<T>>,
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
        Lanes { by_domain: Mutex::default(), waiting: AtomicUsize::new(0), queue: OnceLock::new() }
    }
}

impl<T> Lanes<T> {
    /// Says where workers take their messages from.
    pub(super) fn set_queue(&self, queue: WeakSender<T>) {
        let _ = self.queue.set(queue);
    }

    /// Offers what waits to all workers again, because the limits were changed.
    pub(super) fn offer_all(&self) {
        let mut lanes = self.by_domain.lock();
        for lane in lanes.values_mut() {
            let all = lane.waiting.len();
            self.offer(lane, all);
        }
    }

    /// Moves messages of a lane to the workers' queue, as far as there is room.
    fn offer(&self, lane: &mut Lane<T>, most: usize) {
        let Some(queue) = self.queue.get().and_then(WeakSender::upgrade) else { return };
        for _ in 0..most {
            let Ok(slot) = queue.try_reserve() else { return };
            let Some(message) = lane.waiting.pop_front() else { return };
            slot.send(message);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

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
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                }
                Entered::Waits
            }
        }
    }

    /// After a message: the next one of the domain with the same turn, or the turn is given up.
    /// Further turns that have become free are offered to other workers through their queue.
    pub(super) fn next(&self, place: Place) -> Option<(T, Place)> {
        let mut lanes = self.by_domain.lock();
        let lane = lanes.get_mut(&place.domain)?;
        let Some(message) = lane.waiting.pop_front() else {
            lane.workers -= 1;
            if lane.workers == 0 {
                lanes.remove(&place.domain);
            }
            // The turn is given up under the lock, so that nobody who missed it leaves a message.
            drop(place);
            return None;
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.offer(lane, place.turns.available_permits());
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
        let first = go(&lanes, &turns, 1).await.expect("a turn");
        let second = go(&lanes, &turns, 2).await.expect("a turn");
        assert!(go(&lanes, &turns, 3).await.is_none());
        let (message, first) = lanes.next(first).expect("the third waits");
        assert_eq!(message, 3);
        assert!(lanes.next(second).is_none());
        assert!(lanes.next(first).is_none());
        assert_eq!((turns.available_permits(), lanes.by_domain.lock().len()), (2, 0));
    }

    #[tokio::test]
    async fn turns_that_become_free_are_offered() {
        let (lanes, turns) = (Lanes::default(), turns(3));
        let (queue, mut items) = mpsc::channel(8);
        lanes.set_queue(queue.downgrade());
        // Another campaign has two of the three turns.
        let others = turns.clone().acquire_many_owned(2).await.expect("turns");
        let place = go(&lanes, &turns, 1).await.expect("a turn");
        for message in 2..=5 {
            assert!(go(&lanes, &turns, message).await.is_none());
        }
        drop(others);
        let (message, place) = lanes.next(place).expect("more wait");
        assert_eq!((message, items.try_recv(), items.try_recv()), (2, Ok(3), Ok(4)));
        assert!(items.try_recv().is_err());
        assert_eq!(lanes.next(place).map(|(message, _)| message), Some(5));
        assert_eq!(lanes.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_waits_is_offered_again_when_limits_change() {
        let (lanes, few) = (Lanes::default(), turns(1));
        let (queue, mut items) = mpsc::channel(2);
        lanes.set_queue(queue.downgrade());
        let _place = go(&lanes, &few, 1).await.expect("a turn");
        for message in 2..=4 {
            assert!(go(&lanes, &few, message).await.is_none());
        }
        lanes.offer_all();
        assert_eq!((items.try_recv(), items.try_recv()), (Ok(2), Ok(3)));
        assert!(items.try_recv().is_err(), "there is room for two");
        assert!(go(&lanes, &turns(9), 2).await.is_some(), "by the new limit it may go");
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
        let next = lanes.next(place);
        assert_eq!(next.map(|(message, _)| message), Some(2));
    }
}
