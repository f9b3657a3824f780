//! `/v1/campaigns/{id}/results`: what a campaign came to, arm by arm and variant by variant, and
//! how its test stands.

use axum::Json;
use serde::{Deserialize, Serialize};
use tidings_domain::campaign::Difference as StoredDifference;
use tidings_domain::{CampaignId, Timestamp};
use tidings_engine::Ctx;
use tidings_engine::campaigns::contest::{Contest as StoredContest, choose as choose_winner};
use tidings_engine::campaigns::{self, GoalResult, GroupResult, Uplift as StoredUplift};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCampaigns, WriteCampaigns};
use crate::errors::Result;
use crate::input::{Input, Path};

/// The customers of one arm with one variant.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultGroup {
    /// `message`, or in a test `test` or `rest`, or `holdout` or `global_holdout`.
    #[schema(example = "test")]
    pub arm: &'static str,
    /// Its name; null where there is no test, or nothing was sent yet.
    pub variant: Option<String>,
    pub customers: i64,
    pub sent: i64,
    pub failed: i64,
    pub bounced: i64,
    pub skipped: i64,
    pub opened: i64,
    pub clicked: i64,
    pub unsubscribed: i64,
    /// Null without a goal.
    pub goal: Option<GoalFigures>,
}

/// What customers did within their window, as far as it has come.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoalFigures {
    /// Customers whose window has begun.
    pub customers: i64,
    /// Of those, who has at least one record within it.
    pub converted: i64,
    /// How many records there are.
    pub conversions: i64,
    /// Their sum, exact; null without an amount.
    #[schema(example = "1234.50")]
    pub revenue: Option<String>,
}

/// How the goal is measured.
#[derive(Debug, Serialize, ToSchema)]
pub struct Goal {
    pub table: String,
    pub window_hours: u32,
    pub currency: Option<String>,
    /// When the last customer's window ends; null while messages are still to go.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closes_at: Option<Timestamp>,
    /// False where the table or a field is gone, so that nothing can be counted.
    pub is_there: bool,
}

/// A difference and the interval that holds the true one 95 times of 100.
#[derive(Debug, Serialize, ToSchema)]
pub struct Difference {
    pub difference: f64,
    pub low: f64,
    pub high: f64,
}

/// How much better those did who got the message than those who were held out. The intervals are
/// meant for one look, when the windows are over.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uplift {
    /// `holdout` or `global_holdout`.
    pub control: &'static str,
    pub treated_customers: i64,
    pub treated_converted: i64,
    pub control_customers: i64,
    pub control_converted: i64,
    /// Of the share of customers who converted, in percentage points.
    pub rate_points: Option<Difference>,
    /// Of the revenue a customer.
    pub revenue_per_customer: Option<Difference>,
}

/// The chance of such evidence if the two variants were equal, at most; however often it is looked
/// at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Chance {
    pub better: String,
    pub than: String,
    pub chance: f64,
}

/// How a test stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Contest {
    /// `opens`, `clicks` or `conversions`.
    pub metric: &'static str,
    /// When the others get the winner; null before the campaign begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// The variant that is certainly better than all others, if one is. Among equal variants this
    /// names one in at most 5 of 100 tests, however often it is asked.
    pub certain: Option<String>,
    /// The one with the highest rate so far; null until the whole audience is known.
    pub leading: Option<String>,
    pub chances: Vec<Chance>,
    /// What the others get, once that is decided.
    pub winner: Option<String>,
    /// `evidence` where it is certainly better; else `best`, `first` or `person`.
    pub decided_by: Option<&'static str>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignResults {
    pub groups: Vec<ResultGroup>,
    pub test: Option<Contest>,
    pub goal: Option<Goal>,
    pub uplift: Option<Uplift>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WinnerInput {
    /// The variant's name.
    #[schema(example = "B")]
    pub variant: String,
}

fn group(found: GroupResult, scale: u8, has_amount: bool) -> ResultGroup {
    let counted = found.group;
    ResultGroup {
        arm: counted.arm.name(),
        variant: found.name,
        customers: counted.customers,
        sent: counted.sent,
        failed: counted.failed,
        bounced: counted.bounced,
        skipped: counted.skipped,
        opened: counted.opened,
        clicked: counted.clicked,
        unsubscribed: counted.unsubscribed,
        goal: found.goal.map(|goal| GoalFigures {
            customers: goal.customers,
            converted: goal.converted,
            conversions: goal.conversions,
            revenue: has_amount.then(|| campaigns::amount_text(goal.amount, scale)),
        }),
    }
}

fn difference(found: StoredDifference, unit: f64) -> Difference {
    Difference {
        difference: found.difference * unit,
        low: found.low * unit,
        high: found.high * unit,
    }
}

fn uplift(found: StoredUplift) -> Uplift {
    Uplift {
        control: found.control.name(),
        treated_customers: found.treated_customers,
        treated_converted: found.treated_converted,
        control_customers: found.control_customers,
        control_converted: found.control_converted,
        rate_points: found.rate.map(|rate| difference(rate, 100.0)),
        revenue_per_customer: found.revenue.map(|revenue| difference(revenue, 1.0)),
    }
}

fn goal(found: GoalResult) -> Goal {
    Goal {
        table: found.goal.table,
        window_hours: found.goal.window_hours,
        currency: found.currency,
        closes_at: found.closes_at,
        is_there: found.is_there,
    }
}

fn contest(found: StoredContest) -> Contest {
    let name = |at: usize| found.test.variants.get(at).map(|one| one.name.clone());
    let named = |at: usize| name(at).unwrap_or_default();
    let shown = found.shown.as_ref();
    let chances = shown.map_or(&[][..], |shown| &shown.chances);
    let winner = found.decision.and_then(|made| usize::try_from(made.winner).ok());
    Contest {
        metric: found.test.metric.name(),
        ends_at: found.ends_at,
        certain: shown.and_then(|shown| shown.winner).and_then(name),
        leading: shown.and_then(|shown| name(shown.best)),
        chances: chances
            .iter()
            .map(|one| Chance {
                better: named(one.better),
                than: named(one.worse),
                chance: one.chance,
            })
            .collect(),
        winner: winner.and_then(name),
        decided_by: found.decision.map(|made| made.by.name()),
        decided_at: found.decision.map(|made| made.at),
    }
}

async fn results(ctx: &Ctx, id: Uuid) -> Result<Json<CampaignResults>> {
    let found = campaigns::results(ctx, CampaignId(id)).await?;
    let scale = found.goal.as_ref().map_or(0, |goal| goal.scale);
    let has_amount = found.goal.as_ref().is_some_and(|goal| goal.goal.amount_field.is_some());
    Ok(Json(CampaignResults {
        groups: found.groups.into_iter().map(|one| group(one, scale, has_amount)).collect(),
        test: found.contest.map(contest),
        goal: found.goal.map(goal),
        uplift: found.uplift.map(uplift),
    }))
}

/// What a campaign came to: figures of each arm and variant, its test, and its goal beside those
/// who were held out.
#[utoipa::path(get, path = "/v1/campaigns/{id}/results", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignResults)))]
pub async fn show(
    call: Call<ReadCampaigns>,
    Path(id): Path<Uuid>,
) -> Result<Json<CampaignResults>> {
    results(&call.ctx, id).await
}

/// End a running test: everybody else gets this variant, at once or at their local time.
#[utoipa::path(post, path = "/v1/campaigns/{id}/winner", tag = "Campaigns",
    request_body = WinnerInput, security(("token" = ["campaigns"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignResults)))]
pub async fn choose(
    call: Call<WriteCampaigns>,
    Path(id): Path<Uuid>,
    Input(body): Input<WinnerInput>,
) -> Result<Json<CampaignResults>> {
    choose_winner(&call.ctx, CampaignId(id), &body.variant).await?;
    results(&call.ctx, id).await
}
