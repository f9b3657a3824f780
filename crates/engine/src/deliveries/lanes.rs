//! Limits by receiver's domain: a worker whose message must wait for its domain's turn puts it into
//! the domain's lane and takes another one, so that a slow domain holds up nobody else's mail.
//!
//! Of a run's workers one stands in line for the domain's next turn; those who have a turn take what
//! waits in the lane when their message is done. So nothing is left lying, even where every turn of
//! this run is held up by a server that does not answer.

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
    /// Workers that have a turn at the domain, or stand in line for one.
    workers: usize,
    /// One of them stands in line.
    in_line: bool,
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

    /// Offers a message of each lane that nobody stands in line for, as there was no room for it
    /// before.
    pub(super) fn offer_left(&self) {
        for lane in self.by_domain.lock().values_mut().filter(|lane| !lane.in_line) {
            self.offer(lane, 1);
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
            let lane = lanes.entry(domain.clone()).or_insert_with(|| Lane {
                workers: 0,
                in_line: false,
                waiting: VecDeque::new(),
            });
            if let Ok(permit) = turns.clone().try_acquire_owned() {
                lane.workers += 1;
                return Entered::Go(message, Place { domain, turns, _permit: permit });
            }
            if lane.in_line && self.waiting.load(Ordering::Relaxed) < MOST_WAITING {
                lane.waiting.push_back(message);
                self.waiting.fetch_add(1, Ordering::Relaxed);
                return Entered::Waits;
            }
            lane.workers += 1;
            lane.in_line = true;
        }
        let permit = turns.clone().acquire_owned().await;
        if let Some(lane) = self.by_domain.lock().get_mut(&domain) {
            lane.in_line = false;
            // Whoever takes it stands in line after us, or has the next turn.
            self.offer(lane, 1);
        }
        match permit {
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

    /// A worker that comes with a message and, where it must, stands in line.
    fn line(
        lanes: &Arc<Lanes<u32>>,
        turns: &Arc<Semaphore>,
        message: u32,
    ) -> tokio::task::JoinHandle<Option<Place>> {
        let (lanes, turns) = (lanes.clone(), turns.clone());
        tokio::spawn(async move { go(&lanes, &turns, message).await })
    }

    async fn until_in_line(lanes: &Lanes<u32>) {
        while !lanes.by_domain.lock().values().any(|lane| lane.in_line) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_waits_is_taken_by_those_who_have_a_turn() {
        let (lanes, turns) = (Arc::new(Lanes::default()), turns(1));
        let first = go(&lanes, &turns, 1).await.expect("a turn");
        let line = line(&lanes, &turns, 2);
        until_in_line(&lanes).await;
        assert!(go(&lanes, &turns, 3).await.is_none(), "one in line is enough");
        let (message, first) = lanes.next(first).expect("the third waits");
        assert_eq!(message, 3);
        assert!(lanes.next(first).is_none());
        let second = line.await.expect("no panic").expect("its turn came");
        assert!(lanes.next(second).is_none());
        assert_eq!((turns.available_permits(), lanes.by_domain.lock().len()), (1, 0));
    }

    #[tokio::test]
    async fn whoever_has_its_turn_offers_the_next_place_in_line() {
        let (lanes, turns) = (Arc::new(Lanes::default()), turns(1));
        let (queue, mut items) = mpsc::channel(8);
        lanes.set_queue(queue.downgrade());
        // Another campaign has the turn.
        let others = turns.clone().acquire_owned().await.expect("a turn");
        let line = line(&lanes, &turns, 1);
        until_in_line(&lanes).await;
        for message in 2..=4 {
            assert!(go(&lanes, &turns, message).await.is_none());
        }
        lanes.offer_left();
        assert!(items.try_recv().is_err(), "somebody stands in line");
        drop(others);
        let _held = line.await.expect("no panic").expect("its turn came");
        assert_eq!(items.try_recv(), Ok(2), "its server may never answer");
        lanes.offer_left();
        assert_eq!(items.try_recv(), Ok(3));
        lanes.offer_all();
        assert_eq!((items.try_recv(), lanes.waiting.load(Ordering::Relaxed)), (Ok(4), 0));
    }
}
