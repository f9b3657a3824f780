//! Conversions and revenue from a table, beside those who were held out.

use serde_json::json;
use tidings_domain::campaign::{Arm, CampaignState, MessageClass};
use tidings_domain::change::{Change, CustomerRef, FieldChange, Mode, UpsertRecord};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{CustomerId, Timestamp};
use tidings_engine::campaigns::{self, amount_text};
use tidings_engine::changes;
use tidings_testkit::mail_sink::Script;

use crate::common::{Engine, Sending};
use crate::planned::{deliveries, on_both_engines, planned};

on_both_engines!(
    revenue_within_the_window_stands_beside_the_holdout,
    a_test_may_be_won_by_conversions,
);

const DAY: i64 = 86_400;

async fn shop(engine: Engine, customers: usize) -> Sending {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    let money = Kind::Money { currency: "EUR".to_owned(), scale: 2 };
    let fields = vec![("at".to_owned(), Kind::Timestamp), ("total".to_owned(), money)];
    ctx.workspace.add_table("orders", Owner::Customer, fields, ctx.now()).await.unwrap();
    sending.customers(customers).await;
    sending.consent(0..customers, true).await;
    sending
}

async fn order(sending: &Sending, customer: CustomerId, key: &str, at: Timestamp, total: &str) {
    let set = |name: &str, text: String| (name.to_owned(), FieldChange::SetJson(json!(text)));
    let change = Change::UpsertRecord(UpsertRecord {
        table: "orders".to_owned(),
        key: key.to_owned(),
        customer: Some(CustomerRef::Id(customer)),
        mode: Mode::default(),
        fields: vec![set("at", at.to_string()), set("total", total.to_owned())],
    });
    changes::apply_one(&sending.ctx, change).await.unwrap();
}

async fn revenue_within_the_window_stands_beside_the_holdout(engine: Engine) {
    let sending = shop(engine, 100).await;
    let plan = json!({"holdout": 50, "goal": {"table": "orders", "time_field": "at",
        "amount_field": "total", "window_hours": 168}})
    .to_string();
    let id = planned(&sending, MessageClass::Marketing, &plan).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending.until(id, CampaignState::Done).await;
    let all = deliveries(&sending, id).await;
    let of = |arm| all.iter().filter(move |one| one.arm == Some(arm)).map(|one| one.customer);
    let treated: Vec<CustomerId> = of(Arm::Message).collect();
    let held: Vec<CustomerId> = of(Arm::Holdout).collect();
    assert!(treated.len() > 25 && held.len() > 25);

    let now = sending.ctx.now();
    let at = |secs: i64| now.plus_secs(secs);
    // Before the message, and after the window: neither counts.
    order(&sending, treated[0], "early", at(-60), "9.99").await;
    order(&sending, treated[0], "late", at(7 * DAY + 60), "9.99").await;
    order(&sending, treated[1], "one", at(60), "10.10").await;
    order(&sending, treated[1], "two", at(DAY), "0.05").await;
    for (at_customer, customer) in treated.iter().enumerate().skip(2).take(18) {
        order(&sending, *customer, &format!("t{at_customer}"), at(2 * DAY), "5.00").await;
    }
    order(&sending, held[0], "held", at(6 * DAY), "7.25").await;
    order(&sending, held[0], "held before", at(-60), "7.25").await;
    order(&sending, held[1], "held late", at(8 * DAY), "7.25").await;
    // After the day on which it is looked at: not yet.
    order(&sending, held[2], "held later", at(6 * DAY + 7_200), "7.25").await;
    sending.clock.advance_ms((6 * DAY + 3_600) * 1_000);

    let found = campaigns::results(&sending.ctx, id).await.unwrap();
    let goal = found.goal.unwrap();
    assert_eq!((goal.currency.as_deref(), goal.is_there), (Some("EUR"), true));
    assert_eq!(goal.closes_at.map(|at| at >= now.plus_secs(7 * DAY)), Some(true));
    let figures = |arm| {
        let group = found.groups.iter().find(|one| one.group.arm == arm).unwrap();
        let figures = group.goal.unwrap();
        let text = amount_text(figures.amount, goal.scale);
        (figures.customers, figures.converted, figures.conversions, text)
    };
    let expected = (treated.len() as i64, 19, 20, "100.15".to_owned());
    assert_eq!(figures(Arm::Message), expected);
    assert_eq!(figures(Arm::Holdout), (held.len() as i64, 1, 1, "7.25".to_owned()));
    let uplift = found.uplift.unwrap();
    assert_eq!(uplift.control, Arm::Holdout);
    let rate = uplift.rate.unwrap();
    let expected = 19.0 / treated.len() as f64 - 1.0 / held.len() as f64;
    assert!((rate.difference - expected).abs() < 1e-12);
    assert!(0.0 < rate.low && rate.low < rate.difference && rate.difference < rate.high);
    let revenue = uplift.revenue.unwrap();
    let expected = 100.15 / treated.len() as f64 - 7.25 / held.len() as f64;
    assert!((revenue.difference - expected).abs() < 1e-9, "{revenue:?}");
    assert!(revenue.low < revenue.difference && revenue.difference < revenue.high);

    // More than 64 bits hold, to the last digit.
    for key in ["big", "bigger", "biggest"] {
        order(&sending, treated[1], key, at(3 * DAY), "50000000000000000.01").await;
    }
    let found = campaigns::results(&sending.ctx, id).await.unwrap();
    let group = found.groups.iter().find(|one| one.group.arm == Arm::Message).unwrap();
    let text = amount_text(group.goal.unwrap().amount, 2);
    assert_eq!(text, "150000000000000100.18");

    // A table that is not there any more is said to be so; nothing fails.
    let plain = sending.campaign(MessageClass::Marketing, None).await;
    let nothing = campaigns::results(&sending.ctx, plain).await.unwrap();
    assert!(nothing.goal.is_none() && nothing.uplift.is_none() && nothing.groups.is_empty());
}

async fn a_test_may_be_won_by_conversions(engine: Engine) {
    let sending = shop(engine, 200).await;
    let plan = json!({
        "test": {"variants": [{"name": "A", "weight": 50}, {"name": "B", "weight": 50}],
            "share": 50, "metric": "conversions", "hours": 48},
        "goal": {"table": "orders", "time_field": "at", "window_hours": 24}})
    .to_string();
    let id = planned(&sending, MessageClass::Marketing, &plan).await;
    campaigns::launch(&sending.ctx, id, None).await.unwrap();
    sending
        .until_counts(id, |counts| {
            counts.sent > 0 && counts.in_flight == 0 && counts.audience() == 200
        })
        .await;
    sending.until_counts(id, |counts| counts.sent + counts.due == 200 && counts.due < 150).await;
    let all = deliveries(&sending, id).await;
    let winners = all.iter().filter(|one| (one.arm, one.variant) == (Some(Arm::Test), Some(1)));
    for (minute, one) in winners.enumerate() {
        let at = sending.ctx.now().plus_secs(60 * (minute as i64 + 1));
        order(&sending, one.customer, &minute.to_string(), at, "1.00").await;
    }
    sending.later(id, 48 * 3_600_000).await;
    sending.until(id, CampaignState::Done).await;

    let decision = campaigns::get(&sending.ctx, id).await.unwrap().decision.unwrap();
    assert_eq!((decision.winner, decision.by.name()), (1, "evidence"));
    let found = campaigns::results(&sending.ctx, id).await.unwrap();
    let test = found.groups.iter().find(|one| one.name.as_deref() == Some("B")).unwrap();
    let figures = test.goal.unwrap();
    assert_eq!(figures.converted, figures.customers);
    assert_eq!(figures.amount, 0, "no amount was asked for");
    assert!(found.uplift.is_none(), "nobody was held out");
}
