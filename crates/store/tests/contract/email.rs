//! Relays, sender domains, keys and limits: kept, changed, and read together.

use tidings_domain::Timestamp;
use tidings_store::Error;
use tidings_store::relays::RelaySettings;
use tidings_store::senders::{DkimKey, RecipientLimit};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(relays_are_kept_and_unassigned, keys_belong_to_domains, limits_are_replaced);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

pub fn relay(name: &str) -> RelaySettings {
    RelaySettings {
        name: name.to_owned(),
        url: "smtps://mail.example".to_owned(),
        username: Some("hugo".to_owned()),
        secret: Some(vec![0, 255, 13]),
        per_second: None,
        open_max: 8,
        weight: 1,
        enabled: true,
    }
}

pub fn key(domain: &str, selector: &str) -> DkimKey {
    DkimKey {
        domain: domain.to_owned(),
        selector: selector.to_owned(),
        algorithm: "ed25519".to_owned(),
        // Sixteen bytes are as long as an id.
        public: vec![7; 16],
        secret: vec![9; 90],
        active: true,
        created_at: AT,
    }
}

async fn relays_are_kept_and_unassigned(test: TestStore) {
    let workspace = &test.workspace;
    let one = workspace.add_relay(relay("one"), AT).await.unwrap();
    let two = workspace.add_relay(relay("two"), AT).await.unwrap();
    assert!(matches!(workspace.add_relay(relay("two"), AT).await, Err(Error::Conflict(_))));
    workspace.put_sender_domain("a.example", Some(2), None, AT).await.unwrap();
    let tracking = Some("https://t.b.example".to_owned());
    workspace.put_sender_domain("b.example", Some(1), tracking.clone(), AT).await.unwrap();

    let changed =
        RelaySettings { per_second: Some(7), secret: None, enabled: false, ..relay("first") };
    let later = AT.plus_secs(1);
    assert!(workspace.change_relay(one, changed.clone(), later).await.unwrap());
    let taken = workspace.change_relay(one, relay("two"), later).await;
    assert!(matches!(taken, Err(Error::Conflict(_))));
    assert!(workspace.drop_relay(two).await.unwrap());
    assert!(!workspace.drop_relay(two).await.unwrap());
    assert!(!workspace.change_relay(two, relay("three"), AT).await.unwrap());

    let setup = workspace.mail_setup().await.unwrap();
    assert_eq!(setup.relays.len(), 1);
    let kept = &setup.relays[0];
    assert_eq!((kept.id, kept.number, &kept.settings), (one, 1, &changed));
    assert_eq!((kept.created_at, kept.updated_at), (AT, later));
    let domains: Vec<_> = setup
        .domains
        .iter()
        .map(|one| (one.domain.as_str(), one.relay, one.tracking_url.clone()))
        .collect();
    assert_eq!(domains, [("a.example", None, None), ("b.example", Some(1), tracking)]);
}

async fn keys_belong_to_domains(test: TestStore) {
    let workspace = &test.workspace;
    let first = key("a.example", "s1");
    assert_eq!(workspace.add_dkim_key(first.clone()).await.unwrap(), "s1");
    let taken = workspace.add_dkim_key(first.clone()).await;
    assert!(matches!(taken, Err(Error::Conflict(text)) if text.contains("s1")));
    workspace.add_dkim_key(key("b.example", "s1")).await.unwrap();
    workspace.add_dkim_key(key("a.example", "s2")).await.unwrap();
    // Setting what else belongs to a domain leaves its keys.
    workspace.put_sender_domain("a.example", None, None, AT).await.unwrap();
    assert!(workspace.switch_dkim_key("a.example", "s2", false).await.unwrap());
    assert!(!workspace.switch_dkim_key("a.example", "s3", false).await.unwrap());

    let setup = workspace.mail_setup().await.unwrap();
    assert_eq!(setup.keys[0], first);
    let keys: Vec<_> = setup
        .keys
        .iter()
        .map(|key| (key.domain.as_str(), key.selector.as_str(), key.active))
        .collect();
    let a = "a.example";
    assert_eq!(keys, [(a, "s1", true), (a, "s2", false), ("b.example", "s1", true)]);
    assert!(workspace.drop_dkim_key(a, "s2").await.unwrap());
    assert!(!workspace.drop_dkim_key(a, "s2").await.unwrap());
    assert!(workspace.drop_sender_domain(a).await.unwrap());
    assert!(!workspace.drop_sender_domain(a).await.unwrap());
    let setup = workspace.mail_setup().await.unwrap();
    assert_eq!((setup.keys.len(), setup.domains.len()), (1, 1));
}

async fn limits_are_replaced(test: TestStore) {
    let workspace = &test.workspace;
    let limit = |domain: &str, open_max| RecipientLimit { domain: domain.to_owned(), open_max };
    let first = vec![limit("*", 3), limit("a.example", 9)];
    workspace.put_recipient_limits(first.clone()).await.unwrap();
    assert_eq!(workspace.mail_setup().await.unwrap().limits, first);
    workspace.put_recipient_limits(vec![limit("a.example", 1)]).await.unwrap();
    assert_eq!(workspace.mail_setup().await.unwrap().limits, [limit("a.example", 1)]);
}
