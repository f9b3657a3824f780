//! Definitions as things with fields: the one form of each, whatever it was made from.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use tidings_domain::campaign::CampaignState;
use tidings_domain::retention::Retention;
use tidings_store::campaigns::CampaignDraft;
use tidings_store::definitions::{
    Campaign, Definitions, Form, Item, Segment, Sender, Table, Topic,
};
use tidings_store::senders::RecipientLimit;
use tidings_store::templates::TemplateDraft;
use uuid::{Builder, Uuid};

use super::bodies::{
    AlertsBody, AttributeBody, BouncesBody, CampaignBody, FieldBody, FormBody, ImageBody,
    LimitBody, LimitsBody, Nothing, ParameterBody, RelayBody, SegmentBody, SenderBody,
    SenderDomainBody, SendingBody, TableBody, TemplateBody, TopicBody, VariantBody, fields,
};
use super::entry::{Entry, Kind};
use super::toml;
use crate::forms::Definition;
use crate::pages::PageSettings;
use crate::sending_rules::SendingRules;
use crate::{Error, Result};

/// Bytes of pictures by the pictures' ids.
pub type Pictures = HashMap<Uuid, Arc<Vec<u8>>>;

fn entry<T>(kind: Kind, item: &Item<T>, name: &str, fields: Map<String, Json>) -> Entry {
    Entry::new(kind, item.id, item.number, name, fields)
}

/// All things, each kind in the order of its numbers. Pictures that were not read have no bytes.
pub fn entries(all: &Definitions, pictures: &Pictures) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for item in &all.attributes {
        let fields = fields(&AttributeBody::new(&item.value.kind));
        found.push(entry(Kind::Attribute, item, &item.value.name, fields));
    }
    for item in &all.tables {
        found.push(entry(Kind::Table, item, &item.value.name, fields(&table(&item.value))));
    }
    for item in &all.groups {
        found.push(entry(Kind::Group, item, &item.value, fields(&Nothing {})));
    }
    for item in &all.segments {
        found.push(entry(Kind::Segment, item, &item.value.name, fields(&segment(&item.value))));
    }
    for item in &all.blocks {
        let mut one = entry(Kind::Block, item, &item.value.name, fields(&Nothing {}));
        one.texts.insert("liquid".to_owned(), item.value.body.clone());
        found.push(one);
    }
    for item in &all.images {
        let body = ImageBody { address: Some(item.value.secret.clone()) };
        let mut one = entry(Kind::Image, item, &item.value.name, fields(&body));
        one.picture = Some((item.value.kind.clone(), pictures.get(&item.id).cloned()));
        found.push(one);
    }
    found.extend(all.templates.iter().map(template));
    for item in &all.topics {
        found.push(entry(Kind::Topic, item, &item.value.name, fields(&topic(&item.value))));
    }
    for item in &all.forms {
        found.push(entry(Kind::Form, item, &item.value.name, fields(&form(&item.value)?)));
    }
    for item in &all.campaigns {
        found.push(campaign(all, item));
    }
    for item in &all.relays {
        let one = &item.value;
        let body = RelayBody {
            url: one.url.clone(),
            username: one.username.clone(),
            per_second: one.per_second,
            open_max: one.open_max,
            weight: one.weight,
            enabled: one.enabled,
        };
        found.push(entry(Kind::Relay, item, &one.name, fields(&body)));
    }
    found.extend(all.senders.iter().map(|one| sender(all, one)));
    found.extend(limits(&all.limits));
    found.extend(sending(all.sending.as_deref())?);
    found.extend(pages(all.pages.as_deref())?);
    found.extend(retention(&all.retention));
    Ok(found)
}

fn table(table: &Table) -> TableBody {
    let field = |item: &Item<tidings_store::definitions::Attribute>| {
        let AttributeBody { kind, scale, currency } = AttributeBody::new(&item.value.kind);
        let name = item.value.name.clone();
        FieldBody { id: Some(item.id), number: Some(item.number), name, kind, scale, currency }
    };
    TableBody {
        owner: table.owner.name().to_owned(),
        fields: table.fields.iter().map(field).collect(),
    }
}

fn segment(segment: &Segment) -> SegmentBody {
    if toml::can_hold(&segment.rule) {
        SegmentBody { rule: Some(segment.rule.clone()), rule_json: None }
    } else {
        SegmentBody { rule: None, rule_json: Some(segment.rule.to_string()) }
    }
}

fn template(item: &Item<TemplateDraft>) -> Entry {
    let draft = &item.value;
    let variants = draft
        .variants
        .iter()
        .map(|one| VariantBody { language: one.language.clone(), subject: one.subject.clone() });
    let body = TemplateBody { subject: draft.subject.clone(), variants: variants.collect() };
    let mut one = entry(Kind::Template, item, &draft.name, fields(&body));
    let format = draft.format.name();
    one.texts.insert(format!("body.{format}"), draft.html.clone());
    if !draft.text.is_empty() {
        one.texts.insert("plain.txt".to_owned(), draft.text.clone());
    }
    for variant in &draft.variants {
        let language = &variant.language;
        one.texts.insert(format!("body.{language}.{format}"), variant.html.clone());
        if !variant.text.is_empty() {
            one.texts.insert(format!("plain.{language}.txt"), variant.text.clone());
        }
    }
    one
}

fn topic(topic: &Topic) -> TopicBody {
    TopicBody {
        channel: topic.channel,
        description: topic.description.clone(),
        archived: topic.archived,
        texts: topic.texts.clone(),
    }
}

fn form(form: &Form) -> Result<FormBody> {
    let read: Definition = serde_json::from_str(&form.definition)
        .map_err(|error| Error::Internal(format!("read the form {}: {error}", form.name)))?;
    let Definition { title, intro, language, fields, topics, sender, redirect_url } = read;
    let archived = form.archived;
    Ok(FormBody { title, intro, language, fields, topics, sender, redirect_url, archived })
}

/// A campaign that is or was launched asks to be.
pub fn campaign(all: &Definitions, item: &Item<Campaign>) -> Entry {
    let draft = &item.value.draft;
    let template = all.templates.iter().find(|one| one.id == draft.template.0);
    let segment = |id| all.segments.iter().find(|one| one.id == id);
    let parameters = draft.link_parameters.iter();
    let parameters = parameters
        .map(|(name, value)| ParameterBody { name: name.clone(), value: value.clone() })
        .collect();
    let body = CampaignBody {
        segment: draft.segment.and_then(|id| segment(id.0)).map(|one| one.value.name.clone()),
        template: template.map(|one| one.value.name.clone()).unwrap_or_default(),
        class: draft.class,
        topic: draft.topic.clone(),
        send_at: draft.scheduled_at,
        launch: item.value.state != CampaignState::Draft,
        sender: SenderBody {
            name: draft.sender.name.clone(),
            address: draft.sender.address.clone(),
            reply_to: draft.sender.reply_to.clone(),
        },
        link_parameters: parameters,
        plan: planned(all, draft),
    };
    entry(Kind::Campaign, item, &draft.name, fields(&body))
}

/// The id that a sender's domain has everywhere.
pub fn sender_id(domain: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(format!("sender {domain}"))[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn sender(all: &Definitions, sender: &Sender) -> Entry {
    let relay = sender.relay.and_then(|id| all.relays.iter().find(|one| one.id == id));
    let body = SenderDomainBody {
        relay: relay.map(|one| one.value.name.clone()),
        tracking_url: sender.tracking_url.clone(),
        dkim: sender.keys.clone(),
    };
    Entry::new(Kind::Sender, sender_id(&sender.domain), 0, &sender.domain, fields(&body))
}

fn limits(limits: &[RecipientLimit]) -> Option<Entry> {
    let limits = limits.iter();
    let limits: Vec<LimitBody> = limits
        .map(|one| LimitBody { domain: one.domain.clone(), open_max: one.open_max })
        .collect();
    let is_none = limits.is_empty();
    let fields = fields(&LimitsBody { limits });
    (!is_none).then(|| Entry::new(Kind::Limits, Uuid::nil(), 0, "", fields))
}

/// A campaign's plan, where it has one. Variants name their templates, and go by the newest version,
/// as versions are counted anew in every workspace.
fn planned(all: &Definitions, draft: &CampaignDraft) -> Option<Json> {
    if draft.plan.is_plain() {
        return None;
    }
    let mut plan = draft.plan.clone();
    let variants = plan.test.iter_mut().flat_map(|test| test.variants.iter_mut());
    let mut templates = Vec::new();
    for variant in variants {
        variant.template_version = None;
        // A launch writes down the campaign's own, too.
        let other = variant.template.take().filter(|one| *one != draft.template);
        let found = other.and_then(|id| all.templates.iter().find(|one| one.id == id.0));
        templates.push(found.map(|one| one.value.name.clone()));
    }
    let mut plan = serde_json::to_value(plan).unwrap_or_default();
    for (at, name) in templates.into_iter().enumerate() {
        let variant = plan.pointer_mut(&format!("/test/variants/{at}"));
        if let (Some(Json::Object(fields)), Some(name)) = (variant, name) {
            fields.insert("template".to_owned(), Json::from(name));
        }
    }
    Some(plan)
}

/// The rules of sending, where they are not those that every workspace begins with.
fn sending(json: Option<&str>) -> Result<Option<Entry>> {
    let Some(json) = json else { return Ok(None) };
    let rules: SendingRules = serde_json::from_str(json)
        .map_err(|error| Error::Internal(format!("read the rules of sending: {error}")))?;
    if rules == SendingRules::default() {
        return Ok(None);
    }
    let body = SendingBody {
        global_holdout: rules.global_holdout,
        bounces: BouncesBody { share: rules.bounces.share, from_mails: rules.bounces.from_mails },
        alerts: AlertsBody { to: rules.alerts.to, from: rules.alerts.from },
    };
    Ok(Some(Entry::new(Kind::Sending, Uuid::nil(), 0, "", fields(&body))))
}

/// The words of pages, where they are not those that every workspace begins with.
fn pages(json: Option<&str>) -> Result<Option<Entry>> {
    let Some(json) = json else { return Ok(None) };
    let settings: PageSettings = serde_json::from_str(json)
        .map_err(|error| Error::Internal(format!("read the words of pages: {error}")))?;
    if settings == PageSettings::default() {
        return Ok(None);
    }
    Ok(Some(Entry::new(Kind::Pages, Uuid::nil(), 0, "", fields(&settings))))
}

/// For how long what is kept, where something goes at all.
fn retention(periods: &Retention) -> Option<Entry> {
    let mut fields = fields(periods);
    fields.retain(|_, days| !days.is_null());
    (!fields.is_empty()).then(|| Entry::new(Kind::Retention, Uuid::nil(), 0, "", fields))
}
