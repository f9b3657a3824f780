//! One-off campaigns: planned, reviewed, launched, watched.

pub mod contest;
mod goals;
mod list;
mod placing;
mod results;

pub use list::{deliveries, deliveries_csv, variant_name};
pub(crate) use placing::{audience, placing};
pub use results::{GoalResult, GroupResult, Results, Uplift, amount_text, results};
use tidings_domain::campaign::{CampaignState, DeliveryState, MessageClass, begins_at};
use tidings_domain::schema::checked_name;
use tidings_domain::{CampaignId, Timestamp, checked};
use tidings_store::Page;
pub use tidings_store::campaigns::{Campaign, CampaignDraft, Counts, Decision, Sender};
use tidings_store::customers::Customer;
use tidings_store::deliveries::Review as Audience;
pub use tidings_store::deliveries::{Delivery, LinkClicks};
use tidings_store::templates::TemplateDraft;

use crate::checks::{self, Finding};
use crate::messages::{Compiled, Parts};
use crate::{Ctx, Error, Fault, Result, mail, segments, templates};

/// How serious a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The campaign cannot be launched.
    Error,
    Warning,
}

/// Something that a review found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub level: Level,
    pub message: String,
    pub fix: String,
    /// Which part of the template it is in, and at which line and column of it.
    pub part: Option<String>,
    pub place: Option<(u32, u32)>,
}

impl Problem {
    fn new(level: Level, message: impl Into<String>, fix: impl Into<String>) -> Problem {
        Problem { level, message: message.into(), fix: fix.into(), part: None, place: None }
    }
}

impl From<Finding> for Problem {
    fn from(found: Finding) -> Problem {
        Problem {
            level: found.level,
            message: found.message,
            fix: found.fix,
            part: Some(found.part),
            place: found.place,
        }
    }
}

/// What a user sees before a launch.
pub struct Review {
    pub audience: Audience,
    pub sample: Option<templates::Preview>,
    pub problems: Vec<Problem>,
    pub mail_ready: bool,
    /// When it would begin if it were launched now; `None` where it would be at once.
    pub begins_at: Option<Timestamp>,
}

/// How a campaign goes.
pub struct Progress {
    pub campaign: Campaign,
    pub counts: Counts,
    /// Messages sent a second, over the last ten seconds or since the start.
    pub rate_per_second: f64,
    pub eta_seconds: Option<i64>,
}

/// One campaign by its id.
pub async fn get(ctx: &Ctx, id: CampaignId) -> Result<Campaign> {
    let found = ctx.workspace.campaign(id).await?;
    found.ok_or_else(|| Error::NotFound(format!("campaign {id}")))
}

/// Saves a draft.
pub async fn create(ctx: &Ctx, draft: CampaignDraft) -> Result<CampaignId> {
    Ok(ctx.workspace.add_campaign(checked_draft(ctx, draft).await?, ctx.now()).await?)
}

/// Changes a draft; a launched campaign cannot be changed.
pub async fn change(ctx: &Ctx, id: CampaignId, draft: CampaignDraft) -> Result<()> {
    get(ctx, id).await?;
    match ctx.workspace.change_campaign(id, checked_draft(ctx, draft).await?).await? {
        true => Ok(()),
        false => Err(Error::Conflict("only a draft can be changed".to_owned())),
    }
}

/// Drops a draft.
pub async fn drop(ctx: &Ctx, id: CampaignId) -> Result<()> {
    if !ctx.workspace.is_done_already().await? {
        get(ctx, id).await?;
    }
    match ctx.workspace.drop_campaign(id).await? {
        true => Ok(()),
        false => Err(Error::Conflict("only a draft can be dropped".to_owned())),
    }
}

async fn checked_draft(ctx: &Ctx, draft: CampaignDraft) -> Result<CampaignDraft> {
    let draft = checked_parts(draft)?;
    let schema = ctx.workspace.schema().await?;
    draft
        .plan
        .check(draft.class, &schema)
        .map_err(|fault| Error::invalid(fault.path, fault.message))?;
    Ok(draft)
}

/// Checks what needs nothing but the draft.
pub(crate) fn checked_parts(mut draft: CampaignDraft) -> Result<CampaignDraft> {
    checked_name(&draft.name).map_err(|text| Error::invalid("name", text))?;
    let sender = &mut draft.sender;
    sender.address =
        checked::email(&sender.address).map_err(|text| Error::invalid("sender.address", text))?;
    if sender.name.chars().any(char::is_control) || sender.name.chars().count() > 200 {
        return Err(Error::invalid("sender.name", "expected at most 200 characters in one line"));
    }
    if let Some(reply_to) = &mut sender.reply_to {
        *reply_to =
            checked::email(reply_to).map_err(|text| Error::invalid("sender.reply_to", text))?;
    }
    check_link_parameters(&draft.link_parameters)?;
    if draft.plan.local.is_some() && draft.scheduled_at.is_some() {
        let text = "a campaign at a local time has no other time";
        return Err(Error::invalid("scheduled_at", text));
    }
    Ok(draft)
}

fn check_link_parameters(parameters: &[(String, String)]) -> Result<()> {
    if parameters.len() > 20 {
        return Err(Error::invalid("link_parameters", "a campaign adds at most 20 parameters"));
    }
    for (name, value) in parameters {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || name.len() > 50 || !name.chars().all(fits) {
            let text = "expected a name such as utm_source";
            return Err(Error::invalid(format!("link_parameters.{name}"), text));
        }
        if value.is_empty() || value.len() > 200 || value.chars().any(char::is_control) {
            let text = "expected 1 to 200 bytes in one line";
            return Err(Error::invalid(format!("link_parameters.{name}"), text));
        }
    }
    Ok(())
}

/// Counts who would get the message, who not and why, renders it for one of them, and says what
/// stands in the way.
pub async fn review(ctx: &Ctx, id: CampaignId) -> Result<Review> {
    let campaign = get(ctx, id).await?;
    let begins_at = planned_start(&campaign).filter(|at| *at > ctx.now());
    let begun = campaign.started_at.or(begins_at).unwrap_or_else(|| ctx.now());
    let placing = placing(ctx, &campaign, begun).await?;
    let whom = audience(ctx, &campaign, placing).await?;
    let condition = whom.condition.clone();
    let audience = ctx.workspace.review_audience(whom).await?;
    let drafts = contest::drafts(ctx, &campaign).await?;
    let mut problems = Vec::new();
    let sample = match drafts.first() {
        Some(draft) => sample(ctx, &campaign, draft, condition, &mut problems).await?,
        None => None,
    };
    let sender = &campaign.sender.address;
    let mail_ready = mail::has_way(ctx, sender).await?;
    if !mail_ready {
        problems.push(Problem::new(
            Level::Error,
            "no mail relay is set",
            "add one under Settings, E-mail; or start the hub with --smtp-url",
        ));
    }
    if !ctx.hub.settings.demo && !mail::is_signed(ctx, sender).await? {
        let domain = mail::domain_of(sender).unwrap_or_default();
        problems.push(Problem::new(
            Level::Warning,
            format!("mail from {domain} is not signed, and big receivers refuse such mail"),
            format!("make a DKIM key for {domain} under Settings, E-mail"),
        ));
    }
    if audience.will_send == 0 {
        problems.push(Problem::new(
            Level::Warning,
            "nobody would get this message",
            "check the segment, and that customers have an address and consent",
        ));
    }
    problems.extend(placing::problems(&campaign, &audience, begun));
    for (variant, draft) in drafts.iter().enumerate() {
        // Only the first variant was rendered.
        let parts = sample.as_ref().map(|preview| &preview.parts).filter(|_| variant == 0);
        for finding in findings(ctx, &campaign, draft, parts).await? {
            let mut problem = Problem::from(finding);
            if let Some(name) = contest::name_of(&campaign, variant) {
                problem.message = format!("variant {name}: {}", problem.message);
            }
            problems.push(problem);
        }
        problems.extend(contest::hidden_subject(&campaign, variant, draft));
    }
    problems.sort_by_key(|problem| problem.level == Level::Warning);
    Ok(Review { audience, sample, problems, mail_ready, begins_at })
}

/// When a campaign is planned to begin, if not at its launch.
fn planned_start(campaign: &Campaign) -> Option<Timestamp> {
    match &campaign.plan.local {
        Some(local) => Some(begins_at(local.at)),
        None => campaign.scheduled_at,
    }
}

/// What is wrong with a campaign's template.
async fn findings(
    ctx: &Ctx,
    campaign: &Campaign,
    draft: &TemplateDraft,
    sample: Option<&Parts>,
) -> Result<Vec<Finding>> {
    let compiled = match Compiled::new(ctx, draft, ctx.now()).await {
        Ok(compiled) => compiled,
        Err(Error::Invalid(faults)) => return Ok(faults.into_iter().map(finding).collect()),
        Err(other) => return Err(other),
    };
    let schema = ctx.workspace.schema().await?;
    let is_marketing = campaign.class == MessageClass::Marketing;
    Ok(checks::check(draft, &compiled, &schema, is_marketing, sample))
}

/// A template that was sound when it was saved may be so no more.
fn finding(fault: Fault) -> Finding {
    Finding {
        level: Level::Error,
        code: fault.code,
        message: fault.message,
        fix: "correct the template".to_owned(),
        part: fault.path,
        place: fault.place,
    }
}

/// The message as the first customer of the audience would get it.
async fn sample(
    ctx: &Ctx,
    campaign: &Campaign,
    draft: &TemplateDraft,
    condition: segments::Condition,
    problems: &mut Vec<Problem>,
) -> Result<Option<templates::Preview>> {
    let first: Option<Customer> =
        ctx.workspace.customers(Some(condition), None, 1).await?.items.pop();
    let Some(customer) = first else { return Ok(None) };
    let reference = tidings_domain::change::CustomerRef::Id(customer.id);
    let options = templates::PreviewOptions {
        link_parameters: campaign.link_parameters.clone(),
        ..Default::default()
    };
    match templates::preview(ctx, draft, Some(reference), options).await {
        Ok(preview) => Ok(Some(preview)),
        Err(Error::Invalid(faults)) => {
            let faults = Error::Invalid(faults);
            problems.push(Problem::new(
                Level::Warning,
                format!("the message cannot be rendered for a customer: {faults}"),
                "open the template's preview with this customer",
            ));
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// Launches a campaign now or at a time; the template's version is fixed by it.
pub async fn launch(ctx: &Ctx, id: CampaignId, at: Option<Timestamp>) -> Result<()> {
    let campaign = get(ctx, id).await?;
    if !mail::has_way(ctx, &campaign.sender.address).await? {
        return Err(Error::Conflict(mail::NO_RELAY.to_owned()));
    }
    if at.is_some() && campaign.plan.local.is_some() {
        let text = "a campaign at a local time is sent at that time alone";
        return Err(Error::invalid("at", text));
    }
    for draft in contest::drafts(ctx, &campaign).await? {
        let found = findings(ctx, &campaign, &draft, None).await?;
        if let Some(error) = found.iter().find(|finding| finding.level == Level::Error) {
            let place =
                error.place.map_or(String::new(), |(line, column)| format!(" {line}:{column}"));
            let (part, message) = (&error.part, &error.message);
            let text = format!("the template is not ready: {part}{place}: {message}");
            return Err(Error::Conflict(text));
        }
    }
    let at = at.or_else(|| planned_start(&campaign)).unwrap_or_else(|| ctx.now()).max(ctx.now());
    if !ctx.workspace.launch_campaign(id, at).await? {
        let state = campaign.state.name();
        return Err(Error::Conflict(format!("a campaign that is {state} cannot be launched")));
    }
    ctx.hub.wake(ctx.workspace.row.id, at);
    Ok(())
}

/// Stops handing messages over until resumed; what is on its way is finished.
pub async fn pause(ctx: &Ctx, id: CampaignId) -> Result<()> {
    moved(ctx, id, "paused", ctx.workspace.pause_campaign(id).await?).await
}

/// Goes on where a pause stopped.
pub async fn resume(ctx: &Ctx, id: CampaignId) -> Result<()> {
    moved(ctx, id, "resumed", ctx.workspace.resume_campaign(id, ctx.now()).await?).await
}

/// Ends a campaign for good; what is not on its way stays unsent.
pub async fn cancel(ctx: &Ctx, id: CampaignId) -> Result<()> {
    moved(ctx, id, "cancelled", ctx.workspace.cancel_campaign(id, ctx.now()).await?).await
}

async fn moved(ctx: &Ctx, id: CampaignId, how: &str, done: bool) -> Result<()> {
    ctx.wake();
    if done {
        return Ok(());
    }
    let state = get(ctx, id).await?.state.name();
    Err(Error::Conflict(format!("a campaign that is {state} cannot be {how}")))
}

/// Decides over the messages that a crash left uncertain; gives how many.
pub async fn resolve_uncertain(ctx: &Ctx, id: CampaignId, resend: bool) -> Result<u64> {
    let campaign = get(ctx, id).await?;
    let touched = ctx.workspace.resolve_uncertain(campaign.number, resend, ctx.now()).await?;
    ctx.wake();
    Ok(touched)
}

/// How a campaign goes.
pub async fn progress(ctx: &Ctx, id: CampaignId) -> Result<Progress> {
    let campaign = get(ctx, id).await?;
    progress_of(ctx, campaign).await
}

/// How a campaign that is at hand goes.
pub async fn progress_of(ctx: &Ctx, campaign: Campaign) -> Result<Progress> {
    let counts = ctx.workspace.campaign_counts(campaign.number).await?;
    let done = counts.sent + counts.failed + counts.bounced;
    let ended = campaign.finished_at.unwrap_or_else(|| ctx.now());
    let elapsed_ms = campaign.started_at.map_or(0, |start| ended.ms_since(start)).max(1);
    let rate_per_second = done as f64 * 1_000.0 / elapsed_ms as f64;
    // What waits for its time says nothing of how long the rest will take.
    let waits = campaign.plan.local.is_some() || campaign.plan.test.is_some();
    let sends = matches!(campaign.state, CampaignState::Preparing | CampaignState::Sending);
    let moving = sends && !waits;
    let left = counts.due + counts.in_flight;
    let eta_seconds =
        (moving && rate_per_second > 0.0).then(|| (left as f64 / rate_per_second).ceil() as i64);
    Ok(Progress { campaign, counts, rate_per_second, eta_seconds })
}

/// Campaigns with their figures, newest first.
pub async fn page(ctx: &Ctx, before: i32, limit: usize) -> Result<Page<Progress, i32>> {
    let page = ctx.workspace.campaigns(before, limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for campaign in page.items {
        items.push(progress_of(ctx, campaign).await?);
    }
    Ok(Page { items, next: page.next })
}

/// Everything that is known of how a campaign went.
pub struct Report {
    pub progress: Progress,
    /// How many were sent in each minute.
    pub per_minute: Vec<(Timestamp, i64)>,
    pub links: Vec<LinkClicks>,
    /// Why messages were skipped, failed or bounced.
    pub reasons: Vec<(DeliveryState, String, i64)>,
}

/// Everything that is known of how a campaign goes.
pub async fn report(ctx: &Ctx, id: CampaignId) -> Result<Report> {
    let progress = progress(ctx, id).await?;
    let number = progress.campaign.number;
    Ok(Report {
        per_minute: ctx.workspace.campaign_per_minute(number).await?,
        links: ctx.workspace.link_clicks(id).await?,
        reasons: ctx.workspace.campaign_reasons(number).await?,
        progress,
    })
}
