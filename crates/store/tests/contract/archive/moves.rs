//! Moves between engines, and backups of a hub at work.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tidings_domain::change::{Change, CustomerRef, Outcome, RecordEvent, UpsertCustomer};
use tidings_domain::{EventId, NodeId, Timestamp, TokenId, UserId};
use tidings_store::archive::{
    Checksums, Restoring, backup, backup_workspace, restore, restore_beside,
};
use tidings_store::system::{TokenRow, UserRow};
use tidings_store::{Store, Workspace};

use super::sample::{AT, CUSTOMERS, fill, named};
use super::{archived, restored, sums};
use crate::home::{Engine, TestStore};
use crate::on_every_engine;

on_every_engine!(
    a_backup_of_a_busy_hub_is_one_moment,
    a_workspace_is_backed_up_alone,
    what_was_held_is_let_go
);

/// What two homes hold must be the same in every table; but the system's settings also say on
/// PostgreSQL how often the database was opened.
fn check_same(found: &Checksums, wanted: &Checksums, step: &str) {
    let settings = ("system".to_owned(), "settings".to_owned());
    for (table, sums) in wanted.iter().filter(|(table, _)| **table != settings) {
        assert_eq!(found.get(table), Some(sums), "{step}: {table:?}");
    }
    assert_eq!(found.len(), wanted.len(), "{step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_moves_between_engines_with_equal_checksums() {
    let test = TestStore::on(Engine::Sqlite).await;
    fill(&test).await;
    // A restored hub has this setting, so the first one gets it too.
    test.store.system.put_setting("sending_paused", "true").await.unwrap();
    let wanted = sums(&test.store).await;
    let filled = ["customers", "identities", "events", "tags", "consents", "mailbox", "jobs"];
    for table in filled.into_iter().chain(["blocks", "images", "image_files"]) {
        assert!(wanted[&("w1".to_owned(), table.to_owned())].rows > 0, "{table} is empty");
    }
    assert!(wanted[&("w1".to_owned(), "customers".to_owned())].sums.len() > 20);
    let mut source = archived(&test).await;
    let mut kept = Vec::new();
    for engine in [Engine::Postgres, Engine::Partitioned, Engine::Partitioned, Engine::Sqlite] {
        let moved = restored(&source, engine).await;
        let step = format!("{engine:?}");
        assert_eq!(moved.workspace.row.partitioned, engine == Engine::Partitioned);
        check_same(&sums(&moved.store).await, &wanted, &step);
        check_alive(&moved.workspace, &test.workspace, &step).await;
        let folder = tempfile::tempdir().unwrap();
        // Read again by a process that never wrote here.
        source = folder.path().join("next.tidings");
        backup(&moved.store, &source, None, |_| {}).await.unwrap();
        kept.push((folder, moved));
    }
    let last = &kept.last().unwrap().1;
    check_works(&last.store, &last.workspace).await;
}

/// A restored workspace answers as the first one does.
async fn check_alive(moved: &Workspace, first: &Workspace, step: &str) {
    // What the search knows is made anew from the customers.
    assert!(moved.search_wants_index().await.unwrap(), "{step}");
    for number in 0..CUSTOMERS {
        let (here, there) =
            (moved.customer(named(number)).await, first.customer(named(number)).await);
        let (here, there) = (here.unwrap().unwrap(), there.unwrap().unwrap());
        assert_eq!(here.attributes(), there.attributes(), "{step}");
        assert_eq!((here.id, here.system_id), (there.id, there.system_id), "{step}");
        let (here, there) = (
            moved.events(here.id, None, None, 5).await.unwrap(),
            first.events(there.id, None, None, 5).await.unwrap(),
        );
        assert_eq!(here, there, "{step}");
    }
}

/// New work goes on where the old one stopped.
async fn check_works(store: &Store, workspace: &Workspace) {
    let change = Change::UpsertCustomer(UpsertCustomer {
        external_id: Some("new".into()),
        ..Default::default()
    });
    let outcomes = workspace.apply(vec![change.clone(), change], AT).await.unwrap();
    let Outcome::Created { system_id: Some(number), .. } = outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert!(number > CUSTOMERS as i64);
    assert!(matches!(outcomes[1], Outcome::Unchanged { .. }));
    workspace.add_attribute("later", tidings_domain::value::Kind::Text, AT).await.unwrap();
    assert!(store.system.session_by_hash(vec![7; 32]).await.unwrap().is_none());
    assert!(store.system.token_by_hash(vec![9; 32]).await.unwrap().is_some());
    let third = store.create_workspace("Third", "UTC", false).await.unwrap();
    assert_eq!(third.row.number, 3);
}

/// Each customer comes with exactly three events, in one transaction.
fn visit(number: usize) -> Vec<Change> {
    let customer =
        UpsertCustomer { external_id: Some(format!("busy{number}")), ..Default::default() };
    let mut changes = vec![Change::UpsertCustomer(customer)];
    for _ in 0..3 {
        changes.push(Change::RecordEvent(RecordEvent {
            customer: busy(number),
            name: "seen".into(),
            at: None,
            properties: json!({"n": number}),
            id: Some(EventId::generate()),
        }));
    }
    changes
}

fn busy(number: usize) -> CustomerRef {
    use tidings_domain::change::{Identity, IdentityKind::ExternalId};
    CustomerRef::Identity(Identity { kind: ExternalId, value: format!("busy{number}") })
}

async fn a_backup_of_a_busy_hub_is_one_moment(test: TestStore) {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writer = tokio::spawn({
        let (stop, done, workspace) = (stop.clone(), done.clone(), test.workspace.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let number = done.load(Ordering::Relaxed);
                workspace.apply(visit(number), AT).await.unwrap();
                done.store(number + 1, Ordering::Relaxed);
            }
        }
    });
    let reached = async |count| {
        while done.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    };
    reached(30).await;
    let target = test.folder.path().join("busy.tidings");
    // Each report waits for the writer, so that it surely writes between two tables.
    let seen = done.clone();
    let report = move |_: &_| {
        let before = seen.load(Ordering::Relaxed);
        while seen.load(Ordering::Relaxed) < before + 2 {
            std::thread::yield_now();
        }
    };
    backup(&test.store, &target, None, report).await.unwrap();
    let after = done.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();

    let moved = restored(&target, Engine::Sqlite).await;
    let page = moved.workspace.customers(None, None, 100_000).await.unwrap();
    assert!(page.items.len() >= 30, "{}", page.items.len());
    assert!(page.items.len() < after, "nothing was written while the backup ran");
    for customer in page.items {
        let events = moved.workspace.events(customer.id, None, None, 10).await.unwrap();
        assert_eq!(events.items.len(), 3);
    }
}

async fn what_was_held_is_let_go(test: TestStore) {
    let campaign = fill(&test).await;
    let first = test.workspace.campaign_by_number(campaign).await.unwrap().unwrap();
    test.workspace.launch_campaign(first.id, AT).await.unwrap();
    // The campaign's own job begins it; then a node holds that job for good.
    let node = NodeId::generate();
    let mut held = None;
    while let Some(job) = test.workspace.claim_job(node).await.unwrap() {
        if job.subject == format!("{campaign}:0") {
            test.workspace.begin_campaign(campaign, &job, AT).await.unwrap();
            held = Some(job);
            break;
        }
    }
    held.expect("the campaign has a job");
    let source = archived(&test).await;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let moved = restored(&source, engine).await;
        let paused = moved.store.system.setting("sending_paused").await.unwrap();
        assert_eq!(paused.as_deref(), Some("true"));
        let shards = moved.workspace.campaign_shards(campaign).await.unwrap();
        assert_eq!(shards.len() > 1, engine != Engine::Sqlite);
        assert!(shards.iter().all(|shard| shard.next == shard.low));
        // Every shard's job can be claimed at once, by anyone.
        let mut claimed = std::collections::BTreeSet::new();
        while let Some(job) = moved.workspace.claim_job(NodeId::generate()).await.unwrap() {
            claimed.insert(job.subject);
        }
        for shard in &shards {
            assert!(claimed.contains(&format!("{campaign}:{}", shard.shard)), "{claimed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_along_when_they_are_asked_for() {
    let test = TestStore::on(Engine::Sqlite).await;
    let data = test.folder.path().join("data").join("blobs");
    let big: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for (path, bytes) in [("imports/1.csv", b"a,b\n".as_slice()), ("imports/w1/2.csv", &big)] {
        std::fs::create_dir_all(data.join(path).parent().unwrap()).unwrap();
        std::fs::write(data.join(path), bytes).unwrap();
    }
    let target = test.folder.path().join("files.tidings");
    let made = backup(&test.store, &target, Some(&data), |_| {}).await.unwrap();
    assert_eq!(made.files, 2);
    for wanted in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let home = Engine::Sqlite.home(&folder).await;
        let files = wanted.then(|| folder.path().join("data/blobs"));
        let how = Restoring { files, partitioned: None };
        let done = restore(&home, &target, how, |_| {}).await.unwrap();
        assert_eq!(done.files, if wanted { 2 } else { 0 });
        let found = std::fs::read(folder.path().join("data/blobs/imports/w1/2.csv")).ok();
        assert_eq!(found, wanted.then(|| big.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_value_survives_to_the_microsecond() {
    let test = TestStore::on(Engine::Postgres).await;
    let at = Timestamp(1_700_000_000_123_457);
    test.workspace.apply(visit(1), at).await.unwrap();
    let moved = restored(&archived(&test).await, Engine::Sqlite).await;
    let customer = moved.workspace.customer(busy(1)).await.unwrap().unwrap();
    assert_eq!(customer.created_at, at);
}

/// Somebody with a role in a workspace and a token of it, all named by one word.
async fn people(store: &Store, workspace: &Workspace, word: &str) {
    let user = UserRow {
        id: UserId::generate(),
        mail: format!("{word}@example.com"),
        name: word.to_owned(),
        password_hash: "x".to_owned(),
        totp: false,
    };
    let (system, id) = (&store.system, workspace.row.id);
    system.add_user(&user, AT).await.unwrap();
    system.put_role(user.id, id, "admin").await.unwrap();
    let scopes = [word.to_owned()];
    system.put_own_role(id, word, &scopes, AT).await.unwrap();
    let token = TokenRow {
        id: TokenId::generate(),
        workspace: id,
        name: word.to_owned(),
        scopes: scopes.to_vec(),
        created_at: AT,
        last_used_at: None,
    };
    system.add_token(&token, word.as_bytes().to_vec()).await.unwrap();
}

async fn a_workspace_is_backed_up_alone(test: TestStore) {
    // Given two workspaces with customers, people, roles, tokens and files.
    fill(&test).await;
    people(&test.store, &test.workspace, "wanted").await;
    let other = test.store.create_workspace("Planted", "UTC", false).await.unwrap();
    people(&test.store, &other, "planted").await;
    let customer = UpsertCustomer {
        email: Some("planted@example.com".to_owned()),
        ..UpsertCustomer::default()
    };
    other.apply(vec![Change::UpsertCustomer(customer)], AT).await.unwrap();
    let files = test.folder.path().join("blobs");
    std::fs::create_dir_all(files.join("imports")).unwrap();
    let strange = files.join("imports").join(uuid::Uuid::now_v7().to_string());
    std::fs::write(&strange, "planted").unwrap();
    // When the first one alone is backed up …
    let source = test.folder.path().join("one.tidings");
    let number = test.workspace.row.number;
    let done = backup_workspace(&test.store, number, &source, Some(&files), |_| {}).await.unwrap();
    assert_eq!((done.workspaces, done.files), (1, 0));
    // … then nothing of the other is in it …
    let mut text = String::new();
    let file = std::fs::File::open(&source).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert!(text.to_lowercase().contains("wanted") && !text.to_lowercase().contains("planted"));
    // … and everything of its own comes back, on either engine.
    let before = sums(&test.store).await;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let moved = restored(&source, engine).await;
        let after = sums(&moved.store).await;
        let name = format!("w{number}");
        for (table, sums) in before.iter().filter(|((database, _), _)| *database == name) {
            if table.1 != "jobs" {
                assert_eq!(after.get(table), Some(sums), "{table:?}");
            }
        }
        let rows = |table: &str| after[&("system".to_owned(), table.to_owned())].rows;
        assert_eq!(rows("workspaces"), 1);
        let tokens = moved.store.system.tokens_of(test.workspace.row.id).await.unwrap();
        assert!(tokens.iter().any(|token| token.name == "wanted"));
        assert_eq!(rows("tokens"), tokens.len() as u64);
        assert_eq!(rows("own_roles"), 1);
        assert!(moved.store.system.user_by_mail("wanted@example.com").await.unwrap().is_some());
        assert!(moved.store.system.user_by_mail("planted@example.com").await.unwrap().is_none());
    }
    // Nor is it in the way of another hub's workspaces, once, and without a half of it.
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let folder = tempfile::tempdir().unwrap();
        let home = engine.home(&folder).await;
        let hub = Store::open(&home).await.unwrap();
        for name in ["First", "Second"] {
            hub.create_workspace(name, "UTC", false).await.unwrap();
        }
        let first = hub.workspace_by_slug("first").await.unwrap();
        let taken = restore_beside(&home, &source, Restoring::default(), |_| {}).await;
        assert!(matches!(taken, Err(tidings_store::Error::Conflict(_))), "its number is taken");
        let free = test.folder.path().join(format!("{engine:?}.tidings"));
        let name = format!("Third {engine:?}");
        let third = test.store.create_workspace(&name, "UTC", false).await.unwrap();
        people(&test.store, &third, &format!("third-{engine:?}").to_lowercase()).await;
        people(&hub, &first, &format!("first-{engine:?}").to_lowercase()).await;
        backup_workspace(&test.store, third.row.number, &free, None, |_| {}).await.unwrap();
        restore_beside(&home, &free, Restoring::default(), |_| {}).await.unwrap();
        let here = hub.workspace_by_slug(&third.row.slug).await.unwrap();
        assert_eq!(here.row.id, third.row.id);
        let tokens = hub.system.tokens_of(third.row.id).await.unwrap();
        assert_eq!(tokens.len(), 1);
        let users = hub.system.users_of(third.row.id).await.unwrap();
        assert_eq!((users.len(), users[0].1.name.as_str()), (1, "admin"));
        let again = restore_beside(&home, &free, Restoring::default(), |_| {}).await;
        assert!(matches!(again, Err(tidings_store::Error::Conflict(_))), "it is here");
        let whole = test.folder.path().join(format!("all-{engine:?}.tidings"));
        backup(&test.store, &whole, None, |_| {}).await.unwrap();
        let whole = restore_beside(&home, &whole, Restoring::default(), |_| {}).await;
        assert!(matches!(whole, Err(tidings_store::Error::Invalid(_))), "it is a whole hub");
    }
}
