//! Answers kept by key.

use std::sync::Arc;

use serde_json::json;
use tidings_domain::Timestamp;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, UpsertCustomer,
};
use tidings_domain::value::Kind;
use tidings_store::idempotency::{Begun, Once, Overtaken};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    a_key_is_held_once_and_answers_come_back,
    a_held_call_that_died_is_taken_over_by_one,
    old_answers_are_dropped,
    a_call_that_died_before_its_answer_is_not_done_twice,
    a_call_goes_on_where_the_first_one_stopped,
    of_two_calls_at_once_one_does_the_work,
    a_call_is_told_that_another_was_faster,
    definitions_are_made_once,
    a_write_that_fails_keeps_nothing,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

async fn hold(test: &TestStore, key: &str, hash: u8, at: Timestamp) -> Begun {
    let stale = at.plus_secs(-60);
    test.workspace.hold_idempotent(key, vec![hash; 32], at, stale).await.unwrap()
}

async fn finish(test: &TestStore, key: &str, hash: u8, status: u16, answer: &str, at: Timestamp) {
    let answer = (status, answer);
    test.workspace.finish_idempotent(key, vec![hash; 32], true, answer, at).await.unwrap();
}

async fn a_key_is_held_once_and_answers_come_back(test: TestStore) {
    assert_eq!(hold(&test, "k", 1, AT).await, Begun::Fresh);
    assert_eq!(hold(&test, "k", 1, AT).await, Begun::Running);
    assert_eq!(hold(&test, "k", 2, AT).await, Begun::Mismatch);
    finish(&test, "k", 1, 201, "{}", AT).await;
    // A late second end does not replace the answer that callers may have seen.
    finish(&test, "k", 1, 500, "late", AT).await;
    test.workspace.forget_idempotent("k").await.unwrap();
    let answered = Begun::Answered { status: 201, answer: "{}".to_owned() };
    assert_eq!(hold(&test, "k", 1, AT).await, answered);
    assert_eq!(test.workspace.look_idempotent("k", &[1; 32]).await.unwrap(), answered);
    assert_eq!(hold(&test, "k", 2, AT).await, Begun::Mismatch);
    assert_eq!(hold(&test, "other", 1, AT).await, Begun::Fresh);
    test.workspace.forget_idempotent("other").await.unwrap();
    assert_eq!(hold(&test, "other", 2, AT).await, Begun::Fresh);
}

async fn a_held_call_that_died_is_taken_over_by_one(test: TestStore) {
    assert_eq!(hold(&test, "k", 1, AT).await, Begun::Fresh);
    assert_eq!(hold(&test, "k", 1, AT.plus_secs(60)).await, Begun::Running);
    test.workspace.renew_idempotent("k", AT.plus_secs(50)).await.unwrap();
    assert_eq!(hold(&test, "k", 1, AT.plus_secs(110)).await, Begun::Running);
    let late = AT.plus_secs(111);
    let calls = (0..8).map(|_| hold(&test, "k", 1, late));
    let begun = futures::future::join_all(calls).await;
    let fresh = begun.iter().filter(|begun| **begun == Begun::Fresh).count();
    assert_eq!(fresh, 1, "{begun:?}");
}

async fn old_answers_are_dropped(test: TestStore) {
    for (key, at) in [("old", AT), ("new", AT.plus_secs(10))] {
        assert_eq!(hold(&test, key, 1, at).await, Begun::Fresh);
        finish(&test, key, 1, 200, "", at).await;
    }
    assert_eq!(test.workspace.clean_idempotent(AT.plus_secs(10)).await.unwrap(), 1);
    assert_eq!(hold(&test, "old", 2, AT).await, Begun::Fresh);
    assert_eq!(hold(&test, "new", 2, AT).await, Begun::Mismatch);
}

/// A call with a key, as a process begins it that looks at what is there first.
async fn call(test: &TestStore, key: &str, hash: u8) -> Arc<Once> {
    let begun = test.workspace.look_idempotent(key, &[hash; 32]).await.unwrap();
    Once::new(key.to_owned(), vec![hash; 32], AT, begun == Begun::Running)
}

fn named(id: &str) -> CustomerRef {
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: id.to_owned() })
}

/// One more for the score of a customer, and one change that is refused.
fn increment(id: &str) -> Vec<Change> {
    let attributes = vec![("score".to_owned(), FieldChange::Increment(json!(1)))];
    let good =
        UpsertCustomer { external_id: Some(id.to_owned()), attributes, ..Default::default() };
    let bad = UpsertCustomer { email: Some("nonsense".to_owned()), ..Default::default() };
    vec![Change::UpsertCustomer(good), Change::UpsertCustomer(bad)]
}

async fn score(test: &TestStore, id: &str) -> Option<serde_json::Value> {
    test.workspace.customer(named(id)).await.unwrap()?.attribute("score")
}

async fn a_call_that_died_before_its_answer_is_not_done_twice(test: TestStore) {
    test.workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    let first = call(&test, "k", 1).await;
    let outcomes = first.run(test.workspace.apply(increment("1"), AT)).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Created { .. }), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Refused(_)), "{outcomes:?}");
    assert!(!first.is_replayed());
    // The process dies here: nobody has kept an answer.
    for _ in 0..2 {
        let again = call(&test, "k", 1).await;
        let same = again.run(test.workspace.apply(increment("1"), AT)).await.unwrap();
        assert_eq!(same, outcomes);
        assert!(again.is_replayed());
    }
    assert_eq!(score(&test, "1").await, Some(json!(1)));
    // Customers that come later get numbers of their own.
    let later = test.workspace.apply(increment("2"), AT).await.unwrap();
    let number = |outcome: &Outcome| match outcome {
        Outcome::Created { system_id, .. } => *system_id,
        other => panic!("{other:?}"),
    };
    assert_ne!(number(&later[0]), number(&outcomes[0]));
}

async fn a_call_goes_on_where_the_first_one_stopped(test: TestStore) {
    test.workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    let first = call(&test, "k", 1).await;
    first.run(test.workspace.apply(increment("1"), AT)).await.unwrap();
    let again = call(&test, "k", 1).await;
    again
        .run(async {
            test.workspace.apply(increment("1"), AT).await.unwrap();
            test.workspace.apply(increment("1"), AT).await.unwrap();
        })
        .await;
    assert!(!again.is_replayed());
    assert_eq!(score(&test, "1").await, Some(json!(2)));
    let last = call(&test, "k", 1).await;
    last.run(async {
        test.workspace.apply(increment("1"), AT).await.unwrap();
        test.workspace.apply(increment("1"), AT).await.unwrap();
    })
    .await;
    assert!(last.is_replayed());
    assert_eq!(score(&test, "1").await, Some(json!(2)));
}

async fn of_two_calls_at_once_one_does_the_work(test: TestStore) {
    test.workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    let calls = (0..6).map(|_| {
        let workspace = test.workspace.clone();
        let once = Once::new("k".to_owned(), vec![1; 32], AT, false);
        tokio::spawn(async move {
            let outcomes = once.run(workspace.apply(increment("1"), AT)).await.unwrap();
            (outcomes, once.is_replayed())
        })
    });
    let mut results = Vec::new();
    for call in futures::future::join_all(calls).await {
        results.push(call.unwrap());
    }
    assert!(results.iter().all(|(outcomes, _)| *outcomes == results[0].0), "{results:?}");
    assert_eq!(results.iter().filter(|(_, is_replayed)| !is_replayed).count(), 1);
    assert_eq!(score(&test, "1").await, Some(json!(1)));
}

async fn a_call_is_told_that_another_was_faster(test: TestStore) {
    test.workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    // All have looked before any has done anything.
    let [first, other, same] =
        [1, 2, 1].map(|hash| Once::new("k".into(), vec![hash; 32], AT, false));
    first.run(test.workspace.apply(increment("1"), AT)).await.unwrap();
    other.run(test.workspace.apply(increment("2"), AT)).await.unwrap_err();
    assert_eq!(other.overtaken(), Some(Overtaken::Mismatch));
    // One that has done nothing does not answer for the one that has.
    let idle = test.workspace.finish_idempotent("k", vec![1; 32], false, (404, "gone"), AT);
    idle.await.unwrap();
    assert_eq!(test.workspace.look_idempotent("k", &[1; 32]).await.unwrap(), Begun::Running);
    finish(&test, "k", 1, 200, "done", AT).await;
    same.run(test.workspace.apply(increment("1"), AT)).await.unwrap_err();
    assert_eq!(same.overtaken(), Some(Overtaken::Answered));
    assert_eq!((score(&test, "1").await, score(&test, "2").await), (Some(json!(1)), None));
}

async fn definitions_are_made_once(test: TestStore) {
    let mut made = Vec::new();
    for _ in 0..2 {
        let group = call(&test, "group", 1).await;
        let group = group.run(test.workspace.add_group("staff", AT)).await.unwrap();
        let attribute = call(&test, "attribute", 1).await;
        let attribute = attribute.run(test.workspace.add_attribute("city", Kind::Text, AT));
        let attribute = attribute.await.unwrap();
        let renamed = call(&test, "rename", 1).await;
        renamed.run(test.workspace.rename_attribute("city", "town")).await.unwrap();
        made.push((group.id, attribute.number));
    }
    assert_eq!(made[0], made[1]);
    for is_done in [false, true] {
        let dropping = call(&test, "drop", 1).await;
        let found = dropping.run(test.workspace.is_done_already()).await.unwrap();
        assert_eq!(found, is_done);
        dropping.run(test.workspace.drop_attribute("town")).await.unwrap();
        assert_eq!(dropping.is_replayed(), is_done);
    }
}

async fn a_write_that_fails_keeps_nothing(test: TestStore) {
    test.workspace.add_group("staff", AT).await.unwrap();
    let refused = call(&test, "k", 1).await;
    refused.run(test.workspace.add_group("staff", AT)).await.unwrap_err();
    assert_eq!(test.workspace.look_idempotent("k", &[1; 32]).await.unwrap(), Begun::Fresh);
    let refusal = test.workspace.finish_idempotent("k", vec![1; 32], false, (409, "{}"), AT);
    refusal.await.unwrap();
    let answered = Begun::Answered { status: 409, answer: "{}".to_owned() };
    assert_eq!(test.workspace.look_idempotent("k", &[1; 32]).await.unwrap(), answered);
}
