//! Entries and exits as events of the customer, written in the transaction that changes the
//! membership.

use std::collections::HashMap;

use serde_json::{Value as Json, json};
use tidings_domain::{CustomerId, EventId, SegmentId, Timestamp, bucket_of};

use super::LiveSegments;
use crate::Result;
use crate::changes::{Dirty, event_names, insert_own_events};
use crate::engines::Tx;
use crate::sql::Param;

/// The event of a customer who came into a segment.
pub const SEGMENT_ENTERED: &str = "segment_entered";
/// The event of a customer who left a segment.
pub const SEGMENT_LEFT: &str = "segment_left";

/// Entries and exits of one batch.
#[derive(Default)]
pub(super) struct Transitions {
    told: Vec<(CustomerId, &'static str, Json)>,
}

impl Transitions {
    pub(super) fn note(
        &mut self,
        customer: CustomerId,
        name: &'static str,
        segment: SegmentId,
        segment_name: &str,
    ) {
        let properties = json!({"segment": segment_name, "segment_id": segment.0});
        self.told.push((customer, name, properties));
    }

    /// Writes the events, and marks those for whom a rule reads them. A rule that was bound before
    /// the first such event knows its name alone.
    pub(super) async fn write(
        self,
        tx: &mut Tx,
        now: Timestamp,
        dirty: &mut Dirty,
        live: &LiveSegments,
    ) -> Result<()> {
        if self.told.is_empty() {
            return Ok(());
        }
        let names: HashMap<&str, i64> =
            event_names(tx, [SEGMENT_ENTERED, SEGMENT_LEFT].into_iter()).await?;
        let read: HashMap<&str, bool> =
            names.iter().map(|(name, number)| (*name, is_read(live, name, *number))).collect();
        let mut rows: Vec<Vec<Param>> = Vec::with_capacity(self.told.len());
        for (customer, name, properties) in self.told {
            let Some(number) = names.get(name) else { continue };
            if read[name] {
                dirty.mark(customer, format!("e{number}"));
            }
            rows.push(vec![
                bucket_of(customer).into(),
                customer.into(),
                now.into(),
                EventId::generate().into(),
                (*number).into(),
                Param::Json(properties),
            ]);
        }
        insert_own_events(tx, rows).await
    }
}

fn is_read(live: &LiveSegments, name: &str, number: i64) -> bool {
    let number = i32::try_from(number).ok();
    live.segments.iter().map(|segment| segment.rule.reads()).any(|reads| {
        number.is_some_and(|number| reads.events.contains(&number))
            || reads.unknown_events.contains(name)
    })
}
