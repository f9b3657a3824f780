//! How an audience divides before a launch. A campaign that simply goes to everybody is counted by
//! one statement; one that draws lots or looks at clocks asks for each customer what the freeze
//! will ask, so that both say the same.

use std::collections::BTreeMap;

use tidings_domain::Timestamp;
use tidings_domain::campaign::{Arm, Reachability, SkipReason, may_message};

use super::freeze::{Audience, Verdict, allowed, judge_slice, said};
use crate::Result;
use crate::campaigns::shard_ranges;
use crate::engines::Tx;
use crate::sql::Dialect;
use crate::suppressions::hash_join;
use crate::workspace::Workspace;

/// How many system ids or buckets are looked at together.
const STEP_SYSTEM_IDS: i64 = 10_000;
const STEP_BUCKETS: i64 = 16;

const HOUR_US: i64 = 3_600_000_000;

/// The counts shown before a launch. `audience` is the sum of `will_send` and of all that are left
/// out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    pub audience: i64,
    pub will_send: i64,
    pub suppressed: i64,
    pub hard_bounced: i64,
    pub no_consent: i64,
    pub no_address: i64,
    pub local_time_passed: i64,
    /// Held out of this campaign, and of all campaigns.
    pub holdout: i64,
    pub global_holdout: i64,
    /// Of those it is sent to: how many get each variant in the test, and how many get the winner.
    pub variants: BTreeMap<i16, i64>,
    pub rest: i64,
    /// Of those it is sent to: how many in each hour, by the hour's beginning.
    pub hours: BTreeMap<Timestamp, i64>,
    /// Of those it is sent to: whose attribute names no zone, so that they get it by the
    /// workspace's own.
    pub unknown_zone: i64,
}

impl Review {
    fn skip(&mut self, reason: SkipReason, arm: Arm, count: i64) {
        let slot = match reason {
            SkipReason::NoAddress => &mut self.no_address,
            SkipReason::Suppressed => &mut self.suppressed,
            SkipReason::HardBounced => &mut self.hard_bounced,
            SkipReason::NoConsent => &mut self.no_consent,
            SkipReason::LocalTimePassed => &mut self.local_time_passed,
            SkipReason::Holdout if arm == Arm::GlobalHoldout => &mut self.global_holdout,
            SkipReason::Holdout => &mut self.holdout,
            // Nobody is these things before a launch.
            SkipReason::Erased | SkipReason::NotRendered | SkipReason::CustomerGone => return,
        };
        *slot += count;
    }

    fn add(&mut self, verdict: &Verdict, audience: &Audience) {
        self.audience += 1;
        let placed = verdict.placed;
        if let Some(reason) = verdict.reason {
            self.skip(reason, placed.arm, 1);
            return;
        }
        self.will_send += 1;
        match (placed.arm, placed.variant) {
            (Arm::Test, Some(variant)) => *self.variants.entry(variant).or_default() += 1,
            (Arm::Rest, _) => self.rest += 1,
            _ => {}
        }
        let hour = Timestamp(placed.due_at.0.div_euclid(HOUR_US) * HOUR_US);
        *self.hours.entry(hour).or_default() += 1;
        let asked = audience.zone_column.is_some();
        let known = verdict.zone.as_deref().is_some_and(|name| audience.placing.knows_zone(name));
        self.unknown_zone += i64::from(asked && !known);
    }
}

/// Counts by what can be grouped: nobody is drawn, and everybody gets it at once.
async fn grouped(tx: &mut Tx, audience: Audience) -> Result<Review> {
    let (condition, mut params) = audience.condition;
    let topic = audience.topic.map(|topic| {
        params.push(topic.into());
        params.len()
    });
    let (states, joins) = said(topic);
    let (reason, by_hash) = hash_join(tx).await?;
    let text = format!(
        "select {reason}, c.email is not null, count(*), {states} \
         from {{s}}customers c {joins} \
         left join {{s}}suppressions s on s.channel = 1 and s.address = c.email \
         {by_hash} where ({condition}) group by 1, 2, 4, 5"
    );
    let mut review = Review::default();
    for row in tx.query_once(&text, &params).await? {
        let reason = row.opt_text(0)?;
        let hard_bounced = reason.as_deref() == Some("hard_bounce");
        let count = row.int(2)?;
        let verdict = may_message(
            audience.class,
            Reachability {
                has_address: row.bool(1)?,
                suppressed: reason.is_some() && !hard_bounced,
                hard_bounced,
                consent: allowed(&row, 3)?,
                ..Reachability::default()
            },
        );
        review.audience += count;
        match verdict {
            None => review.will_send += count,
            Some(reason) => review.skip(reason, Arm::Message, count),
        }
    }
    Ok(review)
}

async fn one_by_one(tx: &mut Tx, audience: &Audience) -> Result<Review> {
    let step = match tx.dialect() {
        Dialect::Sqlite => STEP_SYSTEM_IDS,
        Dialect::Postgres => STEP_BUCKETS,
    };
    let mut review = Review::default();
    for (_, low, high) in shard_ranges(tx).await? {
        let mut from = low;
        while from < high {
            let to = (from + step).min(high);
            for verdict in judge_slice(tx, audience, from, to).await? {
                review.add(&verdict, audience);
            }
            from = to;
        }
    }
    Ok(review)
}

impl Workspace {
    /// How an audience divides before a launch: all of it, who would get the message, and why the
    /// others would not.
    pub async fn review_audience(&self, audience: Audience) -> Result<Review> {
        self.read(move |tx| {
            Box::pin(async move {
                match audience.placing.is_plain() {
                    true => grouped(tx, audience).await,
                    false => one_by_one(tx, &audience).await,
                }
            })
        })
        .await
    }
}
