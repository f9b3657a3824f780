//! The words of the pages and mails that customers meet: built in for some languages, and changed
//! or added to by each workspace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_store::own_texts::OwnText;

use crate::{Ctx, Error, Result};

mod words;

pub use words::KEYS;

/// What a workspace says for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageSettings {
    /// For people whose own language has no words here.
    pub default_language: String,
    /// By language, then by key; what is missing is built in.
    pub texts: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for PageSettings {
    fn default() -> PageSettings {
        PageSettings { default_language: "en".to_owned(), texts: BTreeMap::new() }
    }
}

/// The words of one language.
#[derive(Clone, Debug)]
pub struct Words {
    pub language: String,
    pub default_language: String,
    own: BTreeMap<String, String>,
    workspace: String,
}

impl Words {
    /// The words of English for a workspace without a name, where nobody is known.
    pub fn plain() -> Words {
        Words {
            language: "en".to_owned(),
            default_language: "en".to_owned(),
            own: BTreeMap::new(),
            workspace: String::new(),
        }
    }

    /// A text with `{workspace}` filled in.
    pub fn get(&self, key: &str) -> String {
        let text = match self.own.get(key) {
            Some(text) => text.as_str(),
            None => words::built_in(&self.language, key),
        };
        text.replace("{workspace}", &self.workspace)
    }
}

/// A language tag such as `nl` or `pt-br`, in lower case.
pub fn checked_language(tag: &str) -> Result<(), String> {
    let part = |part: &str| {
        (1..=8).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let begins = tag.split('-').next().is_some_and(|first| (2..=3).contains(&first.len()));
    if begins && tag.len() <= 20 && tag.split('-').all(part) {
        Ok(())
    } else {
        Err("expected a language in lower case, such as nl or pt-br".to_owned())
    }
}

/// What a workspace says for itself, as it was saved.
pub async fn settings(ctx: &Ctx) -> Result<PageSettings> {
    match ctx.workspace.own_text(OwnText::PublicPages).await? {
        Some(json) => serde_json::from_str(&json)
            .map_err(|error| Error::Internal(format!("read the words of pages: {error}"))),
        None => Ok(PageSettings::default()),
    }
}

/// Saves what a workspace says for itself.
pub async fn save(ctx: &Ctx, settings: PageSettings) -> Result<PageSettings> {
    check(&settings)?;
    let json =
        serde_json::to_string(&settings).map_err(|error| Error::Internal(error.to_string()))?;
    ctx.workspace.put_own_text(OwnText::PublicPages, json).await?;
    Ok(settings)
}

pub(crate) fn check(settings: &PageSettings) -> Result<()> {
    checked_language(&settings.default_language)
        .map_err(|text| Error::invalid("default_language", text))?;
    if settings.texts.len() > 40 {
        return Err(Error::invalid("texts", "expected at most 40 languages"));
    }
    for (language, texts) in &settings.texts {
        checked_language(language)
            .map_err(|text| Error::invalid(format!("texts.{language}"), text))?;
        for (key, text) in texts {
            let path = format!("texts.{language}.{key}");
            if !KEYS.contains(&key.as_str()) {
                return Err(Error::invalid(path, format!("expected one of {}", KEYS.join(", "))));
            }
            if text.chars().count() > 2_000 || text.contains('\0') {
                return Err(Error::invalid(path, "expected at most 2000 characters"));
            }
        }
    }
    Ok(())
}

/// The words as they stand for every language that has any, with the workspace's own.
pub fn all(settings: &PageSettings) -> BTreeMap<String, BTreeMap<&'static str, String>> {
    let own = settings.texts.keys().map(String::as_str);
    let languages = words::LANGUAGES.iter().copied().chain(own);
    languages
        .map(|language| {
            let words = chosen(settings, language, "{workspace}");
            (language.to_owned(), KEYS.iter().map(|key| (*key, words.get(key))).collect())
        })
        .collect()
}

/// The words for a reader: in the first language of `accept`, an `Accept-Language` header or a
/// single tag, that there are words in.
pub async fn words(ctx: &Ctx, accept: Option<&str>) -> Result<Words> {
    let settings = settings(ctx).await?;
    let language = accepted(accept.unwrap_or_default(), &settings);
    Ok(chosen(&settings, &language, &ctx.workspace.row.name))
}

fn chosen(settings: &PageSettings, language: &str, workspace: &str) -> Words {
    Words {
        language: language.to_owned(),
        default_language: settings.default_language.clone(),
        own: settings.texts.get(language).cloned().unwrap_or_default(),
        workspace: workspace.to_owned(),
    }
}

fn accepted(accept: &str, settings: &PageSettings) -> String {
    let mut wanted: Vec<(u32, String)> = Vec::new();
    for item in accept.split(',').take(20) {
        let mut parts = item.split(';');
        let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.trim().strip_prefix("q="));
        let quality = quality.map_or(Some(1.0), |text| text.parse::<f64>().ok()).unwrap_or(0.0);
        if !tag.is_empty() && quality > 0.0 {
            wanted.push(((quality.min(1.0) * 1_000.0) as u32, tag));
        }
    }
    // The first of equals stays the first.
    wanted.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    let known = |tag: &str| settings.texts.contains_key(tag) || words::LANGUAGES.contains(&tag);
    for (_, tag) in &wanted {
        let base = tag.split('-').next().unwrap_or_default();
        if let Some(found) = [tag.as_str(), base].into_iter().find(|tag| known(tag)) {
            return found.to_owned();
        }
    }
    settings.default_language.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_with_words_is_taken() {
        let mut settings = PageSettings::default();
        settings.texts.insert("fr".to_owned(), BTreeMap::new());
        settings.default_language = "de".to_owned();
        for (accept, expected) in [
            ("", "de"),
            ("nl", "nl"),
            ("nl-BE,nl;q=0.9", "nl"),
            ("en;q=0.5, fr;q=0.8", "fr"),
            ("ja, fr;q=0.1", "fr"),
            ("ja", "de"),
            ("en;q=0, nl;q=0.1", "nl"),
            ("*", "de"),
            (";;;q=x,,", "de"),
        ] {
            assert_eq!(accepted(accept, &settings), expected, "{accept}");
        }
    }

    #[test]
    fn every_key_has_words_in_every_built_in_language() {
        for language in words::LANGUAGES {
            for key in KEYS {
                assert!(!words::built_in(language, key).is_empty(), "{language} {key}");
            }
        }
        assert_eq!(words::built_in("ja", "save"), words::built_in("en", "save"));
    }

    #[test]
    fn own_words_come_first() {
        let mut settings = PageSettings::default();
        let own = BTreeMap::from([("save".to_owned(), "Keep it at {workspace}".to_owned())]);
        settings.texts.insert("en".to_owned(), own);
        let words = chosen(&settings, "en", "Harbour");
        assert_eq!(words.get("save"), "Keep it at Harbour");
        assert_eq!(words.get("email"), "E-mail address");
    }

    #[test]
    fn language_tags() {
        for (tag, fine) in [
            ("nl", true),
            ("pt-br", true),
            ("NL", false),
            ("", false),
            ("n", false),
            ("nl-", false),
        ] {
            assert_eq!(checked_language(tag).is_ok(), fine, "{tag}");
        }
    }
}
