//! What files ask for, as definitions: every thing with its id and number, or what is wrong with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;
use tidings_domain::campaign::{CampaignState, Plan};
use tidings_domain::retention::Retention;
use tidings_domain::schema::{checked_attribute_name, checked_name};
use tidings_domain::{SegmentId, TemplateId, WorkspaceId};
use tidings_store::campaigns::{CampaignDraft, Sender};
use tidings_store::definitions::{
    Attribute, Block, Campaign, Definitions, Image, Item, Segment, Standing, Table, Topic,
};
use uuid::Uuid;

use super::bodies::{
    AttributeBody, CampaignBody, ImageBody, Nothing, SegmentBody, SendingBody, TableBody,
    TopicBody, Wrong, body,
};
use super::content;
use super::entry::{Entry, Kind, Place};
use super::export::Pictures;
use super::identify::derived;
use super::mail;
use super::numbers::Numbers;
use super::plan::Problem;
use crate::pages::PageSettings;
use crate::sending_rules::{AlertMail, BounceLimit, SendingRules};
use crate::{Error, images};

/// What files ask for.
#[derive(Default)]
pub struct Target {
    pub definitions: Definitions,
    pub pictures: Pictures,
    pub places: HashMap<(Kind, Uuid), Place>,
    /// Things whose files are wrong, so that nobody takes them for dropped.
    pub unread: HashSet<(Kind, Uuid)>,
    /// The numbers of what is new, fields of tables among it; `None` where none is asked for that
    /// is free.
    pub fresh: HashMap<Uuid, Option<i32>>,
    /// The numbers that files ask for.
    pub asked: HashMap<(Kind, Uuid), i32>,
}

/// Reads all things. Campaigns come last, as they name segments and templates.
pub fn build(
    workspace: WorkspaceId,
    now: &Definitions,
    standing: &Standing,
    entries: Vec<Entry>,
    problems: &mut Vec<Problem>,
) -> Target {
    let mut building = Building {
        workspace,
        now,
        standing,
        numbers: Numbers::of(now, standing, &entries),
        target: Target::default(),
    };
    let (campaigns, others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.kind == Kind::Campaign);
    for entry in others.iter().chain(&campaigns) {
        let id = entry.id.unwrap_or_default();
        building.target.places.insert((entry.kind, id), entry.place.clone());
        building.target.asked.extend(entry.number.map(|number| ((entry.kind, id), number)));
        if let Err(wrong) = building.thing(id, entry) {
            building.target.unread.insert((entry.kind, id));
            for Wrong { path, message } in wrong {
                let line = entry.place.line(&path);
                let message = if path.is_empty() { message } else { format!("{path}: {message}") };
                problems.push(Problem::new(&entry.place.file, line, message));
            }
        }
    }
    building.target
}

struct Building<'a> {
    workspace: WorkspaceId,
    now: &'a Definitions,
    standing: &'a Standing,
    numbers: Numbers,
    target: Target,
}

pub(super) fn wrong(path: &str, message: impl Into<String>) -> Vec<Wrong> {
    vec![Wrong { path: path.to_owned(), message: message.into() }]
}

/// What the rules of a noun found, as what is wrong with its file.
pub(super) fn faults(error: Error) -> Vec<Wrong> {
    match error {
        Error::Invalid(faults) => {
            let one = |fault: crate::Fault| Wrong { path: fault.path, message: fault.message };
            faults.into_iter().map(one).collect()
        }
        other => wrong("", other.to_string()),
    }
}

fn named(name: &str) -> Result<String, Vec<Wrong>> {
    checked_name(name).map(str::to_owned).map_err(|text| wrong("name", text))
}

fn read<T: for<'de> serde::Deserialize<'de>>(entry: &Entry) -> Result<T, Vec<Wrong>> {
    body(&entry.fields).map_err(|one| vec![one])
}

impl Building<'_> {
    fn item<T>(&mut self, id: Uuid, entry: &Entry, known: Option<i32>, value: T) -> Item<T> {
        let number = self.numbered(entry.kind, id, entry.number, known);
        Item { id, number, value }
    }

    fn numbered(&mut self, kind: Kind, id: Uuid, wanted: Option<i32>, known: Option<i32>) -> i32 {
        if let Some(number) = known {
            return number;
        }
        let (number, asked) = self.numbers.fresh(kind, wanted);
        self.target.fresh.insert(id, asked);
        number
    }

    fn thing(&mut self, id: Uuid, entry: &Entry) -> Result<(), Vec<Wrong>> {
        match entry.kind {
            Kind::Attribute => {
                let value = attribute(&entry.name, &read::<AttributeBody>(entry)?)?;
                let item = self.item(id, entry, number_of(&self.now.attributes, id), value);
                self.target.definitions.attributes.push(item);
            }
            Kind::Table => {
                let value = self.table(id, entry)?;
                let item = self.item(id, entry, number_of(&self.now.tables, id), value);
                self.target.definitions.tables.push(item);
            }
            Kind::Group => {
                read::<Nothing>(entry)?;
                let value = named(&entry.name)?;
                let item = self.item(id, entry, number_of(&self.now.groups, id), value);
                self.target.definitions.groups.push(item);
            }
            Kind::Segment => {
                let value = segment(entry)?;
                let item = self.item(id, entry, number_of(&self.now.segments, id), value);
                self.target.definitions.segments.push(item);
            }
            Kind::Block => {
                read::<Nothing>(entry)?;
                crate::blocks::check_name(&entry.name).map_err(faults)?;
                let text = entry.texts.get("liquid").cloned();
                let body = text.ok_or_else(|| wrong("", "its text is missing, NAME.liquid"))?;
                let value = Block { name: entry.name.clone(), body };
                let item = self.item(id, entry, number_of(&self.now.blocks, id), value);
                self.target.definitions.blocks.push(item);
            }
            Kind::Image => {
                let value = self.image(id, entry)?;
                let item = self.item(id, entry, number_of(&self.now.images, id), value);
                self.target.definitions.images.push(item);
            }
            Kind::Template => {
                let value = content::template(entry)?;
                let item = self.item(id, entry, number_of(&self.now.templates, id), value);
                self.target.definitions.templates.push(item);
            }
            Kind::Topic => {
                let value = topic(entry)?;
                let item = self.item(id, entry, number_of(&self.now.topics, id), value);
                self.target.definitions.topics.push(item);
            }
            Kind::Form => {
                let value = content::form(entry)?;
                let item = self.item(id, entry, number_of(&self.now.forms, id), value);
                self.target.definitions.forms.push(item);
            }
            Kind::Campaign => {
                let value = self.campaign(entry)?;
                let launched = number_of(&self.standing.launched, id);
                let known = number_of(&self.now.campaigns, id).or(launched);
                let item = self.item(id, entry, known, value);
                self.target.definitions.campaigns.push(item);
            }
            Kind::Relay => {
                let mut value = mail::relay(entry)?;
                let old = self.now.relays.iter().find(|one| one.id == id);
                let kept = old.filter(|old| old.value.username == value.username);
                value.has_secret = kept.is_some_and(|old| old.value.has_secret);
                let item = self.item(id, entry, number_of(&self.now.relays, id), value);
                self.target.definitions.relays.push(item);
            }
            Kind::Sender => {
                let sender = mail::sender(entry, &self.target.definitions.relays)?;
                self.target.definitions.senders.push(sender);
            }
            Kind::Limits => self.target.definitions.limits = mail::limits(entry)?,
            Kind::Sending => self.target.definitions.sending = Some(sending(entry)?),
            Kind::Pages => self.target.definitions.pages = Some(pages(entry)?),
            Kind::Retention => self.target.definitions.retention = retention(entry)?,
        }
        Ok(())
    }

    fn table(&mut self, id: Uuid, entry: &Entry) -> Result<Table, Vec<Wrong>> {
        let read: TableBody = read(entry)?;
        let owner = tidings_domain::schema::Owner::parse(&read.owner)
            .ok_or_else(|| wrong("owner", "expected customer or none"))?;
        let before = self.now.tables.iter().find(|one| one.id == id);
        let before = before.map_or(&[][..], |table| &table.value.fields);
        let mut fields: Vec<Item<Attribute>> = Vec::new();
        for (at, field) in read.fields.iter().enumerate() {
            let path = |name: &str| format!("fields[{at}].{name}");
            let inside = |one: Wrong| Wrong { path: path(&one.path), message: one.message };
            let kind = AttributeBody {
                kind: field.kind.clone(),
                scale: field.scale,
                currency: field.currency.clone(),
            };
            let value = attribute(&field.name, &kind)
                .map_err(|all| all.into_iter().map(inside).collect::<Vec<_>>())?;
            let claimed = |id: Uuid| read.fields.iter().any(|one| one.id == Some(id));
            let of_name =
                before.iter().find(|one| one.value.name == field.name && !claimed(one.id));
            let id = field
                .id
                .or(of_name.map(|one| one.id))
                .unwrap_or_else(|| derived(self.workspace, &format!("field of {id}"), &field.name));
            if fields.iter().any(|one| one.id == id) {
                return Err(wrong(&path("id"), "another field has this id"));
            }
            if fields.iter().any(|one| one.value.name == value.name) {
                return Err(wrong(&path("name"), "another field has this name"));
            }
            let known = number_of(before, id);
            let number = self.numbered(Kind::Attribute, id, field.number, known);
            fields.push(Item { id, number, value });
        }
        // The order of fields is that of their numbers, wherever they stand in the file.
        fields.sort_by_key(|field| field.number);
        Ok(Table { name: named(&entry.name)?, owner, fields })
    }

    fn image(&mut self, id: Uuid, entry: &Entry) -> Result<Image, Vec<Wrong>> {
        let read: ImageBody = read(entry)?;
        let Some((end, Some(bytes))) = &entry.picture else {
            return Err(wrong("", "its picture is missing, NAME.png, .jpg, .gif or .webp"));
        };
        let found = images::checked(&entry.name, bytes).map_err(faults)?;
        if found.kind != end {
            return Err(wrong("", format!("its file ends in {end} and holds {}", found.kind)));
        }
        if read.address.as_ref().is_some_and(|address| !images::is_secret(address)) {
            return Err(wrong("address", "expected letters, digits, - and _ alone"));
        }
        let before = self.now.images.iter().find(|one| one.id == id);
        let secret = read.address.or_else(|| before.map(|one| one.value.secret.clone()));
        self.target.pictures.insert(id, Arc::clone(bytes));
        Ok(Image {
            name: entry.name.clone(),
            secret: secret.unwrap_or_else(images::fresh_secret),
            kind: found.kind.to_owned(),
            size_bytes: bytes.len() as i64,
        })
    }

    fn campaign(&self, entry: &Entry) -> Result<Campaign, Vec<Wrong>> {
        let read: CampaignBody = read(entry)?;
        let all = &self.target.definitions;
        let template = all.templates.iter().find(|one| one.value.name == read.template);
        let template = template
            .ok_or_else(|| wrong("template", format!("no template is named {}", read.template)))?;
        let segment = match &read.segment {
            None => None,
            Some(name) => {
                let found = all.segments.iter().find(|one| one.value.name == *name);
                Some(found.ok_or_else(|| wrong("segment", format!("no segment is named {name}")))?)
            }
        };
        let parameters = read.link_parameters.into_iter();
        let plan = match read.plan {
            None => Plan::default(),
            Some(plan) => self.planned(plan)?,
        };
        let draft = CampaignDraft {
            name: entry.name.clone(),
            segment: segment.map(|one| SegmentId(one.id)),
            template: TemplateId(template.id),
            sender: Sender {
                name: read.sender.name,
                address: read.sender.address,
                reply_to: read.sender.reply_to,
            },
            class: read.class,
            topic: read.topic,
            scheduled_at: read.send_at,
            link_parameters: parameters.map(|one| (one.name, one.value)).collect(),
            plan,
        };
        let state = if read.launch { CampaignState::Scheduled } else { CampaignState::Draft };
        Ok(Campaign {
            draft: crate::campaigns::checked_parts(draft).map_err(faults)?,
            state,
            template: template.number,
            segment: segment.map(|one| one.number),
        })
    }
}

impl Building<'_> {
    /// A plan whose variants name their templates.
    fn planned(&self, mut plan: Json) -> Result<Plan, Vec<Wrong>> {
        let variants = plan.pointer_mut("/test/variants").and_then(Json::as_array_mut);
        for (at, variant) in variants.into_iter().flatten().enumerate() {
            let path = |field: &str| format!("plan.test.variants[{at}].{field}");
            if variant.get("template_version").is_some() {
                let text = "versions are counted anew in every workspace; the newest is sent";
                return Err(wrong(&path("template_version"), text));
            }
            let Some(name) = variant.get("template").and_then(Json::as_str) else { continue };
            let templates = &self.target.definitions.templates;
            let found = templates.iter().find(|one| one.value.name == name);
            let unknown = || wrong(&path("template"), format!("no template is named {name}"));
            let id = found.ok_or_else(unknown)?.id;
            variant["template"] = serde_json::json!(id);
        }
        serde_path_to_error::deserialize(plan).map_err(|error| {
            let path = format!("plan.{}", error.path());
            wrong(&path, error.into_inner().to_string())
        })
    }
}

fn sending(entry: &Entry) -> Result<String, Vec<Wrong>> {
    let read: SendingBody = read(entry)?;
    let rules = SendingRules {
        global_holdout: read.global_holdout,
        bounces: BounceLimit { share: read.bounces.share, from_mails: read.bounces.from_mails },
        alerts: AlertMail { to: read.alerts.to, from: read.alerts.from },
    };
    let rules = crate::sending_rules::checked(rules).map_err(faults)?;
    serde_json::to_string(&rules).map_err(|error| wrong("", error.to_string()))
}

fn retention(entry: &Entry) -> Result<Retention, Vec<Wrong>> {
    let periods: Retention = read(entry)?;
    periods.check().map_err(|(field, text)| wrong(field, text))?;
    Ok(periods)
}

pub(super) fn number_of<T>(all: &[Item<T>], id: Uuid) -> Option<i32> {
    all.iter().find(|one| one.id == id).map(|one| one.number)
}

fn attribute(name: &str, kind: &AttributeBody) -> Result<Attribute, Vec<Wrong>> {
    checked_attribute_name(name).map_err(|text| wrong("name", text))?;
    let kind = kind.kind().map_err(|text| wrong("kind", text))?;
    Ok(Attribute { name: name.to_owned(), kind })
}

fn segment(entry: &Entry) -> Result<Segment, Vec<Wrong>> {
    let read: SegmentBody = read(entry)?;
    let rule = match (read.rule, read.rule_json) {
        (Some(rule), None) => rule,
        (None, Some(text)) => serde_json::from_str(&text)
            .map_err(|error| wrong("rule_json", format!("expected JSON: {error}")))?,
        _ => return Err(wrong("rule", "expected a rule, or rule_json and no other")),
    };
    Ok(Segment { name: named(&entry.name)?, rule })
}

fn topic(entry: &Entry) -> Result<Topic, Vec<Wrong>> {
    let read: TopicBody = read(entry)?;
    crate::topics::check_description(&read.description).map_err(faults)?;
    crate::topics::check_texts(&read.texts).map_err(faults)?;
    Ok(Topic {
        channel: read.channel,
        name: named(&entry.name)?,
        description: read.description,
        texts: read.texts,
        archived: read.archived,
    })
}

fn pages(entry: &Entry) -> Result<String, Vec<Wrong>> {
    if let Some(key) =
        entry.fields.keys().find(|key| !["default_language", "texts"].contains(&key.as_str()))
    {
        return Err(wrong(key, "unknown field"));
    }
    let settings: PageSettings = read(entry)?;
    crate::pages::check(&settings).map_err(faults)?;
    serde_json::to_string(&settings).map_err(|error| wrong("", error.to_string()))
}
