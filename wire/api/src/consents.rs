//! `/v1/customers/{ref}/consents`: what a customer said about a channel and its topics.

use std::net::IpAddr;

use axum::Json;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_domain::change::Change;
use tidings_domain::consent::{Channel, Proof, Via as StoredVia};
use tidings_engine::{consents, customers};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path, Query};
use crate::marks::{MarkDone, put};
use crate::paging::{List, checked_limit, place};
use crate::translate::{Consent, SOURCE, path_ref};

/// Where a customer said so. What they did themselves, on a `form` or a `preference_page` of
/// yours, lifts an earlier *no* to the whole channel when it grants a topic; nothing else does.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    #[default]
    Api,
    Import,
    Console,
    Form,
    PreferencePage,
    UnsubscribeLink,
}

impl From<Via> for StoredVia {
    fn from(via: Via) -> StoredVia {
        match via {
            Via::Api => StoredVia::Api,
            Via::Import => StoredVia::Import,
            Via::Console => StoredVia::Console,
            Via::Form => StoredVia::Form,
            Via::PreferencePage => StoredVia::PreferencePage,
            Via::UnsubscribeLink => StoredVia::UnsubscribeLink,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentInput {
    pub state: Consent,
    /// The name of a topic; the whole channel unless given.
    #[schema(example = "offers")]
    pub topic: Option<String>,
    /// Where the customer said so, in your words.
    #[schema(example = "newsletter form")]
    pub source: Option<String>,
    #[serde(default)]
    pub via: Via,
    /// Which version of the topic's text the customer was shown.
    pub text_version: Option<i32>,
    /// The customer's own, for the proof.
    #[schema(value_type = Option<String>, example = "192.0.2.1")]
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// One thing that a customer said.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentEntry {
    pub id: Uuid,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub channel: &'static str,
    /// Empty for the whole channel.
    pub topic: String,
    /// `granted`, `withdrawn`, or `lifted` where a *no* to the channel stopped counting because
    /// the customer granted a topic.
    #[schema(example = "granted")]
    pub state: String,
    pub source: String,
    /// `api`, `import`, `console`, `form`, `preference_page`, `unsubscribe_link` or `earlier`.
    #[schema(example = "form")]
    pub via: &'static str,
    pub text_version: Option<i32>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
}

pub(crate) fn entry(one: consents::Spoken) -> ConsentEntry {
    ConsentEntry {
        id: one.id,
        at: one.at,
        channel: one.channel.name(),
        topic: one.topic,
        state: one.state,
        source: one.source,
        via: one.via.name(),
        text_version: one.text_version,
        ip: one.ip,
        user_agent: one.user_agent,
    }
}

fn one_line(path: &str, text: &str, most: usize) -> Result<()> {
    if text.chars().count() <= most && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let message = format!("expected a text of at most {most} characters");
    Err(Problem::field(path, "invalid_value", message))
}

/// Write down what a customer said about a channel, or about one topic of it. What is planned and
/// has not begun is called off where consent is withdrawn.
#[utoipa::path(put, path = "/v1/customers/{ref}/consents/{channel}",
    tag = "Consents and suppressions",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path), ("channel" = String, Path, example = "email")),
    request_body = ConsentInput,
    responses((status = 200, body = MarkDone)))]
pub async fn record(
    call: Call<WriteCustomers>,
    Path((reference, channel)): Path<(String, String)>,
    Input(body): Input<ConsentInput>,
) -> Result<Json<MarkDone>> {
    let channel = Channel::parse(&channel).ok_or_else(|| Problem::not_found("the channel"))?;
    let source = body.source.unwrap_or_else(|| SOURCE.to_owned());
    one_line("source", &source, 256)?;
    let topic = body.topic.unwrap_or_default();
    one_line("topic", &topic, 100)?;
    one_line("user_agent", body.user_agent.as_deref().unwrap_or_default(), 400)?;
    let change = Change::ChangeConsent {
        customer: path_ref(&reference)?,
        channel,
        topic,
        state: body.state.into(),
        source,
        proof: Proof {
            via: body.via.into(),
            text_version: body.text_version,
            ip: body.ip.map(|ip| ip.to_string()),
            user_agent: body.user_agent,
        },
    };
    put(&call.ctx, change).await
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// 1 to 1000, 50 unless given.
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

/// Everything that a customer ever said, newest first.
#[utoipa::path(get, path = "/v1/customers/{ref}/consents", tag = "Consents and suppressions",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("ref" = String, Path), HistoryQuery),
    responses((status = 200, body = List<ConsentEntry>)))]
pub async fn history(
    call: Call<ReadCustomers>,
    Path(reference): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<List<ConsentEntry>>> {
    let limit = checked_limit(query.limit)?;
    let before: Option<(i64, Uuid)> = place(query.cursor.as_deref())?;
    let before = before.map(|(at, id)| (Timestamp(at), id));
    let id = customers::find(&call.ctx, path_ref(&reference)?).await?;
    let page = consents::history(&call.ctx, id, before, limit).await?;
    let next = page.next.map(|(at, id)| (at.0, id));
    Ok(Json(List::page(page.items.into_iter().map(entry).collect(), next)))
}
