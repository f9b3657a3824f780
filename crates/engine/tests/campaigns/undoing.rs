//! Undoing an import whose customers were written to: what was sent stays sent, and they stay.

use serde_json::json;
use tidings_domain::campaign::{CampaignState, DeliveryState, MessageClass};
use tidings_domain::change::{CustomerRef, Identity, IdentityKind};
use tidings_domain::{CampaignId, ImportId};
use tidings_engine::imports::undo::{self, UndoState};
use tidings_engine::imports::{self, Mapping, Upload};
use tidings_engine::{campaigns, customers};
use tidings_testkit::mail_sink::{Action, Script};

use crate::common::{Engine, Sending};

mod sqlite {
    #[tokio::test(flavor = "multi_thread")]
    async fn who_was_written_to_stays() {
        super::who_was_written_to_stays(super::Engine::Sqlite).await;
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn a_consent_that_goes_calls_off_what_is_planned() {
        super::a_consent_that_goes_calls_off_what_is_planned(super::Engine::Sqlite).await;
    }
}
mod postgres {
    #[tokio::test(flavor = "multi_thread")]
    async fn who_was_written_to_stays() {
        super::who_was_written_to_stays(super::Engine::Postgres).await;
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn a_consent_that_goes_calls_off_what_is_planned() {
        super::a_consent_that_goes_calls_off_what_is_planned(super::Engine::Postgres).await;
    }
}

/// An import of e-mail addresses with what they wish, to its end.
async fn imported(sending: &Sending, file: &str) -> ImportId {
    let ctx = &sending.ctx;
    let upload = Upload { filename: "people.csv".to_owned(), ..Upload::default() };
    let id = imports::create(ctx, upload, file.as_bytes()).await.unwrap().row.id;
    let mapping: Mapping = serde_json::from_value(json!({"columns": [
        {"column": "email", "to": "email"}, {"column": "wish", "to": "consent.email"},
    ]}))
    .unwrap();
    imports::set_mapping(ctx, id, &mapping).await.unwrap();
    imports::start(ctx, id).await.unwrap();
    while !imports::get(ctx, id).await.unwrap().row.state.is_finished() {
        tokio::task::yield_now().await;
    }
    sending.clock.advance_ms(1_000);
    id
}

/// A marketing campaign to those who want e-mail.
async fn launched(sending: &Sending) -> CampaignId {
    let rule = json!({"consent": "email", "state": "granted"});
    let campaign = sending.campaign(MessageClass::Marketing, Some(rule)).await;
    campaigns::launch(&sending.ctx, campaign, None).await.unwrap();
    campaign
}

/// Restored, deleted, kept.
async fn undone(sending: &Sending, id: ImportId) -> (u64, u64, u64) {
    undo::start(&sending.ctx, id).await.unwrap();
    loop {
        let undo = imports::get(&sending.ctx, id).await.unwrap().undo.expect("an undo");
        if undo.state == UndoState::Done {
            return (undo.restored, undo.deleted, undo.kept);
        }
        tokio::task::yield_now().await;
    }
}

async fn who_was_written_to_stays(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    let id = imported(&sending, "email,wish\nann@mail.example,yes\nbo@mail.example,no\n").await;
    let campaign = launched(&sending).await;
    let sent = sending.until(campaign, CampaignState::Done).await;
    assert_eq!(sent.counts.sent, 1);

    assert_eq!(undone(&sending, id).await, (0, 1, 1));

    for (email, stays) in [("ann@mail.example", true), ("bo@mail.example", false)] {
        let value = email.to_owned();
        let who = CustomerRef::Identity(Identity { kind: IdentityKind::Email, value });
        assert_eq!(customers::find(ctx, who).await.is_ok(), stays, "{email}");
    }
    let counts = campaigns::progress(ctx, campaign).await.unwrap().counts;
    assert_eq!(counts, sent.counts, "what was sent stays sent");
}

async fn a_consent_that_goes_calls_off_what_is_planned(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all().to("ann", Action::Later(1))).await;
    sending.customer("ann@mail.example").await;
    sending.clock.advance_ms(1_000);
    let id = imported(&sending, "email,wish\nann@mail.example,yes\n").await;
    let campaign = launched(&sending).await;
    // The relay wants it later, so it is planned again.
    let number = campaigns::get(&sending.ctx, campaign).await.unwrap().number;
    let due = Some(DeliveryState::Due);
    loop {
        let workspace = &sending.ctx.workspace;
        let page = workspace.deliveries(number, due, None, None, 10).await.unwrap();
        if page.items.first().is_some_and(|one| one.attempts == 1) {
            break;
        }
        tokio::task::yield_now().await;
    }

    assert_eq!(undone(&sending, id).await, (1, 0, 0));

    sending.later(campaign, 30_000).await;
    let done = sending.until(campaign, CampaignState::Done).await;
    assert_eq!((done.counts.sent, done.counts.skipped), (0, 1));
}
