//! How a campaign's mail leaves: over which relays, signed, at which pace, to whom.

use tidings_channels::email::dkim::Algorithm;
use tidings_domain::CampaignId;
use tidings_domain::campaign::{CampaignState, DeliveryState, MessageClass};
use tidings_engine::campaigns::Level;
use tidings_engine::relays::{self, RelayInput};
use tidings_engine::senders::{self, KeyInput, RecipientLimit};
use tidings_engine::{campaigns, templates};
use tidings_testkit::mail_sink::{Action, At, MailSink, Script, SinkSettings};

use crate::common::{Engine, Sending};

on_both_engines!(
    mail_is_signed_with_every_active_key,
    secrets_are_sealed_at_rest,
    relays_share_the_mail_and_one_that_is_down_holds_nothing_up,
    a_domain_goes_by_its_own_relay_and_links_to_its_own_address,
    a_change_of_relays_reaches_a_campaign_at_work,
    a_limited_domain_holds_nobody_else_up,
    addresses_beyond_ascii_are_sent_or_skipped_with_the_reason,
);

fn relay(name: &str, url: &str) -> RelayInput {
    RelayInput {
        name: name.to_owned(),
        url: url.to_owned(),
        username: None,
        password: None,
        per_second: None,
        open_max: 16,
        weight: 1,
        enabled: true,
    }
}

fn key(algorithm: Algorithm, selector: &str, active: bool) -> KeyInput {
    KeyInput { algorithm, selector: Some(selector.to_owned()), active }
}

async fn skipped(sending: &Sending, id: CampaignId) -> Vec<(String, String)> {
    let number = campaigns::get(&sending.ctx, id).await.unwrap().number;
    let state = Some(DeliveryState::Skipped);
    let page = sending.ctx.workspace.deliveries(number, state, None, None, 1_000).await.unwrap();
    let told = |one: tidings_store::deliveries::Delivery| {
        (one.address.unwrap_or_default(), one.reason.unwrap_or_default())
    };
    page.items.into_iter().map(told).collect()
}

/// The value of a tag of each signature of a mail.
fn tags(raw: &str, tag: &str) -> Vec<String> {
    let headers = raw.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n\t", "");
    let signatures = headers.lines().filter_map(|line| line.strip_prefix("DKIM-Signature:"));
    signatures
        .filter_map(|line| {
            let mut parts = line.split(';').map(str::trim);
            parts.find_map(|part| part.strip_prefix(&format!("{tag}=")).map(str::to_owned))
        })
        .collect()
}

async fn mail_is_signed_with_every_active_key(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(3).await;
    sending.consent(0..3, true).await;
    let first = sending.campaign(MessageClass::Marketing, None).await;
    let review = campaigns::review(&sending.ctx, first).await.unwrap();
    let unsigned = |problem: &campaigns::Problem| {
        problem.level == Level::Warning && problem.message.contains("is not signed")
    };
    assert!(review.problems.iter().any(unsigned));

    let domain = "shop.example";
    let made = senders::create_key(&sending.ctx, domain, key(Algorithm::Rsa, "r1", true)).await;
    assert_eq!(made.unwrap().record_name, "r1._domainkey.shop.example");
    let ctx = &sending.ctx;
    senders::create_key(ctx, domain, key(Algorithm::Ed25519, "e1", true)).await.unwrap();
    senders::create_key(ctx, domain, key(Algorithm::Ed25519, "e2", false)).await.unwrap();
    senders::create_key(ctx, "other.example", key(Algorithm::Ed25519, "e1", true)).await.unwrap();
    let review = campaigns::review(ctx, first).await.unwrap();
    assert!(!review.problems.iter().any(unsigned));
    campaigns::launch(ctx, first, None).await.unwrap();
    sending.until(first, CampaignState::Done).await;

    let mails = sending.sink.mails();
    assert_eq!(mails.len(), 3);
    for mail in &mails {
        let raw = String::from_utf8(mail.bytes.clone()).expect("7-bit");
        assert_eq!(tags(&raw, "s"), ["e1", "r1"]);
        assert_eq!(tags(&raw, "d"), [domain, domain]);
        assert_eq!(tags(&raw, "a"), ["ed25519-sha256", "rsa-sha256"]);
        for names in tags(&raw, "h") {
            for name in ["from", "subject", "list-unsubscribe", "list-unsubscribe-post"] {
                let count = names.split(':').filter(|signed| *signed == name).count();
                assert_eq!(count, 2, "{name} is there once and oversigned: {names}");
            }
        }
    }

    // A key that is switched off signs no more, and a test mail is signed like any other.
    senders::switch_key(ctx, domain, "r1", false).await.unwrap();
    let template = campaigns::get(ctx, first).await.unwrap().template.0;
    let sender = campaigns::Sender {
        name: "Shop".to_owned(),
        address: "shop@shop.example".to_owned(),
        reply_to: None,
    };
    let sent =
        templates::send_test(ctx, template, "a@mail.example", None, Some(sender), None).await;
    assert!(sent.unwrap().0);
    let raw = String::from_utf8(sending.sink.mails()[3].bytes.clone()).expect("7-bit");
    assert_eq!(tags(&raw, "s"), ["e1"]);
}

async fn secrets_are_sealed_at_rest(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    senders::create_key(ctx, "shop.example", key(Algorithm::Rsa, "r1", true)).await.unwrap();
    let input = RelayInput {
        username: Some("hugo".to_owned()),
        password: Some("correct horse".to_owned()),
        ..relay("own", "smtp://127.0.0.1:9")
    };
    relays::create(ctx, input).await.unwrap();

    let setup = ctx.workspace.mail_setup().await.unwrap();
    let secret = setup.relays[0].settings.secret.clone().expect("a password");
    assert!(!secret.windows(7).any(|part| b"correct horse".windows(7).any(|word| word == part)));
    // A private RSA key is a DER sequence with the version 0 and the modulus, which is public.
    let private = &setup.keys[0].secret;
    let modulus = &setup.keys[0].public[40..72];
    assert!(private.len() > 1_000 && !private.windows(32).any(|part| part == modulus));
    let printed = format!("{setup:?}");
    assert!(!printed.contains("hugo") && printed.len() < 2_000, "{printed}");

    // Another secret in its place is not taken: nothing is signed by it, and the rest goes on.
    let mut other = setup.keys[0].clone();
    other.selector = "r2".to_owned();
    ctx.workspace.add_dkim_key(other).await.unwrap();
    let sent = templates::send_test(
        ctx,
        campaigns::get(ctx, sending.campaign(MessageClass::Transactional, None).await)
            .await
            .unwrap()
            .template
            .0,
        "a@mail.example",
        None,
        None,
        None,
    );
    // The workspace's own relay answers nobody, so the mail goes nowhere; it fails by that alone.
    let refused = sent.await.expect_err("nobody listens there").to_string();
    assert!(refused.contains("connect to 127.0.0.1:9"), "{refused}");
}

async fn relays_share_the_mail_and_one_that_is_down_holds_nothing_up(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let (one, two) =
        (MailSink::start(Script::accept_all()).await, MailSink::start(Script::accept_all()).await);
    let ctx = &sending.ctx;
    let dead = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("smtp://{}", listener.local_addr().expect("an address"))
    };
    relays::create(ctx, relay("one", &one.url())).await.unwrap();
    let two_input = RelayInput { weight: 3, per_second: Some(5_000), ..relay("two", &two.url()) };
    relays::create(ctx, two_input).await.unwrap();
    relays::create(ctx, RelayInput { weight: 50, ..relay("dead", &dead) }).await.unwrap();
    let off = RelayInput { enabled: false, weight: 100, ..relay("off", &one.url()) };
    relays::create(ctx, off).await.unwrap();
    sending.customers(400).await;
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();

    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!(done.counts.sent, 400);
    assert_eq!(one.count() + two.count(), 400, "nothing went by the hub's own relay");
    assert_eq!(sending.sink.count(), 0);
    assert!(two.count() > one.count() && one.count() > 20, "{} {}", one.count(), two.count());
    let states = relays::list(ctx).await.unwrap();
    let up: Vec<Option<bool>> =
        states.iter().map(|relay| relay.state.as_ref().map(|state| state.is_up)).collect();
    assert_eq!(up, [Some(true), Some(true), Some(false), None]);
    assert!(states[2].state.as_ref().unwrap().error.as_ref().unwrap().contains("connect to"));
    let tried = relays::try_out(ctx, states[2].id).await.unwrap();
    assert!(!tried.works && tried.message.contains("connect to"), "{}", tried.message);
    let tried = relays::try_out(ctx, states[3].id).await.unwrap();
    assert!(tried.works && tried.message.contains("PIPELINING"), "{}", tried.message);
}

async fn a_domain_goes_by_its_own_relay_and_links_to_its_own_address(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let (own, shared) =
        (MailSink::start(Script::accept_all()).await, MailSink::start(Script::accept_all()).await);
    let ctx = &sending.ctx;
    let assigned = relays::create(ctx, RelayInput { weight: 0, ..relay("own", &own.url()) }).await;
    let assigned = assigned.unwrap().id;
    relays::create(ctx, relay("shared", &shared.url())).await.unwrap();
    let tracking = Some("https://news.shop.example".to_owned());
    senders::put(ctx, "shop.example", Some(assigned), tracking).await.unwrap();
    sending.customers(5).await;
    sending.consent(0..5, true).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;

    assert_eq!((own.count(), shared.count()), (5, 0));
    let mail = &own.mails()[0];
    let html = mail.html();
    for path in ["/t/c/", "/t/o/", "/t/u/"] {
        let at = html.find(path).unwrap_or_else(|| panic!("{path} in {html}"));
        assert!(html[..at].ends_with("https://news.shop.example"), "{path} in {html}");
    }
    assert!(!html.contains("127.0.0.1:9"), "nothing points to the hub's own address: {html}");
    let unsubscribe = mail.header("List-Unsubscribe").expect("the header");
    assert!(unsubscribe.starts_with("<https://news.shop.example/t/u/"), "{unsubscribe}");

    // Without its relay the domain goes by the others, and without any by the hub's.
    relays::drop(ctx, assigned).await.unwrap();
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;
    assert_eq!((own.count(), shared.count(), sending.sink.count()), (5, 5, 0));
    let shared_id = relays::list(ctx).await.unwrap()[0].id;
    relays::drop(ctx, shared_id).await.unwrap();
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;
    assert_eq!((shared.count(), sending.sink.count()), (5, 5));
}

async fn a_change_of_relays_reaches_a_campaign_at_work(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    // A pace at which the campaign would take most of an hour.
    let slow = MailSink::start(Script::accept_all()).await;
    let input = RelayInput { per_second: Some(1), ..relay("slow", &slow.url()) };
    let made = relays::create(ctx, input).await.unwrap();
    sending.customers(2_000).await;
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    sending.until_counts(id, |counts| counts.sent > 0).await;
    relays::change(ctx, made.id, relay("fast", &slow.url())).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!((done.counts.sent, slow.count()), (2_000, 2_000));
}

async fn a_limited_domain_holds_nobody_else_up(engine: Engine) {
    let script = Script::accept_all().to("c1*", Action::Hang(At::Dot));
    let sending = Sending::on(engine, script).await;
    let ctx = &sending.ctx;
    let limit = |domain: &str, open_max| RecipientLimit { domain: domain.to_owned(), open_max };
    // All customers are at one domain: three of its turns hang, the fourth does all the others.
    senders::put_limits(ctx, vec![limit("mail.example", 4), limit("*", 1)]).await.unwrap();
    sending.customers(300).await;
    let rule = serde_json::json!({"any": [
        {"attribute": "name", "op": "in", "value": ["Name1", "Name10", "Name100"]},
        {"attribute": "name", "op": "starts_with", "value": "Name2"},
    ]});
    let id = sending.campaign(MessageClass::Transactional, Some(rule)).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    let met = |counts: &campaigns::Counts| (counts.sent, counts.in_flight, counts.due);
    sending.until_counts(id, |counts| met(counts) == (111, 3, 0)).await;
    campaigns::cancel(ctx, id).await.unwrap();
}

async fn addresses_beyond_ascii_are_sent_or_skipped_with_the_reason(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    for email in ["ann@bücher.example", "jörg@mail.example", "plain@mail.example"] {
        sending.customer(email).await;
    }
    // A relay that does not take them, and then one that does.
    let smtp = tidings_testkit::mail_sink::smtp_settings(&["SMTPUTF8"]);
    let old = SinkSettings { smtp, ..SinkSettings::default() };
    let old = MailSink::start_with(old).await.expect("a port");
    let made = relays::create(ctx, relay("old", &old.url())).await.unwrap();
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!((done.counts.sent, done.counts.skipped), (2, 1));
    let reason = ("jörg@mail.example".to_owned(), "needs_smtputf8".to_owned());
    assert_eq!(skipped(&sending, id).await, [reason]);
    let recipients: Vec<String> =
        old.mails().iter().flat_map(|mail| mail.recipients.clone()).collect();
    assert!(recipients.contains(&"ann@xn--bcher-kva.example".to_owned()), "{recipients:?}");

    relays::drop(ctx, made.id).await.unwrap();
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!(done.counts.sent, 3);
    let mails = sending.sink.mails();
    assert!(mails.iter().any(|mail| mail.recipients == ["jörg@mail.example"]));
}
