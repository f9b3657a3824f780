//! `/v1/campaigns`: one-off campaigns, from draft to report.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::campaign::MessageClass;
use tidings_domain::{CampaignId, SegmentId, TemplateId, Timestamp};
use tidings_engine::Ctx;
use tidings_engine::campaigns::{self, CampaignDraft, Progress};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCampaigns, WriteCampaigns};
use crate::errors::Result;
use crate::input::{Input, OptionalInput, Path, Query};
use crate::paging::{List, Paging};
use crate::plans::{GoalPlan, LocalPlan, Plan, TestPlan};

/// Whose name and address a message carries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    #[schema(example = "Harbour & Hearth")]
    pub name: String,
    #[schema(example = "letters@example.com")]
    pub address: String,
    #[serde(default)]
    pub reply_to: Option<String>,
}

impl From<Sender> for campaigns::Sender {
    fn from(sender: Sender) -> campaigns::Sender {
        campaigns::Sender {
            name: sender.name,
            address: sender.address,
            reply_to: sender.reply_to.filter(|text| !text.is_empty()),
        }
    }
}

/// Marketing needs consent and is held after a crash; transactional does not and is sent again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Marketing,
    Transactional,
}

impl From<Class> for MessageClass {
    fn from(class: Class) -> MessageClass {
        match class {
            Class::Marketing => MessageClass::Marketing,
            Class::Transactional => MessageClass::Transactional,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignInput {
    pub name: String,
    /// Null means every customer.
    pub segment_id: Option<Uuid>,
    pub template_id: Uuid,
    pub sender: Sender,
    pub class: Class,
    /// The name of an e-mail topic that it is about: then it goes to those who want that topic.
    #[serde(default)]
    #[schema(example = "offers")]
    pub topic: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub scheduled_at: Option<Timestamp>,
    /// Added to every web link of the mail, unless the link has a parameter of that name.
    #[serde(default)]
    #[schema(example = json!({"utm_source": "tidings", "utm_medium": "email"}))]
    pub link_parameters: BTreeMap<String, String>,
    /// Send when each customer's own clock shows a time, instead of at one time for all.
    #[serde(default)]
    pub local: Option<LocalPlan>,
    /// The share of the audience that gets nothing, so that the others can be compared with it:
    /// above 0 and below 100, with at most two decimals.
    #[serde(default)]
    #[schema(example = 10)]
    pub holdout_percent: Option<f64>,
    /// Variants of the message and who gets them.
    #[serde(default)]
    pub test: Option<TestPlan>,
    /// What counts as success.
    #[serde(default)]
    pub goal: Option<GoalPlan>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Named {
    pub id: Uuid,
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UsedTemplate {
    pub id: Uuid,
    pub name: String,
    pub version: i32,
}

/// How many deliveries stand where; `audience` is the sum of the states.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counts {
    pub audience: i64,
    pub due: i64,
    pub in_flight: i64,
    pub sent: i64,
    pub failed: i64,
    pub bounced: i64,
    pub skipped: i64,
    pub uncertain: i64,
    pub cancelled: i64,
    pub opened: i64,
    pub clicked: i64,
    pub unsubscribed: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Campaign {
    pub id: Uuid,
    pub number: i32,
    pub name: String,
    /// `draft`, `scheduled`, `preparing`, `sending`, `paused`, `done` or `cancelled`.
    #[schema(example = "sending")]
    pub state: &'static str,
    pub segment: Option<Named>,
    pub template: UsedTemplate,
    pub sender: Sender,
    pub class: Class,
    pub topic: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub scheduled_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Added to every web link of the mail.
    pub link_parameters: BTreeMap<String, String>,
    #[serde(flatten)]
    pub plan: Plan,
    /// Why it paused by itself: `bounces`; null where it did not.
    pub paused_because: Option<String>,
    pub counts: Counts,
    pub rate_per_second: f64,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchInput {
    /// When to send; the draft's time, or now, unless given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Minute {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub sent: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LinkClicks {
    pub url: String,
    pub clicks: i64,
    pub unique_clicks: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CountedReason {
    pub state: &'static str,
    pub reason: String,
    pub count: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignProgress {
    pub state: &'static str,
    pub counts: Counts,
    pub rate_per_second: f64,
    pub eta_seconds: Option<i64>,
    pub per_minute: Vec<Minute>,
    pub links: Vec<LinkClicks>,
    pub reasons: Vec<CountedReason>,
}

fn counts(counts: campaigns::Counts) -> Counts {
    Counts {
        audience: counts.audience(),
        due: counts.due,
        in_flight: counts.in_flight,
        sent: counts.sent,
        failed: counts.failed,
        bounced: counts.bounced,
        skipped: counts.skipped,
        uncertain: counts.uncertain,
        cancelled: counts.cancelled,
        opened: counts.opened,
        clicked: counts.clicked,
        unsubscribed: counts.unsubscribed,
    }
}

pub(crate) fn campaign(progress: Progress) -> Campaign {
    let stored = progress.campaign;
    Campaign {
        plan: Plan::from(stored.plan),
        paused_because: stored.paused_because,
        id: stored.id.0,
        number: stored.number,
        name: stored.name,
        state: stored.state.name(),
        segment: stored.segment.map(|(id, _, name)| Named { id: id.0, name }),
        template: UsedTemplate {
            id: stored.template.0.0,
            name: stored.template.2,
            version: stored.template_version,
        },
        sender: Sender {
            name: stored.sender.name,
            address: stored.sender.address,
            reply_to: stored.sender.reply_to,
        },
        class: match stored.class {
            MessageClass::Marketing => Class::Marketing,
            MessageClass::Transactional => Class::Transactional,
        },
        topic: stored.topic,
        scheduled_at: stored.scheduled_at,
        started_at: stored.started_at,
        finished_at: stored.finished_at,
        created_at: stored.created_at,
        link_parameters: stored.link_parameters.into_iter().collect(),
        counts: counts(progress.counts),
        rate_per_second: progress.rate_per_second,
    }
}

fn draft(body: CampaignInput) -> Result<CampaignDraft> {
    let plan = Plan {
        local: body.local,
        holdout_percent: body.holdout_percent,
        test: body.test,
        goal: body.goal,
    };
    Ok(CampaignDraft {
        plan: plan.checked()?,
        name: body.name,
        segment: body.segment_id.map(SegmentId),
        template: TemplateId(body.template_id),
        sender: body.sender.into(),
        class: body.class.into(),
        topic: body.topic.filter(|topic| !topic.is_empty()),
        scheduled_at: body.scheduled_at,
        link_parameters: body.link_parameters.into_iter().collect(),
    })
}

async fn one(ctx: &Ctx, id: CampaignId) -> Result<Json<Campaign>> {
    Ok(Json(campaign(campaigns::progress(ctx, id).await?)))
}

/// Campaigns, newest first.
#[utoipa::path(get, path = "/v1/campaigns", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(Paging),
    responses((status = 200, body = List<Campaign>)))]
pub async fn list(
    call: Call<ReadCampaigns>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Campaign>>> {
    let before = paging.place()?.unwrap_or(i32::MAX);
    let page = campaigns::page(&call.ctx, before, paging.limit()?).await?;
    Ok(Json(List::page(page.items.into_iter().map(campaign).collect(), page.next)))
}

/// Save a draft.
#[utoipa::path(post, path = "/v1/campaigns", tag = "Campaigns", request_body = CampaignInput,
    security(("token" = ["campaigns"]), ("session" = ["editor"])),
    responses((status = 201, body = Campaign)))]
pub async fn create(
    call: Call<WriteCampaigns>,
    Input(body): Input<CampaignInput>,
) -> Result<(StatusCode, Json<Campaign>)> {
    let id = campaigns::create(&call.ctx, draft(body)?).await?;
    Ok((StatusCode::CREATED, one(&call.ctx, id).await?))
}

/// One campaign with its counts.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Campaign)))]
pub async fn show(call: Call<ReadCampaigns>, Path(id): Path<Uuid>) -> Result<Json<Campaign>> {
    one(&call.ctx, CampaignId(id)).await
}

/// Change a draft: the whole of it.
#[utoipa::path(patch, path = "/v1/campaigns/{id}", tag = "Campaigns",
    request_body = CampaignInput, security(("token" = ["campaigns"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Campaign)))]
pub async fn change(
    call: Call<WriteCampaigns>,
    Path(id): Path<Uuid>,
    Input(body): Input<CampaignInput>,
) -> Result<Json<Campaign>> {
    campaigns::change(&call.ctx, CampaignId(id), draft(body)?).await?;
    one(&call.ctx, CampaignId(id)).await
}

/// Remove a draft.
#[utoipa::path(delete, path = "/v1/campaigns/{id}", tag = "Campaigns",
    security(("token" = ["campaigns"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteCampaigns>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    campaigns::drop(&call.ctx, CampaignId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Launch a campaign, now or at a time.
#[utoipa::path(post, path = "/v1/campaigns/{id}/launch", tag = "Campaigns",
    request_body(content = Option<LaunchInput>), security(("token" = ["campaigns"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Campaign)))]
pub async fn launch(
    call: Call<WriteCampaigns>,
    Path(id): Path<Uuid>,
    OptionalInput(body): OptionalInput<LaunchInput>,
) -> Result<Json<Campaign>> {
    campaigns::launch(&call.ctx, CampaignId(id), body.at).await?;
    one(&call.ctx, CampaignId(id)).await
}

/// Stop handing over until resumed; what is on its way is finished.
#[utoipa::path(post, path = "/v1/campaigns/{id}/pause", tag = "Campaigns",
    security(("token" = ["campaigns"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Campaign)))]
pub async fn pause(call: Call<WriteCampaigns>, Path(id): Path<Uuid>) -> Result<Json<Campaign>> {
    campaigns::pause(&call.ctx, CampaignId(id)).await?;
    one(&call.ctx, CampaignId(id)).await
}

/// Go on where a pause stopped.
#[utoipa::path(post, path = "/v1/campaigns/{id}/resume", tag = "Campaigns",
    security(("token" = ["campaigns"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Campaign)))]
pub async fn resume(call: Call<WriteCampaigns>, Path(id): Path<Uuid>) -> Result<Json<Campaign>> {
    campaigns::resume(&call.ctx, CampaignId(id)).await?;
    one(&call.ctx, CampaignId(id)).await
}

/// End a campaign for good; what is not on its way stays unsent.
#[utoipa::path(post, path = "/v1/campaigns/{id}/cancel", tag = "Campaigns",
    security(("token" = ["campaigns"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Campaign)))]
pub async fn cancel(call: Call<WriteCampaigns>, Path(id): Path<Uuid>) -> Result<Json<Campaign>> {
    campaigns::cancel(&call.ctx, CampaignId(id)).await?;
    one(&call.ctx, CampaignId(id)).await
}

/// How a campaign goes, in figures.
#[utoipa::path(get, path = "/v1/campaigns/{id}/progress", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignProgress)))]
pub async fn progress(
    call: Call<ReadCampaigns>,
    Path(id): Path<Uuid>,
) -> Result<Json<CampaignProgress>> {
    let report = campaigns::report(&call.ctx, CampaignId(id)).await?;
    Ok(Json(CampaignProgress {
        state: report.progress.campaign.state.name(),
        rate_per_second: report.progress.rate_per_second,
        eta_seconds: report.progress.eta_seconds,
        counts: counts(report.progress.counts),
        per_minute: report.per_minute.into_iter().map(|(at, sent)| Minute { at, sent }).collect(),
        links: report
            .links
            .into_iter()
            .map(|link| LinkClicks {
                url: link.url,
                clicks: link.clicks,
                unique_clicks: link.unique_clicks,
            })
            .collect(),
        reasons: report
            .reasons
            .into_iter()
            .map(|(state, reason, count)| CountedReason { state: state.name(), reason, count })
            .collect(),
    }))
}
