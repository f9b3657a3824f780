//! What no apply does, whatever files say: things that never change, things that are in use, and
//! campaigns that are on their way.

use std::collections::HashMap;

use serde_json::Value as Json;
use tidings_domain::CampaignId;
use tidings_domain::campaign::CampaignState;
use tidings_store::definitions::{Campaign, Item};
use uuid::Uuid;

use super::compare::Difference;
use super::entry::{Entry, Kind};
use super::export;
use super::plan::{Action, Change, Launch, Plan, Problem, Sides};
use crate::{Ctx, Result, templates};

/// Notes everything that is refused, and which campaigns are to be launched.
pub(super) async fn refuse(
    ctx: &Ctx,
    sides: &Sides,
    history: Vec<Item<Campaign>>,
    plan: &mut Plan,
) -> Result<()> {
    let in_use = InUse::load(ctx, sides).await?;
    let mut found = Vec::new();
    for change in &plan.changes {
        let why = match change.action {
            Action::Create => None,
            Action::Drop => in_use.keeps(sides, change),
            Action::Change | Action::Rename => stays(sides, change),
        };
        found.extend(why.map(|(field, text)| placed(sides, change, field, text)));
    }
    pictures(ctx, sides, &mut found).await?;
    for item in &history {
        gone_out(sides, item, &mut found);
    }
    launches(ctx, sides, plan);
    plan.problems.extend(found);
    Ok(())
}

fn placed(sides: &Sides, change: &Change, field: &str, text: String) -> Problem {
    match sides.target.places.get(&(change.kind, change.id)) {
        Some(place) => Problem::new(&place.file, place.line(field), text),
        None => Problem::new(&format!("{} {}", change.kind.name(), change.name), None, text),
    }
}

/// Which field of a changed thing never changes, and what to do instead.
fn stays(sides: &Sides, change: &Change) -> Option<(&'static str, String)> {
    let differs = |wanted: &str| {
        change.differences.iter().any(|one| match one {
            Difference::Field { path, .. } => path == wanted,
            Difference::Text { .. } => false,
        })
    };
    let old_name = change.old_name.as_deref().unwrap_or_default();
    match change.kind {
        Kind::Block if change.action == Action::Rename => {
            let text = format!("templates call it {old_name}; make a block with a new id instead");
            Some(("name", text))
        }
        Kind::Topic if change.action == Action::Rename || differs("channel") => {
            let text = "what customers agreed to carries its name and channel, so they stay; \
                        archive it and make a topic with a new id";
            Some(("name", text.to_owned()))
        }
        Kind::Table if differs("owner") => {
            Some(("owner", "a table's owner stays; make a table with a new id".to_owned()))
        }
        Kind::Image if differs("address") => {
            let text = "mails that went out show it at its address, which stays";
            Some(("address", text.to_owned()))
        }
        Kind::Campaign if is_scheduled(sides, change.id) => {
            let text = "it is scheduled and stays as it was reviewed; cancel it first";
            Some(("name", text.to_owned()))
        }
        _ => None,
    }
}

fn is_scheduled(sides: &Sides, id: Uuid) -> bool {
    let found = sides.now.campaigns.iter().find(|one| one.id == id);
    found.is_some_and(|one| one.value.state == CampaignState::Scheduled)
}

/// What still needs things that files leave out.
struct InUse {
    /// Texts of older versions that a campaign goes on to send, by the template's name.
    pinned: Vec<(String, String)>,
}

impl InUse {
    async fn load(ctx: &Ctx, sides: &Sides) -> Result<InUse> {
        let mut pinned = Vec::new();
        for template in ctx.workspace.pinned_templates().await? {
            for text in templates::texts(&template) {
                pinned.push((template.name.clone(), text.to_owned()));
            }
        }
        // A campaign may send the newest version of a template that files change.
        let is_moving = |state| {
            use CampaignState::{Paused, Preparing, Scheduled, Sending};
            matches!(state, Scheduled | Preparing | Sending | Paused)
        };
        for campaign in sides.standing.launched.iter().chain(&sides.now.campaigns) {
            let number = campaign.value.template;
            let template = sides.now.templates.iter().find(|one| one.number == number);
            let Some(template) = template.filter(|_| is_moving(campaign.value.state)) else {
                continue;
            };
            let draft = &template.value;
            let variants = draft.variants.iter().flat_map(|one| [&one.html, &one.text]);
            for text in [&draft.subject, &draft.html, &draft.text].into_iter().chain(variants) {
                pinned.push((draft.name.clone(), text.clone()));
            }
        }
        Ok(InUse { pinned })
    }

    /// Why a thing is not dropped.
    fn keeps(&self, sides: &Sides, change: &Change) -> Option<(&'static str, String)> {
        let launched = |uses: &dyn Fn(&Campaign) -> bool| {
            let found = sides.standing.launched.iter().find(|one| uses(&one.value));
            found.map(|one| one.value.draft.name.clone())
        };
        let text = match change.kind {
            Kind::Topic | Kind::Form => {
                "what customers said keeps it; put its file back with archived = true".to_owned()
            }
            Kind::Template => {
                let old = sides.now.templates.iter().find(|one| one.id == change.id)?;
                let user = launched(&|one| one.template == old.number)?;
                format!("the campaign {user} was sent with it, so it stays")
            }
            Kind::Segment => {
                let old = sides.now.segments.iter().find(|one| one.id == change.id)?;
                let is_open =
                    |state| !matches!(state, CampaignState::Done | CampaignState::Cancelled);
                let user = launched(&|one| one.segment == Some(old.number) && is_open(one.state))?;
                format!("the campaign {user} is being sent to it")
            }
            Kind::Block => {
                let parsed = |text: &str| tidings_liquid::Template::parse(text);
                let includes = |text: &str| {
                    text.contains(&change.name)
                        && parsed(text).is_ok_and(|text| {
                            text.includes().iter().any(|one| one.name == change.name)
                        })
                };
                let (user, _) = self.pinned.iter().find(|(_, text)| includes(text))?;
                format!("a campaign is being sent whose template {user} includes it")
            }
            Kind::Image => {
                let old = sides.now.images.iter().find(|one| one.id == change.id)?;
                let pinned = self.pinned.iter().map(|(name, text)| (name.as_str(), text.as_str()));
                let wanted = sides.wanted.iter().flat_map(|one| {
                    one.texts.values().map(|text| (one.name.as_str(), text.as_str()))
                });
                let shows = |text: &str| text.contains(&old.value.secret);
                let (user, _) = pinned.chain(wanted).find(|(_, text)| shows(text))?;
                format!("{user} shows this picture")
            }
            Kind::Campaign if is_scheduled(sides, change.id) => {
                "it is scheduled; cancel it first".to_owned()
            }
            _ => return None,
        };
        Some(("", text))
    }
}

/// A picture's bytes stay, since readers of mails keep them for long.
async fn pictures(ctx: &Ctx, sides: &Sides, found: &mut Vec<Problem>) -> Result<()> {
    for item in &sides.target.definitions.images {
        let Some(old) = sides.now.images.iter().find(|one| one.id == item.id) else { continue };
        let bytes = sides.target.pictures.get(&item.id);
        let same_size = old.value.size_bytes == item.value.size_bytes;
        let kept = ctx.workspace.picture(&old.value.secret).await?;
        if !same_size || old.value.kind != item.value.kind || bytes.is_none_or(|b| **b != kept) {
            let file = sides.file(Kind::Image, item.id);
            let text = "a picture never changes; put the new one beside it with a new id";
            found.push(Problem::new(&file, None, text));
        }
    }
    Ok(())
}

/// A campaign that has begun or ended is history: its file may stand, and may say nothing else.
fn gone_out(sides: &Sides, wanted: &Item<Campaign>, found: &mut Vec<Problem>) {
    let Some(item) = sides.standing.launched.iter().find(|one| one.id == wanted.id) else { return };
    let plain = |entry: Entry| {
        let mut fields = entry.fields;
        fields.retain(|key, _| !["launch", "send_at"].contains(&key.as_str()));
        (entry.name, Json::Object(fields))
    };
    let is_same = plain(export::campaign(&sides.now, item))
        == plain(export::campaign(&sides.target.definitions, wanted));
    if !is_same {
        let state = item.value.state.name();
        let text = format!(
            "the campaign is {state}, and what was sent does not change; remove its file, or give a new id"
        );
        found.push(Problem::new(&sides.file(Kind::Campaign, wanted.id), None, text));
    }
}

fn launches(ctx: &Ctx, sides: &Sides, plan: &mut Plan) {
    let states: HashMap<Uuid, CampaignState> =
        sides.now.campaigns.iter().map(|one| (one.id, one.value.state)).collect();
    for item in &sides.target.definitions.campaigns {
        let is_scheduled = states.get(&item.id) == Some(&CampaignState::Scheduled);
        let asks = item.value.state == CampaignState::Scheduled;
        let file = sides.file(Kind::Campaign, item.id);
        if is_scheduled && !asks {
            let text = "it is scheduled here; cancel it first, or write launch = true";
            plan.problems.push(Problem::new(&file, None, text));
        }
        if is_scheduled || !asks {
            continue;
        }
        let at = item.value.draft.scheduled_at;
        if at.is_some_and(|at| at < ctx.now()) {
            let place = sides.target.places.get(&(Kind::Campaign, item.id));
            let line = place.and_then(|place| place.line("send_at"));
            plan.notes.push(Problem::new(&file, line, "its time has passed; it is not launched"));
            continue;
        }
        let (id, name) = (CampaignId(item.id), item.value.draft.name.clone());
        plan.launches.push(Launch { id, name, file, at });
    }
}
