//! Leaving and entering by the clock alone.

use serde_json::json;
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

use super::world::*;

/// The rule, what is done to Ann, and whether she is a member after each of these waits.
async fn check(
    hub: &TestHub,
    name: &str,
    rule: serde_json::Value,
    change: tidings_domain::change::Change,
    steps: &[(i64, bool)],
) {
    let ctx = &hub.ctx;
    let id = segment(ctx, name, rule).await;
    apply(ctx, vec![change]).await;
    settle(ctx).await;
    for (at, (wait, expected)) in steps.iter().enumerate() {
        travel(hub, ctx, *wait).await;
        let is_member = listed(ctx, id).await.contains("ann");
        assert_eq!(is_member, *expected, "{name}, step {at}");
        assert_eq!(listed(ctx, id).await, found(ctx, id).await, "{name}, step {at}");
    }
}

async fn members_come_and_go_by_the_clock_alone(hub: TestHub) {
    let ctx = &hub.ctx;
    schema(ctx).await;
    apply(ctx, vec![customer("ann", &[]), customer("bob", &[])]).await;
    let seen = || customer("ann", &[("seen", json!(hub.ctx.now()))]);
    let rule = json!({"attribute": "seen", "op": "within", "value": "30d"});
    let steps = [(0, true), (30 * DAY - 1, true), (1, false)];
    check(&hub, "Seen lately", rule.clone(), seen(), &steps).await;
    // Nobody touches her, and she enters.
    let steps = [(0, false), (30 * DAY - 1, false), (1, true), (300 * DAY, true)];
    check(&hub, "Not seen lately", json!({"not": rule}), seen(), &steps).await;
    let ends = ctx.now().plus_ms(2 * HOUR);
    let steps = [(0, true), (2 * HOUR - 1, true), (1, false)];
    check(&hub, "On trial", json!({"tag": "trial"}), tag("ann", "trial", Some(ends)), &steps).await;
    let visits = json!({"event": "visit", "within": "1d", "count": {"gte": 2}});
    apply(ctx, vec![event("ann", "visit", ctx.now())]).await;
    hub.clock.advance_ms(HOUR);
    let steps = [(0, true), (23 * HOUR - 1, true), (1, false)];
    check(&hub, "Busy", visits, event("ann", "visit", ctx.now()), &steps).await;
    let orders = json!({"table": "orders",
        "where": [{"field": "placed", "op": "within", "value": "12h"}], "sum": "total", "gte": 10});
    let steps = [(0, true), (12 * HOUR - 1, true), (1, false)];
    check(&hub, "Bought today", orders, order("ann", "o1", ctx.now()), &steps).await;
}

async fn a_later_event_keeps_a_member_who_would_have_left(hub: TestHub) {
    let ctx = &hub.ctx;
    let active = segment(ctx, "Active", json!({"event": "visit", "within": "1d"})).await;
    apply(ctx, vec![customer("ann", &[])]).await;
    apply(ctx, vec![event("ann", "visit", ctx.now())]).await;
    settle(ctx).await;
    travel(&hub, ctx, 23 * HOUR).await;
    apply(ctx, vec![event("ann", "visit", ctx.now())]).await;
    settle(ctx).await;
    // The first check fires although the visit moved the end away; it finds her and is armed anew.
    travel(&hub, ctx, HOUR).await;
    assert_eq!(listed(ctx, active).await, names(&["ann"]));
    travel(&hub, ctx, 22 * HOUR + MINUTE).await;
    assert_eq!(listed(ctx, active).await, names(&["ann"]));
    travel(&hub, ctx, HOUR).await;
    assert_eq!(listed(ctx, active).await, names(&[]));
}

async fn who_was_there_before_the_rule_is_armed_by_its_evaluation(hub: TestHub) {
    let ctx = &hub.ctx;
    schema(ctx).await;
    let seen = |days: i64| json!(ctx.now().plus_ms(-days * DAY));
    let list = (0..10).map(|days| customer(&format!("c{days}"), &[("seen", seen(days))])).collect();
    apply(ctx, list).await;
    settle(ctx).await;
    let rule = json!({"attribute": "seen", "op": "within", "value": "7d"});
    let lately = segment(ctx, "Lately", rule.clone()).await;
    let away = segment(ctx, "Away", json!({"not": rule})).await;
    settle(ctx).await;
    assert_eq!(listed(ctx, lately).await.len(), 7);
    for day in 1..=8 {
        travel(&hub, ctx, DAY).await;
        let expected = usize::try_from(7_i64 - day).unwrap_or(0);
        assert_eq!(listed(ctx, lately).await.len(), expected, "day {day}");
        assert_eq!(listed(ctx, away).await.len(), 10 - expected, "day {day}");
    }
}

async fn birthdays_turn_at_midnight_of_the_workspace(hub: TestHub) {
    let made = hub.hub.store.create_workspace("Dam", "Europe/Amsterdam", false).await.unwrap();
    let ctx = &hub.hub.ctx(made.row.id).await.unwrap();
    schema(ctx).await;
    let rule = json!({"attribute": "born", "op": "anniversary_within", "value": "1d"});
    let birthday = segment(ctx, "Birthday", rule).await;
    let born = |date: &str| vec![("born", json!(date))];
    apply(
        ctx,
        vec![
            customer("today", &born("1990-01-15")),
            customer("tomorrow", &born("1984-01-16")),
            customer("unknown", &[]),
        ],
    )
    .await;
    settle(ctx).await;
    assert_eq!(listed(ctx, birthday).await, names(&["today"]));
    // It is 10:00 in UTC and 11:00 in Amsterdam; midnight is 13 hours away there.
    travel(&hub, ctx, 13 * HOUR - 1).await;
    assert_eq!(listed(ctx, birthday).await, names(&["today"]));
    travel(&hub, ctx, 1).await;
    assert_eq!(listed(ctx, birthday).await, names(&["tomorrow"]));
    assert_eq!(told(ctx, "tomorrow", "segment_entered").await, ["Birthday"]);
    assert_eq!(told(ctx, "today", "segment_left").await, ["Birthday"]);
    // A customer with dates alone is not looked at one by one.
    let next = tidings_engine::jobs::plan(ctx).await.unwrap();
    assert_eq!(next, Some("2026-01-16T23:00:00Z".parse().unwrap()));
    travel(&hub, ctx, DAY).await;
    assert_eq!(listed(ctx, birthday).await, names(&[]));
    // Days on which nobody looked are made up for.
    travel(&hub, ctx, 363 * DAY).await;
    assert_eq!(listed(ctx, birthday).await, found(ctx, birthday).await);
    assert_eq!(listed(ctx, birthday).await, names(&["today"]));
}

async fn a_segment_that_is_gone_leaves_no_check_behind(hub: TestHub) {
    let ctx = &hub.ctx;
    let rule = json!({"not": {"event": "visit", "within": "1d"}});
    let id = segment(ctx, "Away", rule).await;
    apply(ctx, vec![customer("ann", &[])]).await;
    apply(ctx, vec![event("ann", "visit", ctx.now())]).await;
    settle(ctx).await;
    let next = tidings_engine::jobs::plan(ctx).await.unwrap();
    assert_eq!(next, Some(ctx.now().plus_ms(DAY)));
    tidings_engine::segments::drop(ctx, id).await.unwrap();
    assert_eq!(tidings_engine::jobs::plan(ctx).await.unwrap(), None);
}

on_both_engines!(
    members_come_and_go_by_the_clock_alone,
    a_later_event_keeps_a_member_who_would_have_left,
    who_was_there_before_the_rule_is_armed_by_its_evaluation,
    birthdays_turn_at_midnight_of_the_workspace,
    a_segment_that_is_gone_leaves_no_check_behind,
);
