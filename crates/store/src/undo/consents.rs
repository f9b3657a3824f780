//! Consents that go back to what was said before the import. The history keeps what the import
//! said, and gets a line for its being taken back.

use serde_json::Value as Json;
use tidings_domain::CustomerId;
use tidings_domain::consent::Via;
use uuid::Uuid;

use super::Undoing;
use super::stories::Back;
use crate::Result;
use crate::bulk::{Column, ColumnType, OnConflict, column, delete_many, insert_many, update_many};
use crate::changes::{customer_key, sort_rows};
use crate::engines::Tx;
use crate::sql::{Param, Sql};

/// How a consent that is taken back without an earlier one stands in the history.
const UNDONE: &str = "undone";

/// Deliveries that were planned by a consent which no longer counts are called off, as they are
/// where it is withdrawn: those of a topic that the customer granted still go.
static CALL_OFF: Sql = Sql::bucket(
    "call_off_undone",
    "update {s}deliveries set state = 6, reason = 'no_consent', finished_at = ?3
     where bucket = ?1 and customer_id = ?2 and state = 0
       and campaign_number in (select number from {s}campaigns where class = 0
         and (topic is null or topic not in
           (select t.topic from {s}consents t where t.bucket = ?1 and t.customer_id = ?2
              and t.channel = 1 and t.topic <> '' and t.state = 'granted')))",
);

pub(super) static SQL: &[&Sql] = &[&CALL_OFF];

const KEY: [Column<'static>; 4] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("channel", ColumnType::SmallInt),
    column("topic", ColumnType::Text),
];

/// What counts again, and what does not count any more.
#[derive(Default)]
struct Rows {
    drop: Vec<Vec<Param>>,
    set: Vec<Vec<Param>>,
    history: Vec<Vec<Param>>,
    /// Whose planned deliveries may have lost their ground.
    lost: Vec<CustomerId>,
}

pub(super) async fn restore(tx: &mut Tx, how: &Undoing<'_>, back: &[Back<'_>]) -> Result<()> {
    let mut rows = Rows::default();
    for (story, fields) in back {
        let customer = CustomerId(story.subject.customer);
        for (name, before) in fields {
            if let Some((channel, topic)) = name.strip_prefix("consent:").and_then(parts) {
                rows.take_back(how, customer, (channel, topic), before);
            }
        }
    }
    if rows.history.is_empty() {
        return Ok(());
    }
    rows.write(tx).await?;
    for customer in rows.lost {
        let params = crate::params![tidings_domain::bucket_of(customer), customer, how.at];
        tx.execute(&CALL_OFF, params).await?;
    }
    Ok(())
}

/// The channel's number and the topic of a consent as the journal names it.
fn parts(name: &str) -> Option<(i64, &str)> {
    let (channel, topic) = name.split_once(':')?;
    Some((channel.parse().ok()?, topic))
}

impl Rows {
    fn take_back(
        &mut self,
        how: &Undoing<'_>,
        customer: CustomerId,
        (channel, topic): (i64, &str),
        before: &Json,
    ) {
        let mut row = customer_key(customer);
        row.extend([channel.into(), topic.into()]);
        let version = before["text_version"].as_i64();
        let state = before["state"].as_str();
        self.history.push(vec![
            row[0].clone(),
            row[1].clone(),
            how.at.into(),
            Uuid::now_v7().into(),
            channel.into(),
            topic.into(),
            state.unwrap_or(UNDONE).into(),
            format!("undo of import {}", how.number).into(),
            Via::Import.name().into(),
            version.into(),
        ]);
        if channel == 1 && state != Some("granted") {
            self.lost.push(customer);
        }
        match (state, before["at"].as_i64(), before["source"].as_str(), before["via"].as_str()) {
            (Some(state), Some(at), Some(source), Some(via)) => {
                let values: [Param; 5] =
                    [state.into(), at.into(), source.into(), via.into(), version.into()];
                row.extend(values);
                self.set.push(row);
            }
            _ => self.drop.push(row),
        }
    }

    async fn write(&mut self, tx: &mut Tx) -> Result<()> {
        sort_rows(&mut self.drop);
        sort_rows(&mut self.set);
        sort_rows(&mut self.history);
        delete_many(tx, "consents", &KEY, &self.drop).await?;
        let values = [
            column("state", ColumnType::Text),
            column("at", ColumnType::BigInt),
            column("source", ColumnType::Text),
            column("via", ColumnType::Text),
            column("text_version", ColumnType::Int),
        ];
        update_many(tx, "consents", &KEY, &values, &self.set, "", "").await?;
        let [bucket, customer, channel, topic] = KEY;
        let columns = [
            bucket,
            customer,
            column("at", ColumnType::BigInt),
            column("id", ColumnType::Uuid),
            channel,
            topic,
            column("state", ColumnType::Text),
            column("source", ColumnType::Text),
            column("via", ColumnType::Text),
            column("text_version", ColumnType::Int),
        ];
        insert_many(tx, "consent_history", &columns, &self.history, OnConflict::Fail, "").await?;
        Ok(())
    }
}
