//! The SQL of a rule, the evaluator for one customer and the columns in memory agree: random rules
//! over random bases, on every engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidings_domain::judge::{Facts, judge};
use tidings_domain::rule::{BoundRule, Names, OwnColumn, Reads, Rule};
use tidings_domain::schema::{Owner, Schema};
use tidings_domain::{CustomerId, EventId, Timestamp, bucket_of};
use uuid::Uuid;

use super::{Slice, condition, count_sql, turns};
use crate::engines::{Priority, Tx};
use crate::memberships::{Needs, load_facts};
use crate::sql::{Param, quoted};
use crate::{Home, Result, Store, Workspace};

pub(crate) mod random;

use random::Dice;

const CUSTOMERS: usize = 30;
const RULES_A_BASE: usize = 60;

/// A random schema and the customers in it.
struct Base {
    schema: Schema,
    now: Timestamp,
    customers: BTreeMap<CustomerId, Facts>,
    /// The same customers as the store reads them back for the evaluator.
    read_back: HashMap<CustomerId, Facts>,
}

/// How often each outcome was seen, so that a test that tries nothing cannot pass.
#[derive(Default)]
struct Tally {
    cases: usize,
    mixed: usize,
    members: usize,
    judged: usize,
    /// Customers with a next check.
    armed: usize,
    /// Rules that columns answered.
    by_columns: usize,
}

fn names() -> Names {
    let map = |all: &[(&str, i32)]| -> HashMap<String, i32> {
        all.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    };
    Names {
        zone: Default::default(),
        groups: map(&random::GROUPS),
        segments: map(&random::SEGMENTS),
        events: map(&random::EVENTS),
    }
}

fn bind(json: &Json, schema: &Schema) -> BoundRule {
    let rule = Rule::parse(json).unwrap_or_else(|faults| panic!("{json}: {faults:?}"));
    rule.bind(schema, &names()).unwrap_or_else(|faults| panic!("{json}: {faults:?}"))
}

async fn add_schema(tx: &mut Tx, dice: &mut Dice, now: Timestamp) -> Result<Schema> {
    for (at, kind) in random::kinds(dice).iter().enumerate() {
        crate::schema::add_attribute(tx, &format!("{} {at}", kind.name()), kind, now).await?;
    }
    for table in ["orders", "visits"] {
        let kinds = random::kinds(dice).into_iter().enumerate();
        let mut fields: Vec<_> =
            kinds.map(|(at, kind)| (format!("{} {at}", kind.name()), kind)).collect();
        fields.push(("total".to_owned(), tidings_domain::value::Kind::Decimal { scale: 2 }));
        crate::schema::add_table(tx, table, Owner::Customer, &fields, now).await?;
    }
    crate::schema::load(tx).await
}

/// Writes a row of named columns.
async fn insert(tx: &mut Tx, table: &str, row: Vec<(&str, Param)>) -> Result<()> {
    let (columns, values): (Vec<&str>, Vec<Param>) = row.into_iter().unzip();
    let columns: Vec<String> = columns.into_iter().map(quoted).collect();
    let marks: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    let (columns, marks) = (columns.join(", "), marks.join(", "));
    let text = format!("insert into {{s}}{table} ({columns}) values ({marks})");
    tx.execute_text(&text, &values).await.map(|_| ())
}

async fn add_customer(
    tx: &mut Tx,
    schema: &Schema,
    number: i64,
    id: CustomerId,
    facts: &Facts,
) -> Result<()> {
    let own = || vec![("bucket", bucket_of(id).into()), ("customer_id", id.into())];
    let mut row = vec![
        ("system_id", number.into()),
        ("bucket", bucket_of(id).into()),
        ("id", id.into()),
        ("external_id", facts.external_id.clone().into()),
        ("email", facts.email.clone().into()),
        ("phone", facts.phone.clone().into()),
        ("created_at", facts.created_at.into()),
        ("updated_at", facts.created_at.into()),
    ];
    for (attribute, value) in schema.attributes.iter().zip(&facts.attributes) {
        row.push((attribute.column.as_str(), value.clone().into()));
    }
    insert(tx, "customers", row).await?;
    for (tag, until) in &facts.tags {
        let mut row = own();
        row.extend([("tag", tag.into()), ("put_at", 0_i64.into()), ("until", (*until).into())]);
        insert(tx, "tags", row).await?;
    }
    for (table, column, numbers) in [
        ("group_members", "group_number", &facts.groups),
        ("segment_members", "segment_number", &facts.segments),
    ] {
        for number in numbers {
            let mut row = own();
            row.extend([(column, (*number).into()), ("since", 0_i64.into())]);
            if table == "segment_members" {
                row.push(("version", 1_i64.into()));
            }
            insert(tx, table, row).await?;
        }
    }
    for ((channel, topic), state) in &facts.consents {
        let mut row = own();
        row.extend([("channel", channel.number().into()), ("topic", topic.into())]);
        row.extend([("state", state.name().into()), ("at", 0_i64.into()), ("source", "".into())]);
        insert(tx, "consents", row).await?;
    }
    for (name, events) in &facts.events {
        for event in events {
            let properties = match &event.properties {
                Json::Null => Param::Null,
                properties => Param::Json(properties.clone()),
            };
            let mut row = own();
            row.extend([("at", event.at.into()), ("id", EventId::generate().into())]);
            row.extend([("name", (*name).into()), ("properties", properties)]);
            row.push(("campaign_id", event.campaign.into()));
            insert(tx, "events", row).await?;
        }
    }
    for table in &schema.tables {
        for record in facts.records.get(&table.number).into_iter().flatten() {
            let mut row = own();
            row.push(("record_key", Uuid::now_v7().to_string().into()));
            row.extend([("created_at", 0_i64.into()), ("updated_at", 0_i64.into())]);
            for (field, value) in table.fields.iter().zip(record) {
                row.push((field.column.as_str(), value.clone().into()));
            }
            insert(tx, &quoted(&table.physical), row).await?;
        }
    }
    Ok(())
}

/// What a rule that reads everything reads.
fn everything(schema: &Schema) -> Needs {
    let mut reads = Reads {
        tags: random::TAGS.iter().map(|tag| (*tag).to_owned()).collect(),
        groups: random::GROUPS.iter().map(|(_, number)| *number).collect(),
        segments: random::SEGMENTS.iter().map(|(_, number)| *number).collect(),
        consents: true,
        events: random::EVENTS.iter().map(|(_, number)| *number).collect(),
        tables: schema.tables.iter().map(|table| table.number).collect(),
        ..Reads::default()
    };
    reads.own.extend(OwnColumn::ALL);
    let mut needs = Needs::default();
    needs.add(&reads);
    needs
}

async fn fill(workspace: &Workspace, seed: u64) -> Base {
    workspace
        .write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                let mut dice = Dice(seed);
                let now = random::now(&mut dice);
                let schema = add_schema(tx, &mut dice, now).await?;
                let mut customers = BTreeMap::new();
                for number in 0..CUSTOMERS {
                    let facts = random::facts(&mut dice, &schema, now);
                    let id = random::customer_id(&mut dice);
                    add_customer(tx, &schema, number as i64 + 1, id, &facts).await?;
                    customers.insert(id, facts);
                }
                let ids: Vec<CustomerId> = customers.keys().copied().collect();
                let needs = everything(&schema);
                let read_back = load_facts(tx, &Arc::new(schema.clone()), &ids, &needs).await?;
                Ok(Base { schema, now, customers, read_back })
            })
        })
        .await
        .expect("fill the base")
}

/// The customers that the rule's condition selects, or those that its opposite does.
async fn selected(
    workspace: &Workspace,
    rule: &BoundRule,
    now: Timestamp,
    opposite: bool,
) -> BTreeSet<CustomerId> {
    let mut params = Vec::new();
    let condition = condition(rule, workspace.dialect(), "{s}", now, &mut params);
    let text = match opposite {
        false => format!("select c.id from {{s}}customers c where {condition}"),
        true => format!("select c.id from {{s}}customers c where ({condition}) is not true"),
    };
    let shown = text.clone();
    let read = workspace.read(move |tx| {
        Box::pin(async move {
            let rows = tx.query_text(&text, &params).await?;
            rows.iter().map(|row| row.uuid(0).map(CustomerId)).collect::<Result<_>>()
        })
    });
    read.await.unwrap_or_else(|error| panic!("{error}\n{shown}"))
}

async fn counted(workspace: &Workspace, rule: &BoundRule, now: Timestamp) -> i64 {
    let mut params = Vec::new();
    let text = count_sql(rule, workspace.dialect(), "{s}", now, &mut params);
    let read = workspace
        .read(move |tx| Box::pin(async move { tx.query_text(&text, &params).await?[0].int(0) }));
    read.await.expect("count the members")
}

/// The earliest turn of every customer, by SQL.
async fn first_turns(
    workspace: &Workspace,
    rule: &BoundRule,
    now: Timestamp,
) -> HashMap<CustomerId, Timestamp> {
    let slice = Slice { low: 0, high: 10_000 };
    let mut first: HashMap<CustomerId, Timestamp> = HashMap::new();
    for (text, params) in turns(rule, workspace.dialect(), now, slice, &[]) {
        let read =
            workspace.read(move |tx| Box::pin(async move { tx.query_once(&text, &params).await }));
        for row in read.await.expect("read the turns") {
            let (id, at) = (CustomerId(row.uuid(1).unwrap()), row.time(2).unwrap());
            let known = first.entry(id).or_insert(at);
            *known = (*known).min(at);
        }
    }
    first
}

/// Whoever the clock may move is looked at by then, or at midnight where the rule has dates.
async fn check_turns(workspace: &Workspace, base: &Base, json: &Json, rule: &BoundRule) -> usize {
    let midnight = match rule.reads().calendar {
        true => rule.zone().next_midnight(base.now),
        false => Timestamp(i64::MAX),
    };
    let turns = first_turns(workspace, rule, base.now).await;
    assert!(turns.values().all(|at| *at > base.now), "{json}");
    let mut armed = 0;
    for (id, facts) in &base.customers {
        let next = judge(rule, facts, base.now).next_check_at.filter(|at| *at < midnight);
        let Some(next) = next else { continue };
        armed += 1;
        let turn = turns.get(id);
        assert!(turn.is_some_and(|at| *at <= next), "{json}: {turn:?} after {next}\n{facts:#?}");
    }
    armed
}

/// What columns in memory count is what the SQL selects, and they answer whatever reads no events
/// and no records.
async fn check_columns(
    workspace: &Arc<Workspace>,
    base: &Base,
    json: &Json,
    rule: &BoundRule,
    expected: usize,
) -> bool {
    let schema = Arc::new(base.schema.clone());
    workspace.hold(rule, &schema).await.expect("read columns");
    let counted = workspace.count_by_columns(rule, &schema, base.now).await;
    match counted {
        Some(counted) => assert_eq!(counted, (expected as i64, CUSTOMERS as i64), "{json}"),
        None => assert!(!crate::columns::can_answer(rule), "{json}"),
    }
    counted.is_some()
}

async fn check(workspace: &Arc<Workspace>, base: &Base, json: &Json, seed: u64, tally: &mut Tally) {
    let rule = bind(json, &base.schema);
    tally.armed += check_turns(workspace, base, json, &rule).await;
    let expected: BTreeSet<CustomerId> = base
        .customers
        .iter()
        .filter(|(_, facts)| judge(&rule, facts, base.now).member)
        .map(|(id, _)| *id)
        .collect();
    for (id, facts) in &base.customers {
        let (given, read) = (judge(&rule, facts, base.now), &base.read_back[id]);
        assert_eq!(judge(&rule, read, base.now), given, "{json}\n{facts:#?}\n{read:#?}");
    }
    let found = selected(workspace, &rule, base.now, false).await;
    if let Some(id) = expected.symmetric_difference(&found).next() {
        let text = condition(&rule, workspace.dialect(), "", base.now, &mut Vec::new());
        panic!(
            "seed {seed:#x}, now {}: judged {}, selected {}\n{json}\n{text}\n{:#?}",
            base.now,
            expected.contains(id),
            found.contains(id),
            base.customers[id]
        );
    }
    if check_columns(workspace, base, json, &rule, expected.len()).await {
        tally.by_columns += 1;
    }
    tally.cases += 1;
    // The planners see these as other questions; asking every third time finds what there is.
    if tally.cases % 3 == 1 {
        assert_eq!(counted(workspace, &rule, base.now).await, found.len() as i64, "{json}");
        let others = selected(workspace, &rule, base.now, true).await;
        assert_eq!(others.len(), base.customers.len() - found.len(), "{json}");
        assert!(others.is_disjoint(&found), "{json}");
    }
    tally.mixed += usize::from(!found.is_empty() && found.len() < base.customers.len());
    tally.members += found.len();
    tally.judged += base.customers.len();
}

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
    Partitioned,
}

/// A store of its own; the folder goes with it.
async fn store(engine: Engine) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = match engine {
        Engine::Sqlite => Home::Folder(folder.path().to_owned()),
        _ => Home::Server { url: tidings_testkit::database::fresh().await, connections: 2 },
    };
    let store = Store::open(&home).await.expect("open the store");
    store.columns.set_limit(64 << 20);
    (store, folder)
}

/// The seed and the number of bases can be set, to repeat a failure or to search for longer.
fn setting(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(otherwise),
        None => text.parse().unwrap_or(otherwise),
    }
}

async fn random_rules_agree(engine: Engine, bases: u64) {
    let first_seed = setting("TIDINGS_AUDIENCE_SEED", 0x71d1_0000);
    let bases = setting("TIDINGS_AUDIENCE_BASES", bases);
    let (store, _folder) = store(engine).await;
    let mut tally = Tally::default();
    for seed in first_seed..first_seed + bases {
        let name = format!("Base {seed}");
        let partitioned = engine == Engine::Partitioned;
        let workspace = store.create_workspace(&name, "UTC", partitioned).await.expect("create");
        // Neighbouring seeds must not give neighbouring bases.
        let base = fill(&workspace, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).await;
        let mut dice = Dice(seed.wrapping_mul(0xd1b5_4a32_d192_ed03) | 1);
        for _ in 0..RULES_A_BASE {
            let json = random::rule(&mut dice, &base.schema, base.now, 3);
            check(&workspace, &base, &json, seed, &mut tally).await;
        }
    }
    let Tally { cases, mixed, members, judged, armed, by_columns } = tally;
    eprintln!(
        "{engine:?}: {cases} rules from seed {first_seed:#x}, {mixed} of them with members and \
         others; {members} of {judged} customers were members"
    );
    assert!(armed * 10 > cases, "too few customers whom the clock may move: {armed}");
    assert!(by_columns * 4 > cases, "columns answered only {by_columns} of {cases}");
    assert!(mixed * 3 > cases, "too few rules that divide the base: {mixed} of {cases}");
}

/// The largest rule that may be written runs on every engine, joined either way.
async fn large_rules_run(engine: Engine) {
    let (store, _folder) = store(engine).await;
    let partitioned = engine == Engine::Partitioned;
    let workspace = store.create_workspace("Large", "UTC", partitioned).await.expect("create");
    let base = fill(&workspace, 0x5eed).await;
    let mut tally = Tally::default();
    let attribute = json!({"attribute": "email", "op": "ne", "value": "x@example.com"});
    let in_words: Vec<String> = (0..19).map(|at| format!("word {at}")).collect();
    let filter = json!({"property": "t", "op": "in", "value": in_words});
    let texts: Vec<String> = (0..10_000).map(|at| format!("x{at}")).collect();
    // Partitions multiply what PostgreSQL must plan; this layout stands for shards, which plan on
    // their own.
    let many = if partitioned { 60 } else { 999 };
    for part in [
        attribute,
        json!({"not": {"tag": "vip"}}),
        json!({"any": [{"group": "staff"}]}),
        json!({"event": "visit", "within": "30d", "count": {"gte": 1, "lte": 2}}),
    ] {
        for word in ["all", "any"] {
            let large = json!({word: vec![part.clone(); many]});
            check(&workspace, &base, &large, 0, &mut tally).await;
        }
    }
    let filters = vec![filter; many - 9];
    check(&workspace, &base, &json!({"event": "visit", "where": filters}), 0, &mut tally).await;
    let list = json!({"attribute": "external_id", "op": "in", "value": texts});
    check(&workspace, &base, &list, 0, &mut tally).await;
    assert_eq!(tally.cases, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_rules_agree_on_sqlite() {
    random_rules_agree(Engine::Sqlite, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_rules_agree_on_postgres() {
    random_rules_agree(Engine::Postgres, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_rules_agree_on_partitions() {
    random_rules_agree(Engine::Partitioned, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rules_run_on_sqlite() {
    large_rules_run(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rules_run_on_postgres() {
    large_rules_run(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rules_run_on_partitions() {
    large_rules_run(Engine::Partitioned).await;
}
