//! Groups: made once, counted, and listed in pages.

use tidings_domain::Timestamp;
use tidings_domain::change::{Change, CustomerRef, Identity, IdentityKind, UpsertCustomer};
use tidings_store::Error;

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(groups_are_made_once_and_counted);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

async fn groups_are_made_once_and_counted(test: TestStore) {
    let workspace = &test.workspace;
    let staff = workspace.add_group("staff", AT).await.unwrap();
    assert_eq!((staff.number, staff.size), (1, 0));
    assert!(matches!(workspace.add_group("staff", AT).await, Err(Error::Conflict(_))));
    assert!(matches!(workspace.add_group(" staff", AT).await, Err(Error::Invalid(_))));
    let mut changes = Vec::new();
    for at in 0..3 {
        let value = at.to_string();
        let external_id = Some(value.clone());
        let customer = CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value });
        changes.push(Change::UpsertCustomer(UpsertCustomer { external_id, ..Default::default() }));
        // A name that is not known yet makes its group.
        let group = if at == 0 { "guests" } else { "staff" };
        changes.push(Change::PutGroupMember { customer, group: group.to_owned() });
    }
    workspace.apply(changes, AT).await.unwrap();
    let first = workspace.groups(None, 1).await.unwrap();
    assert_eq!((first.items[0].name.as_str(), first.items[0].size), ("staff", 2));
    let second = workspace.groups(first.next, 1).await.unwrap();
    assert_eq!((second.items[0].name.as_str(), second.items[0].size), ("guests", 1));
    assert_eq!(second.next, None);
}
