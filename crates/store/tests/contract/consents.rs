//! Consents: a *no* beats a *yes*, a topic must be known, and everything that was said stays.

use std::collections::BTreeMap;

use tidings_domain::change::{
    Change, CustomerRef, Identity, IdentityKind, Outcome, UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::{CustomerId, Timestamp};
use tidings_store::Error;
use tidings_store::topics::{TopicChange, TopicText, TopicTexts};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    what_is_said_last_counts_unless_a_no_stands_above_it,
    topics_have_versions_and_consents_name_one,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

fn texts(title: &str) -> TopicTexts {
    let text = TopicText { title: title.to_owned(), text: format!("{title}, now and then") };
    BTreeMap::from([("en".to_owned(), text)])
}

fn ann() -> CustomerRef {
    let value = "ann".to_owned();
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value })
}

async fn customer(test: &TestStore) -> CustomerId {
    let upsert =
        UpsertCustomer { external_id: Some("ann".to_owned()), ..UpsertCustomer::default() };
    let outcomes = test.workspace.apply(vec![Change::UpsertCustomer(upsert)], AT).await.unwrap();
    outcomes[0].customer().unwrap()
}

fn says(topic: &str, granted: bool, proof: Proof) -> Change {
    Change::ChangeConsent {
        customer: ann(),
        channel: Channel::Email,
        topic: topic.to_owned(),
        state: if granted { ConsentState::Granted } else { ConsentState::Withdrawn },
        source: "test".to_owned(),
        proof,
    }
}

async fn what_is_said_last_counts_unless_a_no_stands_above_it(test: TestStore) {
    for name in ["news", "offers"] {
        test.workspace.add_topic(Channel::Email, name, "", &texts(name), AT).await.unwrap();
    }
    let id = customer(&test).await;
    // Given in this order: what is said, by whom, and whether news, offers and a message without a
    // topic may go after it.
    let steps = [
        ("news", true, Via::Api, [true, false, false]),
        ("", true, Via::Api, [true, true, true]),
        ("offers", false, Via::PreferencePage, [true, false, true]),
        ("", false, Via::UnsubscribeLink, [false, false, false]),
        // Nobody but the customer can lift their no by a topic …
        ("news", true, Via::Api, [false, false, false]),
        ("news", true, Via::Import, [false, false, false]),
        // … and when they do, nothing comes back but what they chose.
        ("offers", true, Via::Form, [false, true, false]),
        ("", true, Via::Api, [false, true, true]),
    ];
    for (at, (topic, granted, via, expected)) in steps.into_iter().enumerate() {
        let at = AT.plus_secs(at as i64);
        let change = says(topic, granted, Proof::by(via));
        test.workspace.apply(vec![change], at).await.unwrap();
        let states = test.workspace.consent_states(id, Channel::Email).await.unwrap();
        let found = ["news", "offers", ""].map(|topic| states.allow(topic));
        assert_eq!(found, expected, "after {topic:?} {granted} by {}", via.name());
    }
    let history = test.workspace.consent_history(id, None, 100).await.unwrap().items;
    let mut told: Vec<(String, String)> =
        history.iter().map(|one| (one.topic.clone(), one.state.clone())).collect();
    told.reverse();
    let pair = |topic: &str, state: &str| (topic.to_owned(), state.to_owned());
    assert_eq!(
        told,
        [
            pair("news", "granted"),
            pair("", "granted"),
            pair("offers", "withdrawn"),
            pair("news", "withdrawn"),
            pair("", "withdrawn"),
            pair("news", "granted"),
            pair("", "lifted"),
            pair("news", "withdrawn"),
            pair("offers", "granted"),
            pair("", "granted"),
        ]
    );
    let first = test.workspace.consent_history(id, None, 4).await.unwrap();
    let second = test.workspace.consent_history(id, first.next, 100).await.unwrap();
    assert_eq!([first.items, second.items].concat(), history);
}

async fn topics_have_versions_and_consents_name_one(test: TestStore) {
    let workspace = &test.workspace;
    let made = workspace.add_topic(Channel::Email, "news", "d", &texts("News"), AT).await.unwrap();
    assert_eq!((made.number, made.version), (1, 1));
    let again = workspace.add_topic(Channel::Email, "news", "", &texts("x"), AT).await;
    assert!(matches!(again, Err(Error::Conflict(_))));
    workspace.add_topic(Channel::Sms, "news", "", &texts("x"), AT).await.unwrap();
    let change = |texts| TopicChange { texts: Some(texts), ..TopicChange::default() };
    for (text, version) in [("News", 1), ("Newer", 2), ("Newer", 2)] {
        let changed = workspace.change_topic(made.id, change(texts(text)), AT).await.unwrap();
        assert_eq!(changed.version, version, "{text}");
    }
    let versions = workspace.topic_versions(made.id).await.unwrap();
    let titles: Vec<&str> = versions.iter().map(|one| one.texts["en"].title.as_str()).collect();
    assert_eq!(titles, ["Newer", "News"]);

    let id = customer(&test).await;
    let shown = |version| Proof {
        text_version: Some(version),
        ip: Some("192.0.2.1".to_owned()),
        user_agent: Some("Browser".to_owned()),
        ..Proof::by(Via::Form)
    };
    for (topic, proof, expected) in [
        ("news", shown(0), "refused"),
        ("news", shown(3), "refused"),
        ("nothing", Proof::default(), "refused"),
        ("", shown(1), "refused"),
        ("news", shown(1), "updated"),
        ("news", shown(2), "updated"),
        ("news", Proof::default(), "unchanged"),
    ] {
        let done = workspace.apply(vec![says(topic, true, proof)], AT).await.unwrap();
        assert_eq!(done[0].name(), expected, "{topic} {done:?}");
    }
    let unknown = says("nothing", true, Proof::default());
    let refused = workspace.apply(vec![unknown], AT).await.unwrap();
    assert!(matches!(&refused[0], Outcome::Refused(why) if why.code == "unknown_topic"));
    let told = workspace.consent_history(id, None, 10).await.unwrap().items;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].text_version, Some(2));
    assert_eq!(told[0].ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(told[0].user_agent.as_deref(), Some("Browser"));
    let profile = workspace.profile(ann()).await.unwrap().unwrap();
    assert_eq!((profile.consents[0].via, profile.consents[0].text_version), (Via::Form, Some(2)));
}
