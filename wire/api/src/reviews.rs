//! `/v1/campaigns/{id}/review`: what a launch would do.

use axum::Json;
use serde::Serialize;
use tidings_domain::{CampaignId, Timestamp};
use tidings_engine::campaigns::{self, Level};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCampaigns};
use crate::errors::Result;
use crate::input::Path;
use crate::templates::{Preview, preview};

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
