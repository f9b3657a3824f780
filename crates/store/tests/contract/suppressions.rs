//! Suppressions: the first reason stays, lists page by channel and address, and what is planned for
//! the address is called off in the same transaction.

use tidings_domain::Timestamp;
use tidings_domain::consent::{Channel, SuppressionReason};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(suppressions_are_added_listed_and_lifted);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

async fn suppressions_are_added_listed_and_lifted(test: TestStore) {
    let workspace = &test.workspace;
    let ann = "ann@example.com";
    for (channel, address, reason, added) in [
        (Channel::Email, ann, SuppressionReason::Manual, true),
        (Channel::Email, ann, SuppressionReason::Complaint, false),
        (Channel::Email, "bob@example.com", SuppressionReason::HardBounce, true),
        (Channel::Sms, "+31612345678", SuppressionReason::Manual, true),
        (Channel::Sms, "+31612345678", SuppressionReason::Manual, false),
    ] {
        let was = workspace.suppress(channel, address, reason, AT).await.unwrap();
        assert_eq!(was, added, "{address} {reason:?}");
    }
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = workspace.suppressions(after, 1).await.unwrap();
        listed.extend(page.items.into_iter().map(|one| (one.channel, one.address, one.reason)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected = [
        (Channel::Email, ann, "manual"),
        (Channel::Email, "bob@example.com", "hard_bounce"),
        (Channel::Sms, "+31612345678", "manual"),
    ];
    assert_eq!(listed, expected.map(|(c, a, r)| (c, a.to_owned(), r.to_owned())));
    assert!(!workspace.unsuppress(Channel::Sms, ann).await.unwrap());
    assert!(workspace.unsuppress(Channel::Email, ann).await.unwrap());
    assert!(!workspace.unsuppress(Channel::Email, ann).await.unwrap());
}
