//! What tests of planned campaigns share: changing a plan, and who stands where.

use std::collections::BTreeMap;

use tidings_domain::CampaignId;
use tidings_domain::campaign::{Arm, MessageClass, Plan};
use tidings_engine::{Error, campaigns};
use tidings_store::deliveries::Delivery;

use crate::common::Sending;

macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(crate::common::Engine::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(crate::common::Engine::Postgres).await; })+
        }
    };
}
pub(crate) use on_both_engines;

/// A draft as it stands, to be changed.
pub async fn draft_of(sending: &Sending, id: CampaignId) -> campaigns::CampaignDraft {
    let found = campaigns::get(&sending.ctx, id).await.unwrap();
    campaigns::CampaignDraft {
        name: found.name,
        segment: found.segment.map(|(id, ..)| id),
        template: found.template.0,
        sender: found.sender,
        class: found.class,
        topic: found.topic,
        scheduled_at: found.scheduled_at,
        link_parameters: found.link_parameters,
        plan: found.plan,
    }
}

/// A campaign to everyone with a plan, written as JSON.
pub async fn planned(sending: &Sending, class: MessageClass, plan: &str) -> CampaignId {
    let id = sending.campaign(class, None).await;
    replan(sending, id, plan).await.unwrap();
    id
}

pub async fn replan(sending: &Sending, id: CampaignId, plan: &str) -> Result<(), Error> {
    let plan: Plan = serde_json::from_str(plan).expect("a plan");
    let draft = campaigns::CampaignDraft { plan, ..draft_of(sending, id).await };
    campaigns::change(&sending.ctx, id, draft).await
}

pub async fn deliveries(sending: &Sending, id: CampaignId) -> Vec<Delivery> {
    let number = campaigns::get(&sending.ctx, id).await.unwrap().number;
    sending.ctx.workspace.deliveries(number, None, None, None, 1_000).await.unwrap().items
}

/// How many deliveries stand in each arm with each variant.
pub fn tally(deliveries: &[Delivery]) -> BTreeMap<(Option<Arm>, Option<i16>), usize> {
    let mut counts = BTreeMap::new();
    for one in deliveries {
        *counts.entry((one.arm, one.variant)).or_default() += 1;
    }
    counts
}
