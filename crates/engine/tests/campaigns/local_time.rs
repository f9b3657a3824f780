//! Campaigns at a local time per customer.

use serde_json::json;
use tidings_domain::Timestamp;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{Change, FieldChange, UpsertCustomer};
use tidings_domain::value::Kind;
use tidings_engine::{Error, campaigns, changes};
use tidings_testkit::mail_sink::Script;

use crate::common::{Engine, Sending};
use crate::planned::{deliveries, draft_of, on_both_engines, planned, replan};

on_both_engines!(
    everyone_gets_it_at_their_own_time,
    who_is_too_late_may_be_left_out,
    a_local_time_is_the_only_time,
);

const HOUR_MS: i64 = 3_600_000;

/// Four customers: ahead of the workspace's zone, at it, unknown, and behind.
async fn travellers(engine: Engine) -> Sending {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    ctx.workspace.add_attribute("zone", Kind::Text, ctx.now()).await.unwrap();
    ctx.workspace.add_attribute("score", Kind::Integer, ctx.now()).await.unwrap();
    // Zones without summer time, so that the test is the same on every day.
    let zones =
        [Some("Asia/Tokyo"), Some("Africa/Lagos"), Some("Nowhere/City"), Some("America/Lima")];
    let customers = zones.into_iter().enumerate().map(|(at, zone)| {
        let attributes = zone.map(|zone| ("zone".to_owned(), FieldChange::SetJson(json!(zone))));
        Change::UpsertCustomer(UpsertCustomer {
            external_id: Some(at.to_string()),
            email: Some(format!("c{at}@mail.example")),
            attributes: attributes.into_iter().collect(),
            ..UpsertCustomer::default()
        })
    });
    changes::apply(ctx, customers.collect()).await.unwrap();
    sending
}

/// A clock time in UTC so many hours from now, as a local time.
fn in_hours(sending: &Sending, hours: i64) -> String {
    let at = sending.ctx.now().plus_secs(hours * 3_600);
    at.to_string().trim_end_matches('Z').to_owned()
}

async fn everyone_gets_it_at_their_own_time(engine: Engine) {
    let sending = travellers(engine).await;
    let at = in_hours(&sending, 2);
    let plan = json!({"local": {"at": at, "zone_attribute": "zone"}}).to_string();
    let id = planned(&sending, MessageClass::Transactional, &plan).await;

    let review = campaigns::review(&sending.ctx, id).await.unwrap();
    assert_eq!((review.audience.audience, review.audience.will_send), (4, 4));
    assert_eq!(review.audience.hours.values().sum::<i64>(), 4);
    assert_eq!(review.audience.hours.len(), 4, "{:?}", review.audience.hours);
    assert_eq!(review.audience.unknown_zone, 1);
    assert_eq!(review.begins_at, None, "the first clocks have shown it");
    let warned = review.problems.iter().any(|problem| problem.message.contains("has passed"));
    assert!(warned, "{:?}", review.problems);

    // Tokyo's clock has shown it: at once.
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until_counts(id, |counts| (counts.sent, counts.due) == (1, 3)).await;
    assert_eq!(sending.sink.mails()[0].recipients[0], "c0@mail.example");
    // Lagos, an hour ahead of UTC.
    sending.later(id, HOUR_MS).await;
    sending.until_counts(id, |counts| (counts.sent, counts.due) == (2, 2)).await;
    // A pause outlasts the time; whoever became due gets it when it ends.
    campaigns::pause(&sending.ctx, id).await.unwrap();
    sending.later(id, HOUR_MS).await;
    assert_eq!(sending.sink.count(), 2);
    campaigns::resume(&sending.ctx, id).await.unwrap();
    sending.later(id, 0).await;
    sending.until_counts(id, |counts| (counts.sent, counts.due) == (3, 1)).await;
    assert_eq!(sending.sink.mails()[2].recipients[0], "c2@mail.example");
    // Cancelled before Lima's time.
    campaigns::cancel(&sending.ctx, id).await.unwrap();
    sending.later(id, 24 * HOUR_MS).await;
    let done = sending.until(id, CampaignState::Cancelled).await;
    assert_eq!((done.counts.sent, done.counts.cancelled), (3, 1));
    assert_eq!(sending.sink.count(), 3);
}

async fn who_is_too_late_may_be_left_out(engine: Engine) {
    let sending = travellers(engine).await;
    let at = in_hours(&sending, 2);
    let plan = json!({"local": {"at": at, "zone_attribute": "zone", "passed": "skip"}}).to_string();
    let id = planned(&sending, MessageClass::Transactional, &plan).await;
    let review = campaigns::review(&sending.ctx, id).await.unwrap();
    let found = (review.audience.will_send, review.audience.local_time_passed);
    assert_eq!(found, (3, 1));

    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until_counts(id, |counts| (counts.due, counts.skipped) == (3, 1)).await;
    sending.later(id, 24 * HOUR_MS).await;
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!((done.counts.sent, done.counts.skipped), (3, 1));
    let all = deliveries(&sending, id).await;
    let skipped = all.iter().find(|one| one.reason.is_some()).unwrap();
    assert_eq!(skipped.reason.as_deref(), Some("local_time_passed"));
    assert_eq!(skipped.address.as_deref(), Some("c0@mail.example"));
}

async fn a_local_time_is_the_only_time(engine: Engine) {
    let sending = travellers(engine).await;
    let at = in_hours(&sending, 48);
    let plan = json!({"local": {"at": at, "zone_attribute": "zone"}}).to_string();
    let id = planned(&sending, MessageClass::Transactional, &plan).await;

    for (wrong, path) in [("score", "local.zone_attribute"), ("nowhere", "local.zone_attribute")] {
        let plan = json!({"local": {"at": at, "zone_attribute": wrong}}).to_string();
        let refused = replan(&sending, id, &plan).await;
        let is_named = matches!(&refused, Err(Error::Invalid(faults)) if faults[0].path == path);
        assert!(is_named, "{wrong}: {refused:?}");
    }
    let tomorrow = Some(sending.ctx.now().plus_secs(86_400));
    let refused = campaigns::launch(&sending.ctx, id, tomorrow).await;
    assert!(matches!(&refused, Err(Error::Invalid(faults)) if faults[0].path == "at"));
    let mut draft = draft_of(&sending, id).await;
    draft.scheduled_at = tomorrow;
    let refused = campaigns::change(&sending.ctx, id, draft).await;
    assert!(matches!(&refused, Err(Error::Invalid(faults)) if faults[0].path == "scheduled_at"));

    // It begins when the first clock on earth shows the time, fourteen hours before UTC's does.
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    let found = campaigns::get(&sending.ctx, id).await.unwrap();
    assert_eq!(found.state, CampaignState::Scheduled);
    let begins = sending.ctx.now().plus_secs(34 * 3_600);
    assert_eq!(found.scheduled_at, Some(Timestamp(begins.0)));
}
