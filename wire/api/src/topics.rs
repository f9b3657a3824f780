//! `/v1/topics`: what a channel is used for, and the text that people are shown.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{Timestamp, TopicId};
use tidings_engine::topics;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::Result;
use crate::input::{Input, Path};
use crate::paging::List;
use crate::suppressions::Channel;

/// What people read about a topic, in one language.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicText {
    /// Beside the tick.
    #[schema(example = "Offers")]
    pub title: String,
    /// What they agree to.
    #[serde(default)]
    #[schema(example = "Offers and news, about twice a month.")]
    pub text: String,
}

/// A topic with its newest text.
#[derive(Debug, Serialize, ToSchema)]
pub struct Topic {
    pub id: Uuid,
    pub number: i32,
    pub channel: &'static str,
    /// What consents and campaigns carry; it never changes.
    #[schema(example = "offers")]
    pub name: String,
    pub description: String,
    /// Of the text. Consents say which version the customer was shown.
    pub version: i32,
    /// By language.
    pub texts: BTreeMap<String, TopicText>,
    /// Since when it is offered to nobody any more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicInput {
    pub channel: Channel,
    #[schema(example = "offers")]
    pub name: String,
    /// For colleagues.
    #[serde(default)]
    pub description: String,
    /// By language, at least one.
    #[schema(example = json!({"en": {"title": "Offers", "text": "About twice a month."}}))]
    pub texts: BTreeMap<String, TopicText>,
}

/// What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicChange {
    pub description: Option<String>,
    /// All languages at once; other texts are a new version.
    pub texts: Option<BTreeMap<String, TopicText>>,
    pub archived: Option<bool>,
}

/// The text of a topic as it stood once.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopicVersion {
    pub version: i32,
    pub texts: BTreeMap<String, TopicText>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

fn shown(texts: topics::TopicTexts) -> BTreeMap<String, TopicText> {
    let one = |(language, text): (String, topics::TopicText)| {
        (language, TopicText { title: text.title, text: text.text })
    };
    texts.into_iter().map(one).collect()
}

fn stored(texts: BTreeMap<String, TopicText>) -> topics::TopicTexts {
    let one = |(language, text): (String, TopicText)| {
        (language, topics::TopicText { title: text.title, text: text.text })
    };
    texts.into_iter().map(one).collect()
}

fn topic(stored: topics::Topic) -> Topic {
    Topic {
        id: stored.id.0,
        number: stored.number,
        channel: stored.channel.name(),
        name: stored.name,
        description: stored.description,
        version: stored.version,
        texts: shown(stored.texts),
        archived_at: stored.archived_at,
        created_at: stored.created_at,
    }
}

/// Topics, oldest first, also those that are offered no more.
#[utoipa::path(get, path = "/v1/topics", tag = "Topics and forms",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = List<Topic>)))]
pub async fn list(call: Call<ReadCustomers>) -> Result<Json<List<Topic>>> {
    let all = topics::list(&call.ctx).await?;
    Ok(Json(List::whole(all.into_iter().map(topic).collect())))
}

/// Make a topic.
#[utoipa::path(post, path = "/v1/topics", tag = "Topics and forms", request_body = TopicInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 201, body = Topic)))]
pub async fn create(
    call: Call<WriteCustomers>,
    Input(body): Input<TopicInput>,
) -> Result<(StatusCode, Json<Topic>)> {
    let texts = stored(body.texts);
    let channel = body.channel.into();
    let made = topics::create(&call.ctx, channel, &body.name, &body.description, &texts).await?;
    Ok((StatusCode::CREATED, Json(topic(made))))
}

/// Change a topic's texts or description, or offer it no more.
#[utoipa::path(patch, path = "/v1/topics/{id}", tag = "Topics and forms",
    request_body = TopicChange,
    security(("token" = ["customers:write"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Topic)))]
pub async fn change(
    call: Call<WriteCustomers>,
    Path(id): Path<Uuid>,
    Input(body): Input<TopicChange>,
) -> Result<Json<Topic>> {
    let change = topics::TopicChange {
        description: body.description,
        texts: body.texts.map(stored),
        archived: body.archived,
    };
    Ok(Json(topic(topics::change(&call.ctx, TopicId(id), change).await?)))
}

/// The texts of a topic, newest first.
#[utoipa::path(get, path = "/v1/topics/{id}/versions", tag = "Topics and forms",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = List<TopicVersion>)))]
pub async fn versions(
    call: Call<ReadCustomers>,
    Path(id): Path<Uuid>,
) -> Result<Json<List<TopicVersion>>> {
    let versions = topics::versions(&call.ctx, TopicId(id)).await?;
    let version = |one: topics::TopicVersion| TopicVersion {
        version: one.version,
        texts: shown(one.texts),
        created_at: one.created_at,
    };
    Ok(Json(List::whole(versions.into_iter().map(version).collect())))
}
