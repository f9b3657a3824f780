//! What definitions say of each other: whether rules, templates, forms and campaigns find what they
//! name. It is asked of what stands and of what files want, so that only new faults count.

use std::collections::{BTreeSet, HashMap, HashSet};

use tidings_domain::consent::Channel;
use tidings_domain::rule::calendar::Zone;
use tidings_domain::rule::{Names, Rule, cycles};
use tidings_domain::schema::{self, MAX_ATTRIBUTES, Schema};
use tidings_store::definitions::{Attribute, Definitions, Item};
use tidings_store::templates::TemplateDraft;
use uuid::Uuid;

use super::entry::Kind;
use super::export::sender_id;
use crate::messages::Compiled;
use crate::{Error, Fault, blocks, checks, forms, images, relays, senders, topics};

/// Something wrong with one thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    pub kind: Kind,
    pub id: Uuid,
    pub path: String,
    pub message: String,
    /// Which text of its own it stands in, and the line there.
    pub beside: Option<(String, Option<u32>)>,
}

impl Found {
    fn new(kind: Kind, id: Uuid, path: &str, message: impl Into<String>) -> Found {
        Found { kind, id, path: path.to_owned(), message: message.into(), beside: None }
    }
}

/// What stops an apply, and what is only worth saying.
#[derive(Default)]
pub struct Checked {
    pub faults: Vec<Found>,
    pub warnings: Vec<Found>,
}

pub fn check(all: &Definitions, time_zone: &str) -> Checked {
    let mut found = Checked::default();
    let schema = schema_of(all);
    limits(all, &mut found.faults);
    rules(all, &schema, time_zone, &mut found.faults);
    content(all, &schema, &mut found);
    forms_and_campaigns(all, &schema, &mut found.faults);
    found
}

fn schema_of(all: &Definitions) -> Schema {
    let attribute = |item: &Item<Attribute>| schema::Attribute {
        number: item.number,
        name: item.value.name.clone(),
        kind: item.value.kind.clone(),
        column: String::new(),
    };
    let table = |item: &Item<tidings_store::definitions::Table>| schema::Table {
        number: item.number,
        name: item.value.name.clone(),
        physical: String::new(),
        owner: item.value.owner,
        fields: item.value.fields.iter().map(attribute).collect(),
    };
    let attributes = all.attributes.iter().map(attribute).collect();
    Schema::new(0, attributes, all.tables.iter().map(table).collect())
}

fn limits(all: &Definitions, found: &mut Vec<Found>) {
    let mut most = |kind: Kind, ids: Vec<Uuid>, most: usize, what: &str| {
        if let Some(id) = ids.get(most) {
            found.push(Found::new(kind, *id, "", format!("a workspace has at most {most} {what}")));
        }
    };
    let ids = |items: &[Item<Attribute>]| items.iter().map(|one| one.id).collect::<Vec<_>>();
    most(Kind::Attribute, ids(&all.attributes), MAX_ATTRIBUTES, "attributes");
    most(Kind::Topic, all.topics.iter().map(|one| one.id).collect(), topics::MAX_TOPICS, "topics");
    most(Kind::Form, all.forms.iter().map(|one| one.id).collect(), forms::MAX_FORMS, "forms");
    most(Kind::Relay, all.relays.iter().map(|one| one.id).collect(), relays::MOST, "relays");
    let domains = all.senders.iter().map(|one| sender_id(&one.domain)).collect();
    most(Kind::Sender, domains, senders::MOST, "sender domains");
    for table in &all.tables {
        if table.value.fields.len() > MAX_ATTRIBUTES {
            let text = format!("a table has at most {MAX_ATTRIBUTES} fields");
            found.push(Found::new(Kind::Table, table.id, "fields", text));
        }
    }
    let mut addresses = HashSet::new();
    let mut bytes = 0;
    for image in &all.images {
        bytes += image.value.size_bytes;
        if !addresses.insert(&image.value.secret) {
            let text = "another picture has this address";
            found.push(Found::new(Kind::Image, image.id, "address", text));
        }
        if bytes > images::MAX_TOTAL_BYTES {
            let text = "all pictures together have more than 1 GB";
            found.push(Found::new(Kind::Image, image.id, "", text));
        }
    }
}

fn rules(all: &Definitions, schema: &Schema, time_zone: &str, found: &mut Vec<Found>) {
    let names = Names {
        zone: Zone::named(time_zone),
        groups: all.groups.iter().map(|one| (one.value.clone(), one.number)).collect(),
        segments: all.segments.iter().map(|one| (one.value.name.clone(), one.number)).collect(),
        events: HashMap::new(),
    };
    let mut references: HashMap<i32, BTreeSet<i32>> = HashMap::new();
    for segment in &all.segments {
        match Rule::parse(&segment.value.rule).and_then(|rule| rule.bind(schema, &names)) {
            Ok(rule) => {
                references.insert(segment.number, rule.reads().segments.clone());
            }
            Err(faults) => found.extend(faults.into_iter().map(|fault| {
                let path = match fault.path.as_str() {
                    "" => "rule".to_owned(),
                    path => format!("rule.{path}"),
                };
                Found::new(Kind::Segment, segment.id, &path, fault.message)
            })),
        }
    }
    if let Some(circle) = cycles::find(&references) {
        let of = |number: &i32| all.segments.iter().find(|one| one.number == *number);
        let names: Vec<&str> =
            circle.iter().filter_map(of).map(|one| one.value.name.as_str()).collect();
        let first = circle.first().and_then(of).map(|one| one.id).unwrap_or_default();
        let text = format!("these segments refer to each other in a circle: {}", names.join(", "));
        found.push(Found::new(Kind::Segment, first, "rule", text));
    }
}

fn content(all: &Definitions, schema: &Schema, found: &mut Checked) {
    let bodies = all.blocks.iter().map(|one| (one.value.name.clone(), one.value.body.clone()));
    let bodies: HashMap<String, String> = bodies.collect();
    for block in &all.blocks {
        if let Err(error) = blocks::check_among(&block.value.name, &block.value.body, &bodies) {
            let faults = of_error(Kind::Block, block.id, error, |_| Some("liquid".to_owned()));
            found.faults.extend(faults);
        }
    }
    for template in &all.templates {
        let (id, draft) = (template.id, &template.value);
        let part = |path: &str| text_of(draft, path);
        match Compiled::among(draft, &bodies) {
            Ok(compiled) => {
                let all = checks::check(draft, &compiled, schema, false, None);
                for finding in all.into_iter().filter(|one| one.code == "unknown_field") {
                    let line = finding.place.map(|(line, _)| line);
                    found.warnings.push(Found {
                        beside: part(&finding.part).map(|text| (text, line)),
                        ..Found::new(Kind::Template, id, &finding.part, finding.message)
                    });
                }
            }
            Err(error) => found.faults.extend(of_error(Kind::Template, id, error, part)),
        }
    }
}

fn of_error(
    kind: Kind,
    id: Uuid,
    error: Error,
    part: impl Fn(&str) -> Option<String>,
) -> Vec<Found> {
    let Error::Invalid(faults) = error else {
        return vec![Found::new(kind, id, "", error.to_string())];
    };
    let one = |fault: Fault| Found {
        beside: part(&fault.path).map(|text| (text, fault.place.map(|(line, _)| line))),
        ..Found::new(kind, id, &fault.path, fault.message)
    };
    faults.into_iter().map(one).collect()
}

/// The file that a part of a template stands in; subjects stand in the file of fields.
fn text_of(draft: &TemplateDraft, path: &str) -> Option<String> {
    let (language, part) =
        match path.strip_prefix("variants[").and_then(|rest| rest.split_once("].")) {
            Some((at, part)) => {
                (draft.variants.get(at.parse::<usize>().ok()?)?.language.as_str(), part)
            }
            None => ("", path),
        };
    let dot = if language.is_empty() { "" } else { "." };
    match part {
        "html" => Some(format!("body{dot}{language}.{}", draft.format.name())),
        "text" => Some(format!("plain{dot}{language}.txt")),
        _ => None,
    }
}

fn forms_and_campaigns(all: &Definitions, schema: &Schema, found: &mut Vec<Found>) {
    let of_mail = all.topics.iter().filter(|one| one.value.channel == Channel::Email);
    let (mut offered, mut known) = (Vec::new(), Vec::new());
    for topic in of_mail {
        known.push(topic.value.name.clone());
        if !topic.value.archived {
            offered.push(topic.value.name.clone());
        }
    }
    for form in &all.forms {
        let Ok(definition) = serde_json::from_str(&form.value.definition) else {
            found.push(Found::new(Kind::Form, form.id, "", "the form cannot be read"));
            continue;
        };
        // A form that was taken off may name topics that were too.
        let topics = if form.value.archived { &known } else { &offered };
        if let Err(error) = forms::checked(&form.value.name, definition, schema, topics) {
            found.extend(of_error(Kind::Form, form.id, error, |_| None));
        }
    }
    for campaign in &all.campaigns {
        let draft = &campaign.value.draft;
        if let Err(fault) = draft.plan.check(draft.class, schema) {
            let path = format!("plan.{}", fault.path);
            found.push(Found::new(Kind::Campaign, campaign.id, &path, fault.message));
        }
        if let Some(topic) = &campaign.value.draft.topic
            && !offered.contains(topic)
        {
            let text = format!("no e-mail topic that is offered is named {topic}");
            found.push(Found::new(Kind::Campaign, campaign.id, "topic", text));
        }
    }
}
