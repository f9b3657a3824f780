//! Tests of variants: who gets which, when the others get the winner, and which that is.

use serde_json::json;
use tidings_domain::CampaignId;
use tidings_domain::campaign::{Arm, CampaignState, DeliveryState, MessageClass};
use tidings_engine::campaigns::contest;
use tidings_engine::{Error, campaigns, templates};
use tidings_store::campaigns::DecidedBy;
use tidings_store::deliveries::{DeliveryKey, Reaction};
use tidings_store::templates::TemplateDraft;
use tidings_testkit::mail_sink::Script;

use crate::common::{Engine, Sending};
use crate::planned::{deliveries, on_both_engines, planned, replan, tally};

on_both_engines!(
    the_others_get_what_is_certainly_better,
    the_others_get_the_first_when_nothing_is_better,
    a_person_may_choose_at_any_time,
    variants_need_templates_that_stay,
);

const DAY_MS: i64 = 24 * 3_600_000;

fn plan(share: u32, otherwise: &str) -> String {
    json!({"test": {
        "variants": [{"name": "A", "weight": 50}, {"name": "B", "weight": 50, "subject": "Buy now"}],
        "share": share, "metric": "opens", "hours": 24, "otherwise": otherwise
    }})
    .to_string()
}

async fn audience(engine: Engine, count: usize) -> Sending {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(count).await;
    sending.consent(0..count, true).await;
    sending
}

/// Launches and waits until the test's own customers have their mail.
async fn in_test(sending: &Sending, id: CampaignId) -> i64 {
    let review = campaigns::review(&sending.ctx, id).await.unwrap().audience;
    let tested: i64 = review.variants.values().sum();
    assert_eq!(tested + review.rest, review.will_send);
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    let counts = sending
        .until_counts(id, |counts| counts.sent == tested && counts.due == review.rest)
        .await
        .counts;
    assert_eq!(counts.audience(), review.audience);
    tested
}

/// The customers of a variant open their mail, one minute after another.
async fn open(sending: &Sending, id: CampaignId, variant: i16) {
    let campaign = campaigns::get(&sending.ctx, id).await.unwrap();
    let all = deliveries(sending, id).await;
    let test = all.iter().filter(|one| one.arm == Some(Arm::Test));
    for (minute, one) in test.filter(|one| one.variant == Some(variant)).enumerate() {
        let key = DeliveryKey { campaign: campaign.number, customer: one.customer };
        let at = sending.ctx.now().plus_secs(minute as i64 * 60);
        let done = sending.ctx.workspace.react(key, id, Reaction::Opened, json!({}), at);
        assert!(done.await.unwrap());
    }
}

async fn the_others_get_what_is_certainly_better(engine: Engine) {
    let sending = audience(engine, 300).await;
    let id = planned(&sending, MessageClass::Marketing, &plan(40, "first")).await;
    let tested = in_test(&sending, id).await;
    let before = tally(&deliveries(&sending, id).await);
    let subject = |text: &str| sending.sink.mails().iter().filter(|m| m.subject() == text).count();
    assert_eq!(subject("Buy now"), before[&(Some(Arm::Test), Some(1))]);
    assert_eq!(tested as usize, subject("Buy now") + before[&(Some(Arm::Test), Some(0))]);
    assert!(before[&(Some(Arm::Rest), None)] > 100);

    open(&sending, id, 1).await;
    let results = campaigns::results(&sending.ctx, id).await.unwrap();
    let shown = results.contest.unwrap().shown.unwrap();
    assert_eq!((shown.winner, shown.best), (Some(1), 1));
    sending.later(id, DAY_MS).await;
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!(done.counts.sent, 300);
    let after = tally(&deliveries(&sending, id).await);
    let rest = before[&(Some(Arm::Rest), None)];
    assert_eq!(after[&(Some(Arm::Rest), Some(1))], rest, "everybody else has the winner");
    assert_eq!(after[&(Some(Arm::Test), Some(0))], before[&(Some(Arm::Test), Some(0))]);
    assert_eq!(subject("Buy now"), before[&(Some(Arm::Test), Some(1))] + rest);
    let decision = campaigns::get(&sending.ctx, id).await.unwrap().decision.unwrap();
    assert_eq!((decision.winner, decision.by), (1, DecidedBy::Evidence));
    let csv = campaigns::results(&sending.ctx, id).await.unwrap();
    let sum: i64 = csv.groups.iter().map(|one| one.group.customers).sum();
    assert_eq!(sum, 300);
}

async fn the_others_get_the_first_when_nothing_is_better(engine: Engine) {
    for (otherwise, expected, by) in [("first", 0, DecidedBy::First), ("best", 1, DecidedBy::Best)]
    {
        let sending = audience(engine, 60).await;
        let id = planned(&sending, MessageClass::Marketing, &plan(50, otherwise)).await;
        in_test(&sending, id).await;
        let all = deliveries(&sending, id).await;
        let campaign = campaigns::get(&sending.ctx, id).await.unwrap();
        let one = all.iter().find(|one| (one.arm, one.variant) == (Some(Arm::Test), Some(1)));
        let key = DeliveryKey { campaign: campaign.number, customer: one.unwrap().customer };
        let at = sending.ctx.now();
        sending.ctx.workspace.react(key, id, Reaction::Opened, json!({}), at).await.unwrap();
        sending.later(id, DAY_MS).await;
        sending.until(id, CampaignState::Done).await;

        let decision = campaigns::get(&sending.ctx, id).await.unwrap().decision.unwrap();
        assert_eq!((decision.winner, decision.by), (expected, by));
        let all = deliveries(&sending, id).await;
        let rest = all.iter().filter(|one| one.arm == Some(Arm::Rest));
        assert!(rest.clone().count() > 0);
        assert!(rest.clone().all(|one| one.variant == Some(expected)));
        assert!(all.iter().all(|one| one.state == DeliveryState::Sent));
    }
}

async fn a_person_may_choose_at_any_time(engine: Engine) {
    let sending = audience(engine, 60).await;
    let plain = sending.campaign(MessageClass::Marketing, None).await;
    assert!(matches!(contest::choose(&sending.ctx, plain, "A").await, Err(Error::Conflict(_))));
    let id = planned(&sending, MessageClass::Marketing, &plan(50, "best")).await;
    assert!(matches!(contest::choose(&sending.ctx, id, "B").await, Err(Error::Conflict(_))));
    in_test(&sending, id).await;
    let unknown = contest::choose(&sending.ctx, id, "C").await;
    assert!(matches!(&unknown, Err(Error::Invalid(faults)) if faults[0].path == "variant"));

    contest::choose(&sending.ctx, id, "B").await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!(done.counts.sent, 60);
    assert!(matches!(contest::choose(&sending.ctx, id, "A").await, Err(Error::Conflict(_))));
    let decision = campaigns::get(&sending.ctx, id).await.unwrap().decision.unwrap();
    assert_eq!((decision.winner, decision.by), (1, DecidedBy::Person));
}

async fn variants_need_templates_that_stay(engine: Engine) {
    let sending = audience(engine, 40).await;
    let draft = TemplateDraft {
        name: "other".to_owned(),
        subject: "Other subject".to_owned(),
        html: "<body>Other <a href=\"{{ unsubscribe_url }}\">stop</a></body>".to_owned(),
        text: String::new(),
        ..TemplateDraft::default()
    };
    let other = templates::create(&sending.ctx, draft.clone()).await.unwrap();
    let plan = |template: &str, version: i32| {
        json!({"test": {
            "variants": [
                {"name": "A", "weight": 50},
                {"name": "B", "weight": 50, "template": template, "template_version": version}],
            "share": 100, "metric": "clicks", "hours": 24
        }})
        .to_string()
    };
    let id = sending.campaign(MessageClass::Marketing, None).await;
    let missing = "00000000-0000-7000-8000-000000000001";
    for (template, version) in [(missing, 1), (other.to_string().as_str(), 2)] {
        let refused = replan(&sending, id, &plan(template, version)).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    }
    replan(&sending, id, &plan(&other.to_string(), 1)).await.unwrap();
    assert!(templates::drop(&sending.ctx, other).await.is_err(), "a variant uses it");
    // What is sent is the version that was named, whatever comes later.
    let newer = TemplateDraft { subject: "Newer".to_owned(), ..draft.clone() };
    templates::change(&sending.ctx, other, newer).await.unwrap();

    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;
    let subjects: Vec<String> = sending.sink.mails().iter().map(|mail| mail.subject()).collect();
    assert!(subjects.iter().any(|subject| subject == "Other subject"));
    assert!(subjects.iter().all(|subject| subject != "Newer"));
    assert_eq!(subjects.len(), 40);

    // A draft that is dropped lets go of its templates.
    let second = sending.campaign(MessageClass::Marketing, None).await;
    let third = templates::create(
        &sending.ctx,
        TemplateDraft { name: "third".to_owned(), ..draft.clone() },
    );
    let third = third.await.unwrap();
    replan(&sending, second, &plan(&third.to_string(), 1)).await.unwrap();
    campaigns::drop(&sending.ctx, second).await.unwrap();
    templates::drop(&sending.ctx, third).await.unwrap();
}
