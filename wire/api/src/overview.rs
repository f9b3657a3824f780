//! `/v1/overview`: the figures of the first page.

use axum::Json;
use serde::Serialize;
use tidings_engine::overview;
use utoipa::ToSchema;

use crate::call::{Call, ReadCustomers};
use crate::errors::Result;

/// Figures of the workspace; counts may be some seconds old.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    pub customers: i64,
    pub reachable_by_email: i64,
    pub events_24h: i64,
    /// Whether there is a relay that mail could be handed to.
    pub mail_ready: bool,
}

/// The figures of the first page.
#[utoipa::path(get, path = "/v1/overview", tag = "Overview",
    security(("token" = ["customers:read"])),
    responses((status = 200, body = Overview)))]
pub async fn show(call: Call<ReadCustomers>) -> Result<Json<Overview>> {
    let counts = overview::counts(&call.ctx).await?;
    Ok(Json(Overview {
        customers: counts.customers,
        reachable_by_email: counts.reachable_by_email,
        events_24h: counts.events,
        mail_ready: call.ctx.hub.settings.smtp_url.is_some(),
    }))
}
