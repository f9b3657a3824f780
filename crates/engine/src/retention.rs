//! For how long a workspace keeps what: the periods, what a change of them would let go of, and the
//! job that lets go of it.

use std::collections::BTreeMap;

use tidings_domain::Timestamp;
use tidings_domain::retention::{Reach, Retention, days_before, reaches};
use tidings_domain::rule::Rule;
use tidings_store::jobs::{Job, Next};
use tidings_store::retention::{Before, FIRST, OldEvents, ToGo};
use tokio::sync::watch;

use crate::imports::remove_upload;
use crate::{Ctx, Error, Fault, Result};

/// How often what is old is looked for.
const EVERY_SECS: i64 = 24 * 3_600;
/// Events of a campaign's messages are kept for so many days after its end at least, so that its
/// figures and what came of it can still be worked out.
pub const CAMPAIGN_DAYS: u32 = 90;

/// Events that stay although they are older than their period, because a segment counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub event: String,
    pub segment: String,
    /// For how many days the segment looks back, rounded up; `None` is for ever.
    pub days: Option<i64>,
}

/// What periods would let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub to_go: ToGo,
    pub kept: Vec<Kept>,
}

/// The periods as they stand.
pub async fn retention(ctx: &Ctx) -> Result<Retention> {
    Ok(ctx.workspace.retention().await?)
}

fn checked(retention: Retention) -> Result<Retention> {
    match retention.check() {
        Ok(()) => Ok(retention),
        Err((name, expected)) => {
            Err(Error::Invalid(vec![Fault::new(name, "invalid_value", expected)]))
        }
    }
}

/// Sets the periods; what is older goes soon, in the background.
pub async fn set(ctx: &Ctx, retention: Retention) -> Result<()> {
    let retention = checked(retention)?;
    // Jobs are due by the real time, however far a test's clock has gone.
    ctx.workspace.put_retention(retention, ctx.now().min(Timestamp::now())).await?;
    ctx.wake();
    Ok(())
}

/// Counts what periods would let go of now.
pub async fn preview(ctx: &Ctx, retention: Retention) -> Result<Preview> {
    let retention = checked(retention)?;
    let (before, kept) = plan(ctx, &retention).await?;
    Ok(Preview { to_go: ctx.workspace.count_old(before).await?, kept })
}

/// Before when what goes, and which events stay for a segment.
async fn plan(ctx: &Ctx, retention: &Retention) -> Result<(Before, Vec<Kept>)> {
    let now = ctx.now();
    let at = |days: Option<u32>| days.map(|days| days_before(now, days));
    let mut before = Before {
        events: Vec::new(),
        message_details: at(retention.message_details_days),
        import_files: at(retention.import_files_days),
        mailbox: at(retention.mailbox_days),
        inactive_customers: at(retention.inactive_customers_days),
    };
    let mut kept = Vec::new();
    if let Some(cutoff) = at(retention.events_days) {
        let reaches = segment_reaches(ctx).await?;
        for (name, event) in ctx.workspace.event_names().await? {
            let reach = reaches.get(&event);
            let Some(before_at) = within_reach(now, cutoff, reach) else {
                kept.extend(reach.map(|reach| kept_for(&event, reach)));
                continue;
            };
            if before_at < cutoff {
                kept.extend(reach.map(|reach| kept_for(&event, reach)));
            }
            let campaigns_before = before_at.min(days_before(now, CAMPAIGN_DAYS));
            before.events.push(OldEvents { name, before: before_at, campaigns_before });
        }
    }
    Ok((before, kept))
}

/// Before when events go that a segment may look back at; `None` where it looks at all of them.
fn within_reach(now: Timestamp, cutoff: Timestamp, reach: Option<&Reach>) -> Option<Timestamp> {
    match reach {
        None => Some(cutoff),
        Some(Reach { micros: None, .. }) => None,
        Some(Reach { micros: Some(micros), .. }) => Some(cutoff.min(Timestamp(now.0 - micros))),
    }
}

fn kept_for(event: &str, reach: &Reach) -> Kept {
    const DAY: i64 = 24 * 3_600 * 1_000_000;
    Kept {
        event: event.to_owned(),
        segment: reach.segment.clone(),
        days: reach.micros.map(|micros| (micros + DAY - 1) / DAY),
    }
}

/// How far back the workspace's segments look, by the name of the event.
async fn segment_reaches(ctx: &Ctx) -> Result<BTreeMap<String, Reach>> {
    let segments = ctx.workspace.segments().await?;
    let mut rules = Vec::with_capacity(segments.len());
    for segment in segments {
        match Rule::parse(&segment.rule) {
            Ok(rule) => rules.push((segment.name, rule)),
            Err(_) => {
                let text = format!("the rule of segment {} cannot be read", segment.name);
                return Err(Error::Internal(text));
            }
        }
    }
    Ok(reaches(rules.iter().map(|(name, rule)| (name.as_str(), rule))))
}

/// The job: everything that is old goes, in slices; then it rests for a day.
pub(crate) async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let is_done = drop_merges(ctx, stop).await?
        && drop_events(ctx, job, stop).await?
        && drop_message_details(ctx, job, stop).await?
        && drop_import_files(ctx, job, stop).await?
        && drop_mails(ctx, job, stop).await?
        && drop_inactive(ctx, job, stop).await?;
    let rest = if is_done { EVERY_SECS } else { 0 };
    // Jobs are due by the real time, however a test's clock stands.
    Ok(Next::Again(ctx.now().max(Timestamp::now()).plus_secs(rest)))
}

async fn drop_merges(ctx: &Ctx, stop: &watch::Receiver<bool>) -> Result<bool> {
    while ctx.workspace.expire_merges(ctx.now()).await? {
        if *stop.borrow() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn drop_events(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<bool> {
    let (before, _) = plan(ctx, &retention(ctx).await?).await?;
    let names: Vec<i64> = before.events.iter().map(|old| old.name).collect();
    for name in names {
        loop {
            if *stop.borrow() {
                return Ok(false);
            }
            // Asked again for each slice: a segment that was just saved may look farther back.
            let (before, _) = plan(ctx, &retention(ctx).await?).await?;
            let Some(old) = before.events.into_iter().find(|old| old.name == name) else { break };
            if ctx.workspace.drop_old_events(job, old).await? == 0 {
                break;
            }
        }
    }
    Ok(true)
}

async fn drop_message_details(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<bool> {
    let Some(days) = retention(ctx).await?.message_details_days else { return Ok(true) };
    loop {
        let campaigns = ctx.workspace.campaigns_with_details(days_before(ctx.now(), days)).await?;
        if campaigns.is_empty() {
            return Ok(true);
        }
        for campaign in campaigns {
            let mut after = Some(FIRST);
            while let Some(customer) = after {
                if *stop.borrow() {
                    return Ok(false);
                }
                let work = ctx.workspace.drop_message_details(job, campaign, customer, ctx.now());
                after = work.await?;
            }
        }
    }
}

async fn drop_import_files(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<bool> {
    let Some(days) = retention(ctx).await?.import_files_days else { return Ok(true) };
    loop {
        let imports = ctx.workspace.imports_with_files(days_before(ctx.now(), days)).await?;
        if imports.is_empty() {
            return Ok(true);
        }
        for import in imports {
            // The file first: what is written down of it is what is gone.
            remove_upload(&ctx.hub, import.id).await;
            while !ctx.workspace.drop_import_rows(job, import.number, ctx.now()).await? {
                if *stop.borrow() {
                    return Ok(false);
                }
            }
        }
    }
}

async fn drop_mails(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<bool> {
    let Some(days) = retention(ctx).await?.mailbox_days else { return Ok(true) };
    let before = days_before(ctx.now(), days);
    while ctx.workspace.drop_old_mails(job, before).await? > 0 {
        if *stop.borrow() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn drop_inactive(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<bool> {
    let Some(days) = retention(ctx).await?.inactive_customers_days else { return Ok(true) };
    let before = days_before(ctx.now(), days);
    let mut after = Some(0);
    while let Some(number) = after {
        let (customers, next) = ctx.workspace.inactive_customers(before, number).await?;
        for customer in customers {
            if *stop.borrow() {
                return Ok(false);
            }
            ctx.workspace.drop_inactive(job, customer, before, ctx.now()).await?;
        }
        after = next;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_holds_back_what_it_still_counts() {
        let (now, cutoff) = (Timestamp(1_000), Timestamp(900));
        let reach = |micros| Reach { micros, segment: "S".to_owned() };
        for (reach, expected) in [
            (None, Some(900)),
            (Some(reach(Some(50))), Some(900)),
            (Some(reach(Some(300))), Some(700)),
            (Some(reach(None)), None),
        ] {
            let found = within_reach(now, cutoff, reach.as_ref());
            assert_eq!(found.map(|at| at.0), expected, "{reach:?}");
        }
    }
}
