//! `/v1/sending-rules`: what holds for every campaign of the workspace.

use axum::Json;
use serde::{Deserialize, Serialize};
use tidings_domain::campaign::Share;
use tidings_engine::sending_rules::{self, AlertMail, BounceLimit};
use utoipa::ToSchema;

use crate::call::{Administer, Call, ReadCampaigns};
use crate::errors::Result;
use crate::input::Input;
use crate::plans::share;

/// What holds for every campaign.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendingRules {
    /// The share of customers who get no marketing campaign at all, always the same ones; null for
    /// nobody.
    #[schema(example = 5)]
    pub global_holdout_percent: Option<f64>,
    pub bounce_pause: BouncePause,
    pub alert_mail: AlertAddresses,
}

/// When a campaign pauses itself because its mails bounce.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BouncePause {
    /// The share of bounced mails; null means never. 5 unless said.
    #[schema(example = 5)]
    pub percent: Option<f64>,
    /// From how many mails on; 200 unless said.
    #[schema(minimum = 20, maximum = 1_000_000, example = 200)]
    pub from_mails: i64,
}

/// Whom alerts are mailed to, and from which address; nobody unless said.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertAddresses {
    pub to: Vec<String>,
    pub from: Option<String>,
}

fn rules(stored: sending_rules::SendingRules) -> SendingRules {
    SendingRules {
        global_holdout_percent: stored.global_holdout.map(Share::percent),
        bounce_pause: BouncePause {
            percent: stored.bounces.share.map(Share::percent),
            from_mails: stored.bounces.from_mails,
        },
        alert_mail: AlertAddresses { to: stored.alerts.to, from: stored.alerts.from },
    }
}

/// What holds for every campaign.
#[utoipa::path(get, path = "/v1/sending-rules", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = SendingRules)))]
pub async fn show(call: Call<ReadCampaigns>) -> Result<Json<SendingRules>> {
    Ok(Json(rules(sending_rules::get(&call.ctx).await?)))
}

/// Change what holds for every campaign: the whole of it.
#[utoipa::path(put, path = "/v1/sending-rules", tag = "Campaigns", request_body = SendingRules,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = SendingRules)))]
pub async fn put(
    call: Call<Administer>,
    Input(body): Input<SendingRules>,
) -> Result<Json<SendingRules>> {
    let percent = |path, percent: Option<f64>| percent.map(|one| share(path, one)).transpose();
    let wanted = sending_rules::SendingRules {
        global_holdout: percent("global_holdout_percent", body.global_holdout_percent)?,
        bounces: BounceLimit {
            share: percent("bounce_pause.percent", body.bounce_pause.percent)?,
            from_mails: body.bounce_pause.from_mails,
        },
        alerts: AlertMail { to: body.alert_mail.to, from: body.alert_mail.from },
    };
    Ok(Json(rules(sending_rules::put(&call.ctx, wanted).await?)))
}
