//! Sending a campaign: one job a shard. The audience is frozen in slices while what is frozen is
//! rendered and handed over by many workers; a ledger commits their steps in groups.
//!
//! ```text
//! freeze ─► deliveries due ─► read ─► workers: render, sign, start, hand over ─► ledger: record
//! ```

mod guard;
mod lanes;
mod ledger;
mod send;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tidings_domain::campaign::{CampaignState, Placing};
use tidings_domain::{DeliveryId, Timestamp};
use tidings_store::Error as StoreError;
use tidings_store::campaigns::{Campaign, Shard};
use tidings_store::jobs::{Job, Next, lease_secs};
use tidings_store::templates::TemplateDraft;
use tokio::sync::watch;

use crate::campaigns::contest;
use crate::mail::{self, Way};
use crate::messages::{Compiled, Maker, with_parameters};
use crate::sending_rules::{self, BounceLimit};
use crate::{Ctx, Error, Result};

/// How many due deliveries are read at once.
const READ: usize = 500;
/// How long to wait before looking again where sending is held up from outside.
const HELD_UP_SECS: i64 = 3;
/// How long those wait for whom there is no winner yet, as another shard is still being frozen.
const UNDECIDED_MS: i64 = 500;
/// How often a lease is renewed while nothing is written: about four times while it lasts.
fn renew_every() -> Duration {
    Duration::from_millis(lease_secs().unsigned_abs() * 270)
}

/// What the workers of a shard share.
pub(crate) struct Run {
    pub ctx: Ctx,
    pub job: Job,
    pub campaign: Campaign,
    pub shard: Shard,
    /// One for each variant.
    pub makers: Vec<Maker>,
    /// The variant that those get who wait for the test's end.
    pub winner: OnceLock<i16>,
    pub placing: Arc<Placing>,
    pub bounces: BounceLimit,
    /// How its mail leaves; another one as soon as somebody changes it.
    way: RwLock<Arc<Way>>,
    lanes: lanes::Lanes,
    /// Set when this run must end: told to stop, fenced, paused, or the relay is gone.
    ending: AtomicBool,
    /// A server has answered for a message, so the relay is not away.
    reached: AtomicBool,
    why: Mutex<Option<Ending>>,
}

/// Why a run ended before its shard was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Stopped,
    Fenced,
    /// The campaign is not sending any more.
    Halted,
    RelayGone(String),
    StoreGone(String),
}

impl Run {
    pub(crate) fn end(&self, why: Ending) {
        let mut slot = self.why.lock();
        if slot.is_none() {
            *slot = Some(why);
        }
        self.ending.store(true, Ordering::Release);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) fn way(&self) -> Arc<Way> {
        self.way.read().clone()
    }

    /// Takes over what was changed in the relays, keys and limits since the last look.
    pub(crate) async fn look_for_way(&self) {
        match mail::way(&self.ctx, &self.campaign.sender.address).await {
            Ok(Some(way)) => {
                let way = Arc::new(way);
                let before = std::mem::replace(&mut *self.way.write(), way.clone());
                if !before.is_of_same_desk(&way) {
                    self.lanes.offer_all();
                }
            }
            Ok(None) => self.end(Ending::RelayGone(mail::NO_RELAY.to_owned())),
            Err(error) => tracing::warn!(%error, "look for the relays"),
        }
    }
}

/// The job: sends one shard of a campaign as far as it can.
pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let Some((number, shard)) = subject(&job.subject) else {
        return Ok(Next::Failed(format!("no campaign is named by {}", job.subject)));
    };
    let Some(mut campaign) = ctx.workspace.campaign_by_number(number).await? else {
        return Ok(Next::Done);
    };
    let now = ctx.now();
    if campaign.state == CampaignState::Scheduled {
        match campaign.scheduled_at {
            Some(at) if at > now => return Ok(Next::Again(at)),
            _ => {}
        }
    }
    let in_work = [CampaignState::Scheduled, CampaignState::Preparing, CampaignState::Sending];
    if !in_work.contains(&campaign.state) {
        return Ok(Next::Done);
    }
    if sending_is_paused(ctx).await? {
        return Ok(Next::Again(now.plus_secs(HELD_UP_SECS)));
    }
    let Some(way) = mail::way(ctx, &campaign.sender.address).await? else {
        return Ok(Next::Again(now.plus_secs(HELD_UP_SECS)));
    };
    if campaign.state == CampaignState::Scheduled {
        ctx.workspace.begin_campaign(number, job, now).await?;
        campaign.state = CampaignState::Preparing;
        campaign.started_at = Some(now);
    }
    let shards = ctx.workspace.campaign_shards(number).await?;
    let Some(shard) = shards.into_iter().find(|one| one.shard == shard) else {
        return Ok(Next::Done);
    };
    let left =
        ctx.workspace.recover_deliveries(job, number, campaign.class, shard, ctx.now()).await?;
    if left > 0 {
        tracing::warn!(campaign = number, count = left, "messages were on their way at a crash");
    }
    let makers = makers(ctx, &campaign).await?;
    let begun = campaign.started_at.unwrap_or(now);
    let placing = crate::campaigns::placing(ctx, &campaign, begun).await?;
    let winner = campaign.decision.map_or_else(OnceLock::new, |made| OnceLock::from(made.winner));
    let run = Arc::new(Run {
        ctx: ctx.clone(),
        job: job.clone(),
        campaign,
        shard,
        makers,
        winner,
        placing,
        bounces: sending_rules::get(ctx).await?.bounces,
        way: RwLock::new(Arc::new(way)),
        lanes: lanes::Lanes::default(),
        ending: AtomicBool::new(false),
        reached: AtomicBool::new(false),
        why: Mutex::new(None),
    });
    send_shard(&run, stop).await
}

/// `campaign:shard`.
fn subject(text: &str) -> Option<(i32, i32)> {
    let (campaign, shard) = text.split_once(':')?;
    Some((campaign.parse().ok()?, shard.parse().ok()?))
}

/// Whether an operator, or a restore, holds all sending back.
pub(crate) async fn sending_is_paused(ctx: &Ctx) -> Result<bool> {
    let setting = ctx.hub.store.system.setting("sending_paused").await?;
    Ok(setting.is_some_and(|value| value == "true"))
}

/// Compiles what the campaign sends, at the versions fixed at its launch: one maker a variant.
async fn makers(ctx: &Ctx, campaign: &Campaign) -> Result<Vec<Maker>> {
    let drafts = match campaign.plan.test {
        Some(_) => contest::drafts(ctx, campaign).await?,
        None => {
            let (number, version) = (campaign.template.1, campaign.template_version);
            let template = ctx.workspace.template_at(number, version).await?;
            let gone = || Error::NotFound("the campaign's template".to_owned());
            vec![TemplateDraft::from(template.ok_or_else(gone)?)]
        }
    };
    // All shards send the blocks that stood when the campaign began.
    let at = campaign.started_at.unwrap_or_else(|| ctx.now());
    let tracking_url = mail::tracking_url(ctx, &campaign.sender.address).await?;
    let mut makers = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let compiled = Compiled::new(ctx, &draft, at).await?;
        let fixed = compiled.fixed_links.iter();
        let urls = fixed.map(|url| with_parameters(url, &campaign.link_parameters).into_owned());
        let links = ctx.workspace.number_links(campaign.number, urls.collect()).await?;
        makers.push(Maker::new(ctx, compiled, campaign, links, tracking_url.clone()));
    }
    Ok(makers)
}

async fn send_shard(run: &Arc<Run>, stop: &watch::Receiver<bool>) -> Result<Next> {
    let freezing = tokio::spawn(freeze(run.clone()));
    let renewing = tokio::spawn(renew(run.clone(), stop.clone()));
    let (ledger, steps) = ledger::open(run.clone());
    let writing = tokio::spawn(steps);
    let (queue, workers) = send::start_workers(run, ledger);
    let read = read_due(run, &freezing, queue).await;
    for worker in workers {
        // A worker that panicked has left its message in flight; the next holder finds it.
        let _ = worker.await;
    }
    let _ = writing.await;
    renewing.abort();
    freezing.abort();
    read?;
    finish(run).await
}

/// Freezes the audience slice by slice, beside the sending.
async fn freeze(run: Arc<Run>) -> std::result::Result<(), StoreError> {
    let mut shard = run.shard;
    while shard.next < shard.high && !run.is_ending() {
        let placing = run.placing.clone();
        let audience = match crate::campaigns::audience(&run.ctx, &run.campaign, placing).await {
            Ok(audience) => audience,
            Err(error) => {
                run.end(Ending::StoreGone(error.to_string()));
                return Ok(());
            }
        };
        let at = run.ctx.now();
        let number = run.campaign.number;
        let frozen = run.ctx.workspace.freeze_audience(&run.job, number, shard, audience, at).await;
        match frozen {
            Ok(moved) => shard = moved,
            Err(StoreError::Fenced) => {
                run.end(Ending::Fenced);
                return Err(StoreError::Fenced);
            }
            Err(error) => {
                tracing::warn!(%error, campaign = number, "freeze audience");
                run.end(Ending::StoreGone(error.to_string()));
                return Err(error);
            }
        }
    }
    // Whoever watches reads "sending" from here on, and not only once the run is over.
    if shard.next >= shard.high && run.campaign.state == CampaignState::Preparing {
        let number = run.campaign.number;
        if let Err(error) = run.ctx.workspace.settle_campaign(number, run.ctx.now()).await {
            tracing::warn!(%error, campaign = number, "mark the campaign as sending");
        }
    }
    Ok(())
}

/// Keeps the lease while slow servers are waited for, and passes on the order to stop.
async fn renew(run: Arc<Run>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(renew_every()) => {}
            _ = stop.changed() => {}
        }
        if *stop.borrow() {
            run.end(Ending::Stopped);
        }
        if let Err(StoreError::Fenced) = run.ctx.workspace.hold_job(&run.job).await {
            run.end(Ending::Fenced);
            crate::jobs::note_fenced(&run.ctx, &run.job).await;
            return;
        }
        if *stop.borrow() {
            tokio::time::sleep(renew_every()).await;
        } else {
            run.look_for_way().await;
            run.lanes.offer_left();
        }
    }
}

/// Reads what is due and queues it for the workers, until the shard has nothing more.
async fn read_due(
    run: &Arc<Run>,
    freezing: &tokio::task::JoinHandle<std::result::Result<(), StoreError>>,
    queue: send::Queue,
) -> Result<()> {
    let start = (Timestamp(0), DeliveryId(uuid::Uuid::nil()));
    let mut cursor = start;
    let mut quiet_looks = 0;
    while !run.is_ending() {
        // Asked before the read, so that nothing frozen in between is missed.
        let frozen = freezing.is_finished();
        let number = run.campaign.number;
        let due = run
            .ctx
            .workspace
            .due_deliveries(number, run.shard, run.ctx.now(), cursor, READ)
            .await?;
        let found_some = !due.gone.is_empty() || !due.deliveries.is_empty();
        if !due.gone.is_empty() {
            send::skip_gone(run, due.gone).await;
        }
        if let Some(last) = due.deliveries.last() {
            cursor = (last.due_at, last.id);
            for delivery in due.deliveries {
                if delivery.variant.is_some() || knows_winner(run).await? {
                    queue.push(delivery).await;
                    quiet_looks = 0;
                }
            }
        }
        if found_some {
            continue;
        }
        if !frozen {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        queue.wait_until_idle().await;
        // Nothing is queued or on its way, so what is due now is what the cursor has passed.
        quiet_looks += 1;
        if quiet_looks > 1 {
            break;
        }
        cursor = start;
    }
    Ok(())
}

/// Whether it is known what those get who wait for the test's end; whoever asks first decides it.
async fn knows_winner(run: &Run) -> Result<bool> {
    if run.winner.get().is_some() {
        return Ok(true);
    }
    let Some(decision) = contest::decide(&run.ctx, &run.job, &run.campaign).await? else {
        return Ok(false);
    };
    Ok(run.winner.set(decision.winner).is_ok() || run.winner.get().is_some())
}

/// Decides what becomes of the job when its run is over.
async fn finish(run: &Arc<Run>) -> Result<Next> {
    let ctx = &run.ctx;
    let why = run.why.lock().clone();
    let now = ctx.now();
    match &why {
        Some(Ending::RelayGone(reason)) => guard::watch_relay(run, Some(reason)).await,
        // A run that had nothing to hand over knows nothing of the relay.
        None if !run.reached.load(Ordering::Acquire) => {}
        None | Some(Ending::Halted) => guard::watch_relay(run, None).await,
        Some(_) => {}
    }
    match why {
        Some(Ending::Fenced) => return Err(crate::jobs::lost_lease()),
        Some(Ending::Stopped) => return Ok(Next::Again(now)),
        Some(Ending::RelayGone(reason)) => {
            tracing::warn!(campaign = run.campaign.number, reason, "the relay cannot be reached");
            return Ok(Next::Again(now.plus_secs(HELD_UP_SECS)));
        }
        Some(Ending::StoreGone(reason)) => return Err(Error::Unavailable(reason)),
        Some(Ending::Halted) | None => {}
    }
    let state = ctx.workspace.settle_campaign(run.campaign.number, now).await?;
    if !matches!(state, CampaignState::Preparing | CampaignState::Sending) {
        return Ok(Next::Done);
    }
    match ctx.workspace.next_due_delivery(run.campaign.number, run.shard).await? {
        Some(at) => {
            let waits = run.campaign.plan.test.is_some() && run.winner.get().is_none();
            let least = if waits { UNDECIDED_MS } else { 20 };
            Ok(Next::Again(at.max(now.plus_ms(least))))
        }
        None => Ok(Next::Done),
    }
}
