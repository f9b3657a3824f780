//! Entries and exits as events, and the size of a segment over time.

use serde_json::json;
use tidings_engine::segments::{self, SegmentDay};
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

use super::world::*;

async fn comings_and_goings_are_told_once(hub: TestHub) {
    let ctx = &hub.ctx;
    schema(ctx).await;
    apply(ctx, vec![customer("ann", &[("score", json!(9))]), customer("bob", &[])]).await;
    settle(ctx).await;
    let rule = json!({"attribute": "score", "op": "gt", "value": 5});
    let good = segment(ctx, "Good", rule).await;
    settle(ctx).await;
    // A new rule finds its members; they have not just come.
    assert_eq!(listed(ctx, good).await, names(&["ann"]));
    assert!(told(ctx, "ann", "segment_entered").await.is_empty());
    apply(
        ctx,
        vec![customer("ann", &[("score", json!(1))]), customer("bob", &[("score", json!(7))])],
    )
    .await;
    settle(ctx).await;
    assert_eq!(told(ctx, "ann", "segment_left").await, ["Good"]);
    assert_eq!(told(ctx, "bob", "segment_entered").await, ["Good"]);
    apply(ctx, vec![customer("bob", &[("score", json!(8))])]).await;
    settle(ctx).await;
    assert_eq!(told(ctx, "bob", "segment_entered").await, ["Good"], "nothing new happened");
    // An edited rule is a new one.
    let rule = json!({"attribute": "score", "op": "lt", "value": 5});
    segments::change(ctx, good, "Good", &rule).await.unwrap();
    settle(ctx).await;
    assert_eq!(listed(ctx, good).await, names(&["ann"]));
    assert!(told(ctx, "ann", "segment_entered").await.is_empty());
    assert!(told(ctx, "bob", "segment_left").await.is_empty());
    // Another name is not.
    segments::change(ctx, good, "Small", &rule).await.unwrap();
    apply(ctx, vec![customer("bob", &[("score", json!(2))])]).await;
    settle(ctx).await;
    assert_eq!(told(ctx, "bob", "segment_entered").await, ["Good", "Small"]);
}

async fn an_import_tells_who_came_by_it(hub: TestHub) {
    let ctx = &hub.ctx;
    schema(ctx).await;
    let rule = json!({"attribute": "score", "op": "gt", "value": 5});
    let good = segment(ctx, "Good", rule).await;
    settle(ctx).await;
    // As an import does: nobody is judged, and every segment is compared at the end.
    apply(ctx, vec![customer("ann", &[("score", json!(9))])]).await;
    let numbers = vec![segments::get(ctx, good).await.unwrap().number];
    ctx.workspace.restart_segments(numbers).await.unwrap();
    let (_keep, stop) = tokio::sync::watch::channel(false);
    while tidings_engine::jobs::run_next(ctx, &stop).await.unwrap().is_some() {}
    assert_eq!(told(ctx, "ann", "segment_entered").await, ["Good"]);
    settle(ctx).await;
    assert_eq!(told(ctx, "ann", "segment_entered").await, ["Good"], "told once");
}

async fn rules_may_read_comings_and_goings(hub: TestHub) {
    let ctx = &hub.ctx;
    let vip = segment(ctx, "VIP", json!({"tag": "vip"})).await;
    let rule = json!({"event": "segment_left", "within": "7d",
        "where": [{"property": "segment", "op": "eq", "value": "VIP"}]});
    let lost = segment(ctx, "Lost lately", rule).await;
    apply(ctx, vec![customer("ann", &[])]).await;
    apply(ctx, vec![tag("ann", "vip", Some(ctx.now().plus_ms(DAY)))]).await;
    settle(ctx).await;
    assert_eq!((listed(ctx, vip).await.len(), listed(ctx, lost).await.len()), (1, 0));
    travel(&hub, ctx, DAY).await;
    assert_eq!((listed(ctx, vip).await.len(), listed(ctx, lost).await.len()), (0, 1));
    travel(&hub, ctx, 7 * DAY).await;
    assert_eq!((listed(ctx, vip).await.len(), listed(ctx, lost).await.len()), (0, 0));
}

async fn the_size_is_kept_day_by_day(hub: TestHub) {
    let ctx = &hub.ctx;
    let vip = segment(ctx, "VIP", json!({"tag": "vip"})).await;
    apply(ctx, vec![customer("ann", &[]), customer("bob", &[])]).await;
    settle(ctx).await;
    let until = ctx.now().plus_ms(3 * DAY);
    apply(ctx, vec![tag("ann", "vip", Some(until)), tag("bob", "vip", None)]).await;
    settle(ctx).await;
    travel(&hub, ctx, 3 * DAY).await;
    travel(&hub, ctx, DAY).await;
    let day =
        |day: &str, size, entered, left| SegmentDay { day: day.to_owned(), size, entered, left };
    let expected = [
        day("2026-01-15", 2, 2, 0),
        day("2026-01-16", 2, 0, 0),
        day("2026-01-17", 2, 0, 0),
        day("2026-01-18", 1, 0, 1),
        day("2026-01-19", 1, 0, 0),
    ];
    assert_eq!(segments::days(ctx, vip, 90).await.unwrap(), expected);
    assert_eq!(segments::days(ctx, vip, 2).await.unwrap(), expected[3..]);
    let nobody = segment(ctx, "Nobody", json!({"tag": "none"})).await;
    assert_eq!(segments::days(ctx, nobody, 90).await.unwrap(), []);
    settle(ctx).await;
    assert_eq!(segments::days(ctx, nobody, 90).await.unwrap(), [day("2026-01-19", 0, 0, 0)]);
}

on_both_engines!(
    comings_and_goings_are_told_once,
    an_import_tells_who_came_by_it,
    rules_may_read_comings_and_goings,
    the_size_is_kept_day_by_day,
);
