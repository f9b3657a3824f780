//! Consent from the outside: topics and suppression at a send, the preference page, and sign-up
//! forms with their confirmation, on both engines.

use std::collections::BTreeMap;

use crate::common::{Engine, Sending};
use serde_json::json;
use tidings_domain::Timestamp;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{Change, CustomerRef, Identity, IdentityKind};
use tidings_domain::consent::{Channel, ConsentState, Proof, SuppressionReason, Via};
use tidings_engine::forms::{
    self, Confirmation, Definition, Filled, FormField, FormSender, Submitted,
};
use tidings_engine::preferences::{self, Answer};
use tidings_engine::topics::{self, TopicText};
use tidings_engine::tracking::{self, Visitor};
use tidings_engine::{campaigns, changes, customers, suppressions};
use tidings_testkit::mail_sink::Script;

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
    a_campaign_with_a_topic_goes_to_those_who_want_it,
    a_hash_and_a_late_suppression_stop_a_message,
    the_preference_page_changes_what_it_shows,
    row_19_nothing_is_granted_before_the_mail_is_answered_nor_after_its_end,
    robots_and_repeats_get_no_mail,
);

async fn topic(sending: &Sending, name: &str) {
    let text = TopicText { title: format!("The {name}"), text: String::new() };
    let texts = BTreeMap::from([("en".to_owned(), text)]);
    topics::create(&sending.ctx, Channel::Email, name, "", &texts).await.unwrap();
}

fn by_number(at: usize) -> CustomerRef {
    let identity = Identity { kind: IdentityKind::ExternalId, value: at.to_string() };
    CustomerRef::Identity(identity)
}

async fn says(sending: &Sending, at: usize, topic: &str, granted: bool) {
    let change = Change::ChangeConsent {
        customer: by_number(at),
        channel: Channel::Email,
        topic: topic.to_owned(),
        state: if granted { ConsentState::Granted } else { ConsentState::Withdrawn },
        source: "test".to_owned(),
        proof: Proof::default(),
    };
    changes::apply_one(&sending.ctx, change).await.unwrap();
}

async fn about(sending: &Sending, topic: &str) -> tidings_domain::CampaignId {
    let id = sending.campaign(MessageClass::Marketing, None).await;
    let found = campaigns::get(&sending.ctx, id).await.unwrap();
    let draft = campaigns::CampaignDraft {
        name: found.name,
        segment: None,
        template: found.template.0,
        sender: found.sender,
        class: found.class,
        topic: Some(topic.to_owned()),
        link_parameters: found.link_parameters,
        plan: found.plan,
        scheduled_at: None,
    };
    campaigns::change(&sending.ctx, id, draft).await.unwrap();
    id
}

fn recipients(sending: &Sending) -> Vec<String> {
    let mails = sending.sink.mails();
    let mut all: Vec<String> = mails.iter().map(|mail| mail.recipients[0].clone()).collect();
    all.sort();
    all
}

async fn a_campaign_with_a_topic_goes_to_those_who_want_it(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(5).await;
    topic(&sending, "offers").await;
    // Nobody asked c0; c1 wants all, c2 offers alone, c3 all but offers, c4 nothing any more.
    sending.consent(1..2, true).await;
    says(&sending, 2, "offers", true).await;
    sending.consent(3..4, true).await;
    says(&sending, 3, "offers", false).await;
    says(&sending, 4, "offers", true).await;
    sending.consent(4..5, false).await;
    let id = about(&sending, "offers").await;
    let review = campaigns::review(&sending.ctx, id).await.unwrap();
    assert_eq!((review.audience.will_send, review.audience.no_consent), (2, 3));

    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;

    assert_eq!((done.counts.sent, done.counts.skipped), (2, 3));
    assert_eq!(recipients(&sending), ["c1@mail.example", "c2@mail.example"]);
    let whole = sending.campaign(MessageClass::Marketing, None).await;
    let review = campaigns::review(&sending.ctx, whole).await.unwrap();
    assert_eq!(review.audience.will_send, 2, "c1 and c3 want what has no topic");
}

async fn a_hash_and_a_late_suppression_stop_a_message(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(4).await;
    let hash = tidings_store::suppressions::hash_of("c1@mail.example");
    let list = [hash.to_uppercase(), "c2@mail.example".to_owned(), "nonsense".to_owned()];
    let reason = SuppressionReason::Manual;
    let (added, refused) =
        suppressions::import(&sending.ctx, Channel::Email, &list, reason).await.unwrap();
    assert_eq!((added.added, refused.len(), refused[0].index), (2, 1, 2));
    let id = sending.campaign(MessageClass::Transactional, None).await;
    let review = campaigns::review(&sending.ctx, id).await.unwrap();
    assert_eq!((review.audience.suppressed, review.audience.will_send), (2, 2));
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!((done.counts.sent, done.counts.skipped), (2, 2));
    assert_eq!(recipients(&sending), ["c0@mail.example", "c3@mail.example"]);
    let profile = customers::profile(&sending.ctx, by_number(1)).await.unwrap();
    assert_eq!(profile.suppressed.map(|(reason, _)| reason).as_deref(), Some("manual"));
}

async fn token_of(sending: &Sending, who: &str) -> String {
    let mail = sending.sink.mails().into_iter().find(|mail| mail.recipients[0] == who).unwrap();
    let html = mail.html();
    let from = html.find("/t/u/").unwrap() + 5;
    html[from..].split('"').next().unwrap().to_owned()
}

async fn the_preference_page_changes_what_it_shows(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let hub = &sending.ctx.hub;
    sending.customers(1).await;
    sending.consent(0..1, true).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;
    let token = token_of(&sending, "c0@mail.example").await;
    let visitor = Visitor { ip: None, user_agent: Some("Reader\n1".to_owned()) };
    let chosen = async || {
        let page = preferences::page(hub, &token, Some("nl")).await.unwrap();
        assert_eq!(page.words.language, "nl");
        page.choices.into_iter().map(|one| (one.name, one.is_chosen)).collect::<Vec<_>>()
    };
    let pair = |name: &str, is_chosen| (name.to_owned(), is_chosen);
    assert_eq!(chosen().await, [pair("", true)]);

    topic(&sending, "news").await;
    topic(&sending, "offers").await;
    assert_eq!(chosen().await, [pair("news", true), pair("offers", true)]);
    // A topic that came after the page was shown is left alone.
    let answer = Answer {
        shown: vec![("news".to_owned(), Some(1)), ("nothing".to_owned(), None)],
        chosen: Vec::new(),
    };
    preferences::save(hub, &token, answer, &visitor).await.unwrap();
    assert_eq!(chosen().await, [pair("news", false), pair("offers", true)]);
    let proof = visitor.proof(Via::PreferencePage);
    tracking::unsubscribe(hub, &token, "preference page", proof).await.unwrap();
    assert_eq!(chosen().await, [pair("news", false), pair("offers", false)]);
    let answer = Answer {
        shown: vec![("news".to_owned(), Some(1)), ("offers".to_owned(), Some(1))],
        chosen: vec!["news".to_owned()],
    };
    preferences::save(hub, &token, answer, &visitor).await.unwrap();
    assert_eq!(chosen().await, [pair("news", true), pair("offers", false)]);
    let id = customers::find(&sending.ctx, by_number(0)).await.unwrap();
    let told = tidings_engine::consents::history(&sending.ctx, id, None, 50).await.unwrap().items;
    assert!(told.iter().any(|one| one.state == "lifted" && one.topic.is_empty()));
    assert_eq!(told[0].user_agent.as_deref(), Some("Reader1"));
    assert!(preferences::page(hub, "nonsense", None).await.is_err());
}

async fn form(sending: &Sending) -> forms::Form {
    topic(sending, "news").await;
    topic(sending, "offers").await;
    let field =
        |to: &str, required| FormField { to: to.to_owned(), label: "Label".to_owned(), required };
    let definition = Definition {
        title: "Our letters".to_owned(),
        intro: String::new(),
        language: "en".to_owned(),
        fields: vec![field("name", true), field("phone", false)],
        topics: vec!["news".to_owned(), "offers".to_owned()],
        sender: FormSender { name: "Shop".to_owned(), address: "shop@shop.example".to_owned() },
        redirect_url: None,
    };
    forms::create(&sending.ctx, "footer", definition).await.unwrap()
}

/// Fills the form in as somebody who takes five seconds.
async fn fill(
    sending: &Sending,
    form: &forms::Form,
    change: impl FnOnce(&mut Filled),
) -> Submitted {
    let hub = &sending.ctx.hub;
    let slug = &sending.ctx.workspace.row.slug;
    let shown = forms::shown(hub, slug, form.stored.id).await.unwrap();
    let mut filled = Filled {
        email: " Zoe@Mail.Example".to_owned(),
        values: BTreeMap::from([("name".to_owned(), "Zoë".to_owned())]),
        topics: vec!["news".to_owned(), "unknown".to_owned()],
        trap: String::new(),
        stamp: forms::stamp(hub, form.stored.id),
    };
    sending.clock.advance_ms(5_000);
    change(&mut filled);
    let visitor = Visitor { ip: "192.0.2.9".parse().ok(), user_agent: Some("Browser".to_owned()) };
    forms::submit(&shown, &filled, &visitor).await.unwrap()
}

async fn mails(sending: &Sending, count: u64) {
    for _ in 0..3_000 {
        if sending.sink.count() >= count {
            return;
        }
        // The clock of the test runs ahead of the jobs'.
        sending.ctx.hub.wake(sending.ctx.workspace.row.id, Timestamp(0));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} mails, not {count}", sending.sink.count());
}

async fn row_19_nothing_is_granted_before_the_mail_is_answered_nor_after_its_end(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let hub = &sending.ctx.hub;
    let form = form(&sending).await;
    assert_eq!(fill(&sending, &form, |_| {}).await, Submitted::Thanks);
    mails(&sending, 1).await;
    let zoe = || {
        let value = "zoe@mail.example".to_owned();
        CustomerRef::Identity(Identity { kind: IdentityKind::Email, value })
    };
    assert!(customers::profile(&sending.ctx, zoe()).await.is_err(), "nobody is there yet");
    let mail = &sending.sink.mails()[0];
    assert_eq!(mail.recipients, ["zoe@mail.example"]);
    let html = mail.html();
    assert!(html.contains("The news") && !html.contains("The offers"), "{html}");
    let from = html.find("/t/s/").unwrap() + 5;
    let token = html[from..].split('"').next().unwrap().to_owned();

    // Looking changes nothing, however often.
    for _ in 0..3 {
        let Confirmation::Open(_, topics) = forms::confirmation(hub, &token).await.unwrap() else {
            panic!("it waits for an answer")
        };
        assert_eq!(topics.len(), 1);
    }
    assert!(customers::profile(&sending.ctx, zoe()).await.is_err());
    for _ in 0..2 {
        let done = forms::confirm(hub, &token).await.unwrap();
        assert!(matches!(done, Confirmation::Done(..)));
    }
    let profile = customers::profile(&sending.ctx, zoe()).await.unwrap();
    assert_eq!(profile.customer.attribute("name"), Some(json!("Zoë")));
    assert_eq!(profile.consents.len(), 1);
    let consent = &profile.consents[0];
    assert_eq!((consent.topic.as_str(), consent.state), ("news", ConsentState::Granted));
    assert_eq!((consent.via, consent.text_version), (Via::Form, Some(1)));
    let history = tidings_engine::consents::history(&sending.ctx, profile.customer.id, None, 9);
    let history = history.await.unwrap().items;
    assert_eq!(history.len(), 1, "the second answer changed nothing");
    assert_eq!(history[0].ip.as_deref(), Some("192.0.2.9"));
    assert_eq!(history[0].source, "form footer");
    assert!(forms::confirm(hub, &token[1..]).await.is_err());

    // A link that nobody followed in time is worth nothing.
    assert_eq!(
        fill(&sending, &form, |one| one.email = "late@mail.example".into()).await,
        Submitted::Thanks
    );
    mails(&sending, 2).await;
    let html = sending.sink.mails()[1].html();
    let from = html.find("/t/s/").unwrap() + 5;
    let token = html[from..].split('"').next().unwrap().to_owned();
    // It works to the last moment before its end, and no more at its end.
    sending.clock.advance_ms(7 * 24 * 3_600 * 1_000 - 1);
    assert!(matches!(forms::confirmation(hub, &token).await.unwrap(), Confirmation::Open(..)));
    sending.clock.advance_ms(1);
    assert!(matches!(forms::confirm(hub, &token).await.unwrap(), Confirmation::Expired(_)));
}

async fn robots_and_repeats_get_no_mail(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let form = form(&sending).await;
    let again = |faults: &[(&str, &'static str)]| {
        Submitted::Again(faults.iter().map(|(name, key)| ((*name).to_owned(), *key)).collect())
    };
    assert_eq!(fill(&sending, &form, |one| one.trap = "x".into()).await, Submitted::Thanks);
    assert_eq!(fill(&sending, &form, |one| one.stamp = "x".into()).await, again(&[]));
    let late = forms::stamp(&sending.ctx.hub, form.stored.id);
    sending.clock.advance_ms(25 * 3_600 * 1_000);
    assert_eq!(fill(&sending, &form, |one| one.stamp = late).await, again(&[]));
    let hub = sending.ctx.hub.clone();
    let id = form.stored.id;
    let quick = fill(&sending, &form, move |one| one.stamp = forms::stamp(&hub, id)).await;
    assert_eq!(quick, again(&[]), "nobody is that quick");
    let faulty = fill(&sending, &form, |one| {
        one.email = "nonsense".into();
        one.values = BTreeMap::from([("phone".into(), "12".into())]);
        one.topics.clear();
    });
    let expected = [
        ("email", "fault_email"),
        ("name", "fault_required"),
        ("phone", "fault_value"),
        ("topics", "fault_topics"),
    ];
    assert_eq!(faulty.await, again(&expected));

    // One address gets one mail a minute and three a day, whoever asks.
    let mut asked = 0;
    for pause_s in [0, 1, 90, 90, 90, 90] {
        sending.clock.advance_ms(pause_s * 1_000);
        assert_eq!(fill(&sending, &form, |_| {}).await, Submitted::Thanks);
        asked += 1;
    }
    mails(&sending, 3).await;
    // Somebody else's mail goes out after all of those, so none of them is still to come.
    let other = fill(&sending, &form, |one| one.email = "other@mail.example".into());
    assert_eq!(other.await, Submitted::Thanks);
    mails(&sending, 4).await;
    assert_eq!((asked, sending.sink.count()), (6, 4));

    // A suppressed address gets none at all.
    let zed = "zed@mail.example";
    let reason = SuppressionReason::Complaint;
    suppressions::add(&sending.ctx, Channel::Email, zed, reason).await.unwrap();
    assert_eq!(fill(&sending, &form, |one| one.email = zed.into()).await, Submitted::Thanks);
    let last = fill(&sending, &form, |one| one.email = "last@mail.example".into());
    assert_eq!(last.await, Submitted::Thanks);
    mails(&sending, 5).await;
    assert!(!recipients(&sending).contains(&zed.to_owned()));

    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(fill(&sending, &form, |one| one.trap = "x".into()).await);
    }
    assert!(answers.contains(&Submitted::TooMany));
}
