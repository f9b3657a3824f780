//! What a batch changed, field by field: what was there before and what the batch made of it. An
//! import keeps it, so that it can be undone.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value as Json, json};
use tidings_domain::CustomerId;
use tidings_domain::change::CustomerRef;
use tidings_domain::change::{Change, IdentityKind};
use tidings_domain::value::{Storage, Value};
use uuid::Uuid;

use super::{OWNER_KEY, customer_key, sort_rows};
use crate::Result;
use crate::bulk::{ColumnType, OnConflict, column, insert_many, select_many};
use crate::engines::Tx;
use crate::sql::Param;

/// What a batch changed, by whom or what.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    entries: BTreeMap<Subject, Entry>,
}

/// A customer (table number 0 and no key) or a record of a table, in the order of the journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The customer, or the record's owner; nil for records of nobody.
    pub customer: Uuid,
    pub table: i32,
    pub key: String,
    pub bucket: u16,
}

impl Subject {
    pub fn customer(id: CustomerId) -> Subject {
        let bucket = tidings_domain::bucket_of(id);
        Subject { customer: id.0, table: 0, key: String::new(), bucket }
    }
}

#[derive(Clone, Debug, Default)]
struct Entry {
    created: bool,
    /// By field: before and after.
    changes: BTreeMap<String, (Json, Json)>,
}

/// The fields of a customer that are no attributes.
pub const NAMES: [IdentityKind; 3] =
    [IdentityKind::ExternalId, IdentityKind::Email, IdentityKind::Phone];

/// How an attribute or field is called in a journal: by its number, which a new name leaves as it is.
pub fn field(number: i32) -> String {
    format!("a{number}")
}

/// A value as a journal holds it.
pub fn value_json(value: Option<&Value>) -> Json {
    match value {
        None => Json::Null,
        Some(Value::Text(text)) => json!(text),
        Some(Value::Integer(number)) => json!(number),
        Some(Value::Boolean(flag)) => json!(flag),
        Some(Value::List(items)) => json!(items),
    }
}

/// The value that a journal holds; `None` where it does not fit the column any more.
pub fn json_value(json: &Json, storage: Storage) -> Option<Option<Value>> {
    Some(match (json, storage) {
        (Json::Null, _) => None,
        (Json::String(text), Storage::Text) => Some(Value::Text(text.clone())),
        (Json::Number(number), Storage::Integer) => Some(Value::Integer(number.as_i64()?)),
        (Json::Bool(flag), Storage::Boolean) => Some(Value::Boolean(*flag)),
        (Json::Array(_), Storage::List) => {
            Some(Value::List(serde_json::from_value(json.clone()).ok()?))
        }
        _ => return None,
    })
}

impl Journal {
    pub(super) fn created(&mut self, subject: Subject) {
        self.entries.entry(subject).or_default().created = true;
    }

    /// Notes a change; one that ends where it began is none.
    pub(super) fn changed(&mut self, subject: &Subject, field: String, before: Json, after: Json) {
        if before == after {
            return;
        }
        match self.entries.get_mut(subject) {
            Some(entry) => entry.changes.insert(field, (before, after)),
            None => {
                let changes = BTreeMap::from([(field, (before, after))]);
                let entry = Entry { created: false, changes };
                self.entries.insert(subject.clone(), entry);
                None
            }
        };
    }

    /// Writes the journal of one chunk of an import.
    pub(crate) async fn write(self, tx: &mut Tx, import: i64, part: i64, at: i64) -> Result<()> {
        let mut rows: Vec<Vec<Param>> = Vec::with_capacity(self.entries.len());
        for (subject, entry) in self.entries {
            let changes: serde_json::Map<String, Json> = entry
                .changes
                .into_iter()
                .map(|(field, (before, after))| (field, json!([before, after])))
                .collect();
            rows.push(vec![
                import.into(),
                subject.bucket.into(),
                subject.customer.into(),
                i64::from(subject.table).into(),
                subject.key.into(),
                part.into(),
                at.into(),
                i64::from(entry.created).into(),
                Json::Object(changes).to_string().into(),
            ]);
        }
        let columns = [
            column("import_number", ColumnType::BigInt),
            column("bucket", ColumnType::SmallInt),
            column("customer_id", ColumnType::Uuid),
            column("table_number", ColumnType::BigInt),
            column("record_key", ColumnType::Text),
            column("part", ColumnType::BigInt),
            column("at", ColumnType::BigInt),
            column("created", ColumnType::BigInt),
            column("changes", ColumnType::Text),
        ];
        insert_many(tx, "import_journal", &columns, &rows, OnConflict::Fail, "").await?;
        Ok(())
    }
}

/// How a consent is called in a journal.
pub fn consent_field(channel: i64, topic: &str) -> String {
    format!("consent:{channel}:{topic}")
}

/// Consents of customers as they stand, each as JSON with its state, time, source and
/// proof.
pub async fn consents(
    tx: &mut Tx,
    customers: impl Iterator<Item = CustomerId>,
) -> Result<HashMap<(CustomerId, String), Json>> {
    let mut rows: Vec<Vec<Param>> = customers.map(customer_key).collect();
    sort_rows(&mut rows);
    rows.dedup();
    let wanted =
        "t.customer_id, t.channel, t.topic, t.state, t.at, t.source, t.via, t.text_version";
    let mut found = HashMap::new();
    for row in select_many(tx, "consents", wanted, &OWNER_KEY, &rows, "").await? {
        let text_version = if row.is_null(7) { None } else { Some(row.int(7)?) };
        let consent = json!({
            "state": row.text(3)?, "at": row.int(4)?, "source": row.text(5)?,
            "via": row.text(6)?, "text_version": text_version,
        });
        let field = consent_field(row.int(1)?, &row.text(2)?);
        found.insert((CustomerId(row.uuid(0)?), field), consent);
    }
    Ok(found)
}

/// The customers whose consent a run of marks may change.
pub(super) fn consenting(changes: &[Change]) -> Vec<CustomerId> {
    let mut customers = Vec::new();
    for change in changes {
        if let Change::ChangeConsent { customer: CustomerRef::Id(id), .. } = change {
            customers.push(*id);
        }
    }
    customers
}
