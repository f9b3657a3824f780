//! The workers: each renders a message, commits its start, hands it over, and carries the outcome
//! to the ledger together with the start of its next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt;
use tidings_channels::email::mime::{self, Mailbox, Unsubscribe};
use tidings_channels::email::{BounceClass, Envelope, Lease, Outcome, Refusal};
use tidings_domain::CustomerId;
use tidings_domain::campaign::{MessageClass, SkipReason, retry_after_secs};
use tidings_store::deliveries::{Attempt, DueDelivery, Finished, RESENT_UNANSWERED, Starting};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use super::{Ending, Run};
use crate::messages::{Maker, NotRendered};

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
    let items = Arc::new(Mutex::new(items));
    let open = Arc::new(Open::default());
    let workers = (0..run.ctx.hub.settings.smtp_open_max.max(1))
        .map(|_| tokio::spawn(work(run.clone(), items.clone(), ledger.clone(), open.clone())))
        .collect();
    (Queue { sender, open }, workers)
}

/// A mail that is ready to go.
struct Ready {
    delivery: DueDelivery,
    address: String,
    variant: i16,
    return_path: String,
    bytes: Vec<u8>,
}

async fn work(run: Arc<Run>, items: Items, ledger: Ledger, open: Arc<Open>) {
    let mut lease: Option<Lease> = None;
    let mut finished: Option<Finished> = None;
    // How many deliveries this worker has dealt with but not yet recorded.
    let mut unrecorded = 0;
    loop {
        if finished.is_none() {
            // What was skipped or called off is dealt with; nobody may wait for it while we do.
            settle(&open, &mut unrecorded);
        }
        let next = take(&items, finished.is_some()).await;
        let Some(delivery) = next.delivery else {
            ledger.step(finished.take(), None).await;
            settle(&open, &mut unrecorded);
            lease = None;
            if next.closed {
                break;
            }
            continue;
        };
        unrecorded += 1;
        if run.is_ending() {
            continue;
        }
        let ready = match make(&run, delivery) {
            Ok(ready) => ready,
            Err(skipped) => {
                skip(&run, *skipped).await;
                continue;
            }
        };
        let mut connection = match lease.take() {
            Some(connection) => connection,
            None => match run.pool.connection().await {
                Ok(connection) => connection,
                Err(error) => {
                    run.end(Ending::RelayGone(error.to_string()));
                    continue;
                }
            },
        };
        let starting = Starting {
            customer: ready.delivery.customer.id,
            address: ready.address.clone(),
            attempts: ready.delivery.attempts + 1,
            variant: ready.variant,
        };
        let late_commit = tidings_store::test_bug("commit-after-send");
        let may_go = late_commit || ledger.step(finished.take(), Some(starting.clone())).await;
        if may_go {
            let envelope = Envelope { return_path: &ready.return_path, recipient: &ready.address };
            let outcome = connection.send(&envelope, &ready.bytes).await;
            if late_commit {
                ledger.step(finished.take(), Some(starting)).await;
            }
            finished = Some(judge(&run, ready, outcome));
        }
        lease = Some(connection);
    }
    ledger.step(finished.take(), None).await;
    settle(&open, &mut unrecorded);
}

fn settle(open: &Open, unrecorded: &mut usize) {
    for _ in 0..std::mem::take(unrecorded) {
        open.one_less();
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
    let domain = sender.address.rsplit('@').next().unwrap_or_default();
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
        Ok(bytes) => Ok(Ready { delivery, address, variant, return_path, bytes }),
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
