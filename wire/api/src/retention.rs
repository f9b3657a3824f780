//! `/v1/retention`: for how long the workspace keeps what.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::retention::Retention;
use tidings_engine::retention;
use utoipa::ToSchema;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::input::Input;

/// For how many days each kind of data is kept; null is for ever.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionPeriods {
    /// Events, by when they happened. Those that a segment counts, and those of campaigns that ended
    /// less than 90 days ago, stay.
    #[schema(example = 730, minimum = 1, maximum = 36500)]
    pub events_days: Option<u32>,
    /// Address and receiver's reply of messages, from the end of their campaign.
    #[schema(example = 180, minimum = 1, maximum = 36500)]
    pub message_details_days: Option<u32>,
    /// Uploaded files with their refused rows, from the end of the import.
    #[schema(example = 30, minimum = 1, maximum = 36500)]
    pub import_files_days: Option<u32>,
    /// Mails of a demo's mailbox.
    #[schema(minimum = 1, maximum = 36500)]
    pub mailbox_days: Option<u32>,
    /// Customers without a change, an event or a message for so long. No more than `events_days`.
    #[schema(minimum = 30, maximum = 36500)]
    pub inactive_customers_days: Option<u32>,
}

/// What periods would let go of, if they were set now.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetentionPreview {
    pub events: i64,
    pub message_details: i64,
    pub import_files: i64,
    pub mailbox: i64,
    pub inactive_customers: i64,
    /// Events that stay longer because a segment counts them.
    pub kept_for_segments: Vec<KeptForSegment>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct KeptForSegment {
    #[schema(example = "order_placed")]
    pub event: String,
    pub segment: String,
    /// For how many days; null is for ever.
    pub days: Option<i64>,
}

impl From<RetentionPeriods> for Retention {
    fn from(periods: RetentionPeriods) -> Retention {
        Retention {
            events_days: periods.events_days,
            message_details_days: periods.message_details_days,
            import_files_days: periods.import_files_days,
            mailbox_days: periods.mailbox_days,
            inactive_customers_days: periods.inactive_customers_days,
        }
    }
}

/// For how long what is kept.
#[utoipa::path(get, path = "/v1/retention", tag = "Workspace",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = RetentionPeriods)))]
pub async fn show(call: Call<Administer>) -> Result<Json<RetentionPeriods>> {
    let kept = retention::retention(&call.ctx).await?;
    Ok(Json(RetentionPeriods {
        events_days: kept.events_days,
        message_details_days: kept.message_details_days,
        import_files_days: kept.import_files_days,
        mailbox_days: kept.mailbox_days,
        inactive_customers_days: kept.inactive_customers_days,
    }))
}

/// Set for how long what is kept. What is older goes soon, in the background, and cannot come back.
#[utoipa::path(put, path = "/v1/retention", tag = "Workspace",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    request_body = RetentionPeriods,
    responses((status = 204)))]
pub async fn change(
    call: Call<Administer>,
    Input(body): Input<RetentionPeriods>,
) -> Result<StatusCode> {
    retention::set(&call.ctx, body.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Count what periods would let go of, without setting them.
#[utoipa::path(post, path = "/v1/retention/preview", tag = "Workspace",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    request_body = RetentionPeriods,
    responses((status = 200, body = RetentionPreview)))]
pub async fn preview(
    call: Call<Administer>,
    Input(body): Input<RetentionPeriods>,
) -> Result<Json<RetentionPreview>> {
    let retention::Preview { to_go, kept } = retention::preview(&call.ctx, body.into()).await?;
    let kept = kept.into_iter().map(|kept| KeptForSegment {
        event: kept.event,
        segment: kept.segment,
        days: kept.days,
    });
    Ok(Json(RetentionPreview {
        events: to_go.events,
        message_details: to_go.message_details,
        import_files: to_go.import_files,
        mailbox: to_go.mailbox,
        inactive_customers: to_go.inactive_customers,
        kept_for_segments: kept.collect(),
    }))
}
