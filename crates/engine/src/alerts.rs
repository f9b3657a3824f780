//! What operators must know: listed, acknowledged, and mailed to them. A cause is told once, and
//! once more when it is over.

use tidings_channels::email::mime::{self, Mailbox};
use tidings_channels::email::{Envelope, Outcome, wire_address};
use tidings_domain::campaign::retry_after_secs;
use tidings_domain::{AlertId, Timestamp};
use tidings_store::Page;
pub use tidings_store::alerts::{Alert, AlertKind, Raised, Unmailed};
use tidings_store::jobs::{Job, Next};

use crate::{Ctx, Error, Result, mail, sending_rules};

/// A job that failed so often in a row is stuck.
const STUCK_AFTER: i32 = 5;

/// Alerts, newest first; all, or those that nobody has acknowledged.
pub async fn page(
    ctx: &Ctx,
    unread: bool,
    before: Option<(Timestamp, AlertId)>,
    limit: usize,
) -> Result<Page<Alert, (Timestamp, AlertId)>> {
    Ok(ctx.workspace.alerts(unread, before, limit).await?)
}

/// How many alerts nobody has acknowledged.
pub async fn unread(ctx: &Ctx) -> Result<i64> {
    Ok(ctx.workspace.unread_alerts().await?)
}

/// Notes that somebody has seen an alert; who did so first stays.
pub async fn acknowledge(ctx: &Ctx, id: AlertId, by: &str) -> Result<Alert> {
    let missing = || Error::NotFound(format!("alert {id}"));
    ctx.workspace.alert(id).await?.ok_or_else(missing)?;
    ctx.workspace.acknowledge_alert(id, by, ctx.now()).await?;
    ctx.workspace.alert(id).await?.ok_or_else(missing)
}

/// The same for all that there are; gives how many.
pub async fn acknowledge_all(ctx: &Ctx, by: &str) -> Result<u64> {
    let now = ctx.now();
    Ok(ctx.workspace.acknowledge_all_alerts(now, by, now).await?)
}

/// Tells of a cause, where that can be done; a database that is away has other listeners.
pub(crate) async fn raise(ctx: &Ctx, raised: Raised) {
    match ctx.workspace.raise_alert(raised, ctx.now()).await {
        Ok(_) => ctx.wake(),
        Err(error) => tracing::warn!(%error, "raise an alert"),
    }
}

pub(crate) async fn end(ctx: &Ctx, kind: AlertKind, subject: &str) {
    match ctx.workspace.end_alert(kind, subject, ctx.now()).await {
        Ok(()) => ctx.wake(),
        Err(error) => tracing::warn!(%error, "end an alert"),
    }
}

/// Tells of a job that fails, and of its recovery.
pub(crate) async fn watch_job(ctx: &Ctx, job: &Job, next: &Next, error: Option<&str>) {
    // Who cannot be reached by mail cannot be told so by mail.
    if job.kind == tidings_store::alerts::MAIL_ALERTS {
        return;
    }
    let subject = format!("{} {}", job.kind, job.subject);
    let raised = |kind, message| Raised { kind, subject: subject.clone(), message, campaign: None };
    match (next, error) {
        (Next::Failed(text), _) => {
            let message = format!("The job {subject} was given up: {text}");
            raise(ctx, raised(AlertKind::JobGivenUp, message)).await;
        }
        (_, Some(text)) if job.attempts >= STUCK_AFTER => {
            let times = job.attempts;
            let message = format!("The job {subject} has failed {times} times in a row: {text}");
            raise(ctx, raised(AlertKind::JobStuck, message)).await;
        }
        // One that never failed has nothing to end.
        (_, None) if job.attempts > 1 => {
            end(ctx, AlertKind::JobStuck, &subject).await;
            end(ctx, AlertKind::JobGivenUp, &subject).await;
        }
        _ => {}
    }
}

/// The job: mails what the operators have not been told of.
pub async fn mail_out(ctx: &Ctx, job: &Job) -> Result<Next> {
    let rules = sending_rules::get(ctx).await?.alerts;
    let Some(from) = rules.from.filter(|_| !rules.to.is_empty()) else {
        ctx.workspace.all_alerts_were_mailed(ctx.now()).await?;
        return Ok(Next::Done);
    };
    let Some(way) = mail::way(ctx, &from).await? else {
        ctx.workspace.all_alerts_were_mailed(ctx.now()).await?;
        return Ok(Next::Done);
    };
    loop {
        let unmailed = ctx.workspace.unmailed_alerts().await?;
        if unmailed.is_empty() {
            return Ok(Next::Done);
        }
        for one in unmailed {
            for to in &rules.to {
                ctx.workspace.hold_job(job).await?;
                if let Err(reason) = send(ctx, &way, &one, &from, to).await? {
                    return Ok(later(ctx, job, &reason));
                }
            }
            ctx.workspace.alert_was_mailed(&one.alert, ctx.now()).await?;
        }
    }
}

/// Mails one alert to one address; gives why it must be tried again.
async fn send(
    ctx: &Ctx,
    way: &mail::Way,
    one: &Unmailed,
    from: &str,
    to: &str,
) -> Result<std::result::Result<(), String>> {
    let (Some(return_path), Some(recipient)) = (wire_address(from), wire_address(to)) else {
        tracing::warn!("an operator's address has no ASCII form");
        return Ok(Ok(()));
    };
    let bytes = build(ctx, one, from, to)?;
    let bytes = mail::sign(way.signer.as_ref(), bytes, ctx.now().0 / 1_000_000).await?;
    let mut lease = match way.routes.lease().await {
        Ok((_, lease)) => lease,
        Err(mail::NoLease::AllDown(reason)) => return Ok(Err(reason)),
        Err(mail::NoLease::Moved) => return Ok(Err("the relay was changed just now".to_owned())),
    };
    let envelope = Envelope { return_path: &return_path, recipient: &recipient };
    Ok(match lease.send(&envelope, &bytes).await {
        Outcome::Sent { .. } => Ok(()),
        Outcome::Refused(refusal) if refusal.permanent => {
            tracing::warn!(reply = refusal.reply, "an operator's address is refused");
            Ok(())
        }
        Outcome::Refused(refusal) => Err(refusal.reply),
        // Rather twice than never: the Message-ID is the same.
        Outcome::Failed { reason, .. } | Outcome::Unknown { reason } => Err(reason),
    })
}

/// An alert is worth trying for long: the attempts start over where the ladder ends.
fn later(ctx: &Ctx, job: &Job, reason: &str) -> Next {
    tracing::info!(reason, "a mail to the operators waits for its relay");
    let secs = retry_after_secs(job.attempts.max(1)).unwrap_or(43_200);
    Next::Again(ctx.now().min(Timestamp::now()).plus_secs(secs))
}

fn build(ctx: &Ctx, one: &Unmailed, from: &str, to: &str) -> Result<Vec<u8>> {
    let alert = &one.alert;
    let workspace = &ctx.workspace.row.name;
    let head = match (one.is_end, alert.ended_at) {
        (true, _) => "Over",
        (false, Some(_)) => "Was",
        (false, None) => "Alert",
    };
    let first = alert.message.split(['.', ':']).next().unwrap_or_default();
    let subject = format!("{head}: {first} ({workspace})").replace(char::is_control, " ");
    let url = format!("{}/console/alerts", ctx.hub.settings.public_url);
    let ended = alert.ended_at.map(|at| format!("\r\nIt was over at {at}.")).unwrap_or_default();
    let text = format!(
        "{}\r\n\r\nIt began at {}.{ended}\r\nWorkspace: {workspace}\r\nAll alerts: {url}\r\n",
        alert.message, alert.raised_at
    );
    let domain = from.rsplit('@').next().unwrap_or_default();
    let part = if one.is_end { "end" } else { "begin" };
    let message_id = format!("alert-{}-{part}@{domain}", alert.id);
    mime::build(&mime::Message {
        from: Mailbox { name: Some("Tidings"), address: from },
        to: Mailbox { name: None, address: to },
        reply_to: None,
        subject: &subject,
        html: None,
        text: Some(&text),
        message_id: &message_id,
        date_s: ctx.now().0 / 1_000_000,
        unsubscribe: None,
        headers: &[("Auto-Submitted", "auto-generated")],
    })
    .map_err(|error| Error::Internal(format!("build a mail to the operators: {error}")))
}
