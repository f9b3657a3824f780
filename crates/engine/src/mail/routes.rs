//! Which relay a message goes to: by shares among those that can take it now.
//!
//! A relay that cannot be reached is left alone for a while and then tried by one message; the others
//! get its share meanwhile. One that is busy or has used up its pace is passed over, so that a slow
//! relay takes what it can and holds nobody up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::select_all;
use parking_lot::Mutex;
use rand::RngExt as _;
use tidings_channels::email::{ConnectError, Lease, Pool, PoolState, Turn};
use tidings_domain::RelayId;

use super::pace::Pace;

/// How long a relay is left alone after its first failure; doubled with each further one.
const LEFT_ALONE: Duration = Duration::from_secs(3);
const LEFT_ALONE_MOST: Duration = Duration::from_secs(24);
/// How long one message may try a relay before another one may.
const TRY: Duration = Duration::from_secs(45);
/// How often those look again who wait for a relay that another one is trying.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One relay at work on this node.
pub(crate) struct Route {
    /// `None` is the hub's own.
    pub relay: Option<RelayId>,
    pub weight: u32,
    pool: Pool,
    pace: Option<Pace>,
    health: Mutex<Health>,
    retired: AtomicBool,
}

#[derive(Default)]
struct Health {
    state: State,
    failures: u32,
    error: Option<String>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Up,
    /// Left alone until then.
    Down(Instant),
    /// One message tries it, and has until then.
    Tried(Instant),
}

/// What can be seen of a relay from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteState {
    pub is_up: bool,
    /// Why it could not be reached the last time, while it is down.
    pub error: Option<String>,
    pub pool: PoolState,
}

impl Route {
    pub(crate) fn new(
        relay: Option<RelayId>,
        pool: Pool,
        weight: u32,
        per_second: Option<u32>,
    ) -> Route {
        Route {
            relay,
            weight,
            pool,
            pace: per_second.map(|count| Pace::new(count, Instant::now())),
            health: Mutex::default(),
            retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn state(&self) -> RouteState {
        let health = self.health.lock();
        RouteState {
            is_up: matches!(health.state, State::Up),
            error: health.error.clone(),
            pool: self.pool.state(),
        }
    }

    /// Its settings were changed or it was dropped: nothing more is handed to it.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.close().await });
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether a message may go to it now, as far as its health says.
    fn looks_up(&self, now: Instant) -> bool {
        match self.health.lock().state {
            State::Up => true,
            State::Down(until) | State::Tried(until) => until <= now,
        }
    }

    fn is_tried(&self, now: Instant) -> bool {
        matches!(self.health.lock().state, State::Tried(until) if until > now)
    }

    /// The same for one who goes at once: of many that see a relay's time come, one tries it.
    fn claim(&self, now: Instant) -> bool {
        let mut health = self.health.lock();
        match health.state {
            State::Up => true,
            State::Down(until) | State::Tried(until) if until <= now => {
                health.state = State::Tried(now + TRY);
                true
            }
            _ => false,
        }
    }

    fn note_up(&self) {
        let mut health = self.health.lock();
        if !matches!(health.state, State::Up) {
            *health = Health::default();
        }
    }

    fn note_down(&self, error: &ConnectError) {
        let mut health = self.health.lock();
        let now = Instant::now();
        // Many may have been on their way; they fail for one reason, and it counts once.
        if !matches!(health.state, State::Down(until) if until > now) {
            health.state = State::Down(now + left_alone(health.failures));
            health.failures += 1;
        }
        health.error = Some(error.to_string());
    }

    fn pace(&self, now: Instant) -> Result<(), Duration> {
        self.pace.as_ref().map_or(Ok(()), |pace| pace.take(now))
    }
}

/// How long a relay is left alone that has failed so many times before.
fn left_alone(failures: u32) -> Duration {
    (LEFT_ALONE * 2_u32.pow(failures.min(10))).min(LEFT_ALONE_MOST)
}

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoLease {
    /// No relay can be reached; the last one's reason.
    AllDown(String),
    /// The relays were changed; look for them anew.
    Moved,
}

/// The relays that a sender's mail may go to; none of them where their passwords cannot be opened.
pub(crate) struct Routes(Vec<Arc<Route>>);

impl Routes {
    pub(crate) fn new(routes: Vec<Arc<Route>>) -> Routes {
        Routes(routes)
    }

    /// Whether one message after another may go over the same connection: there is no choice to make
    /// and no pace to keep.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.len() == 1 && self.0[0].pace.is_none()
    }

    /// A connection to the relay whose turn it is. Waits as long as relays are busy, not for those
    /// that are down.
    pub(crate) async fn lease(&self) -> Result<(Arc<Route>, Lease), NoLease> {
        loop {
            let (route, turn) = self.turn().await?;
            match turn.connection().await {
                Ok(lease) => {
                    route.note_up();
                    return Ok((route, lease));
                }
                Err(ConnectError::PoolClosed) => return Err(NoLease::Moved),
                Err(error) => {
                    tracing::warn!(%error, relay = ?route.relay, "a relay cannot be reached");
                    route.note_down(&error);
                }
            }
        }
    }

    async fn turn(&self) -> Result<(Arc<Route>, Turn), NoLease> {
        loop {
            let now = Instant::now();
            if self.0.iter().any(|route| route.is_retired()) {
                return Err(NoLease::Moved);
            }
            let order = self.order(now);
            if order.is_empty() {
                if !self.0.iter().any(|route| route.is_tried(now)) {
                    return Err(NoLease::AllDown(self.last_error()));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let mut wait: Option<Duration> = None;
            let mut busy = Vec::new();
            for route in order {
                let Some(turn) = route.pool.try_turn() else {
                    busy.push(route);
                    continue;
                };
                match route.pace(now) {
                    Ok(()) if route.claim(now) => return Ok((route, turn)),
                    Ok(()) => wait = Some(LOOK_AGAIN),
                    Err(later) => wait = Some(wait.map_or(later, |wait| wait.min(later))),
                }
            }
            if let Some(taken) = wait_for(busy, wait).await? {
                let (route, turn) = taken;
                let now = Instant::now();
                if route.pace(now).is_ok() && route.claim(now) {
                    return Ok((route, turn));
                }
            }
        }
    }

    /// Those that look up, each before another one as often as its weight says.
    fn order(&self, now: Instant) -> Vec<Arc<Route>> {
        let mut left: Vec<&Arc<Route>> =
            self.0.iter().filter(|route| route.looks_up(now)).collect();
        let mut order = Vec::with_capacity(left.len());
        while left.len() > 1 {
            let total: u32 = left.iter().map(|route| route.weight.max(1)).sum();
            let mut pick = rand::rng().random_range(0..total);
            let at = left.iter().position(|route| {
                let weight = route.weight.max(1);
                let is_it = pick < weight;
                pick = pick.saturating_sub(weight);
                is_it
            });
            order.push(left.swap_remove(at.unwrap_or(0)).clone());
        }
        order.extend(left.into_iter().cloned());
        order
    }

    fn last_error(&self) -> String {
        let error = self.0.iter().find_map(|route| route.health.lock().error.clone());
        error.unwrap_or_else(|| "its password cannot be opened; give it again".to_owned())
    }
}

/// Waits until one of the busy relays has a connection free, or for a time; `None` is the time.
async fn wait_for(
    busy: Vec<Arc<Route>>,
    wait: Option<Duration>,
) -> Result<Option<(Arc<Route>, Turn)>, NoLease> {
    let sleep = async {
        match wait {
            Some(wait) => tokio::time::sleep(wait).await,
            None => std::future::pending().await,
        }
    };
    if busy.is_empty() {
        // Without either there is nothing to wait for; looking again shows what changed.
        if wait.is_some() {
            sleep.await;
        }
        return Ok(None);
    }
    let turns = busy.into_iter().map(|route| {
        async move {
            let turn = route.pool.turn().await;
            (route, turn)
        }
        .boxed()
    });
    tokio::select! {
        ((route, turn), _, _) = select_all(turns) => match turn {
            Ok(turn) => Ok(Some((route, turn))),
            Err(_) => Err(NoLease::Moved),
        },
        () = sleep => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use tidings_channels::email::{Limits, Relay};
    use tidings_testkit::mail_sink::{MailSink, Script};

    use super::*;

    async fn route(url: &str, open_max: usize, weight: u32) -> Arc<Route> {
        let relay = Relay::parse(url, open_max).expect("a relay");
        let pool = Pool::new(relay, Limits::default()).expect("a pool");
        Arc::new(Route::new(None, pool, weight, None))
    }

    /// A port that nobody listens on.
    async fn nobody() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("smtp://{}", listener.local_addr().expect("an address"))
    }

    #[tokio::test]
    async fn shares_follow_the_weights() {
        let sink = MailSink::start(Script::accept_all()).await;
        let routes = Routes::new(vec![
            route(&sink.url(), 4, 1).await,
            route(&sink.url(), 4, 3).await,
            route(&sink.url(), 4, 0).await,
        ]);
        let mut first = [0; 3];
        for _ in 0..5_000 {
            let order = routes.order(Instant::now());
            assert_eq!(order.len(), 3);
            let at = routes.0.iter().position(|one| Arc::ptr_eq(one, &order[0]));
            first[at.expect("one of them")] += 1;
        }
        // Of five parts one, three and one, each within six standard deviations.
        assert!((830..1_170).contains(&first[0]), "{first:?}");
        assert!((2_790..3_210).contains(&first[1]), "{first:?}");
    }

    #[tokio::test]
    async fn a_busy_relay_and_one_that_is_down_are_passed_over() {
        let sink = MailSink::start(Script::accept_all()).await;
        let (busy, up) = (route(&sink.url(), 1, 100).await, route(&sink.url(), 8, 1).await);
        let down = route(&nobody().await, 8, 100).await;
        let _held = busy.pool.connection().await.expect("the sink is there");
        let routes = Routes::new(vec![busy.clone(), down.clone(), up.clone()]);
        for _ in 0..20 {
            let (taken, _lease) = routes.lease().await.expect("one is up");
            assert!(Arc::ptr_eq(&taken, &up));
        }
        assert!(!down.state().is_up && down.state().error.is_some());
        let only_down = Routes::new(vec![down.clone()]);
        let refused = only_down.lease().await.map(|_| ());
        assert!(matches!(refused, Err(NoLease::AllDown(reason)) if reason.contains("connect")));
        let wait = down.health.lock().failures;
        assert_eq!(wait, 1, "it is not asked again before its time");
    }

    #[tokio::test]
    async fn one_message_tries_a_relay_whose_time_has_come() {
        let sink = MailSink::start(Script::accept_all()).await;
        let route = route(&sink.url(), 8, 1).await;
        route.note_down(&ConnectError::StartTlsNotOffered);
        let now = Instant::now();
        assert!(!route.looks_up(now) && !route.claim(now));
        let later = now + LEFT_ALONE + Duration::from_secs(1);
        assert!(route.looks_up(later) && route.claim(later));
        assert!(!route.claim(later) && route.is_tried(later), "one is enough");
        assert!(route.claim(later + TRY), "one that never came back is not waited for");
        route.note_up();
        assert!(route.claim(now) && route.state().error.is_none());
        let seconds: Vec<u64> = (0..6).map(|failures| left_alone(failures).as_secs()).collect();
        assert_eq!(seconds, [3, 6, 12, 24, 24, 24]);
    }

    #[tokio::test]
    async fn relays_that_were_changed_are_looked_for_anew() {
        let sink = MailSink::start(Script::accept_all()).await;
        let old = route(&sink.url(), 1, 1).await;
        let routes = Arc::new(Routes::new(vec![old.clone()]));
        let held = routes.lease().await.expect("the sink is there");
        let waiting = tokio::spawn({
            let routes = routes.clone();
            async move { routes.lease().await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        old.retire();
        assert_eq!(waiting.await.expect("no panic"), Err(NoLease::Moved));
        assert!(held.0.is_retired());
    }
}
