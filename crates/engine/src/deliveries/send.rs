//! The workers: each renders a message and signs it, commits its start, hands it over, and carries
//! the outcome to the ledger together with the start of its next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt;
use tidings_channels::email::mime::{self, Mailbox, Unsubscribe};
use tidings_channels::email::{BounceClass, Envelope, Lease, Outcome, Refusal, wire_address};
use tidings_domain::CustomerId;
use tidings_domain::campaign::{MessageClass, SkipReason, retry_after_secs};
use tidings_store::deliveries::{Attempt, DueDelivery, Finished, RESENT_UNANSWERED, Starting};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;

use super::lanes::{Entered, Place};
use super::ledger::Ledger;
use super::{Ending, Run};
use crate::mail::{self, NoLease, Route};
use crate::messages::{Maker, NotRendered};

/// Why a message is skipped whose address needs SMTPUTF8 where the relay does not offer it.
const NEEDS_UTF8: &str = "needs_smtputf8";
/// Why one is skipped whose address's domain has no ASCII form.
const BAD_ADDRESS: &str = "bad_address";
/// How long a worker waits for a relay or a domain before it has what it did last written down.
const PATIENCE: Duration = Duration::from_millis(20);

/// Where read deliveries wait for a worker.
pub(super) struct Queue {
    sender: mpsc::Sender<DueDelivery>,
    open: Arc<Open>,
}

/// How many deliveries are queued or on their way.
#[derive(Default)]
struct Open {
    count: AtomicUsize,
    idle: Notify,
}

impl Open {
    fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }
}

impl Queue {
    pub(super) async fn push(&self, delivery: DueDelivery) {
        self.open.count.fetch_add(1, Ordering::AcqRel);
        if self.sender.send(delivery).await.is_err() {
            self.open.one_less();
        }
    }

    /// Waits until every queued delivery has been dealt with and recorded.
    pub(super) async fn wait_until_idle(&self) {
        loop {
            let idle = self.open.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.open.count.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

type Items = Arc<Mutex<mpsc::Receiver<DueDelivery>>>;

/// Starts as many workers as there may be messages on their way.
pub(super) fn start_workers(run: &Arc<Run>, ledger: Ledger) -> (Queue, Vec<JoinHandle<()>>) {
    let (sender, items) = mpsc::channel(super::READ);
    run.lanes.set_queue(sender.downgrade());
    let items = Arc::new(Mutex::new(items));
    let open = Arc::new(Open::default());
    let workers = (0..run.ctx.hub.settings.smtp_open_max.max(1))
        .map(|_| {
            let worker = Worker {
                run: run.clone(),
                items: items.clone(),
                ledger: ledger.clone(),
                open: open.clone(),
                finished: None,
                unrecorded: 0,
                lease: None,
                place: None,
            };
            tokio::spawn(worker.work())
        })
        .collect();
    (Queue { sender, open }, workers)
}

/// A mail that is ready to go.
struct Ready {
    delivery: DueDelivery,
    /// As the customer has it.
    address: String,
    variant: i16,
    /// As the relay is told it.
    recipient: String,
    return_path: String,
    bytes: Vec<u8>,
}

struct Worker {
    run: Arc<Run>,
    items: Items,
    ledger: Ledger,
    open: Arc<Open>,
    /// How the last message ended, until it is written down.
    finished: Option<Finished>,
    /// How many deliveries this worker has dealt with but not yet recorded.
    unrecorded: usize,
    lease: Option<(Arc<Route>, Lease)>,
    /// The turn at the last message's domain, where that is limited.
    place: Option<Place>,
}

impl Worker {
    async fn work(mut self) {
        loop {
            if self.finished.is_none() {
                // What was skipped or called off is dealt with; nobody may wait for it, or for a
                // connection that we only hold, while we wait for more.
                self.settle();
                self.lease = None;
            }
            let next = self.next().await;
            let Some(delivery) = next.delivery else {
                self.write_down().await;
                self.lease = None;
                if next.closed {
                    break;
                }
                continue;
            };
            let Some(delivery) = self.in_lane(delivery).await else { continue };
            if !self.run.is_ending() {
                self.deliver(delivery).await;
            }
            // Not before: what is written down while this one waits for a relay are others.
            self.unrecorded += 1;
        }
        self.write_down().await;
    }

    /// Renders, signs and hands over one message.
    async fn deliver(&mut self, delivery: DueDelivery) {
        let ready = match make(&self.run, delivery) {
            Ok(ready) => ready,
            Err(skipped) => return skip(&self.run, *skipped).await,
        };
        let ready = match sign(&self.run, ready).await {
            Ok(ready) => ready,
            Err(skipped) => return skip(&self.run, *skipped).await,
        };
        let Some((route, mut connection)) = self.connection().await else { return };
        let envelope = Envelope { return_path: &ready.return_path, recipient: &ready.recipient };
        if !connection.takes_addresses_of(&envelope, &ready.bytes) {
            let detail = "the relay takes no addresses beyond ASCII (SMTPUTF8)".to_owned();
            let skipped = Skipped::new(&ready.delivery, NEEDS_UTF8, detail);
            self.keep(route, connection);
            return skip(&self.run, *skipped).await;
        }
        let starting = Starting {
            customer: ready.delivery.customer.id,
            address: ready.address.clone(),
            attempts: ready.delivery.attempts + 1,
            variant: ready.variant,
        };
        let late_commit = tidings_store::test_bug("commit-after-send");
        let finished = self.finished.take();
        let may_go = if late_commit {
            self.ledger.step(finished, None).await;
            true
        } else {
            self.ledger.step(finished, Some(starting.clone())).await
        };
        if may_go {
            let outcome = connection.send(&envelope, &ready.bytes).await;
            if late_commit {
                self.ledger.step(None, Some(starting)).await;
            }
            self.finished = Some(judge(&self.run, ready, outcome));
        }
        self.keep(route, connection);
    }

    /// The connection of the last message where one is as good as another, else that of the relay
    /// whose turn it is; `None` where no relay can be reached.
    async fn connection(&mut self) -> Option<(Arc<Route>, Lease)> {
        if let Some((route, lease)) = self.lease.take()
            && !route.is_retired()
        {
            return Some((route, lease));
        }
        let run = self.run.clone();
        let mut leasing = std::pin::pin!(lease(&run));
        match tokio::time::timeout(PATIENCE, &mut leasing).await {
            Ok(leased) => leased,
            Err(_) => {
                self.write_down().await;
                leasing.await
            }
        }
    }

    fn keep(&mut self, route: Arc<Route>, lease: Lease) {
        if self.run.way().routes.is_plain() {
            self.lease = Some((route, lease));
        }
    }

    /// The message, once it has its domain's turn; `None` where it waits in the domain's lane.
    async fn in_lane(&mut self, delivery: DueDelivery) -> Option<DueDelivery> {
        let way = self.run.way();
        if self.place.is_some() || !way.has_limits() || self.run.is_ending() {
            return Some(delivery);
        }
        let domain = delivery.customer.email.as_deref().and_then(mail::domain_of);
        let Some(domain) = domain else { return Some(delivery) };
        let Some(turns) = way.turns_at(&domain) else { return Some(delivery) };
        let run = self.run.clone();
        let mut entering = std::pin::pin!(run.lanes.enter(domain, turns, delivery));
        let entered = match tokio::time::timeout(PATIENCE, &mut entering).await {
            Ok(entered) => entered,
            Err(_) => {
                self.write_down().await;
                // Whoever has the turn may want it.
                self.lease = None;
                entering.await
            }
        };
        match entered {
            Entered::Go(delivery, place) => {
                self.place = Some(place);
                Some(delivery)
            }
            Entered::Waits => None,
        }
    }

    /// The next delivery: one that waits for the domain that this worker has a turn at, else the
    /// next of all. A worker that has something to record does not wait for it.
    async fn next(&mut self) -> Taken {
        if let Some(place) = self.place.take()
            && let Some((delivery, place)) = self.run.lanes.next(place)
        {
            self.place = Some(place);
            return Taken { delivery: Some(delivery), closed: false };
        }
        take(&self.items, self.finished.is_some()).await
    }

    /// Has the ledger record how the last message ended.
    async fn write_down(&mut self) {
        let finished = self.finished.take();
        self.ledger.step(finished, None).await;
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..std::mem::take(&mut self.unrecorded) {
            self.open.one_less();
        }
    }
}

/// A connection by the run's relays as they are now; `None` ends the run.
async fn lease(run: &Run) -> Option<(Arc<Route>, Lease)> {
    loop {
        match run.way().routes.lease().await {
            Ok(leased) => return Some(leased),
            Err(NoLease::Moved) => run.look_for_way().await,
            Err(NoLease::AllDown(reason)) => run.end(Ending::RelayGone(reason)),
        }
        if run.is_ending() {
            return None;
        }
    }
}

/// Signs a mail with the keys of its sender's domain.
async fn sign(run: &Run, mut ready: Ready) -> Result<Ready, Box<Skipped>> {
    let way = run.way();
    let at_s = run.ctx.now().0 / 1_000_000;
    match mail::sign(way.signer.as_ref(), std::mem::take(&mut ready.bytes), at_s).await {
        Ok(bytes) => Ok(Ready { bytes, ..ready }),
        Err(error) => {
            let reason = SkipReason::NotRendered.name();
            Err(Skipped::new(&ready.delivery, reason, error.to_string()))
        }
    }
}

struct Taken {
    delivery: Option<DueDelivery>,
    closed: bool,
}

/// The next delivery. A worker that has something to record does not wait for it.
async fn take(items: &Items, in_hurry: bool) -> Taken {
    if in_hurry {
        // Another worker may be waiting inside the lock; then nothing is there for us either.
        let Ok(mut items) = items.try_lock() else {
            return Taken { delivery: None, closed: false };
        };
        return match items.try_recv() {
            Ok(delivery) => Taken { delivery: Some(delivery), closed: false },
            Err(_) => Taken { delivery: None, closed: false },
        };
    }
    match items.lock().await.recv().await {
        Some(delivery) => Taken { delivery: Some(delivery), closed: false },
        None => Taken { delivery: None, closed: true },
    }
}

/// A delivery that is not sent: the reason's name and the detail.
struct Skipped {
    customer: CustomerId,
    reason: String,
    detail: String,
}

impl Skipped {
    fn new(delivery: &DueDelivery, reason: &str, detail: String) -> Box<Skipped> {
        let customer = delivery.customer.id;
        Box::new(Skipped { customer, reason: reason.to_owned(), detail })
    }
}

/// The variant that a delivery is of, and what makes it. One that is waited for is known by now, or
/// its delivery would not have been queued.
fn chosen<'r>(run: &'r Run, delivery: &DueDelivery) -> (i16, &'r Maker) {
    let variant = delivery.variant.or_else(|| run.winner.get().copied()).unwrap_or_default();
    let at = usize::try_from(variant).unwrap_or_default();
    match run.makers.get(at) {
        Some(maker) => (variant, maker),
        None => (0, &run.makers[0]),
    }
}

/// Renders and builds the mail, or says why not.
fn make(run: &Run, delivery: DueDelivery) -> Result<Ready, Box<Skipped>> {
    let Some(address) = delivery.customer.email.clone() else {
        return Err(Skipped::new(&delivery, SkipReason::NoAddress.name(), String::new()));
    };
    let (variant, maker) = chosen(run, &delivery);
    let message = match maker.make(&delivery.customer) {
        Ok(message) => message,
        Err(NotRendered::Aborted(reason)) => {
            return Err(Skipped::new(&delivery, "aborted", reason));
        }
        Err(NotRendered::Failed(fault)) => {
            let place =
                fault.place.map_or(String::new(), |(line, column)| format!(" {line}:{column}"));
            let detail = format!("{}{place}: {}", fault.path, fault.message);
            return Err(Skipped::new(&delivery, SkipReason::NotRendered.name(), detail));
        }
    };
    let sender = &run.campaign.sender;
    let bad = |what: &str| {
        let detail = format!("the domain of {what} has no ASCII form");
        Skipped::new(&delivery, BAD_ADDRESS, detail)
    };
    let recipient = wire_address(&address).ok_or_else(|| bad("the recipient"))?.into_owned();
    let domain = &mail::domain_of(&sender.address).ok_or_else(|| bad("the sender"))?;
    // Stable, so that a receiver who keeps ids sees a repeat for what it is.
    let message_id = format!("{}@{domain}", delivery.id);
    let return_path = maker.return_path(delivery.customer.id, domain);
    let id = delivery.id.to_string();
    let built = mime::build(&mime::Message {
        from: Mailbox { name: Some(&sender.name), address: &sender.address },
        to: Mailbox { name: None, address: &address },
        reply_to: sender.reply_to.as_deref().map(|address| Mailbox { name: None, address }),
        subject: &message.parts.subject,
        html: Some(&message.parts.html),
        text: message.parts.text.as_deref(),
        message_id: &message_id,
        date_s: run.ctx.now().0 / 1_000_000,
        unsubscribe: (run.campaign.class == MessageClass::Marketing)
            .then_some(Unsubscribe { https: &message.unsubscribe_url, mail: None }),
        headers: &[("X-Tidings-Delivery", &id)],
    });
    match built {
        Ok(bytes) => Ok(Ready { delivery, address, recipient, variant, return_path, bytes }),
        Err(error) => {
            Err(Skipped::new(&delivery, SkipReason::NotRendered.name(), error.to_string()))
        }
    }
}

async fn skip(run: &Run, skipped: Skipped) {
    skip_all(run, vec![(skipped.customer, skipped.reason, skipped.detail)]).await;
}

/// Skips the deliveries of customers who are not there any more.
pub(super) async fn skip_gone(run: &Run, gone: Vec<CustomerId>) {
    let why = || (SkipReason::CustomerGone.name().to_owned(), "customer is gone".to_owned());
    let skipped = gone.into_iter().map(|customer| {
        let (reason, detail) = why();
        (customer, reason, detail)
    });
    skip_all(run, skipped.collect()).await;
}

async fn skip_all(run: &Run, skipped: Vec<(CustomerId, String, String)>) {
    let number = run.campaign.number;
    let at = run.ctx.now();
    let done = run.ctx.workspace.skip_deliveries(&run.job, number, skipped, at).await;
    if crate::jobs::is_fenced(&done) {
        run.end(Ending::Fenced);
    } else if let Err(error) = done {
        run.end(Ending::StoreGone(error.to_string()));
    }
}

/// What an outcome on the wire means for the delivery.
fn judge(run: &Run, ready: Ready, outcome: Outcome) -> Finished {
    if matches!(outcome, Outcome::Sent { .. } | Outcome::Refused(_)) {
        run.reached.store(true, Ordering::Release);
    }
    let attempts = ready.delivery.attempts + 1;
    let mut repeats = ready.delivery.repeats;
    let attempt = match outcome {
        Outcome::Sent { reply, .. } => {
            metrics::counter!("tidings_messages_sent_total").increment(1);
            Attempt::Sent { reply }
        }
        Outcome::Refused(refusal) if refusal.permanent => refused(refusal),
        Outcome::Refused(refusal) => retry(run, attempts, refusal.reply),
        Outcome::Failed { reason, .. } => retry(run, attempts, reason),
        Outcome::Unknown { reason } if run.campaign.class == MessageClass::Transactional => {
            // Rather twice than never: the Message-ID is the same, and the delivery says so.
            repeats = Some(RESENT_UNANSWERED.to_owned());
            retry(run, attempts, reason)
        }
        Outcome::Unknown { reason } => Attempt::Unknown { reason },
    };
    Finished {
        id: ready.delivery.id,
        customer: ready.delivery.customer.id,
        address: ready.address,
        attempt,
        repeats,
    }
}

fn refused(refusal: Refusal) -> Attempt {
    match refusal.bounce_class() {
        BounceClass::Hard => Attempt::Bounced { reply: refusal.reply },
        BounceClass::Policy => {
            Attempt::Failed { reason: "policy".to_owned(), reply: refusal.reply }
        }
        BounceClass::Soft => Attempt::Failed { reason: "refused".to_owned(), reply: refusal.reply },
    }
}

/// The next step of the back-off, spread by a fifth so that a relay is not met by all at once.
fn retry(run: &Run, attempts: i32, reply: String) -> Attempt {
    match retry_after_secs(attempts) {
        Some(secs) => {
            let spread = rand::rng().random_range(0..=secs * 200);
            Attempt::Retry { reply, at: run.ctx.now().plus_ms(secs * 1_000 + spread) }
        }
        None => Attempt::Failed { reason: "gave_up".to_owned(), reply },
    }
}
