//! The master key: what it opens, and its change for another, on both engines.

#[expect(dead_code, reason = "nothing is sent here")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Engine, home};
use tidings_channels::email::dkim::Algorithm;
use tidings_domain::{Clock, NodeId, Timestamp};
use tidings_engine::accounts::{self, SignedIn, totp};
use tidings_engine::keys::{self, KeyRing, MasterKey};
use tidings_engine::relays::{self, RelayInput};
use tidings_engine::senders::{self, KeyInput};
use tidings_engine::{Ctx, Error, Hub, Settings, audit, groups};
use tidings_store::{Home, Store};

const BOTH: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];
const PASSWORD: &str = "correct horse";

fn ring(keys: &[u8]) -> KeyRing {
    KeyRing::of(keys.iter().map(|key| MasterKey::new([*key; 32])).collect())
}

/// A hub as it starts with a key file.
async fn start(home: &Home, ring: &KeyRing) -> Result<Arc<Hub>, Error> {
    let store = Store::open(home).await?;
    let unlocked = keys::unlock(&store, ring, "the-file").await?;
    let settings = Settings {
        data_dir: "nowhere".into(),
        public_url: "http://127.0.0.1:9".to_owned(),
        smtp_url: None,
        smtp_open_max: 1,
        master_key: unlocked.root,
        demo: false,
    };
    let store = Arc::new(store);
    Ok(Hub::unlocked(
        store,
        settings,
        Clock::fixed(Timestamp(1_768_471_200_000_000)),
        unlocked.sealer,
    ))
}

fn relay(name: &str) -> RelayInput {
    RelayInput {
        name: name.to_owned(),
        url: "smtp://127.0.0.1:9".to_owned(),
        username: Some("hugo".to_owned()),
        password: Some(PASSWORD.to_owned()),
        per_second: None,
        open_max: 1,
        weight: 1,
        enabled: true,
    }
}

async fn sign_in(hub: &Arc<Hub>) -> SignedIn {
    accounts::sign_in(hub, "ann@example.com", PASSWORD.to_owned(), None, "here").await.unwrap()
}

/// One secret of each kind, an entry of the audit log, and the root: five secrets.
async fn fill(hub: &Arc<Hub>) -> Ctx {
    hub.store.create_workspace("Test", "UTC", false).await.unwrap();
    let ctx = hub.ctx_by_slug("test").await.unwrap();
    let password = Some(PASSWORD.to_owned());
    accounts::create_user(&ctx, "ann@example.com", "editor", password).await.unwrap();
    totp::propose(hub, &sign_in(hub).await).await.unwrap();
    relays::create(&ctx, relay("own")).await.unwrap();
    let key = KeyInput { algorithm: Algorithm::Ed25519, selector: None, active: true };
    senders::create_key(&ctx, "shop.example", key).await.unwrap();
    let act = audit::act_by_command(&ctx, "groups.create");
    act.run(groups::create(&ctx, "staff")).await.unwrap();
    ctx
}

/// Whether every secret can be opened: by what the hub says when it needs them.
async fn opens(hub: &Arc<Hub>) -> bool {
    let ctx = hub.ctx_by_slug("test").await.unwrap();
    let confirmed = totp::confirm(hub, &sign_in(hub).await, "000000").await;
    let second_factor = match confirmed {
        Err(Error::Internal(_)) => false,
        // A wrong code is told from a secret that cannot be opened.
        _ => true,
    };
    let mut passwords = true;
    for relay in relays::list(&ctx).await.unwrap() {
        let tried = relays::try_out(&ctx, relay.id).await;
        let said = tried.map_or_else(|error| error.to_string(), |tried| format!("{tried:?}"));
        passwords &= !said.contains("another master key");
    }
    second_factor && passwords
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_is_sealed_anew_and_what_hangs_on_the_root_stays() {
    for engine in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let home = home(engine, folder.path()).await;
        let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
        let before = start(&home, &old).await.unwrap();
        fill(&before).await;
        assert!(opens(&before).await);
        let counts = keys::counts(&before.store).await.unwrap();
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(old.id(), 4)]);

        // Half-way: a node with the old key, which seals one more after the others were done.
        assert_eq!(keys::reseal(&before.store, &both, "f").await.unwrap(), 4);
        let ctx = before.ctx_by_slug("test").await.unwrap();
        relays::create(&ctx, relay("late")).await.unwrap();
        let halfway = start(&home, &both).await.unwrap();
        assert!(opens(&halfway).await, "both keys are readable");
        assert!(!opens(&start(&home, &new).await.unwrap()).await, "one of them is not");
        // Again, as after a kill: only what is left is done.
        assert_eq!(keys::reseal(&halfway.store, &both, "f").await.unwrap(), 1);
        assert_eq!(keys::reseal(&halfway.store, &both, "f").await.unwrap(), 0);

        let after = start(&home, &new).await.unwrap();
        assert!(opens(&after).await);
        assert_eq!(after.settings.master_key, before.settings.master_key, "links stay");
        let ctx = after.ctx_by_slug("test").await.unwrap();
        assert_eq!(audit::check(&ctx).await.unwrap().fault, None);
        assert!(start(&home, &old).await.is_err(), "the old key opens nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_by_name() {
    for engine in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let home = home(engine, folder.path()).await;
        let store = Store::open(&home).await.unwrap();
        assert!(!keys::is_set_up(&store).await.unwrap());
        let hub = start(&home, &ring(&[1])).await.unwrap();
        fill(&hub).await;
        assert!(keys::is_set_up(&store).await.unwrap());
        let refused = start(&home, &ring(&[3])).await.err().expect("it is refused").to_string();
        let parts = ["the-file", &ring(&[1]).id().to_string(), &ring(&[3]).id().to_string()];
        for part in parts {
            assert!(refused.contains(part), "{part} in {refused}");
        }
        // A running hub keeps what it has, rather than take up a file that is of no use.
        assert!(keys::take_up(&hub, &ring(&[3]), "the-file").await.is_err());
        assert_eq!(hub.key_id(), ring(&[1]).id().to_string());
        keys::take_up(&hub, &ring(&[2, 1]), "the-file").await.unwrap();
        assert!(opens(&hub).await && hub.key_id() == ring(&[2]).id().to_string());
        // Resealing with a ring that lacks the old key loses nothing.
        assert!(keys::reseal(&store, &ring(&[3]), "f").await.is_err());
        assert!(opens(&start(&home, &ring(&[1])).await.unwrap()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_goes_on_without_a_lost_key() {
    for engine in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let home = home(engine, folder.path()).await;
        let hub = start(&home, &ring(&[1])).await.unwrap();
        fill(&hub).await;
        let refused = keys::go_on_without(&hub.store, &ring(&[1])).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "nothing is lost");
        assert_eq!(keys::go_on_without(&hub.store, &ring(&[3])).await.unwrap(), 3);
        let after = start(&home, &ring(&[3])).await.unwrap();
        assert_ne!(after.settings.master_key, hub.settings.master_key);
        assert!(!opens(&after).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_waits_for_the_nodes_that_live() {
    for engine in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let home = home(engine, folder.path()).await;
        let hub = start(&home, &ring(&[1])).await.unwrap();
        let system = &hub.store.system;
        let new = ring(&[2]).id();
        keys::wait_for_nodes(&hub.store, new, Duration::ZERO).await.expect("nobody is there");
        let node = NodeId::generate();
        let say = async |key: &str| {
            system.node_seen(node, Timestamp::now(), true, key).await.unwrap();
        };
        say(&ring(&[1]).id().to_string()).await;
        let waited = keys::wait_for_nodes(&hub.store, new, Duration::ZERO).await;
        let refused = waited.expect_err("it has the old key").to_string();
        assert!(refused.contains(&node.to_string()), "{refused}");
        // One that says nothing more is dead, and waited for no longer.
        keys::wait_for_nodes(&hub.store, new, Duration::from_secs(60)).await.expect("it is dead");
        say(&new.to_string()).await;
        keys::wait_for_nodes(&hub.store, new, Duration::ZERO).await.expect("it has the new key");
    }
}
