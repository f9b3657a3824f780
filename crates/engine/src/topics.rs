//! Topics: what a channel is used for, and the text that people are shown.

use tidings_domain::TopicId;
use tidings_domain::consent::Channel;
use tidings_domain::schema::checked_name;
pub use tidings_store::topics::{Topic, TopicChange, TopicText, TopicTexts, TopicVersion};

use crate::pages::checked_language;
use crate::{Ctx, Error, Fault, Result};

pub(crate) const MAX_TOPICS: usize = 200;

/// Makes a topic.
pub async fn create(
    ctx: &Ctx,
    channel: Channel,
    name: &str,
    description: &str,
    texts: &TopicTexts,
) -> Result<Topic> {
    checked_name(name).map_err(|text| Error::invalid("name", text))?;
    check_description(description)?;
    check_texts(texts)?;
    if ctx.workspace.topics().await?.len() >= MAX_TOPICS {
        return Err(Error::Conflict(format!("a workspace has at most {MAX_TOPICS} topics")));
    }
    Ok(ctx.workspace.add_topic(channel, name, description, texts, ctx.now()).await?)
}

/// Changes a topic; other texts are a new version of it.
pub async fn change(ctx: &Ctx, id: TopicId, change: TopicChange) -> Result<Topic> {
    if let Some(description) = &change.description {
        check_description(description)?;
    }
    if let Some(texts) = &change.texts {
        check_texts(texts)?;
    }
    Ok(ctx.workspace.change_topic(id, change, ctx.now()).await?)
}

/// Every topic, oldest first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Topic>> {
    Ok(ctx.workspace.topics().await?)
}

/// The texts of a topic, newest first.
pub async fn versions(ctx: &Ctx, id: TopicId) -> Result<Vec<TopicVersion>> {
    let versions = ctx.workspace.topic_versions(id).await?;
    if versions.is_empty() {
        return Err(Error::NotFound("the topic".to_owned()));
    }
    Ok(versions)
}

/// The topics of e-mail that are offered now.
pub(crate) async fn offered(ctx: &Ctx) -> Result<Vec<Topic>> {
    let mut topics = ctx.workspace.topics().await?;
    topics.retain(|topic| topic.channel == Channel::Email && topic.archived_at.is_none());
    Ok(topics)
}

/// The text in a language, else in the workspace's own, else in any.
pub(crate) fn text_in<'t>(topic: &'t Topic, languages: [&str; 2]) -> Option<&'t TopicText> {
    let found = languages.iter().find_map(|language| topic.texts.get(*language));
    found.or_else(|| topic.texts.values().next())
}

pub(crate) fn check_description(description: &str) -> Result<()> {
    if description.chars().count() > 500 || description.contains('\0') {
        return Err(Error::invalid("description", "expected at most 500 characters"));
    }
    Ok(())
}

pub(crate) fn check_texts(texts: &TopicTexts) -> Result<()> {
    if texts.is_empty() || texts.len() > 40 {
        let message = "expected the text in 1 to 40 languages, such as {\"en\": {…}}";
        return Err(Error::Invalid(vec![Fault::new("texts", "required", message)]));
    }
    for (language, text) in texts {
        checked_language(language)
            .map_err(|message| Error::invalid(format!("texts.{language}"), message))?;
        let title = text.title.trim();
        if title.is_empty() || title.chars().count() > 120 || title.chars().any(char::is_control) {
            let path = format!("texts.{language}.title");
            return Err(Error::invalid(path, "expected 1 to 120 characters in one line"));
        }
        if text.text.chars().count() > 2_000 || text.text.contains('\0') {
            let path = format!("texts.{language}.text");
            return Err(Error::invalid(path, "expected at most 2000 characters"));
        }
    }
    Ok(())
}
