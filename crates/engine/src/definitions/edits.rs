//! What the store is to do for a plan, and what would be lost by it.

use tidings_domain::retention::Retention;
use tidings_store::definitions::{
    Attribute, Conversion, Edit, Edits, FieldEdits, Item, Picture, Sender, TableHead, widening,
};
use tidings_store::images::NewImage;
use uuid::Uuid;

use super::entry::Kind;
use super::export::sender_id;
use super::plan::{Action, Change, Sides};
use crate::images;
use crate::pages::PageSettings;
use crate::sending_rules::SendingRules;

fn of<T>(all: &[Item<T>], id: Uuid) -> Option<&Item<T>> {
    all.iter().find(|one| one.id == id)
}

/// What of customers is lost by a change, in words.
pub(super) fn loses(sides: &Sides, kind: Kind, id: Uuid) -> Option<String> {
    let wanted = &sides.target.definitions;
    match kind {
        Kind::Attribute => {
            let old = of(&sides.now.attributes, id)?;
            lost_values(&old.value, of(&wanted.attributes, id).map(|one| &one.value))
        }
        Kind::Table => {
            let old = of(&sides.now.tables, id)?;
            let Some(new) = of(&wanted.tables, id) else {
                return Some(format!("the records of {}", old.value.name));
            };
            let lost = old.value.fields.iter().filter_map(|field| {
                lost_values(&field.value, of(&new.value.fields, field.id).map(|one| &one.value))
            });
            let lost: Vec<String> = lost.collect();
            (!lost.is_empty()).then(|| lost.join("; "))
        }
        Kind::Relay => {
            let old = of(&sides.now.relays, id)?;
            let keeps = of(&wanted.relays, id).is_some_and(|one| one.value.has_secret);
            (old.value.has_secret && !keeps).then(|| format!("the password of {}", old.value.name))
        }
        Kind::Sender => {
            let old = sides.now.senders.iter().find(|one| sender_id(&one.domain) == id)?;
            let is_gone = !wanted.senders.iter().any(|one| one.domain == old.domain);
            (is_gone && !old.keys.is_empty()).then(|| format!("the DKIM keys of {}", old.domain))
        }
        Kind::Group => {
            let old = of(&sides.now.groups, id)?;
            let size = sides.standing.group_sizes.get(&old.number).copied().unwrap_or(0);
            let is_gone = of(&wanted.groups, id).is_none();
            (is_gone && size > 0).then(|| format!("who is in it: {size} customers"))
        }
        Kind::Retention if sides.standing.has_data => {
            shorter(&sides.now.retention, &wanted.retention)
        }
        _ => None,
    }
}

/// What goes that was kept so far.
fn shorter(now: &Retention, wanted: &Retention) -> Option<String> {
    let lost: Vec<String> = [
        ("events", now.events_days, wanted.events_days),
        ("addresses of messages", now.message_details_days, wanted.message_details_days),
        ("files of imports", now.import_files_days, wanted.import_files_days),
        ("mails of the mailbox", now.mailbox_days, wanted.mailbox_days),
        ("inactive customers", now.inactive_customers_days, wanted.inactive_customers_days),
    ]
    .into_iter()
    .filter_map(|(what, now, wanted)| {
        let days = wanted?;
        now.is_none_or(|now| days < now).then(|| format!("{what} after {days} days"))
    })
    .collect();
    (!lost.is_empty()).then(|| lost.join("; "))
}

fn lost_values(old: &Attribute, new: Option<&Attribute>) -> Option<String> {
    let Some(new) = new else { return Some(format!("the values of {}", old.name)) };
    match widening(&old.kind, &new.kind) {
        Some(_) => None,
        None => {
            let (from, to) = (kind_text(old), kind_text(new));
            Some(format!("the values of {}, as {from} does not always fit {to}", old.name))
        }
    }
}

fn kind_text(one: &Attribute) -> String {
    match (one.kind.scale(), one.kind.currency()) {
        (Some(scale), Some(currency)) => format!("{} ({currency}, scale {scale})", one.kind.name()),
        (Some(scale), None) => format!("{} (scale {scale})", one.kind.name()),
        _ => one.kind.name().to_owned(),
    }
}

struct Planned<'a> {
    sides: &'a Sides,
    changes: &'a [Change],
}

impl Planned<'_> {
    fn of<T, U>(
        &self,
        kind: Kind,
        now: &[Item<T>],
        wanted: &[Item<T>],
        value: impl Fn(Option<&T>, &Item<T>) -> Option<U>,
    ) -> Vec<Edit<U>> {
        let mut edits = Vec::new();
        for change in self.changes.iter().filter(|change| change.kind == kind) {
            let (old, new) = (of(now, change.id), of(wanted, change.id));
            match (change.action, old, new) {
                (Action::Create, _, Some(item)) => {
                    let number = self.sides.target.fresh.get(&item.id).copied().flatten();
                    let value = value(None, item);
                    edits.extend(value.map(|value| Edit::Add { id: item.id, number, value }));
                }
                (Action::Change | Action::Rename, Some(old), Some(item)) => {
                    let (id, number) = (item.id, old.number);
                    let value = value(Some(&old.value), item);
                    edits.extend(value.map(|value| Edit::Change { id, number, value }));
                }
                (Action::Drop, Some(old), _) => {
                    edits.push(Edit::Drop { id: old.id, number: old.number });
                }
                _ => {}
            }
        }
        // What asks for no number gets the next one, so that those who ask come first.
        edits.sort_by_key(|edit| match edit {
            Edit::Drop { number, .. } | Edit::Change { number, .. } => (0, *number),
            Edit::Add { number: Some(number), .. } => (1, *number),
            Edit::Add { number: None, .. } => (2, 0),
        });
        edits
    }
}

fn converted(old: Option<&Attribute>, item: &Item<Attribute>) -> Option<(Attribute, Conversion)> {
    let how = match old {
        None => Conversion::Keep,
        Some(old) => widening(&old.kind, &item.value.kind).unwrap_or(Conversion::Empty),
    };
    Some((item.value.clone(), how))
}

pub(super) fn edits(sides: &Sides, changes: &[Change]) -> Edits {
    let (now, wanted) = (&sides.now, &sides.target.definitions);
    let planned = Planned { sides, changes };
    let sending = changes.iter().find(|change| change.kind == Kind::Sending).map(|change| {
        let none = || serde_json::to_string(&SendingRules::default()).unwrap_or_default();
        wanted.sending.clone().filter(|_| change.action != Action::Drop).unwrap_or_else(none)
    });
    let changed = |kind: Kind, id: Uuid| changes.iter().any(|one| (one.kind, one.id) == (kind, id));
    let pages = changes.iter().find(|change| change.kind == Kind::Pages).map(|change| {
        let none = || serde_json::to_string(&PageSettings::default()).unwrap_or_default();
        wanted.pages.clone().filter(|_| change.action != Action::Drop).unwrap_or_else(none)
    });
    let is_other = |one: &&Sender| changed(Kind::Sender, sender_id(&one.domain));
    let is_wanted = |one: &Sender| wanted.senders.iter().any(|other| other.domain == one.domain);
    let gone = now
        .senders
        .iter()
        .filter(|one| changed(Kind::Sender, sender_id(&one.domain)) && !is_wanted(one));
    Edits {
        attributes: planned.of(Kind::Attribute, &now.attributes, &wanted.attributes, converted),
        tables: planned.of(Kind::Table, &now.tables, &wanted.tables, |_, item| {
            Some(TableHead { name: item.value.name.clone(), owner: item.value.owner })
        }),
        fields: fields(&planned),
        groups: planned
            .of(Kind::Group, &now.groups, &wanted.groups, |_, one| Some(one.value.clone())),
        segments: planned
            .of(Kind::Segment, &now.segments, &wanted.segments, |_, one| Some(one.value.clone())),
        blocks: planned
            .of(Kind::Block, &now.blocks, &wanted.blocks, |_, one| Some(one.value.clone())),
        images: planned.of(Kind::Image, &now.images, &wanted.images, |old, one| match old {
            Some(_) => Some(Picture::Renamed(one.value.name.clone())),
            None => {
                let bytes = sides.target.pictures.get(&one.id)?;
                let found = images::look(bytes)?;
                Some(Picture::New(NewImage {
                    secret: one.value.secret.clone(),
                    name: one.value.name.clone(),
                    kind: one.value.kind.clone(),
                    width: i64::from(found.width),
                    height: i64::from(found.height),
                    bytes: bytes.to_vec(),
                }))
            }
        }),
        templates: planned.of(Kind::Template, &now.templates, &wanted.templates, |_, one| {
            Some(one.value.clone())
        }),
        topics: planned
            .of(Kind::Topic, &now.topics, &wanted.topics, |_, one| Some(one.value.clone())),
        forms: planned.of(Kind::Form, &now.forms, &wanted.forms, |_, one| Some(one.value.clone())),
        campaigns: planned.of(Kind::Campaign, &now.campaigns, &wanted.campaigns, |_, one| {
            Some(one.value.draft.clone())
        }),
        pages,
        sending,
        retention: (now.retention != wanted.retention).then_some(wanted.retention),
        relays: planned
            .of(Kind::Relay, &now.relays, &wanted.relays, |_, one| Some(one.value.clone())),
        senders: wanted.senders.iter().filter(is_other).cloned().collect(),
        dropped_senders: gone.map(|one| one.domain.clone()).collect(),
        limits: (now.limits != wanted.limits).then(|| wanted.limits.clone()),
        most_image_bytes: images::MAX_TOTAL_BYTES,
    }
}

/// The fields of tables that are new or other.
fn fields(planned: &Planned<'_>) -> Vec<FieldEdits> {
    let mut all = Vec::new();
    for table in &planned.sides.target.definitions.tables {
        let old = of(&planned.sides.now.tables, table.id);
        let before = old.map_or(&[][..], |old| &old.value.fields);
        let mut edits = Vec::new();
        for field in before {
            match of(&table.value.fields, field.id) {
                None => edits.push(Edit::Drop { id: field.id, number: field.number }),
                Some(new) if new.value != field.value => {
                    let value = converted(Some(&field.value), new);
                    let (id, number) = (field.id, field.number);
                    edits.extend(value.map(|value| Edit::Change { id, number, value }));
                }
                Some(_) => {}
            }
        }
        for field in table.value.fields.iter().filter(|one| of(before, one.id).is_none()) {
            let number = planned.sides.target.fresh.get(&field.id).copied().flatten();
            let value = converted(None, field);
            edits.extend(value.map(|value| Edit::Add { id: field.id, number, value }));
        }
        if !edits.is_empty() {
            all.push(FieldEdits { table: table.id, number: old.map(|old| old.number), edits });
        }
    }
    all
}
