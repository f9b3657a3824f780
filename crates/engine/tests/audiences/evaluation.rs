//! A rule over the whole base in slices: cut off and resumed, and the old rule until then. And the
//! members of a segment frozen as a group.

use std::sync::Arc;

use serde_json::json;
use tidings_domain::{CustomerId, bucket_of};
use tidings_engine::{Error, segments};
use tidings_store::memberships::Evaluation;
use tidings_store::segments::EVALUATE_SEGMENT;
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

use super::world::*;

/// More than one slice on SQLite, and on PostgreSQL as many slices as there always are.
const CUSTOMERS: usize = 2_500;

async fn an_evaluation_that_is_killed_goes_on_where_it_stopped(hub: TestHub) {
    let ctx = &hub.ctx;
    schema(ctx).await;
    for low in (0..CUSTOMERS).step_by(500) {
        let one = |n: usize| customer(&format!("c{n}"), &[("score", json!(n % 2))]);
        apply(ctx, (low..low + 500).map(one).collect()).await;
    }
    let score = |value: i64| json!({"attribute": "score", "op": "eq", "value": value});
    let half = segment(ctx, "Half", score(0)).await;
    settle(ctx).await;
    assert_eq!(segments::sizes(ctx).await.unwrap()[&1], 1_250);

    // The rule is turned round, and its evaluation dies after the first slice.
    segments::change(ctx, half, "Half", &score(1)).await.unwrap();
    let job = hub.claim_job().await.expect("the evaluation");
    assert_eq!(job.kind, EVALUATE_SEGMENT);
    let live = Arc::new(segments::live(ctx).await.unwrap());
    let step = ctx.workspace.evaluate_segment(&job, 1, live.clone(), ctx.now());
    assert_eq!(step.await.unwrap(), Evaluation::More);
    hub.free_jobs().await;

    // Those who were reached are as the new rule has them, all others as the old one had.
    assert!(segments::get(ctx, half).await.unwrap().is_evaluating());
    let mut after: Option<CustomerId> = None;
    let (mut new, mut old) = (0, 0);
    loop {
        let page = segments::customers(ctx, half, after, 1_000).await.unwrap();
        for one in &page.items {
            match one.customer.attribute("score") {
                Some(score) if score == json!(1) => new += 1,
                _ => old += 1,
            }
            if !ctx.workspace.is_embedded() {
                let reached = bucket_of(one.customer.id) < 32;
                assert_eq!(one.customer.attribute("score") == Some(json!(1)), reached);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(new > 0 && old > 0, "{new} by the new rule, {old} by the old one");
    let late = ctx.workspace.evaluate_segment(&job, 1, live, ctx.now()).await;
    assert!(late.is_err(), "who was taken for dead writes no more: {late:?}");

    settle(ctx).await;
    assert!(!segments::get(ctx, half).await.unwrap().is_evaluating());
    assert_eq!(segments::sizes(ctx).await.unwrap()[&1], 1_250);
    let page = segments::customers(ctx, half, None, 1_000).await.unwrap();
    assert!(page.items.iter().all(|one| one.customer.attribute("score") == Some(json!(1))));
}

async fn rules_that_moved_since_they_were_bound_judge_nobody(hub: TestHub) {
    let ctx = &hub.ctx;
    segment(ctx, "One", json!({"tag": "a"})).await;
    let live = Arc::new(segments::live(ctx).await.unwrap());
    segment(ctx, "Two", json!({"tag": "b"})).await;
    let job = hub.claim_job().await.expect("an evaluation");
    let step = ctx.workspace.evaluate_segment(&job, 1, live, ctx.now());
    assert_eq!(step.await.unwrap(), Evaluation::Stale);
}

async fn a_frozen_segment_is_a_group_that_stays(hub: TestHub) {
    let ctx = &hub.ctx;
    let list: Vec<_> = (0..1_200).map(|n| customer(&format!("c{n}"), &[])).collect();
    for part in list.chunks(400) {
        apply(ctx, part.to_vec()).await;
    }
    let tagged = (0..1_100).map(|n| tag(&format!("c{n}"), "vip", Some(ctx.now().plus_ms(DAY))));
    for part in tagged.collect::<Vec<_>>().chunks(400) {
        apply(ctx, part.to_vec()).await;
    }
    let vip = segment(ctx, "VIP", json!({"tag": "vip"})).await;
    let early = segments::freeze(ctx, vip, "VIPs of January").await;
    assert!(matches!(early, Err(Error::Conflict(_))), "{early:?}");
    settle(ctx).await;
    let group = segments::freeze(ctx, vip, "VIPs of January").await.unwrap();
    assert_eq!(group.name, "VIPs of January");
    let again = segments::freeze(ctx, vip, "VIPs of January").await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    let wrong = segments::freeze(ctx, vip, " ").await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
    // A rule may name it while it is filled.
    let kept = segment(ctx, "Kept", json!({"group": "VIPs of January"})).await;
    settle(ctx).await;
    assert_eq!(segments::sizes(ctx).await.unwrap()[&2], 1_100);
    travel(&hub, ctx, DAY).await;
    assert!(listed(ctx, vip).await.is_empty());
    let count = segments::count(ctx, &json!({"group": "VIPs of January"})).await.unwrap();
    assert_eq!((count.count, count.of), (1_100, 1_200));
    assert_eq!(listed(ctx, kept).await.len(), 1_000, "a full page");
}

on_both_engines!(
    an_evaluation_that_is_killed_goes_on_where_it_stopped,
    rules_that_moved_since_they_were_bound_judge_nobody,
    a_frozen_segment_is_a_group_that_stays,
);
