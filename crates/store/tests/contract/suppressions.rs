//! Suppressions: the first reason stays, lists page by channel and address, and what is planned for
//! the address is called off in the same transaction.

use tidings_domain::Timestamp;
use tidings_domain::consent::{Channel, SuppressionReason};
use tidings_store::suppressions::{Added, Named, hash_of};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(suppressions_are_added_listed_and_lifted, an_address_is_known_by_its_hash,);

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

async fn an_address_is_known_by_its_hash(test: TestStore) {
    let workspace = &test.workspace;
    let hash = hash_of("ann@example.com");
    let list = vec![
        Named::Hash(hash.clone()),
        Named::Address("bob@example.com".to_owned()),
        Named::Hash(hash_of("nobody@example.com")),
    ];
    let reason = SuppressionReason::Complaint;
    let suppress = |list| workspace.suppress_many(Channel::Email, list, reason, AT);
    assert_eq!(suppress(list.clone()).await.unwrap(), Added { added: 3, known: 0 });
    assert_eq!(suppress(list).await.unwrap(), Added { added: 0, known: 3 });
    for (address, expected) in [
        ("ann@example.com", Some("complaint")),
        ("bob@example.com", Some("complaint")),
        ("cid@example.com", None),
    ] {
        let found = workspace.suppression_of(address).await.unwrap();
        assert_eq!(found.as_deref(), expected, "{address}");
    }
    let first = workspace.suppressed_hashes(None, 1).await.unwrap();
    let second = workspace.suppressed_hashes(first.next, 1).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (1, 1, None));
    assert!(workspace.unsuppress_hash(Channel::Email, &hash).await.unwrap());
    assert!(!workspace.unsuppress_hash(Channel::Email, &hash).await.unwrap());
    assert_eq!(workspace.suppression_of("ann@example.com").await.unwrap(), None);
}
