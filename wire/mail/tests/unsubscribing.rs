//! The link to unsubscribe, as scanners, mail readers and people use it, on both engines.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tidings_domain::campaign::MessageClass;
use tidings_domain::change::{Change, CustomerRef, Identity, IdentityKind, UpsertCustomer};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_engine::links::{Link, Purpose};
use tidings_engine::{campaigns, changes, customers, templates};
use tidings_store::campaigns::{CampaignDraft, Sender};
use tidings_store::templates::TemplateDraft;
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;
use tower::ServiceExt;

on_both_engines!(row_59_links_that_scanners_follow_change_nothing);

const ANN: &str = "ann@example.com";

fn ann() -> CustomerRef {
    CustomerRef::Identity(Identity { kind: IdentityKind::Email, value: ANN.to_owned() })
}

async fn consent(test: &TestHub) -> ConsentState {
    let profile = customers::profile(&test.ctx, ann()).await.expect("she is known");
    profile.consents.iter().find(|one| one.topic.is_empty()).expect("a consent").state
}

async fn status(router: &Router, method: &str, path: &str, body: &str) -> u16 {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .expect("a request");
    router.clone().oneshot(request).await.expect("an answer").status().as_u16()
}

/// A campaign, for links to be of.
async fn campaign(test: &TestHub) -> u32 {
    let template = TemplateDraft {
        name: "letter".to_owned(),
        subject: "Hello".to_owned(),
        html: "<a href=\"{{ unsubscribe_url }}\">stop</a>".to_owned(),
        ..TemplateDraft::default()
    };
    let draft = CampaignDraft {
        name: "letter".to_owned(),
        segment: None,
        template: templates::create(&test.ctx, template).await.expect("a template"),
        sender: Sender {
            name: "Shop".to_owned(),
            address: "shop@shop.example".to_owned(),
            reply_to: None,
        },
        class: MessageClass::Marketing,
        topic: None,
        scheduled_at: None,
        link_parameters: Vec::new(),
        plan: Default::default(),
    };
    let id = campaigns::create(&test.ctx, draft).await.expect("a campaign");
    let number = campaigns::get(&test.ctx, id).await.expect("the campaign").number;
    u32::try_from(number).expect("a number")
}

async fn row_59_links_that_scanners_follow_change_nothing(test: TestHub) {
    let upsert = UpsertCustomer { email: Some(ANN.to_owned()), ..UpsertCustomer::default() };
    let says = Change::ChangeConsent {
        customer: ann(),
        channel: Channel::Email,
        topic: String::new(),
        state: ConsentState::Granted,
        source: "test".to_owned(),
        proof: Proof::default(),
    };
    changes::apply(&test.ctx, vec![Change::UpsertCustomer(upsert), says]).await.expect("ann");
    let customer = customers::find(&test.ctx, ann()).await.expect("she is known");
    let workspace = u32::try_from(test.ctx.workspace.row.number).expect("a number");
    let link = Link {
        workspace,
        campaign: campaign(&test).await,
        customer,
        purpose: Purpose::Unsubscribe,
    };
    let token = test.hub.link_keys().token(&link);
    let router = tidings_wire_mail::router(test.hub.clone());

    // Whatever only looks, however often and by whichever page of it.
    for _ in 0..200 {
        for (method, path) in
            [("GET", "/t/u/"), ("HEAD", "/t/u/"), ("GET", "/t/p/"), ("OPTIONS", "/t/u/")]
        {
            let status = status(&router, method, &format!("{path}{token}"), "").await;
            assert!([200, 405].contains(&status), "{method} {path}: {status}");
        }
    }
    assert_eq!(consent(&test).await, ConsentState::Granted);
    // A link that was changed, and one of another purpose, unsubscribe nobody.
    let other = test.hub.link_keys().token(&Link { purpose: Purpose::Open, ..link });
    for wrong in [&token[1..], &other, "x"] {
        assert_eq!(status(&router, "POST", &format!("/t/u/{wrong}"), "").await, 404);
    }
    assert_eq!(consent(&test).await, ConsentState::Granted);

    // The mail reader's own button: no cookie, no session, no page before it (RFC 8058).
    let body = "List-Unsubscribe=One-Click";
    assert_eq!(status(&router, "POST", &format!("/t/u/{token}"), body).await, 200);
    assert_eq!(consent(&test).await, ConsentState::Withdrawn);
    let told = tidings_engine::consents::history(&test.ctx, customer, None, 9).await;
    let told = told.expect("what she said").items;
    assert_eq!(json!(told[0].state), json!("withdrawn"));
}
