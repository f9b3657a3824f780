//! Why one customer is in a segment or not.

use serde_json::json;
use tidings_engine::{Error, segments};
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

use super::world::*;

async fn every_condition_says_what_decided_it(hub: TestHub) {
    let ctx = &hub.ctx;
    schema(ctx).await;
    apply(ctx, vec![customer("ann", &[("score", json!(3))]), customer("bob", &[])]).await;
    let ends = ctx.now().plus_ms(DAY);
    apply(ctx, vec![tag("ann", "trial", Some(ends)), event("ann", "visit", ctx.now())]).await;
    segment(ctx, "Trial", json!({"tag": "trial"})).await;
    let rule = json!({"all": [
        {"attribute": "score", "op": "gt", "value": 2},
        {"segment": "Trial"},
        {"not": {"event": "visit", "within": "2d", "count": {"gte": 5}}},
    ]});
    let id = segment(ctx, "All", rule.clone()).await;
    settle(ctx).await;

    let found = segments::explain(ctx, id, named("ann")).await.unwrap();
    assert!(found.listed && found.rule.holds);
    assert_eq!((found.rule.kind.as_str(), found.rule.changes_at), ("all", Some(ends)));
    let [score, trial, not] = &found.rule.parts[..] else { panic!("{found:#?}") };
    assert_eq!((&score.condition, &score.found), (&rule["all"][0], &json!(3)));
    assert!(score.holds && score.changes_at.is_none());
    assert_eq!((trial.kind.as_str(), trial.changes_at), ("segment", Some(ends)));
    assert_eq!(trial.parts[0].condition, json!({"tag": "trial"}));
    assert_eq!(trial.parts[0].found, json!({"until": ends}));
    assert!(not.holds && !not.parts[0].holds);
    assert_eq!(not.parts[0].found, json!({"count": 1, "last_at": ctx.now()}));

    travel(&hub, ctx, DAY).await;
    let found = segments::explain(ctx, id, named("ann")).await.unwrap();
    assert!(!found.listed && !found.rule.holds && !found.rule.parts[1].holds);
    let found = segments::explain(ctx, id, named("bob")).await.unwrap();
    assert!(!found.listed && found.rule.parts[0].found.is_null());

    let nobody = segments::explain(ctx, id, named("cyd")).await;
    assert!(matches!(nobody, Err(Error::NotFound(_))), "{nobody:?}");
    let nothing = segments::explain(ctx, tidings_domain::SegmentId::generate(), named("ann")).await;
    assert!(matches!(nothing, Err(Error::NotFound(_))), "{nothing:?}");
}

on_both_engines!(every_condition_says_what_decided_it);
