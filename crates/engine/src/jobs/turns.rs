//! Whose turn it is: the places for jobs on this node, shared fairly between workspaces.
//!
//! A free place goes to the workspace that runs the fewest jobs. A workspace that runs none may use
//! one of a few spare places that the others cannot fill, so that one with much to do, or whose
//! relay hangs, never keeps a quiet one waiting. Where even these are taken, the longest-running
//! job of the workspace with most is asked to make place at its next safe point; it goes on later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidings_domain::WorkspaceId;
use tokio::sync::watch;

/// How many jobs a node runs at once …
pub const PLACES: usize = 8;
/// … and how many more of workspaces that run none.
pub const SPARE: usize = 8;
/// How long a job runs at least before it is asked to make place for another workspace's.
const TURN: Duration = Duration::from_secs(5);

/// A job at work.
struct Held {
    number: u64,
    workspace: WorkspaceId,
    since: Instant,
    stop: watch::Sender<bool>,
}

/// The places for jobs on this node.
#[derive(Default)]
pub struct Places {
    held: Vec<Held>,
    last: u64,
}

impl Places {
    fn of(&self, workspace: WorkspaceId) -> usize {
        self.held.iter().filter(|held| held.workspace == workspace).count()
    }

    /// Whether one more job of a workspace may start.
    pub fn has_room(&self, workspace: WorkspaceId) -> bool {
        let limit = if self.of(workspace) == 0 { PLACES + SPARE } else { PLACES };
        self.held.len() < limit
    }

    /// The workspace whose turn it is: of those with the fewest jobs the one that waited longest.
    pub fn next(&self, waiting: &mut VecDeque<WorkspaceId>) -> Option<WorkspaceId> {
        let turn = waiting.iter().enumerate().min_by_key(|(at, id)| (self.of(**id), *at));
        let at = turn.map(|(at, _)| at)?;
        waiting.remove(at)
    }

    /// Takes a place for a job: its number, and the order to stop that the job must follow.
    pub fn take(&mut self, workspace: WorkspaceId, now: Instant) -> (u64, watch::Receiver<bool>) {
        self.last += 1;
        let (stop, stopped) = watch::channel(false);
        self.held.push(Held { number: self.last, workspace, since: now, stop });
        (self.last, stopped)
    }

    /// The job with this number has ended.
    pub fn free(&mut self, number: u64) {
        self.held.retain(|held| held.number != number);
    }

    /// Asks a job of the workspace with most to make place for one that has nothing running, or
    /// far less. A job is let run for a while first, and few are asked at once.
    pub fn make_room(&self, workspace: WorkspaceId, now: Instant) {
        let asked = self.held.iter().filter(|held| *held.stop.borrow()).count();
        let own = self.of(workspace);
        let most = self.held.iter().map(|held| self.of(held.workspace)).max().unwrap_or(0);
        if asked >= SPARE || (own > 0 && most <= own + 1) {
            return;
        }
        let greediest = self
            .held
            .iter()
            .filter(|held| held.workspace != workspace && self.of(held.workspace) == most)
            .filter(|held| !*held.stop.borrow() && now >= held.since + TURN)
            .min_by_key(|held| held.since);
        if let Some(held) = greediest {
            held.stop.send_replace(true);
        }
    }

    /// Tells every job to stop.
    pub fn stop_all(&self) {
        for held in &self.held {
            held.stop.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node over which time passes in steps: who has work, and how long a job of theirs takes.
    struct Node {
        places: Places,
        now: Instant,
        running: Vec<(u64, WorkspaceId, watch::Receiver<bool>, Instant)>,
        waiting: VecDeque<WorkspaceId>,
    }

    impl Node {
        fn new() -> Node {
            let waiting = VecDeque::new();
            Node { places: Places::default(), now: Instant::now(), running: Vec::new(), waiting }
        }

        /// One step: what is over or asked to stop ends, then places are filled; `ever` always has
        /// more to do. Gives whose jobs started.
        fn step(
            &mut self,
            ever: &[WorkspaceId],
            once: &[WorkspaceId],
            takes: Duration,
        ) -> Vec<WorkspaceId> {
            self.now += Duration::from_secs(1);
            let mut running = std::mem::take(&mut self.running);
            running.retain(|(number, _, stop, ends)| {
                let goes_on = !*stop.borrow() && self.now < *ends;
                if !goes_on {
                    self.places.free(*number);
                }
                goes_on
            });
            self.running = running;
            for id in ever.iter().chain(once) {
                if !self.waiting.contains(id) {
                    self.waiting.push_back(*id);
                }
            }
            let mut started = Vec::new();
            let mut turn = std::mem::take(&mut self.waiting);
            while let Some(id) = self.places.next(&mut turn) {
                if !self.places.has_room(id) {
                    self.places.make_room(id, self.now);
                    self.waiting.push_back(id);
                    continue;
                }
                let (number, stop) = self.places.take(id, self.now);
                self.running.push((number, id, stop, self.now + takes));
                started.push(id);
                if ever.contains(&id) {
                    turn.push_back(id);
                }
            }
            started
        }
    }

    const LONG: Duration = Duration::from_secs(100_000);

    fn ids(count: usize) -> Vec<WorkspaceId> {
        (0..count).map(|_| WorkspaceId::generate()).collect()
    }

    #[test]
    fn a_quiet_workspace_starts_at_once_beside_a_flooded_one() {
        let all = ids(2);
        let mut node = Node::new();
        assert_eq!(node.step(&all[..1], &[], LONG).len(), PLACES);
        // Its jobs never end, and more of them wait; the other one's starts in the same step.
        for _ in 0..SPARE {
            assert_eq!(node.step(&all[..1], &all[1..], Duration::ZERO), [all[1]]);
        }
    }

    #[test]
    fn flooded_workspaces_come_to_share_evenly() {
        let all = ids(4);
        let mut node = Node::new();
        assert_eq!(node.step(&all[..1], &[], LONG).len(), PLACES);
        for _ in 0..60 {
            node.step(&all, &[], LONG);
        }
        for id in &all {
            let share = node.places.of(*id);
            assert!((1..=3).contains(&share), "{share} of {PLACES}");
        }
    }

    #[test]
    fn more_workspaces_than_places_take_turns() {
        let all = ids(3 * (PLACES + SPARE));
        let mut node = Node::new();
        let mut started = std::collections::HashMap::new();
        for _ in 0..120 {
            for id in node.step(&all, &[], LONG) {
                *started.entry(id).or_insert(0) += 1;
            }
        }
        let least = all.iter().map(|id| started.get(id).copied().unwrap_or(0)).min();
        assert!(least >= Some(2), "one workspace had {least:?} turns of 120 steps");
    }

    #[test]
    fn nobody_is_asked_to_make_place_before_its_turn_is_over() {
        let all = ids(PLACES + SPARE + 1);
        let mut node = Node::new();
        node.step(&all[1..], &[], LONG);
        for _ in 0..4 {
            assert_eq!(node.step(&[], &all[..1], LONG), []);
            assert!(node.running.iter().all(|(_, _, stop, _)| !*stop.borrow()));
        }
    }
}
