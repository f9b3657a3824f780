//! What customers did with their messages: opened, clicked, unsubscribed.

use tidings_domain::{CampaignId, DeliveryId, EventId, Timestamp, bucket_of};

use super::DeliveryKey;
use crate::Result;
use crate::changes::{DeliveryEvent, record_delivery_events};
use crate::engines::Priority;
use crate::sql::{Dialect, Sql};
use crate::workspace::Workspace;

/// What a customer did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    Opened,
    Clicked,
    Unsubscribed,
}

/// How often a link of a campaign was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkClicks {
    pub url: String,
    pub clicks: i64,
    /// By how many customers.
    pub unique_clicks: i64,
}

static MARK_OPENED: Sql = Sql::bucket(
    "mark_opened",
    "update {s}deliveries set opened_at = coalesce(opened_at, ?4)
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3 returning id",
);

static MARK_CLICKED: Sql = Sql::bucket(
    "mark_clicked",
    "update {s}deliveries set clicked_at = coalesce(clicked_at, ?4),
       opened_at = coalesce(opened_at, ?4)
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3 returning id",
);

static MARK_UNSUBSCRIBED: Sql = Sql::bucket(
    "mark_unsubscribed",
    "update {s}deliveries set unsubscribed_at = coalesce(unsubscribed_at, ?4)
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3 returning id",
);

pub(crate) static SQL: &[&Sql] = &[&MARK_OPENED, &MARK_CLICKED, &MARK_UNSUBSCRIBED];

impl Workspace {
    /// Marks what a customer did with a message; false where there was no such message.
    pub async fn react(
        &self,
        key: DeliveryKey,
        campaign: CampaignId,
        reaction: Reaction,
        properties: serde_json::Value,
        at: Timestamp,
    ) -> Result<bool> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let (sql, name) = match reaction {
                    Reaction::Opened => (&MARK_OPENED, "message_opened"),
                    Reaction::Clicked => (&MARK_CLICKED, "message_clicked"),
                    Reaction::Unsubscribed => (&MARK_UNSUBSCRIBED, "unsubscribed"),
                };
                let params =
                    crate::params![bucket_of(key.customer), key.customer, key.campaign, at];
                let Some(row) = tx.first(sql, params).await? else { return Ok(false) };
                let event = DeliveryEvent {
                    customer: key.customer,
                    name,
                    at,
                    id: EventId::generate(),
                    properties,
                    campaign,
                    delivery: DeliveryId(row.uuid(0)?),
                };
                record_delivery_events(tx, &[event]).await?;
                Ok(true)
            })
        })
        .await
    }

    /// The links of a campaign by how often they were followed.
    pub async fn link_clicks(&self, campaign: CampaignId) -> Result<Vec<LinkClicks>> {
        let url = match self.dialect() {
            Dialect::Sqlite => "e.properties ->> '$.url'",
            Dialect::Postgres => "e.properties ->> 'url'",
        };
        let text = format!(
            "select coalesce({url}, ''), count(*), count(distinct e.customer_id) \
             from {{s}}events e join {{s}}event_names n on n.number = e.name \
             where n.name = 'message_clicked' and e.campaign_id = ?1 \
             group by coalesce({url}, '') order by count(*) desc limit 200"
        );
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query_text(&text, crate::params![campaign]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(LinkClicks {
                            url: row.text(0)?,
                            clicks: row.int(1)?,
                            unique_clicks: row.int(2)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }
}
