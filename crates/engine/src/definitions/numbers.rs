//! Numbers of what is new: the one its file asks for where that is free, else one that stands for
//! the next.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;
use tidings_store::definitions::{Definitions, Standing};

use super::entry::{Entry, Kind};

pub struct Numbers {
    /// Attributes, tables and fields share one row of numbers, that of attributes.
    taken: HashMap<Kind, HashSet<i32>>,
    /// What stands for the next number, larger than any that a file asks for.
    next: i32,
}

fn row(kind: Kind) -> Kind {
    match kind {
        Kind::Table => Kind::Attribute,
        other => other,
    }
}

impl Numbers {
    pub fn of(now: &Definitions, standing: &Standing, entries: &[Entry]) -> Numbers {
        let mut taken: HashMap<Kind, HashSet<i32>> = HashMap::new();
        let mut take = |kind: Kind, numbers: Vec<i32>| {
            taken.entry(row(kind)).or_default().extend(numbers);
        };
        take(Kind::Attribute, now.attributes.iter().map(|one| one.number).collect());
        take(Kind::Table, now.tables.iter().map(|one| one.number).collect());
        for table in &now.tables {
            take(Kind::Attribute, table.value.fields.iter().map(|one| one.number).collect());
        }
        take(Kind::Group, now.groups.iter().map(|one| one.number).collect());
        take(Kind::Segment, now.segments.iter().map(|one| one.number).collect());
        take(Kind::Block, now.blocks.iter().map(|one| one.number).collect());
        take(Kind::Image, now.images.iter().map(|one| one.number).collect());
        take(Kind::Template, now.templates.iter().map(|one| one.number).collect());
        take(Kind::Topic, now.topics.iter().map(|one| one.number).collect());
        take(Kind::Form, now.forms.iter().map(|one| one.number).collect());
        take(Kind::Campaign, now.campaigns.iter().map(|one| one.number).collect());
        take(Kind::Campaign, standing.launched.iter().map(|one| one.number).collect());
        take(Kind::Relay, now.relays.iter().map(|one| one.number).collect());
        let asked = entries.iter().filter_map(|entry| entry.number);
        let fields = entries.iter().filter_map(|entry| entry.fields.get("fields")?.as_array());
        let of_fields = fields.flatten().filter_map(|field| {
            field.get("number").and_then(Json::as_i64).and_then(|one| i32::try_from(one).ok())
        });
        let known = taken.values().flatten().copied();
        let most = asked.chain(of_fields).chain(known).max().unwrap_or(0);
        Numbers { taken, next: most }
    }

    /// A number for something new, and the one to ask the store for.
    pub fn fresh(&mut self, kind: Kind, wanted: Option<i32>) -> (i32, Option<i32>) {
        let taken = self.taken.entry(row(kind)).or_default();
        let free = wanted.filter(|number| *number > 0 && taken.insert(*number));
        if let Some(number) = free {
            return (number, Some(number));
        }
        self.next = self.next.saturating_add(1);
        (self.next, None)
    }
}
