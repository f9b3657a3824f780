//! Customers who are held out, of one campaign or of all.

use std::collections::BTreeSet;

use tidings_domain::CustomerId;
use tidings_domain::campaign::{Arm, CampaignState, MessageClass, Share};
use tidings_engine::sending_rules::{self, SendingRules};
use tidings_engine::{Error, campaigns};
use tidings_testkit::mail_sink::Script;

use crate::common::{Engine, Sending};
use crate::planned::{deliveries, on_both_engines, planned, replan};

on_both_engines!(
    a_holdout_gets_nothing_and_the_figures_add_up,
    the_same_customers_are_held_out_of_all_campaigns,
);

async fn held(sending: &Sending, id: tidings_domain::CampaignId, arm: Arm) -> BTreeSet<CustomerId> {
    let all = deliveries(sending, id).await;
    all.iter().filter(|one| one.arm == Some(arm)).map(|one| one.customer).collect()
}

async fn a_holdout_gets_nothing_and_the_figures_add_up(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(400).await;
    sending.consent(0..350, true).await;
    let id = planned(&sending, MessageClass::Marketing, r#"{"holdout": 20}"#).await;
    let review = campaigns::review(&sending.ctx, id).await.unwrap().audience;
    assert_eq!(review.audience, 400);
    assert_eq!(review.no_consent, 50, "who would get nothing anyway is not drawn");
    assert_eq!(review.will_send + review.holdout, 350);
    // Five standard deviations around 70.
    assert!((33..=107).contains(&review.holdout), "{review:?}");

    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!((done.counts.sent, done.counts.audience()), (review.will_send, 400));
    assert_eq!(done.counts.skipped, review.holdout + 50);
    let held_out = held(&sending, id, Arm::Holdout).await;
    assert_eq!(held_out.len() as i64, review.holdout);
    let all = deliveries(&sending, id).await;
    for one in all.iter().filter(|one| held_out.contains(&one.customer)) {
        assert_eq!(one.reason.as_deref(), Some("holdout"));
        let address = one.address.as_ref().unwrap();
        assert!(sending.sink.mails().iter().all(|mail| mail.recipients[0] != *address));
    }
    let report = campaigns::report(&sending.ctx, id).await.unwrap();
    let reasons: i64 = report.reasons.iter().map(|(_, _, count)| count).sum();
    assert_eq!(reasons, done.counts.skipped);

    // Another campaign draws others.
    let other = planned(&sending, MessageClass::Marketing, r#"{"holdout": 20}"#).await;
    campaigns::launch(&sending.ctx, other, None).await.unwrap();
    sending.until(other, CampaignState::Done).await;
    assert_ne!(held(&sending, other, Arm::Holdout).await, held_out);

    let receipts = sending.campaign(MessageClass::Transactional, None).await;
    let refused = replan(&sending, receipts, r#"{"holdout": 20}"#).await;
    let path = "holdout_percent";
    assert!(matches!(&refused, Err(Error::Invalid(faults)) if faults[0].path == path));
}

async fn the_same_customers_are_held_out_of_all_campaigns(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(200).await;
    sending.consent(0..200, true).await;
    let rules = SendingRules { global_holdout: Share::of_percent(25.0), ..Default::default() };
    sending_rules::put(&sending.ctx, rules).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let id = sending.campaign(MessageClass::Marketing, None).await;
        let review = campaigns::review(&sending.ctx, id).await.unwrap().audience;
        campaigns::launch(&sending.ctx, id, None).await.unwrap();
        let done = sending.until(id, CampaignState::Done).await;
        assert_eq!(done.counts.skipped, review.global_holdout);
        assert_eq!(done.counts.sent, review.will_send);
        seen.push(held(&sending, id, Arm::GlobalHoldout).await);
    }
    assert!(!seen[0].is_empty() && seen[0].len() < 100, "{}", seen[0].len());
    assert_eq!(seen[0], seen[1]);

    let receipts = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, receipts, None).await.unwrap();
    let done = sending.until(receipts, CampaignState::Done).await;
    assert_eq!(done.counts.sent, 200);

    let all = SendingRules { global_holdout: Share::of_percent(100.0), ..Default::default() };
    assert!(sending_rules::put(&sending.ctx, all).await.is_err());
}
