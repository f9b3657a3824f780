//! The preference page: what someone who holds a signed link gets by e-mail, and their choice.

use std::sync::Arc;

use tidings_domain::CustomerId;
use tidings_domain::change::{Change, CustomerRef, Outcome};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};

use crate::pages::{self, Words};
use crate::tracking::{self, Visitor};
use crate::{Ctx, Error, Hub, Result, changes, topics};

/// One thing that can be ticked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The topic's name; empty for the whole channel, where a workspace has no topics.
    pub name: String,
    pub title: String,
    pub text: String,
    /// The version of the text that is shown.
    pub version: Option<i32>,
    pub is_chosen: bool,
}

/// What the page shows.
pub struct Page {
    pub words: Words,
    pub choices: Vec<Choice>,
}

/// What someone sends back. Only what the page showed is changed.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What was on the page: a name and the version of the text that was read.
    pub shown: Vec<(String, Option<i32>)>,
    pub chosen: Vec<String>,
}

/// What can be chosen, as it stands now.
pub async fn page(hub: &Arc<Hub>, token: &str, accept: Option<&str>) -> Result<Page> {
    let (ctx, customer) = tracking::link_holder(hub, token).await?;
    let words = pages::words(&ctx, accept).await?;
    let choices = choices(&ctx, customer, &words).await?;
    Ok(Page { words, choices })
}

async fn choices(ctx: &Ctx, customer: CustomerId, words: &Words) -> Result<Vec<Choice>> {
    let states = ctx.workspace.consent_states(customer, Channel::Email).await?;
    let mut choices = Vec::new();
    for topic in topics::offered(ctx).await? {
        let languages = [words.language.as_str(), words.default_language.as_str()];
        let text = topics::text_in(&topic, languages);
        choices.push(Choice {
            is_chosen: states.allow(&topic.name),
            title: text.map_or_else(|| topic.name.clone(), |text| text.title.clone()),
            text: text.map(|text| text.text.clone()).unwrap_or_default(),
            version: Some(topic.version),
            name: topic.name,
        });
    }
    if choices.is_empty() {
        choices.push(Choice {
            name: String::new(),
            title: words.get("everything"),
            text: String::new(),
            version: None,
            is_chosen: states.allow(""),
        });
    }
    Ok(choices)
}

/// Writes down what someone chose, all of it in one transaction.
pub async fn save(hub: &Arc<Hub>, token: &str, answer: Answer, visitor: &Visitor) -> Result<()> {
    let (ctx, customer) = tracking::link_holder(hub, token).await?;
    let offered = topics::offered(&ctx).await?;
    let known = |name: &str| match name {
        "" => offered.is_empty(),
        name => offered.iter().any(|topic| topic.name == name),
    };
    let mut changes = Vec::new();
    for (name, text_version) in answer.shown {
        if !known(&name) {
            continue;
        }
        let is_chosen = answer.chosen.contains(&name);
        let state = if is_chosen { ConsentState::Granted } else { ConsentState::Withdrawn };
        changes.push(Change::ChangeConsent {
            customer: CustomerRef::Id(customer),
            channel: Channel::Email,
            topic: name,
            state,
            source: "preference page".to_owned(),
            proof: Proof { text_version, ..visitor.proof(Via::PreferencePage) },
        });
    }
    for outcome in changes::apply(&ctx, changes).await? {
        if let Outcome::Refused(refusal) = outcome {
            return Err(Error::NotFound(refusal.message));
        }
    }
    Ok(())
}
