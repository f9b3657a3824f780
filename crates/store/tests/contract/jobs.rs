//! Jobs: claimed once, let go of, finished.

use tidings_domain::{NodeId, Timestamp};
use tidings_store::jobs::Next;

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    a_job_is_claimed_once_and_comes_back_when_let_go,
    jobs_of_a_dead_holder_are_due_at_once_and_it_is_fenced,
);

async fn a_job_is_claimed_once_and_comes_back_when_let_go(test: TestStore) {
    let (one, other) = (NodeId::generate(), NodeId::generate());
    let now = Timestamp::now();
    test.workspace.add_job("judge", "1", now).await.unwrap();
    let first = test.workspace.claim_job(one).await.unwrap().expect("a due job");
    assert_eq!(test.workspace.claim_job(other).await.unwrap(), None);
    // With an error the attempts stay, so that the wait can grow; without one they start again.
    for (error, attempts) in [(Some("no network".to_owned()), 2), (None, 1)] {
        let held = match attempts {
            2 => first.clone(),
            _ => test.workspace.claim_job(one).await.unwrap().expect("the job is due again"),
        };
        test.workspace.let_go_of_job(&held, Next::Again(now), error).await.unwrap();
        let again = test.workspace.claim_job(other).await.unwrap().expect("the job is due again");
        assert_eq!(again.attempts, attempts);
        test.workspace.let_go_of_job(&again, Next::Again(now), None).await.unwrap();
    }
    let last = test.workspace.claim_job(one).await.unwrap().expect("the job is due again");
    assert!(last.epoch > first.epoch);
    // A holder whose epoch has passed cannot finish it.
    test.workspace.let_go_of_job(&first, Next::Done, None).await.unwrap();
    assert!(test.workspace.next_due_job().await.unwrap().is_some());
    test.workspace.let_go_of_job(&last, Next::Done, None).await.unwrap();
    assert_eq!(test.workspace.next_due_job().await.unwrap(), None);
}

async fn jobs_of_a_dead_holder_are_due_at_once_and_it_is_fenced(test: TestStore) {
    let (dead, heir) = (NodeId::generate(), NodeId::generate());
    test.workspace.add_job("judge", "1", Timestamp::now()).await.unwrap();
    let held = test.workspace.claim_job(dead).await.unwrap().expect("a due job");
    test.workspace.release_all_jobs().await.unwrap();
    let taken = test.workspace.claim_job(heir).await.unwrap().expect("the job is due again");
    assert_eq!((taken.id, taken.epoch > held.epoch), (held.id, true));
    // The holder was not dead after all, but it can renew nothing.
    let late = test.workspace.hold_job(&held).await;
    assert!(matches!(late, Err(tidings_store::Error::Fenced)), "{late:?}");
    test.workspace.hold_job(&taken).await.unwrap();
}
