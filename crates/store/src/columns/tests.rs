//! Counts by columns are those of the SQL and of the judge, whatever is written in between, by
//! whomever; and they keep to their bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::judge::judge;
use tidings_domain::rule::{BoundRule, Rule};
use tidings_domain::schema::{Owner, Schema};
use tidings_domain::value::{Kind, Value};
use tidings_domain::{CustomerId, ImportId, NodeId, Timestamp, bucket_of};

use crate::audience::condition;
use crate::audience::tests::random::{self, Dice};
use crate::bulk::{ColumnType, OnConflict, column, delete_many, insert_many};
use crate::changes::Ready;
use crate::engines::Priority;
use crate::imports::{Chunk, NewImport, Source};
use crate::jobs::Job;
use crate::memberships::load_facts;
use crate::sql::Param;
use crate::{Home, Store, Workspace};

const MOST: u64 = 64 << 20;
const KINDS: [Kind; 6] =
    [Kind::Text, Kind::Integer, Kind::Boolean, Kind::Date, Kind::Timestamp, Kind::List];

struct World {
    store: Store,
    workspace: Arc<Workspace>,
    home: Home,
    now: Timestamp,
    _folder: tempfile::TempDir,
}

async fn world(on_postgres: bool, now: Timestamp) -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let home = match on_postgres {
        false => Home::Folder(folder.path().to_owned()),
        true => Home::Server { url: tidings_testkit::database::fresh().await, connections: 6 },
    };
    let store = Store::open(&home).await.expect("open the store");
    store.columns.set_limit(MOST);
    let workspace = store.create_workspace("Columns", "UTC", false).await.expect("a workspace");
    for kind in KINDS {
        let name = kind.name().to_owned();
        workspace.add_attribute(&name, kind, now).await.expect("an attribute");
    }
    workspace
        .add_table("orders", Owner::Customer, vec![("total".to_owned(), Kind::Integer)], now)
        .await
        .expect("a table");
    for (group, _) in random::GROUPS {
        workspace.add_group(group, now).await.expect("a group");
    }
    for (segment, _) in random::SEGMENTS {
        workspace.add_segment(segment, json!({"tag": "vip"}), now).await.expect("a segment");
    }
    World { store, workspace, home, now, _folder: folder }
}

fn named(number: usize) -> CustomerRef {
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: format!("c{number}") })
}

/// A random value as the API takes it.
fn json_value(dice: &mut Dice, kind: &Kind, now: Timestamp) -> Json {
    match random::value(dice, kind, now) {
        None => Json::Null,
        Some(Value::Text(text)) => json!(text),
        Some(Value::Integer(number)) if *kind == Kind::Timestamp => json!(Timestamp(number)),
        Some(Value::Integer(number)) => json!(number),
        Some(Value::Boolean(truth)) => json!(truth),
        Some(Value::List(items)) => json!(items),
    }
}

fn upsert(dice: &mut Dice, number: usize, now: Timestamp) -> UpsertCustomer {
    let mut attributes = Vec::new();
    for kind in KINDS {
        if dice.one_in(2) {
            let value = json_value(dice, &kind, now);
            attributes.push((kind.name().to_owned(), FieldChange::SetJson(value)));
        }
    }
    UpsertCustomer { external_id: Some(format!("c{number}")), attributes, ..Default::default() }
}

/// A change of somebody of those who were ever made.
fn change(dice: &mut Dice, made: usize, now: Timestamp) -> Change {
    let number = 1 + dice.below(made);
    let customer = named(number);
    let tag = (*dice.pick(&random::TAGS)).to_owned();
    let group = dice.pick(&random::GROUPS).0.to_owned();
    match dice.below(9) {
        0 => Change::PutTag { customer, tag, until: None },
        1 => {
            let until = now.plus_secs(dice.below(20) as i64 * 43_200 - 200_000);
            Change::PutTag { customer, tag, until: Some(until) }
        }
        2 => Change::RemoveTag { customer, tag },
        3 => Change::PutGroupMember { customer, group },
        4 => Change::RemoveGroupMember { customer, group },
        5 => Change::ChangeConsent {
            customer,
            channel: Channel::Email,
            topic: String::new(),
            state: *dice.pick(&[ConsentState::Granted, ConsentState::Withdrawn]),
            source: "test".to_owned(),
            proof: Proof::by(Via::Api),
        },
        _ => Change::UpsertCustomer(upsert(dice, number, now)),
    }
}

/// A segment's members, written as its judge does.
async fn turn_members(world: &World, ids: Vec<CustomerId>, enter: bool) {
    let at = world.now;
    let done = world.workspace.write(Priority::Interactive, move |tx| {
        Box::pin(async move {
            let keys = [
                column("bucket", ColumnType::SmallInt),
                column("customer_id", ColumnType::Uuid),
                column("segment_number", ColumnType::Int),
            ];
            let mut rows: Vec<Vec<Param>> = ids
                .iter()
                .map(|id| vec![bucket_of(*id).into(), (*id).into(), 1_i64.into()])
                .collect();
            if !enter {
                return delete_many(tx, "segment_members", &keys, &rows).await.map(drop);
            }
            rows.iter_mut().for_each(|row| row.extend([Param::from(at), Param::Int(1)]));
            let more = [column("since", ColumnType::BigInt), column("version", ColumnType::Int)];
            let columns: Vec<_> = keys.into_iter().chain(more).collect();
            insert_many(tx, "segment_members", &columns, &rows, OnConflict::Keep, "")
                .await
                .map(drop)
        })
    });
    done.await.expect("turn members");
}

async fn job(workspace: &Workspace, kind: &str) -> Job {
    loop {
        let job = workspace.claim_job(NodeId::generate()).await.expect("claim");
        let job = job.unwrap_or_else(|| panic!("no job {kind}"));
        if job.kind == kind {
            return job;
        }
    }
}

/// Imports some customers, and undoes it where that is asked for.
async fn import(world: &World, upserts: Vec<UpsertCustomer>, undo: bool) {
    // Jobs are due by the machine's own clock.
    let (workspace, at) = (&world.workspace, Timestamp(1_700_000_000_000_000));
    let id = ImportId::generate();
    let new = NewImport {
        id,
        filename: "a.csv".to_owned(),
        table: None,
        layout: "{}".to_owned(),
        columns: "[]".to_owned(),
        mapping: "{}".to_owned(),
        bytes_total: 9,
        at,
    };
    let number = workspace.add_import(new).await.expect("add").number;
    workspace.start_import(id, "{}".to_owned(), at).await.expect("start");
    let running = job(workspace, "run_import").await;
    workspace.begin_import(&running, id, at).await.expect("begin");
    let sources =
        (1..=upserts.len() as u64).map(|row| Source { row, line: row + 1, end: 0 }).collect();
    let changes = upserts.into_iter().map(Change::UpsertCustomer).collect();
    let chunk = Chunk {
        from: String::new(),
        to: "9".to_owned(),
        bytes_done: 9,
        changes: Ready::new(&workspace.schema().await.expect("the schema"), changes),
        sources,
        raw: Vec::new(),
        sets_new: Vec::new(),
        refused: Vec::new(),
        columns: Arc::new(Vec::new()),
        last: true,
        marks_absent: false,
    };
    workspace.advance_import(&running, id, &Arc::new(chunk), at).await.expect("advance");
    if undo {
        assert!(workspace.start_undo(id, "{}".to_owned(), at).await.expect("start the undo"));
        let undoing = job(workspace, "undo_import").await;
        let report = |_: &crate::undo::Undone| Ok("{}".to_owned());
        workspace.undo_slice(&undoing, id, number, at, report).await.expect("undo");
    }
}

/// Everybody who is there, by SQL.
async fn everybody(world: &World) -> Vec<CustomerId> {
    let all = world.workspace.read(|tx| {
        Box::pin(async move {
            let rows = tx.query_text("select id from {s}customers order by id", &[]).await?;
            rows.iter().map(|row| row.uuid(0).map(CustomerId)).collect::<crate::Result<_>>()
        })
    });
    all.await.expect("list customers")
}

async fn bound(world: &World, json: &Json) -> (BoundRule, Arc<Schema>) {
    let schema = world.workspace.fresh_schema().await.expect("the schema");
    let names = world.workspace.rule_names().await.expect("names");
    let rule = Rule::parse(json).unwrap_or_else(|faults| panic!("{json}: {faults:?}"));
    let rule = rule.bind(&schema, &names).unwrap_or_else(|faults| panic!("{json}: {faults:?}"));
    (rule, schema)
}

async fn by_sql(world: &World, rule: &BoundRule) -> (i64, i64) {
    let mut params = Vec::new();
    let text = condition(rule, world.workspace.dialect(), "{s}", world.now, &mut params);
    world.workspace.count_customers((text, params)).await.expect("count by SQL")
}

async fn by_judging(world: &World, rule: &BoundRule, schema: &Arc<Schema>) -> i64 {
    let ids = everybody(world).await;
    let mut needs = crate::memberships::Needs::default();
    needs.add(rule.reads());
    let schema = schema.clone();
    let facts = world
        .workspace
        .read(move |tx| Box::pin(async move { load_facts(tx, &schema, &ids, &needs).await }))
        .await
        .expect("load facts");
    facts.values().filter(|facts| judge(rule, facts, world.now).member).count() as i64
}

async fn by_columns(world: &World, rule: &BoundRule, schema: &Arc<Schema>) -> Option<(i64, i64)> {
    world.workspace.count_by_columns(rule, schema, world.now).await
}

/// The three evaluators agree on a rule; gives whether columns followed without being read anew.
async fn agree(world: &World, json: &Json, after: &str) -> bool {
    let (rule, schema) = bound(world, json).await;
    let at_once = by_columns(world, &rule, &schema).await;
    let mut read = None;
    // What the first question set in motion may be under way still.
    for _ in 0..100 {
        world.workspace.hold(&rule, &schema).await.expect("read columns");
        read = by_columns(world, &rule, &schema).await;
        if read.is_some() || !super::can_answer(&rule) {
            break;
        }
    }
    let expected = by_sql(world, &rule).await;
    assert_eq!(by_judging(world, &rule, &schema).await, expected.0, "{after}: {json}");
    for counted in [at_once, read].into_iter().flatten() {
        assert_eq!(counted, expected, "{after}: {json}");
    }
    assert_eq!(read.is_some(), super::can_answer(&rule), "{after}: {json}");
    at_once.is_some()
}

/// One step of the walk; gives what it did.
async fn step(world: &mut World, dice: &mut Dice, made: &mut usize) -> &'static str {
    let now = world.now;
    let ids = everybody(world).await;
    let ours = |dice: &mut Dice| *dice.pick(&ids);
    match dice.below(24) {
        0 => {
            let (customer, other) = (CustomerRef::Id(ours(dice)), CustomerRef::Id(ours(dice)));
            let merge = Change::MergeCustomers { customer, other };
            world.workspace.apply(vec![merge], now).await.expect("merge");
            "a merge"
        }
        1 => {
            for id in &ids {
                let merges = world.workspace.merges(*id, None, 10).await.expect("list merges");
                if let Some(merge) = merges.items.iter().find(|one| one.undone_at.is_none()) {
                    world.workspace.undo_merge(*id, merge.id, now).await.expect("undo a merge");
                    break;
                }
            }
            "an undone merge"
        }
        2 if ids.len() > 6 => {
            world.workspace.erase(ours(dice), now).await.expect("erase");
            "an erasure"
        }
        3 | 4 => {
            let undo = dice.one_in(2);
            let first = *made + 1;
            *made += 3;
            let mut upserts: Vec<_> =
                (first..first + 3).map(|number| upsert(dice, number, now)).collect();
            let known = 1 + dice.below(*made);
            upserts.push(upsert(dice, known, now));
            import(world, upserts, undo).await;
            if undo { "an undone import" } else { "an import" }
        }
        5 | 6 => {
            let some = (0..4).map(|_| ours(dice)).collect::<std::collections::BTreeSet<_>>();
            turn_members(world, some.into_iter().collect(), dice.one_in(2)).await;
            "members of a segment"
        }
        7 => {
            let name = format!("more {made}");
            world.workspace.add_attribute(&name, Kind::Text, now).await.expect("add");
            if dice.one_in(2) {
                world.workspace.drop_attribute(&name).await.expect("drop");
            }
            "another attribute"
        }
        8 => {
            // A statement that names nobody.
            let text = "update {s}customers set phone = null where system_id > ?1";
            let rest = dice.below(20) as i64;
            let done = world.workspace.write(Priority::Bulk, move |tx| {
                Box::pin(async move { tx.execute_text(text, crate::params![rest]).await })
            });
            done.await.expect("update");
            "an update of many"
        }
        9 => {
            world.now = now.plus_secs(40_000);
            "a while"
        }
        _ => {
            *made += usize::from(dice.one_in(3));
            let some = 1 + dice.below(5);
            let changes = (0..some).map(|_| change(dice, *made, now)).collect();
            world.workspace.apply(changes, now).await.expect("apply");
            "changes"
        }
    }
}

async fn walk(on_postgres: bool) {
    let seed = std::env::var("TIDINGS_COLUMNS_SEED").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice(seed.unwrap_or(0x5eed_c01d));
    let mut world = world(on_postgres, random::now(&mut dice)).await;
    let mut made = 12;
    let first =
        (1..=made).map(|number| Change::UpsertCustomer(upsert(&mut dice, number, world.now)));
    let outcomes = world.workspace.apply(first.collect(), world.now).await.expect("apply");
    assert!(outcomes.iter().filter(|one| matches!(one, Outcome::Created { .. })).count() > 6);
    let mut followed: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..120 {
        let what = step(&mut world, &mut dice, &mut made).await;
        let schema = world.workspace.fresh_schema().await.expect("the schema");
        // One rule is asked after every step, so that its columns are there to follow it.
        let known = json!({"any": [{"attribute": "integer", "op": "gte", "value": 1},
                                   {"all": [{"attribute": "text", "op": "exists"}, {"tag": "vip"}]}]});
        let mut rules = vec![known];
        rules.extend((0..4).map(|_| random::rule(&mut dice, &schema, world.now, 2)));
        for json in rules {
            if agree(&world, &json, what).await {
                *followed.entry(what).or_default() += 1;
            }
        }
    }
    for what in ["a merge", "an erasure", "an import", "an undone import", "changes"] {
        assert!(followed.contains_key(what), "columns never followed {what}: {followed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_follow_whatever_is_written_on_sqlite() {
    walk(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_follow_whatever_is_written_on_postgres() {
    walk(true).await;
}

fn in_city(number: usize, city: &str) -> Change {
    Change::UpsertCustomer(UpsertCustomer {
        external_id: Some(format!("c{number}")),
        attributes: vec![("text".to_owned(), FieldChange::SetJson(json!(city)))],
        ..Default::default()
    })
}

fn city(city: &str) -> Json {
    json!({"attribute": "text", "op": "eq", "value": city})
}

/// Every commit moves one customer there and one back, so at no moment are there more or fewer.
async fn counts_are_of_one_moment(on_postgres: bool) {
    let world = Arc::new(world(on_postgres, Timestamp(1_700_000_000_000_000)).await);
    let (there, back) = ("Utrecht", "Gent");
    let first = (0..40).map(|n| in_city(n, if n % 2 == 0 { there } else { back })).collect();
    world.workspace.apply(first, world.now).await.expect("apply");
    let (rule, schema) = bound(&world, &city(there)).await;
    let mut writers = tokio::task::JoinSet::new();
    for pair in 0..4 {
        let world = world.clone();
        writers.spawn(async move {
            for turn in 0..100 {
                let (one, other) = if turn % 2 == 0 { (back, there) } else { (there, back) };
                let moves = vec![in_city(pair * 2, one), in_city(pair * 2 + 1, other)];
                world.workspace.apply(moves, world.now).await.expect("apply");
                tokio::task::yield_now().await;
            }
        });
    }
    let mut answers = 0;
    while !writers.is_empty() {
        while writers.try_join_next().is_some_and(|done| done.map(|()| true).expect("written")) {}
        world.workspace.hold(&rule, &schema).await.expect("read columns");
        for _ in 0..5 {
            if let Some(counted) = by_columns(&world, &rule, &schema).await {
                assert_eq!(counted, (20, 40));
                answers += 1;
            }
        }
    }
    assert!(answers > 20, "only {answers} answers");
    // What was answered is counted.
    for turn in 1..=10 {
        let moves = vec![in_city(turn * 2, back)];
        world.workspace.apply(moves, world.now).await.expect("apply");
        let counted = by_columns(&world, &rule, &schema).await;
        assert_eq!(counted, Some((20 - turn as i64, 40)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_of_one_moment_on_sqlite() {
    counts_are_of_one_moment(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_of_one_moment_on_postgres() {
    counts_are_of_one_moment(true).await;
}

/// Another program on the same database, such as a command, is noticed.
async fn strangers_are_noticed(on_postgres: bool) {
    let world = world(on_postgres, Timestamp(1_700_000_000_000_000)).await;
    let first = (0..10).map(|n| in_city(n, "Gent")).collect();
    world.workspace.apply(first, world.now).await.expect("apply");
    let (rule, schema) = bound(&world, &city("Gent")).await;
    world.workspace.hold(&rule, &schema).await.expect("read columns");
    assert_eq!(by_columns(&world, &rule, &schema).await, Some((10, 10)));
    let other = Store::open(&world.home).await.expect("open it twice");
    let theirs = other.workspace(world.workspace.row.id).await.expect("the same workspace");
    theirs.apply(vec![in_city(3, "Lyon")], world.now).await.expect("apply");
    assert_eq!(by_columns(&world, &rule, &schema).await, None, "somebody else has written");
    drop((theirs, other));
    // The other one's connections end in their own time.
    for _ in 0..500 {
        world.workspace.hold(&rule, &schema).await.expect("read columns");
        if let Some(counted) = by_columns(&world, &rule, &schema).await {
            assert_eq!(counted, (9, 10));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("columns never answered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_noticed_on_sqlite() {
    strangers_are_noticed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_noticed_on_postgres() {
    strangers_are_noticed(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let world = world(false, Timestamp(1_700_000_000_000_000)).await;
    let mut dice = Dice(77);
    let many = (0..2_000).map(|n| {
        let mut one = upsert(&mut dice, n, world.now);
        one.email = Some(format!("{n}@example.com"));
        Change::UpsertCustomer(one)
    });
    world.workspace.apply(many.collect(), world.now).await.expect("apply");
    let rules = ["text", "integer", "timestamp", "email", "external_id"];
    let rules = rules.map(|name| json!({"attribute": name, "op": "exists"}));
    let columns = &world.store.columns;
    let mut sizes = Vec::new();
    for json in &rules {
        assert!(agree(&world, json, "nothing").await || columns.bytes() > 0);
        sizes.push(columns.bytes());
    }
    // Room for all but one of them: the one that was asked for the longest ago goes.
    let all = sizes[rules.len() - 1];
    columns.set_limit(all - 1);
    let (rule, schema) = bound(&world, &json!({"attribute": "boolean", "op": "exists"})).await;
    world.workspace.hold(&rule, &schema).await.expect("read columns");
    assert!(columns.bytes() < all && by_columns(&world, &rule, &schema).await.is_some());
    let (first, schema) = bound(&world, &rules[0]).await;
    assert_eq!(by_columns(&world, &first, &schema).await, None);
    // No room for even one: it is not read again and again.
    columns.set_limit(1_000);
    world.workspace.hold(&first, &schema).await.expect("read columns");
    assert_eq!((columns.bytes(), by_columns(&world, &first, &schema).await), (0, None));
    columns.set_limit(0);
    assert_eq!(by_columns(&world, &first, &schema).await, None, "switched off");
}
