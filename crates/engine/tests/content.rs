//! What a campaign's mails hold: blocks as they stood, the customer's language, MJML made for each
//! customer, and links with the campaign's parameters; on both engines.

#[expect(dead_code, reason = "other tests need the rest of it")]
mod common;

use common::{Engine, Sending};
use serde_json::json;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{Change, FieldChange, UpsertCustomer};
use tidings_domain::value::Kind;
use tidings_engine::campaigns::{CampaignDraft, Sender};
use tidings_engine::templates::{Format, TemplateDraft, Variant};
use tidings_engine::{Error, blocks, campaigns, changes, templates, tracking};
use tidings_testkit::mail_sink::Script;

async fn customer(sending: &Sending, email: &str, name: &str, language: Option<&str>) {
    let mut attributes = vec![("name".to_owned(), FieldChange::SetJson(json!(name)))];
    if let Some(language) = language {
        attributes.push(("language".to_owned(), FieldChange::SetJson(json!(language))));
    }
    let change = Change::UpsertCustomer(UpsertCustomer {
        email: Some(email.to_owned()),
        attributes,
        ..UpsertCustomer::default()
    });
    changes::apply(&sending.ctx, vec![change]).await.expect("a customer");
}

async fn campaign(sending: &Sending, template: TemplateDraft) -> tidings_domain::CampaignId {
    let template = templates::create(&sending.ctx, template).await.expect("a template");
    let sender =
        Sender { name: "Shop".to_owned(), address: "shop@shop.example".to_owned(), reply_to: None };
    let parameters = [("utm_source", "tidings"), ("utm_campaign", "Spring & more")];
    let draft = CampaignDraft {
        name: "Spring".to_owned(),
        segment: None,
        template,
        sender,
        class: MessageClass::Transactional,
        scheduled_at: None,
        topic: None,
        plan: Default::default(),
        link_parameters: parameters.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
    };
    campaigns::create(&sending.ctx, draft).await.expect("a campaign")
}

async fn mail(sending: &Sending, to: &str) -> (String, String, String) {
    let mails = sending.sink.mails();
    let mail = mails.into_iter().find(|mail| mail.recipients[0] == to).expect("a mail");
    (mail.subject(), mail.html(), mail.text())
}

async fn everybody_gets_their_language_with_the_block_that_stood(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    ctx.workspace.add_attribute("language", Kind::Language, ctx.now()).await.unwrap();
    customer(&sending, "ann@mail.example", "Ann", None).await;
    customer(&sending, "ben@mail.example", "Ben <b>", Some("de-AT")).await;
    customer(&sending, "cleo@mail.example", "Cleo", Some("pt-BR")).await;
    let body = "<p>From <a href=\"https://shop.example/about#us\">us</a></p>";
    let footer = blocks::create(ctx, "footer", body).await.unwrap();
    let variant = |language: &str, subject: &str, html: &str| Variant {
        language: language.to_owned(),
        subject: subject.to_owned(),
        html: html.to_owned(),
        text: String::new(),
    };
    let id = campaign(
        &sending,
        TemplateDraft {
            name: "letter".to_owned(),
            subject: "Hello {{${name}}}".to_owned(),
            html: "<p>Hello {{ ${name} }}</p>{{content_blocks.${footer}}}".to_owned(),
            variants: vec![
                variant(
                    "de",
                    "Hallo {{ customer.name }}",
                    "<p>Hallo {{custom_attribute.${name}}}</p>{% include 'footer' %}",
                ),
                variant("pt", "Olá", "<p>Olá</p>"),
                variant("pt-BR", "Oi", "<p>Oi</p>"),
            ],
            ..TemplateDraft::default()
        },
    )
    .await;
    campaigns::launch(ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;

    let (subject, html, text) = mail(&sending, "ann@mail.example").await;
    assert_eq!(subject, "Hello Ann");
    assert!(html.contains("<p>Hello Ann</p><p>From <a href="), "{html}");
    assert!(text.contains("Hello Ann") && text.contains("From us"), "{text}");
    let token = html.split("/t/c/").nth(1).unwrap().split('"').next().unwrap();
    let url = tracking::click(&ctx.hub, token).await.unwrap();
    let expected =
        "https://shop.example/about?utm_source=tidings&utm_campaign=Spring%20%26%20more#us";
    assert_eq!(url, expected);
    let links = campaigns::report(ctx, id).await.unwrap().links;
    assert_eq!((links.len(), links[0].url.as_str(), links[0].clicks), (1, expected, 1));
    let (subject, html, _) = mail(&sending, "ben@mail.example").await;
    assert_eq!(subject, "Hallo Ben <b>");
    assert!(html.contains("<p>Hallo Ben &lt;b&gt;</p><p>From <a href="), "{html}");
    let (subject, html, _) = mail(&sending, "cleo@mail.example").await;
    assert!(subject == "Oi" && html.contains("<p>Oi</p>"), "{subject} {html}");

    // The block cannot go while the template has it, and its next text is the next campaign's.
    assert!(matches!(blocks::drop(ctx, footer).await, Err(Error::Conflict(_))));
    sending.clock.advance_ms(1_000);
    blocks::change(ctx, footer, "<p>new</p>").await.unwrap();
    let started = campaigns::get(ctx, id).await.unwrap().started_at.unwrap();
    let stood = ctx.workspace.block_named("footer", started).await.unwrap().unwrap();
    assert_eq!(stood.body, body);
}

async fn mjml_is_compiled_once_or_for_each_customer(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    customer(&sending, "ann@mail.example", "</mj-text><mj-button>", None).await;
    customer(&sending, "ben@mail.example", "Ben", None).await;
    let section = "<mj-section><mj-column><mj-text>Dear {{ customer.name }} {{ customer.name | raw }}\
                   <a href=\"https://shop.example/\">look</a></mj-text></mj-column></mj-section>";
    let draft = |name: &str, body: String| TemplateDraft {
        name: name.to_owned(),
        subject: "Hi".to_owned(),
        html: format!("<mjml><mj-body>{body}</mj-body></mjml>"),
        format: Format::Mjml,
        ..TemplateDraft::default()
    };
    let once = campaign(&sending, draft("once", section.to_owned())).await;
    campaigns::launch(&sending.ctx, once, None).await.unwrap();
    let each = format!("{{% if customer.name == 'Ben' %}}{section}{{% endif %}}{section}");
    let each = campaign(&sending, draft("each", each)).await;
    sending.until(once, CampaignState::Done).await;
    let (_, html, _) = mail(&sending, "ann@mail.example").await;
    let named = "Dear &lt;/mj-text&gt;&lt;mj-button&gt; </mj-text><mj-button>";
    assert!(html.contains(named) && html.contains("/t/c/"), "{html}");

    let review = campaigns::review(&sending.ctx, each).await.unwrap();
    assert!(review.problems.iter().any(|one| one.message.contains("for each customer")));
    campaigns::launch(&sending.ctx, each, None).await.unwrap();
    sending.until(each, CampaignState::Done).await;
    let mails = sending.sink.mails();
    let sections = |to: &str| {
        let mut html = mails.iter().filter(|mail| mail.recipients[0] == to).map(|m| m.html());
        let (one, other) = (html.next().unwrap(), html.next().unwrap());
        let count = |html: &str| html.matches("Dear ").count();
        (count(&one).min(count(&other)), count(&one).max(count(&other)))
    };
    assert_eq!(sections("ann@mail.example"), (1, 1));
    assert_eq!(sections("ben@mail.example"), (1, 2));
    // What a customer is called is never read as MJML, not even unescaped.
    assert!(
        mails
            .iter()
            .filter(|m| m.recipients[0] == "ann@mail.example")
            .all(|m| m.html().contains(named))
    );
}

async fn a_template_that_cannot_work_is_not_launched(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    customer(&sending, "ann@mail.example", "Ann", None).await;
    let html = "<p>\n<a href=\"htps://shop.example\">look</a></p>".to_owned();
    let subject = "Hi".to_owned();
    let name = "broken".to_owned();
    let id =
        campaign(&sending, TemplateDraft { name, subject, html, ..TemplateDraft::default() }).await;
    let review = campaigns::review(&sending.ctx, id).await.unwrap();
    let first = &review.problems[0];
    assert_eq!((first.level, first.place), (campaigns::Level::Error, Some((2, 10))));
    match campaigns::launch(&sending.ctx, id, None).await {
        Err(Error::Conflict(text)) => assert!(text.contains("html 2:10"), "{text}"),
        other => panic!("{other:?}"),
    }
    let sample = review.sample.unwrap();
    assert_eq!(sample.parts.html, "<p>\n<a href=\"htps://shop.example\">look</a></p>");
}

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

on_both_engines!(
    everybody_gets_their_language_with_the_block_that_stood,
    mjml_is_compiled_once_or_for_each_customer,
    a_template_that_cannot_work_is_not_launched,
);
