//! Plans as PostgreSQL gives them, and which partitions of the hot tables they touch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value as Json;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::sql::Class;

/// The plan of a statement with `$1` … for parameters, or why there is none. Parameters get
/// values of their types: each small integer another one, so that two different buckets are
/// never the same by chance.
pub(super) async fn explain(client: &Client, text: &str) -> Result<Json, String> {
    client.batch_execute(&format!("prepare guard as {text}")).await.map_err(|e| explained(&e))?;
    let result = explain_prepared(client).await;
    client.batch_execute("deallocate guard").await.map_err(|e| explained(&e))?;
    result
}

async fn explain_prepared(client: &Client) -> Result<Json, String> {
    let row = client
        .query_one(
            "select array(select format_type(t, null) from unnest(parameter_types) as t)
             from pg_prepared_statements where name = 'guard'",
            &[],
        )
        .await
        .map_err(|e| explained(&e))?;
    let types: Vec<String> = row.get(0);
    let mut next_bucket = 5;
    let mut values = Vec::with_capacity(types.len());
    for kind in &types {
        values.push(sample(kind, &mut next_bucket)?);
    }
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let answer = client
        .simple_query(&format!("explain (verbose, format json) execute guard{values}"))
        .await
        .map_err(|e| explained(&e))?;
    let text = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    serde_json::from_str(text.ok_or("no plan")?).map_err(|e| e.to_string())
}

fn explained(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |detail| detail.message().to_owned())
}

fn sample(kind: &str, next_bucket: &mut i32) -> Result<String, String> {
    if kind == "smallint" {
        *next_bucket += 1;
        return Ok(format!("{next_bucket}::smallint"));
    }
    if kind == "smallint[]" {
        // Many buckets, so that a statement which names them by an array is seen to spread.
        let many: Vec<String> = (0..64).map(|bucket| bucket.to_string()).collect();
        return Ok(format!("array[{}]::smallint[]", many.join(",")));
    }
    let (scalar, is_array) = match kind.strip_suffix("[]") {
        Some(scalar) => (scalar, true),
        None => (kind, false),
    };
    let value = match scalar {
        "integer" | "bigint" => "1",
        "boolean" => "true",
        "text" => "'x'",
        "uuid" => "'01931f2e-7a3b-7c4d-9e5f-a1b2c3d4e5f6'",
        "bytea" => "'\\x00'",
        "jsonb" => "'{}'",
        "double precision" => "1.5",
        other => return Err(format!("the guard has no value of the type {other}")),
    };
    Ok(match is_array {
        true => format!("array[{value}]::{kind}"),
        false => format!("{value}::{kind}"),
    })
}

/// The hot tables of a schema: those that are partitioned.
pub(super) struct Hot {
    /// Where the bucket stands among the columns of each hot table.
    bucket_at: HashMap<String, usize>,
    /// The number of each partition, which is the same for the same bucket in every table.
    partitions: HashMap<String, String>,
}

impl Hot {
    pub(super) async fn of(client: &Client, schema: &str) -> Hot {
        let tables = client
            .query(
                "select c.relname, (p.partattrs::int2[])[0]::int4 from pg_partitioned_table p
                 join pg_class c on c.oid = p.partrelid
                 join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1",
                &[&schema],
            )
            .await
            .unwrap();
        let bucket_at = tables
            .iter()
            .map(|row| (row.get(0), usize::try_from(row.get::<_, i32>(1) - 1).unwrap()))
            .collect();
        let parts = client
            .query(
                "select c.relname, substring(pg_get_expr(c.relpartbound, c.oid) from
                   'remainder ([0-9]+)') from pg_class c
                 join pg_namespace n on n.oid = c.relnamespace
                 where n.nspname = $1 and c.relispartition and c.relkind = 'r'",
                &[&schema],
            )
            .await
            .unwrap();
        let partitions = parts.iter().map(|row| (row.get(0), row.get(1))).collect();
        let hot = Hot { bucket_at, partitions };
        assert!(hot.bucket_at.len() >= 10, "the workspace is not partitioned");
        hot
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &String> {
        self.bucket_at.keys()
    }

    /// What is wrong with a plan, if anything.
    pub(super) fn fault(&self, class: Class, plan: &Json) -> Option<String> {
        let mut touched = Touched::default();
        self.walk(plan, &mut touched);
        let partitions = touched.by_number.len();
        match class {
            Class::FanOut => None,
            Class::Reference if partitions > 0 || touched.inserts > 0 => {
                Some(format!("a statement over definitions touches the hot table {touched:?}"))
            }
            Class::Reference => None,
            Class::Bucket | Class::Identity => {
                if partitions > 1 {
                    return Some(format!("touches {partitions} partitions: {touched:?}"));
                }
                if let Some(table) = touched.unproven.first() {
                    return Some(format!("inserts into {table} with no constant for the bucket"));
                }
                if partitions == 0 && touched.inserts == 0 {
                    return Some("touches no hot table".to_owned());
                }
                None
            }
        }
    }

    /// The tables that a plan fills from rows whose bucket the plan does not show.
    pub(super) fn unproven_inserts(&self, plan: &Json) -> Vec<String> {
        let mut touched = Touched::default();
        self.walk(plan, &mut touched);
        touched.unproven
    }

    /// How many partition numbers a plan reads or changes.
    pub(super) fn partitions(&self, plan: &Json) -> usize {
        let mut touched = Touched::default();
        self.walk(plan, &mut touched);
        touched.by_number.len()
    }

    fn walk(&self, node: &Json, touched: &mut Touched) {
        match node {
            Json::Array(items) => items.iter().for_each(|item| self.walk(item, touched)),
            Json::Object(fields) => {
                if let Some(Json::String(table)) = fields.get("Relation Name") {
                    if let Some(number) = self.partitions.get(table) {
                        touched.by_number.entry(number.clone()).or_default().insert(table.clone());
                    }
                    if let Some(at) = self.bucket_at.get(table)
                        && fields.get("Operation") == Some(&Json::from("Insert"))
                    {
                        touched.inserts += 1;
                        let bucket = &fields["Plans"][0]["Output"][*at];
                        if !is_constant(bucket) {
                            touched.unproven.push(table.clone());
                        }
                    }
                }
                // What a statement changes is what it scans; a plan that is made before the bucket is
                // known lists every partition as a target and scans one.
                for (_, value) in fields.iter().filter(|(name, _)| *name != "Target Tables") {
                    self.walk(value, touched);
                }
            }
            _ => {}
        }
    }
}

/// Whether an expression of a plan is a number, as in `'5'::smallint`.
fn is_constant(expression: &Json) -> bool {
    let Json::String(text) = expression else { return false };
    let number = text.strip_suffix("::smallint").unwrap_or(text).trim_matches('\'');
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Default, Debug)]
struct Touched {
    by_number: BTreeMap<String, BTreeSet<String>>,
    inserts: usize,
    unproven: Vec<String>,
}
