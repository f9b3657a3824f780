//! Templates and their versions. A version never changes once it is written.

use serde::{Deserialize, Serialize};
use tidings_domain::{TemplateId, Timestamp};

use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// How the body of a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Html,
    /// Compiled to HTML before a message is rendered.
    Mjml,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Html => "html",
            Format::Mjml => "mjml",
        }
    }

    pub fn from_name(name: &str) -> Option<Format> {
        [Format::Html, Format::Mjml].into_iter().find(|format| format.name() == name)
    }
}

/// The same message in another language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// A code such as `de` or `pt-BR`.
    pub language: String,
    pub subject: String,
    pub html: String,
    /// The plain part; empty means that it is made from the HTML.
    pub text: String,
}

/// A template at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub id: TemplateId,
    pub number: i32,
    pub name: String,
    pub version: i32,
    pub subject: String,
    /// The body, in its format.
    pub html: String,
    /// The plain part; empty means that it is made from the HTML.
    pub text: String,
    pub format: Format,
    pub variants: Vec<Variant>,
    pub updated_at: Timestamp,
}

/// What a user writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateDraft {
    pub name: String,
    pub subject: String,
    pub html: String,
    pub text: String,
    pub format: Format,
    pub variants: Vec<Variant>,
}

impl From<Template> for TemplateDraft {
    fn from(template: Template) -> TemplateDraft {
        TemplateDraft {
            name: template.name,
            subject: template.subject,
            html: template.html,
            text: template.text,
            format: template.format,
            variants: template.variants,
        }
    }
}

/// A version in the list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub version: i32,
    pub created_at: Timestamp,
}

static ADD: Sql = Sql::reference(
    "add_template",
    "insert into {s}templates (number, id, name, version, created_at, updated_at)
     select coalesce(?4, max(number) + 1, 1), ?1, ?2, 1, ?3, ?3 from {s}templates where true
     returning number",
);
static ADD_VERSION: Sql = Sql::reference(
    "add_template_version",
    "insert into {s}template_versions
       (template_number, version, subject, html, plain, created_at, format, variants)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
);
static NEW_VERSION: Sql = Sql::reference(
    "new_template_version",
    "update {s}templates set version = version + 1, name = ?2, updated_at = ?3 where id = ?1
     returning number, version",
);
static GET: Sql = Sql::reference(
    "template",
    "select t.id, t.number, t.name, v.version, v.subject, v.html, v.plain, t.updated_at,
            v.format, v.variants
     from {s}templates t
     join {s}template_versions v on v.template_number = t.number and v.version = t.version
     where t.id = ?1",
);
static GET_VERSION: Sql = Sql::reference(
    "template_at_version",
    "select t.id, t.number, t.name, v.version, v.subject, v.html, v.plain, t.updated_at,
            v.format, v.variants
     from {s}templates t join {s}template_versions v on v.template_number = t.number
     where t.number = ?1 and v.version = ?2",
);
static LIST: Sql = Sql::reference(
    "templates",
    "select t.id, t.number, t.name, v.version, v.subject, v.html, v.plain, t.updated_at,
            v.format, v.variants
     from {s}templates t
     join {s}template_versions v on v.template_number = t.number and v.version = t.version
     where t.number > ?1 order by t.number limit ?2",
);
/// Versions that are not the newest, but that a campaign goes on to send.
static PINNED: Sql = Sql::reference(
    "pinned_templates",
    "select t.id, t.number, t.name, v.version, v.subject, v.html, v.plain, t.updated_at,
            v.format, v.variants
     from {s}templates t
     join {s}template_versions v on v.template_number = t.number and v.version < t.version
     where exists (select 1 from {s}campaigns c
                   where c.template_number = t.number and c.template_version = v.version
                     and c.state in (1, 2, 3, 4))
        or exists (select 1 from {s}campaign_variants w
                   join {s}campaigns c on c.number = w.campaign_number
                   where w.template_number = t.number and w.template_version = v.version
                     and c.state in (1, 2, 3, 4))
     order by t.number, v.version",
);
static VERSIONS: Sql = Sql::reference(
    "template_versions",
    "select v.version, v.created_at
     from {s}template_versions v join {s}templates t on t.number = v.template_number
     where t.id = ?1 and v.version < ?2 order by v.version desc limit ?3",
);
static IN_USE: Sql = Sql::reference(
    "template_in_use",
    "select count(*) from {s}templates t
     where t.id = ?1
       and (exists (select 1 from {s}campaigns c where c.template_number = t.number)
            or exists (select 1 from {s}campaign_variants v where v.template_number = t.number))",
);
static DROP_VERSIONS: Sql = Sql::reference(
    "drop_template_versions",
    "delete from {s}template_versions
     where template_number = (select number from {s}templates where id = ?1)",
);
static DROP: Sql = Sql::reference("drop_template", "delete from {s}templates where id = ?1");

pub(crate) static SQL: &[&Sql] = &[
    &ADD,
    &ADD_VERSION,
    &NEW_VERSION,
    &GET,
    &GET_VERSION,
    &LIST,
    &PINNED,
    &VERSIONS,
    &IN_USE,
    &DROP_VERSIONS,
    &DROP,
];

fn template(row: &Row) -> Result<Template> {
    Ok(Template {
        id: TemplateId(row.uuid(0)?),
        number: row.small(1)?,
        name: row.text(2)?,
        version: row.small(3)?,
        subject: row.text(4)?,
        html: row.text(5)?,
        text: row.text(6)?,
        updated_at: row.time(7)?,
        format: Format::from_name(&row.text(8)?)
            .ok_or_else(|| Error::Corrupt("a template's format is unknown".into()))?,
        variants: serde_json::from_str(&row.text(9)?)
            .map_err(|error| Error::Corrupt(format!("a template's variants: {error}")))?,
    })
}

async fn add_version(
    tx: &mut Tx,
    number: i64,
    version: i32,
    draft: &TemplateDraft,
    at: Timestamp,
) -> Result<()> {
    let variants = serde_json::to_string(&draft.variants)
        .map_err(|error| Error::Database(format!("write variants: {error}")))?;
    let params = crate::params![
        number,
        version,
        &draft.subject,
        &draft.html,
        &draft.text,
        at,
        draft.format.name(),
        variants
    ];
    tx.execute(&ADD_VERSION, params).await.map(drop)
}

/// Every template at its newest version.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Template>> {
    tx.query(&LIST, crate::params![0, i64::MAX]).await?.iter().map(template).collect()
}

/// Adds a template at version 1, with a number that is known to be free or the next one.
pub(crate) async fn add(
    tx: &mut Tx,
    id: TemplateId,
    number: Option<i32>,
    draft: &TemplateDraft,
    at: Timestamp,
) -> Result<()> {
    let row = tx.first(&ADD, crate::params![id, &draft.name, at, number]).await?;
    let row = row.ok_or_else(|| Error::Corrupt("no number for a template".into()))?;
    add_version(tx, row.int(0)?, 1, draft, at).await
}

/// Writes a new version; `None` where there is no such template.
pub(crate) async fn put(
    tx: &mut Tx,
    id: TemplateId,
    draft: &TemplateDraft,
    at: Timestamp,
) -> Result<Option<i32>> {
    let row = tx.first(&NEW_VERSION, crate::params![id, &draft.name, at]).await?;
    let Some(row) = row else { return Ok(None) };
    let version: i32 = row.small(1)?;
    add_version(tx, row.int(0)?, version, draft, at).await?;
    Ok(Some(version))
}

/// Drops a template that no campaign uses; false where there is none.
pub(crate) async fn remove(tx: &mut Tx, id: TemplateId) -> Result<bool> {
    let used = tx.first(&IN_USE, crate::params![id]).await?;
    if used.map_or(Ok(0), |row| row.int(0))? > 0 {
        return Err(Error::Conflict("a campaign uses this template".into()));
    }
    tx.execute(&DROP_VERSIONS, crate::params![id]).await?;
    Ok(tx.execute(&DROP, crate::params![id]).await? > 0)
}

pub(crate) fn version(row: &Row) -> Result<Version> {
    Ok(Version { version: row.small(0)?, created_at: row.time(1)? })
}

fn taken(name: &str) -> impl Fn(Error) -> Error + '_ {
    move |error| match error {
        Error::Conflict(_) => Error::Conflict(format!("a template named {name} exists")),
        other => other,
    }
}

impl Workspace {
    /// Adds a template at version 1; a taken name is a conflict.
    pub async fn add_template(&self, draft: TemplateDraft, at: Timestamp) -> Result<TemplateId> {
        let id = TemplateId::generate();
        let name = draft.name.clone();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, id, None, &draft, at).await.map(|()| id) })
        })
        .await
        .map_err(taken(&name))
    }

    /// Writes a new version of a template; `None` where there is no such template.
    pub async fn put_template(
        &self,
        id: TemplateId,
        draft: TemplateDraft,
        at: Timestamp,
    ) -> Result<Option<i32>> {
        let name = draft.name.clone();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, id, &draft, at).await })
        })
        .await
        .map_err(taken(&name))
    }

    pub async fn template(&self, id: TemplateId) -> Result<Option<Template>> {
        self.find(&GET, crate::params![id], template).await
    }

    /// A template at the version that a campaign was launched with.
    pub async fn template_at(&self, number: i32, version: i32) -> Result<Option<Template>> {
        self.find(&GET_VERSION, crate::params![number, version], template).await
    }

    /// Older versions that a campaign is still sending.
    pub async fn pinned_templates(&self) -> Result<Vec<Template>> {
        self.read(move |tx| {
            Box::pin(async move { tx.query(&PINNED, &[]).await?.iter().map(template).collect() })
        })
        .await
    }

    /// The versions of a template, newest first; `before` is the last one of the page before.
    pub async fn template_versions(
        &self,
        id: TemplateId,
        before: i32,
        limit: usize,
    ) -> Result<Page<Version, i32>> {
        self.find_page(&VERSIONS, crate::params![id, before], limit, version, |one| one.version)
            .await
    }

    pub async fn templates(&self, after: i32, limit: usize) -> Result<Page<Template, i32>> {
        self.find_page(&LIST, crate::params![after], limit, template, |template| template.number)
            .await
    }

    /// Drops a template that no campaign uses; false where there is none.
    pub async fn drop_template(&self, id: TemplateId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, id).await })
        })
        .await
    }
}
