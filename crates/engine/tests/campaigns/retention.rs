//! What retention takes of messages, and what it leaves them for a while.

use std::time::Duration;

use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{CustomerRef, Identity, IdentityKind};
use tidings_domain::retention::Retention;
use tidings_engine::{campaigns, customers, retention};
use tidings_testkit::mail_sink::Script;

use crate::common::{Engine, Sending};

mod sqlite {
    #[tokio::test(flavor = "multi_thread")]
    async fn addresses_go_before_events_of_campaigns_do() {
        super::addresses_go_before_events_of_campaigns_do(super::Engine::Sqlite).await;
    }
}
mod postgres {
    #[tokio::test(flavor = "multi_thread")]
    async fn addresses_go_before_events_of_campaigns_do() {
        super::addresses_go_before_events_of_campaigns_do(super::Engine::Postgres).await;
    }
}

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Waits until nothing is left to go.
async fn settled(sending: &Sending, periods: Retention) {
    retention::set(&sending.ctx, periods).await.unwrap();
    for _ in 0..3_000 {
        let to_go = retention::preview(&sending.ctx, periods).await.unwrap().to_go;
        if to_go == Default::default() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("something stays");
}

async fn addresses_go_before_events_of_campaigns_do(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    sending.customers(3).await;
    sending.consent(0..3, true).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    let sent = sending.until(id, CampaignState::Done).await.counts;
    let value = "0".to_owned();
    let one = CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value });
    let one = customers::find(ctx, one).await.unwrap();
    let periods =
        Retention { events_days: Some(30), message_details_days: Some(30), ..Retention::default() };
    let count = retention::preview(ctx, periods).await.unwrap().to_go;
    assert_eq!((count.events, count.message_details), (0, 0), "it is not old yet");
    for (days, events) in [(60, 1), (40, 0)] {
        sending.clock.advance_ms(days * DAY_MS);
        settled(&sending, periods).await;
        let left = customers::events(ctx, one, Some("message_sent".to_owned()), None, 10).await;
        assert_eq!(left.unwrap().items.len(), events, "after {days} days more");
        let rows = ctx.workspace.all_rows().await.unwrap();
        let told = |line: &&str| line.starts_with("deliveries") && line.contains("c0@mail.example");
        assert_eq!(rows.lines().filter(told).count(), 0);
        assert_eq!(campaigns::progress(ctx, id).await.unwrap().counts, sent);
    }
}
