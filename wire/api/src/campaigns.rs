//! `/v1/campaigns`: one-off campaigns, from draft to report.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tidings_domain::campaign::{DeliveryState, MessageClass};
use tidings_domain::{CampaignId, CustomerId, SegmentId, TemplateId, Timestamp};
use tidings_engine::Ctx;
use tidings_engine::campaigns::{self, CampaignDraft, Delivery as StoredDelivery, Level, Progress};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadCampaigns, WriteCampaigns};
use crate::errors::{Problem, Result};
use crate::input::{Input, OptionalInput, Path, Query};
use crate::paging::{List, Paging, checked_limit, place};
use crate::plans::{GoalPlan, LocalPlan, Plan, TestPlan};
use crate::templates::{Preview, preview};

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

#[derive(Debug, Serialize, ToSchema)]
pub struct SkippedCounts {
    pub suppressed: i64,
    pub hard_bounced: i64,
    pub no_consent: i64,
    pub no_address: i64,
    pub local_time_passed: i64,
    /// Held out of this campaign.
    pub holdout: i64,
    /// Held out of all campaigns.
    pub global_holdout: i64,
}

/// How many get the message within an hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct HourCount {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub count: i64,
}

/// How many get a variant within the test.
#[derive(Debug, Serialize, ToSchema)]
pub struct VariantCount {
    pub name: String,
    pub count: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReviewProblem {
    /// `error` where the campaign cannot be launched, else `warning`.
    pub level: &'static str,
    pub message: String,
    pub fix: String,
    /// The part of the template it is in, and where in it, counted from 1.
    pub part: Option<String>,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// What a launch would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Review {
    pub audience: i64,
    pub will_send: i64,
    pub skipped: SkippedCounts,
    /// The message as one customer of the audience would get it.
    pub sample: Option<Preview>,
    pub problems: Vec<ReviewProblem>,
    pub mail_ready: bool,
    /// When it would begin if it were launched now; null where that is at once.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub begins_at: Option<Timestamp>,
    /// Of those it is sent to: how many in which hour. Empty where all get it at once.
    pub hours: Vec<HourCount>,
    /// Of those it is sent to: whose attribute names no time zone.
    pub unknown_zone: i64,
    /// How many get each variant of the test; empty without one.
    pub variants: Vec<VariantCount>,
    /// How many wait for the winner.
    pub rest: i64,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchInput {
    /// When to send; the draft's time, or now, unless given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// What to do with messages that a crash left uncertain.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UncertainAction {
    Resend,
    GiveUp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UncertainInput {
    pub action: UncertainAction,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UncertainDone {
    pub resolved: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Recipient {
    pub id: Uuid,
    pub email: Option<String>,
    pub external_id: Option<String>,
}

/// Who got a message, who not and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    pub id: Uuid,
    pub customer: Recipient,
    /// `due`, `in_flight`, `sent`, `failed`, `bounced`, `skipped`, `uncertain` or `cancelled`.
    #[schema(example = "sent")]
    pub state: &'static str,
    pub reason: Option<String>,
    /// What the relay said.
    pub reply: Option<String>,
    pub attempts: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clicked_at: Option<Timestamp>,
    /// `message`, or in a test `test` or `rest`, or `holdout` or `global_holdout`; null where
    /// nobody could send to them.
    pub arm: Option<&'static str>,
    /// The variant's name, where there is a test.
    pub variant: Option<String>,
    /// When it is due, while it is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    pub message_id: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    pub state: Option<String>,
    pub reason: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    pub cursor: Option<String>,
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

fn delivery(
    stored: StoredDelivery,
    campaign: &tidings_engine::campaigns::Campaign,
    domain: &str,
) -> Delivery {
    let variant = campaigns::variant_name(campaign, &stored).map(str::to_owned);
    let sent = stored.state == DeliveryState::Sent;
    let waiting = stored.state == DeliveryState::Due && stored.attempts > 0;
    Delivery {
        id: stored.id.0,
        customer: Recipient {
            id: stored.customer.0,
            email: stored.address,
            external_id: stored.external_id,
        },
        state: stored.state.name(),
        reason: stored.reason,
        reply: stored.reply,
        attempts: stored.attempts,
        next_attempt_at: waiting.then_some(stored.due_at),
        sent_at: stored.finished_at.filter(|_| sent),
        opened_at: stored.opened_at,
        clicked_at: stored.clicked_at,
        arm: stored.arm.map(|arm| arm.name()),
        variant,
        due_at: (stored.state == DeliveryState::Due).then_some(stored.due_at),
        message_id: format!("{}@{domain}", stored.id),
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

/// Who would get the message, who not and why, and how it looks.
#[utoipa::path(get, path = "/v1/campaigns/{id}/review", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Review)))]
pub async fn review(call: Call<ReadCampaigns>, Path(id): Path<Uuid>) -> Result<Json<Review>> {
    let found = campaigns::review(&call.ctx, CampaignId(id)).await?;
    let stored = campaigns::get(&call.ctx, CampaignId(id)).await?;
    let (local, test) = (stored.plan.local, stored.plan.test);
    let hours = found.audience.hours.into_iter().map(|(at, count)| HourCount { at, count });
    let names = test.into_iter().flat_map(|test| test.variants).map(|variant| variant.name);
    let counts = &found.audience.variants;
    let count = |at| i16::try_from(at).ok().and_then(|at| counts.get(&at)).copied();
    let variants = names
        .enumerate()
        .map(|(at, name)| VariantCount { name, count: count(at).unwrap_or_default() })
        .collect();
    Ok(Json(Review {
        begins_at: found.begins_at,
        hours: hours.filter(|_| local.is_some()).collect(),
        unknown_zone: found.audience.unknown_zone,
        variants,
        rest: found.audience.rest,
        audience: found.audience.audience,
        will_send: found.audience.will_send,
        skipped: SkippedCounts {
            suppressed: found.audience.suppressed,
            hard_bounced: found.audience.hard_bounced,
            no_consent: found.audience.no_consent,
            no_address: found.audience.no_address,
            local_time_passed: found.audience.local_time_passed,
            holdout: found.audience.holdout,
            global_holdout: found.audience.global_holdout,
        },
        sample: found.sample.map(preview),
        problems: found
            .problems
            .into_iter()
            .map(|problem| ReviewProblem {
                level: match problem.level {
                    Level::Error => "error",
                    Level::Warning => "warning",
                },
                message: problem.message,
                fix: problem.fix,
                part: problem.part,
                line: problem.place.map(|(line, _)| line),
                column: problem.place.map(|(_, column)| column),
            })
            .collect(),
        mail_ready: found.mail_ready,
    }))
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

/// Decide over the messages that a crash left uncertain.
#[utoipa::path(post, path = "/v1/campaigns/{id}/uncertain", tag = "Campaigns",
    request_body = UncertainInput, security(("token" = ["campaigns"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = UncertainDone)))]
pub async fn uncertain(
    call: Call<WriteCampaigns>,
    Path(id): Path<Uuid>,
    Input(body): Input<UncertainInput>,
) -> Result<Json<UncertainDone>> {
    let resend = matches!(body.action, UncertainAction::Resend);
    let resolved = campaigns::resolve_uncertain(&call.ctx, CampaignId(id), resend).await?;
    Ok(Json(UncertainDone { resolved }))
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

fn state(text: Option<&str>) -> Result<Option<DeliveryState>> {
    let Some(text) = text else { return Ok(None) };
    let known = DeliveryState::parse(text);
    known.map(Some).ok_or_else(|| {
        let names: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.name()).collect();
        Problem::field("state", "invalid_value", format!("expected one of {}", names.join(", ")))
    })
}

/// Who got a message, who not and why.
#[utoipa::path(get, path = "/v1/campaigns/{id}/deliveries", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), DeliveriesQuery),
    responses((status = 200, body = List<Delivery>)))]
pub async fn deliveries(
    call: Call<ReadCampaigns>,
    Path(id): Path<Uuid>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<List<Delivery>>> {
    let after: Option<CustomerId> = place(query.cursor.as_deref())?;
    let limit = checked_limit(query.limit)?;
    let state = state(query.state.as_deref())?;
    let found = campaigns::get(&call.ctx, CampaignId(id)).await?;
    let domain = domain(&found.sender.address).to_owned();
    let page = campaigns::deliveries(&call.ctx, &found, state, query.reason, after, limit).await?;
    let items = page.items.into_iter().map(|one| delivery(one, &found, &domain)).collect();
    Ok(Json(List::page(items, page.next)))
}

fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

/// The whole list as CSV, streamed.
#[utoipa::path(get, path = "/v1/campaigns/{id}/deliveries.csv", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String)))]
pub async fn deliveries_csv(call: Call<ReadCampaigns>, Path(id): Path<Uuid>) -> Result<Response> {
    let found = campaigns::get(&call.ctx, CampaignId(id)).await?;
    let name = format!("attachment; filename=\"campaign-{}-deliveries.csv\"", found.number);
    let lines = campaigns::deliveries_csv(call.ctx, found);
    let body = Body::from_stream(lines.map(|chunk| chunk.map_err(std::io::Error::other)));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}
