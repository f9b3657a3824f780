//! A campaign from launch to report, over real SMTP, on both engines.

#[path = "campaigns/alerts.rs"]
mod alerts;
mod common;
#[path = "campaigns/consent.rs"]
mod consent;
#[path = "campaigns/contest.rs"]
mod contest;
#[path = "campaigns/erasing.rs"]
mod erasing;
#[path = "campaigns/goals.rs"]
mod goals;
#[path = "campaigns/holdout.rs"]
mod holdout;
#[path = "campaigns/local_time.rs"]
mod local_time;
#[path = "campaigns/places.rs"]
mod places;
#[path = "campaigns/planned.rs"]
mod planned;
#[path = "campaigns/planting.rs"]
mod planting;
#[path = "campaigns/retention.rs"]
mod retention;
#[path = "campaigns/undoing.rs"]
mod undoing;

use std::time::Duration;

use common::{Engine, Sending};
use serde_json::json;
use tidings_domain::campaign::{CampaignState, DeliveryState, MessageClass};
use tidings_domain::consent::{Proof, Via};
use tidings_engine::{campaigns, tracking};
use tidings_testkit::mail_sink::{Action, At, Script};

macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(super::Engine::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(super::Engine::Postgres).await; })+
        }
    };
}

#[path = "campaigns/email.rs"]
mod email;

on_both_engines!(
    everyone_who_may_gets_one_mail_and_the_figures_add_up,
    refusals_are_retried_or_recorded,
    clicks_and_unsubscribes_come_back,
    a_cancelled_campaign_sends_nothing_more,
    messages_that_cannot_be_made_are_skipped_with_the_reason,
    a_customer_who_is_gone_holds_nothing_up,
    a_node_whose_leases_went_lets_go_of_its_connections,
);

async fn everyone_who_may_gets_one_mail_and_the_figures_add_up(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(300).await;
    sending.consent(0..280, true).await;
    sending.consent(250..260, false).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    let review = campaigns::review(&sending.ctx, id).await.unwrap();
    assert_eq!((review.audience.audience, review.audience.will_send), (300, 270));

    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!(done.counts.sent, 270);
    assert_eq!(done.counts.skipped, 30);
    assert_eq!(done.counts.audience(), 300);
    let mails = sending.sink.mails();
    let mut recipients: Vec<String> = mails.iter().map(|mail| mail.recipients[0].clone()).collect();
    recipients.sort();
    recipients.dedup();
    assert_eq!((mails.len(), recipients.len()), (270, 270));
    let mail = mails.iter().find(|mail| mail.recipients[0] == "c7@mail.example").unwrap();
    assert_eq!(mail.subject(), "Hello Name7");
    assert!(mail.html().contains("/t/c/"));
    let page = ctx_deliveries(&sending, id, Some(DeliveryState::Skipped)).await;
    assert!(page.iter().all(|one| one.reason.as_deref() == Some("no_consent")));
}

async fn ctx_deliveries(
    sending: &Sending,
    id: tidings_domain::CampaignId,
    state: Option<DeliveryState>,
) -> Vec<tidings_store::deliveries::Delivery> {
    let campaign = campaigns::get(&sending.ctx, id).await.unwrap();
    let number = campaign.number;
    sending.ctx.workspace.deliveries(number, state, None, None, 1_000).await.unwrap().items
}

async fn refusals_are_retried_or_recorded(engine: Engine) {
    let script = Script::accept_all()
        .to("c1", Action::RefuseRecipient(550, "5.1.1 no such user".into()))
        .to("c2", Action::RefuseMessage(554, "5.7.1 not wanted".into()))
        .to("c3", Action::Later(1));
    let sending = Sending::on(engine, script).await;
    sending.customers(5).await;
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();

    let waiting = sending
        .until_counts(id, |c| (c.due, c.sent, c.in_flight, c.audience()) == (1, 2, 0, 5))
        .await;
    assert_eq!((waiting.counts.bounced, waiting.counts.failed), (1, 1));
    loop {
        let due = ctx_deliveries(&sending, id, Some(DeliveryState::Due)).await;
        if due.first().is_some_and(|one| one.attempts == 1) {
            assert_eq!(due[0].reason.as_deref(), Some("deferred"));
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The first retry comes within 30 seconds.
    sending.later(id, 30_000).await;
    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!(done.counts.sent, 3);
    assert_eq!(done.counts.audience(), 5);

    // The address that does not exist is never written to again.
    let again = sending.campaign(MessageClass::Transactional, None).await;
    let review = campaigns::review(&sending.ctx, again).await.unwrap();
    assert_eq!((review.audience.hard_bounced, review.audience.will_send), (1, 4));
}

async fn clicks_and_unsubscribes_come_back(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(3).await;
    sending.consent(0..3, true).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;
    let mail =
        sending.sink.mails().into_iter().find(|m| m.recipients[0] == "c1@mail.example").unwrap();
    let html = mail.html();
    let token = |path: &str| {
        let from = html.find(path).unwrap() + path.len();
        html[from..].split(['"', '.']).next().unwrap().to_owned()
    };

    let url = tracking::click(&sending.ctx.hub, &token("/t/c/")).await.unwrap();
    assert_eq!(url, "https://shop.example/?a=1&b=2");
    tracking::open(&sending.ctx.hub, &token("/t/o/")).await.unwrap();
    assert!(tracking::click(&sending.ctx.hub, &token("/t/o/")).await.is_err());
    let proof = Proof::by(Via::UnsubscribeLink);
    tracking::unsubscribe(&sending.ctx.hub, &token("/t/u/"), "link", proof).await.unwrap();

    let counts = campaigns::progress(&sending.ctx, id).await.unwrap().counts;
    assert_eq!((counts.opened, counts.clicked, counts.unsubscribed), (1, 1, 1));
    let again = sending.campaign(MessageClass::Marketing, None).await;
    let review = campaigns::review(&sending.ctx, again).await.unwrap();
    assert_eq!((review.audience.no_consent, review.audience.will_send), (1, 2));
    let header = mail.header("List-Unsubscribe-Post");
    assert_eq!(header.as_deref(), Some("List-Unsubscribe=One-Click"));
}

async fn a_cancelled_campaign_sends_nothing_more(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(2_000).await;
    let rule = json!({"attribute": "name", "op": "exists"});
    let id = sending.campaign(MessageClass::Transactional, Some(rule)).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until_counts(id, |counts| counts.sent > 20).await;

    campaigns::pause(&sending.ctx, id).await.unwrap();
    let paused = sending.until_counts(id, |counts| counts.in_flight == 0).await;
    assert_eq!(paused.campaign.state, CampaignState::Paused);
    let taken = sending.sink.count();
    assert_eq!(taken as i64, paused.counts.sent);
    campaigns::resume(&sending.ctx, id).await.unwrap();
    sending.until_counts(id, |counts| counts.sent > paused.counts.sent).await;
    campaigns::cancel(&sending.ctx, id).await.unwrap();
    let done = sending.until_counts(id, |counts| counts.in_flight == 0).await;
    assert_eq!(done.counts.due, 0);
    assert_eq!(sending.sink.count() as i64, done.counts.sent);
    assert!(campaigns::resume(&sending.ctx, id).await.is_err());
}

async fn messages_that_cannot_be_made_are_skipped_with_the_reason(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(20).await;
    let body = "{% if customer.name != 'Name3' %}{% abort_message('no offer') %}{% endif %}Hi";
    let id = sending.campaign_saying(body, MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();

    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!((done.counts.sent, done.counts.skipped), (1, 19));
    let skipped = ctx_deliveries(&sending, id, Some(DeliveryState::Skipped)).await;
    assert!(skipped.iter().all(|one| one.reason.as_deref() == Some("aborted")));
    assert!(skipped.iter().all(|one| one.reply.as_deref() == Some("no offer")));
}

async fn a_customer_who_is_gone_holds_nothing_up(engine: Engine) {
    let script = (0..4)
        .fold(Script::accept_all(), |script, at| script.to(&format!("c{at}"), Action::Later(1)));
    let sending = Sending::on(engine, script).await;
    sending.customers(6).await;
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until_counts(id, |c| (c.due, c.sent, c.in_flight) == (4, 2, 0)).await;

    for who in ["c0@mail.example", "c1@mail.example", "c2@mail.example"] {
        sending.remove_customer(who).await;
    }
    sending.later(id, 30_000).await;
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!((done.counts.sent, done.counts.skipped, done.counts.due), (3, 3, 0));
    let skipped = ctx_deliveries(&sending, id, Some(DeliveryState::Skipped)).await;
    assert_eq!(skipped.len(), 3);
    for one in skipped {
        assert_eq!(one.reason.as_deref(), Some("customer_gone"));
        assert_eq!(one.reply.as_deref(), Some("customer is gone"));
    }
}

/// Shards share the connections to the relay. Those that lost their leases must not wait for more
/// work with a connection in hand while others wait for that connection.
async fn a_node_whose_leases_went_lets_go_of_its_connections(engine: Engine) {
    let slow = Action::Slow(At::Dot, Duration::from_millis(2));
    let script = Script::accept_all().to("*", slow);
    let sending = Sending::with(engine, script, |settings| settings.smtp_open_max = 4).await;
    sending.customers(2_000).await;
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();

    for round in 1..=12 {
        sending.until_counts(id, |counts| counts.sent > round * 25).await;
        // As when the node slept past its leases: every shard is another holder's.
        sending.ctx.workspace.release_all_jobs().await.unwrap();
        sending.ctx.wake();
    }

    sending.until_counts(id, |counts| counts.sent > 400).await;
    campaigns::cancel(&sending.ctx, id).await.unwrap();
    sending.until_counts(id, |counts| counts.in_flight == 0).await;
}
