//! Answers kept by key.

use tidings_domain::Timestamp;
use tidings_store::idempotency::Begun;

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    a_key_is_taken_once_and_answers_come_back,
    a_call_that_died_is_taken_over_by_one,
    old_answers_are_dropped,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

async fn begin(test: &TestStore, key: &str, hash: u8, at: Timestamp) -> Begun {
    let stale = at.plus_secs(-60);
    test.workspace.begin_idempotent(key, vec![hash; 32], at, stale).await.unwrap()
}

async fn a_key_is_taken_once_and_answers_come_back(test: TestStore) {
    assert_eq!(begin(&test, "k", 1, AT).await, Begun::Fresh);
    assert_eq!(begin(&test, "k", 1, AT).await, Begun::Running);
    assert_eq!(begin(&test, "k", 2, AT).await, Begun::Mismatch);
    test.workspace.finish_idempotent("k", 201, "{}", AT).await.unwrap();
    // A late second end does not replace the answer that callers may have seen.
    test.workspace.finish_idempotent("k", 500, "late", AT).await.unwrap();
    test.workspace.forget_idempotent("k").await.unwrap();
    let answered = Begun::Answered { status: 201, answer: "{}".to_owned() };
    assert_eq!(begin(&test, "k", 1, AT).await, answered);
    assert_eq!(begin(&test, "k", 2, AT).await, Begun::Mismatch);
    assert_eq!(begin(&test, "other", 1, AT).await, Begun::Fresh);
    test.workspace.forget_idempotent("other").await.unwrap();
    assert_eq!(begin(&test, "other", 2, AT).await, Begun::Fresh);
}

async fn a_call_that_died_is_taken_over_by_one(test: TestStore) {
    assert_eq!(begin(&test, "k", 1, AT).await, Begun::Fresh);
    assert_eq!(begin(&test, "k", 1, AT.plus_secs(60)).await, Begun::Running);
    test.workspace.renew_idempotent("k", AT.plus_secs(50)).await.unwrap();
    assert_eq!(begin(&test, "k", 1, AT.plus_secs(110)).await, Begun::Running);
    let late = AT.plus_secs(111);
    let calls = (0..8).map(|_| begin(&test, "k", 1, late));
    let begun = futures::future::join_all(calls).await;
    let fresh = begun.iter().filter(|begun| **begun == Begun::Fresh).count();
    assert_eq!(fresh, 1, "{begun:?}");
}

async fn old_answers_are_dropped(test: TestStore) {
    for (key, at) in [("old", AT), ("new", AT.plus_secs(10))] {
        assert_eq!(begin(&test, key, 1, at).await, Begun::Fresh);
        test.workspace.finish_idempotent(key, 200, "", at).await.unwrap();
    }
    assert_eq!(test.workspace.clean_idempotent(AT.plus_secs(10)).await.unwrap(), 1);
    assert_eq!(begin(&test, "old", 2, AT).await, Begun::Fresh);
    assert_eq!(begin(&test, "new", 2, AT).await, Begun::Mismatch);
}
