//! Records of the workspace's own tables.

use std::collections::HashMap;

use tidings_domain::Timestamp;
use tidings_domain::schema::Table;
use uuid::Uuid;

use super::stories::{Back, Outcome, Story};
use super::values::{self, Standing, attribute_columns};
use crate::Result;
use crate::bulk::{delete_many, lock_many};
use crate::changes::journal::value_json;
use crate::changes::{RECORD_KEY, sort_rows};
use crate::engines::Tx;
use crate::sql::{Param, quoted};

pub(super) async fn undo(
    tx: &mut Tx,
    table: &Table,
    stories: &[&Story],
    at: Timestamp,
    out: &mut Outcome,
) -> Result<()> {
    let columns = attribute_columns(&table.fields, stories);
    let mut wanted = "t.customer_id, t.record_key, t.updated_at".to_owned();
    for (_, column, _) in &columns {
        wanted.push_str(", t.");
        wanted.push_str(&quoted(column));
    }
    let key = |story: &Story| -> Vec<Param> {
        let subject = &story.subject;
        vec![subject.bucket.into(), subject.customer.into(), subject.key.as_str().into()]
    };
    let mut keys: Vec<Vec<Param>> = stories.iter().map(|story| key(story)).collect();
    sort_rows(&mut keys);
    let mut standing: HashMap<(Uuid, String), Standing> = HashMap::new();
    for row in lock_many(tx, &table.physical, &wanted, &RECORD_KEY, &keys).await? {
        let mut values = HashMap::new();
        for (offset, (name, _, storage)) in columns.iter().enumerate() {
            let value = row.value(3 + offset, *storage)?;
            values.insert(name.clone(), value_json(value.as_ref()));
        }
        let one = Standing { updated_at: row.int(2)?, values };
        standing.insert((row.uuid(0)?, row.text(1)?), one);
    }
    let mut gone: Vec<Vec<Param>> = Vec::new();
    let mut back: Vec<Back<'_>> = Vec::new();
    for story in stories {
        let subject = (story.subject.customer, story.subject.key.clone());
        let Some(now) = standing.get(&subject) else {
            out.keep_whole(story, "gone");
            continue;
        };
        if story.created {
            match now.updated_at == story.at {
                true => gone.push(key(story)),
                false => out.keep_whole(story, "touched"),
            }
            continue;
        }
        let mut fields = Vec::new();
        for (name, (before, after)) in &story.changes {
            match now.values.get(name) {
                Some(current) if current == after => fields.push((name, before)),
                Some(current) => {
                    out.keep(story, name, "changed", (Some(after), Some(current)));
                }
                None => out.keep(story, name, "gone", (Some(after), None)),
            }
        }
        if !fields.is_empty() {
            out.undone.restored += 1;
            back.push((story, fields));
        }
    }
    sort_rows(&mut gone);
    out.undone.deleted += gone.len() as u64;
    delete_many(tx, &table.physical, &RECORD_KEY, &gone).await?;
    values::restore(tx, &table.physical, &RECORD_KEY, &columns, &back, at, key).await
}
