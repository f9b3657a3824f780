//! What operators are told: once a cause, and once more when it is over.

use serde_json::json;
use tidings_domain::Timestamp;
use tidings_domain::campaign::{CampaignState, MessageClass, Share};
use tidings_domain::value::Kind;
use tidings_engine::alerts::{self, Alert, AlertKind};
use tidings_engine::sending_rules::{self, AlertMail, BounceLimit, SendingRules};
use tidings_engine::{Error, campaigns};
use tidings_testkit::mail_sink::{Action, MailSink, Script, SinkSettings};

use crate::common::{Engine, Sending};
use crate::planned::on_both_engines;

on_both_engines!(
    a_campaign_that_bounces_pauses_itself_and_says_so,
    a_job_that_is_given_up_is_told_once,
    a_job_that_fails_again_and_again_is_told_until_it_succeeds,
    a_relay_that_stays_away_is_told_until_it_is_back,
    alerts_are_read_page_by_page,
);

async fn rules(sending: &Sending, percent: Option<f64>) {
    let rules = SendingRules {
        bounces: BounceLimit { share: percent.and_then(Share::of_percent), from_mails: 20 },
        alerts: AlertMail {
            to: vec!["Ops@Shop.Example".to_owned()],
            from: Some("hub@shop.example".to_owned()),
        },
        ..SendingRules::default()
    };
    let kept = sending_rules::put(&sending.ctx, rules).await.unwrap();
    assert_eq!(kept.alerts.to, ["ops@shop.example"]);
}

async fn all(sending: &Sending) -> Vec<Alert> {
    alerts::page(&sending.ctx, false, None, 100).await.unwrap().items
}

/// Waits until an alert is as wanted, for as long as a test may take.
async fn until(sending: &Sending, met: impl Fn(&[Alert]) -> bool) -> Vec<Alert> {
    for _ in 0..6_000 {
        let found = all(sending).await;
        if met(&found) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the alerts stay at {:?}", all(sending).await);
}

/// Waits until the operators have so many mails, and gives their subjects.
async fn told(sending: &Sending, count: usize) -> Vec<String> {
    for _ in 0..6_000 {
        let mails = sending.sink.mails();
        let own = mails.iter().filter(|mail| mail.recipients[0] == "ops@shop.example");
        let subjects: Vec<String> = own.map(|mail| mail.subject()).collect();
        if subjects.len() >= count {
            return subjects;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the operators were not told {count} times");
}

async fn a_campaign_that_bounces_pauses_itself_and_says_so(engine: Engine) {
    let script = (0..150).fold(Script::accept_all(), |script, at| {
        let refused = Action::RefuseRecipient(550, "5.1.1 no such user".into());
        script.to(&format!("c{at}"), refused)
    });
    let sending = Sending::on(engine, script).await;
    sending.customers(1_000).await;
    rules(&sending, Some(10.0)).await;
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();

    let paused = sending.until(id, CampaignState::Paused).await;

    assert_eq!(paused.campaign.paused_because.as_deref(), Some("bounces"));
    assert!(paused.counts.sent < 850, "it did not go on to the end");
    let found = until(&sending, |found| !found.is_empty()).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].campaign), (AlertKind::CampaignPaused, Some(id)));
    assert!(found[0].message.contains("mails bounced"), "{}", found[0].message);
    assert_eq!(found[0].ended_at, None);
    assert_eq!(alerts::unread(&sending.ctx).await.unwrap(), 1);
    let subjects = told(&sending, 1).await;
    assert!(subjects[0].starts_with("Alert: The campaign"), "{subjects:?}");

    // Whoever lets it go on has seen why: what bounced until now is not held against it.
    rules(&sending, None).await;
    campaigns::resume(&sending.ctx, id).await.unwrap();
    let done = sending.until(id, CampaignState::Done).await;
    assert_eq!((done.counts.sent, done.counts.bounced), (850, 150));
    assert_eq!(done.campaign.paused_because, None);
    let found = until(&sending, |found| found[0].ended_at.is_some()).await;
    assert_eq!(found.len(), 1);
    let subjects = told(&sending, 2).await;
    assert!(subjects[1].starts_with("Over: The campaign"), "{subjects:?}");

    let seen = alerts::acknowledge(&sending.ctx, found[0].id, "ann").await.unwrap();
    assert_eq!(seen.acknowledged_by.as_deref(), Some("ann"));
    let again = alerts::acknowledge(&sending.ctx, found[0].id, "bob").await.unwrap();
    assert_eq!(again.acknowledged_by.as_deref(), Some("ann"), "who came first stays");
    assert_eq!(alerts::unread(&sending.ctx).await.unwrap(), 0);
}

async fn a_job_that_is_given_up_is_told_once(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    rules(&sending, None).await;
    for _ in 0..2 {
        sending.ctx.workspace.add_job("nonsense", "7", Timestamp(0)).await.unwrap();
        sending.ctx.wake();
        until(&sending, |found| !found.is_empty()).await;
        while !sending
            .ctx
            .workspace
            .failed_jobs()
            .await
            .unwrap()
            .iter()
            .any(|job| job.0 == "nonsense")
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let found = all(&sending).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, found[0].subject.as_str()), (AlertKind::JobGivenUp, "nonsense 7"));
    let subjects = told(&sending, 1).await;
    assert_eq!(subjects.len(), 1);
    assert!(subjects[0].contains("nonsense 7"), "{subjects:?}");
}

async fn a_job_that_fails_again_and_again_is_told_until_it_succeeds(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(3).await;
    let ctx = &sending.ctx;
    ctx.workspace.add_attribute("lost", Kind::Text, ctx.now()).await.unwrap();
    let rule = json!({"not": {"attribute": "lost", "op": "exists"}});
    let id = sending.campaign(MessageClass::Transactional, Some(rule)).await;
    ctx.workspace.drop_attribute("lost").await.unwrap();
    campaigns::launch(ctx, id, None).await.unwrap();

    let mut found = Vec::new();
    for _ in 0..6_000 {
        // Instead of waiting for its next attempt.
        ctx.workspace.add_job("send_campaign", "1:0", Timestamp(0)).await.unwrap();
        ctx.wake();
        found = all(&sending).await;
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(found.first().map(|one| one.kind), Some(AlertKind::JobStuck), "{found:?}");
    ctx.workspace.add_attribute("lost", Kind::Text, ctx.now()).await.unwrap();
    sending.later(id, 0).await;
    sending.until(id, CampaignState::Done).await;
    until(&sending, |found| found.iter().any(|one| one.ended_at.is_some())).await;
}

async fn a_relay_that_stays_away_is_told_until_it_is_back(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    sending.customers(3).await;
    let port = sending.sink.addr().port();
    sending.sink.stop();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let id = sending.campaign(MessageClass::Transactional, None).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until_counts(id, |counts| counts.due == 3).await;
    assert_eq!(all(&sending).await, [], "a short absence is told nobody");

    let mut found = Vec::new();
    for _ in 0..6_000 {
        sending.later(id, 61_000).await;
        found = all(&sending).await;
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let kinds: Vec<AlertKind> = found.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [AlertKind::SendingHeldUp]);
    assert_eq!(found[0].campaign, Some(id));

    let back = MailSink::start_with(SinkSettings { port, ..SinkSettings::default() }).await;
    let back = back.expect("the port is still free");
    for _ in 0..6_000 {
        sending.later(id, 1_000).await;
        if campaigns::get(&sending.ctx, id).await.unwrap().state == CampaignState::Done {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(back.count(), 3);
    until(&sending, |found| found.len() == 1 && found[0].ended_at.is_some()).await;
}

async fn alerts_are_read_page_by_page(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    for at in 0..5 {
        let raised = alerts::Raised {
            kind: AlertKind::JobStuck,
            subject: at.to_string(),
            message: format!("job {at}"),
            campaign: None,
        };
        let now = sending.ctx.now();
        assert!(sending.ctx.workspace.raise_alert(raised.clone(), now).await.unwrap());
        assert!(!sending.ctx.workspace.raise_alert(raised, now).await.unwrap(), "once a cause");
        sending.clock.advance_ms(1_000);
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = alerts::page(&sending.ctx, true, before, 2).await.unwrap();
        seen.extend(page.items.into_iter().map(|one| one.message));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["job 4", "job 3", "job 2", "job 1", "job 0"]);
    assert_eq!(alerts::acknowledge_all(&sending.ctx, "ann").await.unwrap(), 5);
    assert_eq!(alerts::page(&sending.ctx, true, None, 2).await.unwrap().items, []);
    // A cause that ended and came back is told again.
    let ctx = &sending.ctx;
    ctx.workspace.end_alert(AlertKind::JobStuck, "4", ctx.now()).await.unwrap();
    let raised = alerts::Raised {
        kind: AlertKind::JobStuck,
        subject: "4".to_owned(),
        message: "job 4 again".to_owned(),
        campaign: None,
    };
    assert!(ctx.workspace.raise_alert(raised, ctx.now()).await.unwrap());
    assert_eq!(alerts::unread(ctx).await.unwrap(), 1);

    let nobody = "00000000-0000-7000-8000-000000000001".parse().unwrap();
    let missing = alerts::acknowledge(ctx, nobody, "ann").await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
    for wrong in [
        AlertMail { to: vec!["no address".to_owned()], from: Some("a@b.example".to_owned()) },
        AlertMail { to: vec!["a@b.example".to_owned()], from: None },
        AlertMail { to: vec!["a@b.example".to_owned(); 21], from: Some("a@b.example".to_owned()) },
    ] {
        let rules = SendingRules { alerts: wrong, ..SendingRules::default() };
        assert!(sending_rules::put(ctx, rules).await.is_err());
    }
    let few = BounceLimit { from_mails: 1, ..BounceLimit::default() };
    let rules = SendingRules { bounces: few, ..SendingRules::default() };
    assert!(sending_rules::put(ctx, rules).await.is_err());
}
