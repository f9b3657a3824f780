//! The one mail that asks to confirm a sign-up: a transactional message in a job of its own, so
//! that it outlives a crash and is tried again like any other.

use tidings_channels::email::mime::{self, Mailbox};
use tidings_channels::email::{BounceClass, Envelope, Outcome};
use tidings_domain::campaign::{MessageClass, Reachability, may_message, retry_after_secs};
use tidings_domain::consent::{Channel, SuppressionReason};
use tidings_store::forms::{SignUp, SignUpKey};
use tidings_store::jobs::{Job, Next};

use super::{Definition, escaped, shown_topics, sign_up};
use crate::pages;
use crate::{Ctx, Error, Result};

/// Sends the mail of one sign-up.
pub async fn send_confirmation(ctx: &Ctx, job: &Job) -> Result<Next> {
    let Some(key) = SignUpKey::parse(&job.subject) else {
        return Ok(Next::Failed("no sign-up is named like this".to_owned()));
    };
    let Some(found) = ctx.workspace.sign_up(key).await? else { return Ok(Next::Done) };
    let is_settled = found.mailed_at.is_some() || found.confirmed_at.is_some();
    if is_settled || ctx.now() >= found.expires_at {
        return Ok(Next::Done);
    }
    let reason = ctx.workspace.suppression_of(&found.email).await?;
    let hard_bounced = reason.as_deref() == Some(SuppressionReason::HardBounce.name());
    let reachability = Reachability {
        has_address: true,
        suppressed: reason.is_some() && !hard_bounced,
        hard_bounced,
        ..Reachability::default()
    };
    if may_message(MessageClass::Transactional, reachability).is_some() {
        ctx.workspace.sign_up_mailed(key, ctx.now()).await?;
        return Ok(Next::Done);
    }
    let Some(pool) = ctx.hub.mail_pool()? else {
        return Ok(Next::Failed("no mail relay is set".to_owned()));
    };
    let (from, bytes) = build(ctx, key, &found).await?;
    let outcome = match pool.connection().await {
        Ok(mut lease) => {
            let envelope = Envelope { return_path: &from, recipient: &found.email };
            lease.send(&envelope, &bytes).await
        }
        Err(error) => return Ok(later(ctx, job, &error.to_string())),
    };
    match outcome {
        Outcome::Sent { .. } => {}
        Outcome::Refused(refusal) if refusal.permanent => {
            if refusal.bounce_class() == BounceClass::Hard {
                let reason = SuppressionReason::HardBounce;
                let at = ctx.now();
                ctx.workspace.suppress(Channel::Email, &found.email, reason, at).await?;
            }
        }
        Outcome::Refused(refusal) => return Ok(later(ctx, job, &refusal.reply)),
        // Rather twice than never: the Message-ID is the same.
        Outcome::Failed { reason, .. } | Outcome::Unknown { reason } => {
            return Ok(later(ctx, job, &reason));
        }
    }
    ctx.workspace.sign_up_mailed(key, ctx.now()).await?;
    Ok(Next::Done)
}

fn later(ctx: &Ctx, job: &Job, reason: &str) -> Next {
    match retry_after_secs(job.attempts.max(1)) {
        Some(secs) => {
            tracing::info!(reason, "a confirmation waits for its relay");
            Next::Again(ctx.now().plus_secs(secs))
        }
        None => Next::Failed(reason.to_owned()),
    }
}

/// The sender's address and the mail.
async fn build(ctx: &Ctx, key: SignUpKey, found: &SignUp) -> Result<(String, Vec<u8>)> {
    let stored = ctx.workspace.form_by_number(found.form).await?;
    let stored = stored.ok_or_else(|| Error::NotFound("the form of a sign-up".to_owned()))?;
    let definition: Definition = super::definition(&stored)?;
    let words = pages::words(ctx, Some(&definition.language)).await?;
    let names: Vec<String> =
        sign_up::given(found)?.topics.into_iter().map(|(name, _)| name).collect();
    let titles: String = shown_topics(ctx, &names, &words)
        .await?
        .iter()
        .map(|topic| format!("<li>{}</li>", escaped(&topic.title)))
        .collect();
    let url = format!("{}/t/s/{}", ctx.hub.settings.public_url, sign_up::token(ctx, key));
    let html = format!(
        "<!doctype html><html lang=\"{language}\"><body style=\"font:16px/1.5 sans-serif\">\
         <p>{text}</p><ul>{titles}</ul>\
         <p><a href=\"{url}\" style=\"display:inline-block;padding:12px 20px;background:#22211f;\
         color:#ffffff;text-decoration:none;border-radius:8px\">{button}</a></p>\
         <p>{ignore}</p></body></html>",
        language = words.language,
        text = escaped(&words.get("mail_text")),
        button = escaped(&words.get("mail_button")),
        ignore = escaped(&words.get("mail_ignore")),
    );
    let from = &definition.sender.address;
    let domain = from.rsplit('@').next().unwrap_or_default();
    let subject = words.get("mail_subject").split_whitespace().collect::<Vec<_>>().join(" ");
    let bytes = mime::build(&mime::Message {
        from: Mailbox { name: Some(&definition.sender.name), address: from },
        to: Mailbox { name: None, address: &found.email },
        reply_to: None,
        subject: &subject,
        html: Some(&html),
        text: None,
        message_id: &format!("{}@{domain}", found.id),
        date_s: found.created_at.0 / 1_000_000,
        unsubscribe: None,
        headers: &[("Auto-Submitted", "auto-generated")],
    })
    .map_err(|error| Error::Internal(format!("build a confirmation: {error}")))?;
    Ok((definition.sender.address.clone(), bytes))
}
