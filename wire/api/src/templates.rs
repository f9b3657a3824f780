//! `/v1/templates`: the texts that messages are rendered from.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_domain::{TemplateId, Timestamp};
use tidings_engine::campaigns::Level;
use tidings_engine::checks::Finding as Found;
use tidings_engine::customers::Listed;
use tidings_engine::diff::{Change, PartDiff as StoredDiff};
use tidings_engine::templates::{
    self, PreviewOptions, Template as Stored, TemplateDraft, Variant as StoredVariant,
    Version as StoredVersion,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadTemplates, WriteTemplates};
use crate::campaigns::Sender;
use crate::customers::{CustomerSummary, summary};
use crate::errors::Result;
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};
use crate::translate::path_ref;

/// A template as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateSummary {
    pub id: Uuid,
    pub number: i32,
    pub name: String,
    pub subject: String,
    /// Grows with every save; a launched campaign keeps the version it was launched with.
    pub version: i32,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// How the body is written.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Html,
    /// Compiled to HTML before a message is rendered.
    Mjml,
}

impl From<Format> for templates::Format {
    fn from(format: Format) -> templates::Format {
        match format {
            Format::Html => templates::Format::Html,
            Format::Mjml => templates::Format::Mjml,
        }
    }
}

impl From<templates::Format> for Format {
    fn from(format: templates::Format) -> Format {
        match format {
            templates::Format::Html => Format::Html,
            templates::Format::Mjml => Format::Mjml,
        }
    }
}

/// The same message in another language. A customer gets the one of their language attribute, else
/// that language without its region, else the template's own parts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    #[schema(example = "pt-BR")]
    pub language: String,
    pub subject: String,
    pub html: String,
    pub text: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Template {
    #[serde(flatten)]
    pub summary: TemplateSummary,
    /// The body, written in `format`.
    pub html: String,
    /// The plain part; null where it is made from the HTML.
    pub text: Option<String>,
    pub format: Format,
    pub variants: Vec<Variant>,
}

/// A version in the list of all.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    pub version: i32,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Two versions to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    pub from: i32,
    pub to: i32,
}

/// What changed in a part that is not the same.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartDiff {
    /// Such as `subject`, or `de.html` for the variant in German.
    #[schema(example = "html")]
    pub part: String,
    pub lines: Vec<DiffLine>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DiffLine {
    /// `same`, `removed` or `added`.
    #[schema(example = "added")]
    pub change: &'static str,
    pub text: String,
    /// Its number in the older and in the newer text, counted from 1.
    pub old: Option<usize>,
    pub new: Option<usize>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreInput {
    /// What stood then is saved as the newest version.
    pub version: i32,
}

/// Something that was found before anybody got the message.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finding {
    /// An `error` stops a launch; a `warning` does not.
    #[schema(example = "error")]
    pub level: &'static str,
    #[schema(example = "broken_link")]
    pub code: &'static str,
    pub message: String,
    pub fix: String,
    /// Such as `html`, `variants[0].subject` or `block footer`.
    #[schema(example = "html")]
    pub part: String,
    /// Where in the part, counted from 1.
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Findings {
    pub findings: Vec<Finding>,
}

/// A template to save. All parts are Liquid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateInput {
    pub name: String,
    #[schema(example = "Hello {{ customer.first_name }}")]
    pub subject: String,
    /// The body, written in `format`.
    pub html: String,
    pub text: Option<String>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub variants: Vec<Variant>,
}

/// Parts to preview; nothing is saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewInput {
    pub subject: String,
    pub html: String,
    pub text: Option<String>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// In place of the customer's language.
    pub language: Option<String>,
    /// Whose message it would be: an id, or `email:…`, `external_id:…`, `phone:…`.
    pub customer: Option<String>,
    /// Further variables, by name.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    pub subject: String,
    pub html: String,
    pub text: Option<String>,
    pub customer: Option<CustomerSummary>,
    /// The language of the variant that was chosen; null for the template's own parts.
    pub language: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    pub customer: Option<String>,
    /// In place of the customer's language.
    pub language: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestInput {
    #[schema(example = "me@example.com")]
    pub to: String,
    pub customer: Option<String>,
    pub sender: Option<Sender>,
    /// In place of the customer's language.
    pub language: Option<String>,
}

/// What the relay said to a test mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestDone {
    pub sent: bool,
    pub reply: String,
}

fn template_summary(stored: &Stored) -> TemplateSummary {
    TemplateSummary {
        id: stored.id.0,
        number: stored.number,
        name: stored.name.clone(),
        subject: stored.subject.clone(),
        version: stored.version,
        updated_at: stored.updated_at,
    }
}

fn template(stored: Stored) -> Json<Template> {
    let summary = template_summary(&stored);
    let text = (!stored.text.is_empty()).then_some(stored.text);
    let variants = stored.variants.into_iter().map(variant).collect();
    Json(Template { summary, html: stored.html, text, format: stored.format.into(), variants })
}

fn variant(stored: StoredVariant) -> Variant {
    Variant {
        language: stored.language,
        subject: stored.subject,
        html: stored.html,
        text: (!stored.text.is_empty()).then_some(stored.text),
    }
}

fn stored_variants(variants: Vec<Variant>) -> Vec<StoredVariant> {
    let stored = |one: Variant| StoredVariant {
        language: one.language,
        subject: one.subject,
        html: one.html,
        text: one.text.unwrap_or_default(),
    };
    variants.into_iter().map(stored).collect()
}

pub(crate) fn version(stored: StoredVersion) -> Version {
    Version { version: stored.version, created_at: stored.created_at }
}

pub(crate) fn line(line: tidings_engine::diff::Line) -> DiffLine {
    DiffLine {
        change: match line.change {
            Change::Same => "same",
            Change::Removed => "removed",
            Change::Added => "added",
        },
        text: line.text,
        old: line.old,
        new: line.new,
    }
}

pub(crate) fn part_diff(stored: StoredDiff) -> PartDiff {
    PartDiff { part: stored.part, lines: stored.lines.into_iter().map(line).collect() }
}

fn finding(found: Found) -> Finding {
    Finding {
        level: match found.level {
            Level::Error => "error",
            Level::Warning => "warning",
        },
        code: found.code,
        message: found.message,
        fix: found.fix,
        part: found.part,
        line: found.place.map(|(line, _)| line),
        column: found.place.map(|(_, column)| column),
    }
}

fn draft(body: TemplateInput) -> TemplateDraft {
    TemplateDraft {
        name: body.name,
        subject: body.subject,
        html: body.html,
        text: body.text.unwrap_or_default(),
        format: body.format.into(),
        variants: stored_variants(body.variants),
    }
}

fn preview_draft(body: &mut PreviewInput) -> TemplateDraft {
    TemplateDraft {
        name: "Preview".to_owned(),
        subject: std::mem::take(&mut body.subject),
        html: std::mem::take(&mut body.html),
        text: body.text.take().unwrap_or_default(),
        format: body.format.into(),
        variants: stored_variants(std::mem::take(&mut body.variants)),
    }
}

pub(crate) fn preview(made: templates::Preview) -> Preview {
    Preview {
        subject: made.parts.subject,
        html: made.parts.html,
        text: made.parts.text,
        language: made.parts.language,
        customer: made.customer.map(|customer| summary(Listed { customer, tags: Vec::new() })),
    }
}

/// Templates, oldest first.
#[utoipa::path(get, path = "/v1/templates", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(Paging),
    responses((status = 200, body = List<TemplateSummary>)))]
pub async fn list(
    call: Call<ReadTemplates>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<TemplateSummary>>> {
    let after = paging.place()?.unwrap_or(0);
    let page = templates::page(&call.ctx, after, paging.limit()?).await?;
    Ok(Json(List::page(page.items.iter().map(template_summary).collect(), page.next)))
}

/// Save a new template.
#[utoipa::path(post, path = "/v1/templates", tag = "Templates", request_body = TemplateInput,
    security(("token" = ["templates"]), ("session" = ["editor"])),
    responses((status = 201, body = Template)))]
pub async fn create(
    call: Call<WriteTemplates>,
    Input(body): Input<TemplateInput>,
) -> Result<(StatusCode, Json<Template>)> {
    let id = templates::create(&call.ctx, draft(body)).await?;
    Ok((StatusCode::CREATED, template(templates::get(&call.ctx, id).await?)))
}

/// One template with its parts.
#[utoipa::path(get, path = "/v1/templates/{id}", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Template)))]
pub async fn show(call: Call<ReadTemplates>, Path(id): Path<Uuid>) -> Result<Json<Template>> {
    Ok(template(templates::get(&call.ctx, TemplateId(id)).await?))
}

/// Save a new version of a template.
#[utoipa::path(put, path = "/v1/templates/{id}", tag = "Templates", request_body = TemplateInput,
    security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Template)))]
pub async fn put(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<TemplateInput>,
) -> Result<Json<Template>> {
    templates::change(&call.ctx, TemplateId(id), draft(body)).await?;
    Ok(template(templates::get(&call.ctx, TemplateId(id)).await?))
}

/// Remove a template that no campaign uses.
#[utoipa::path(delete, path = "/v1/templates/{id}", tag = "Templates",
    security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteTemplates>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    templates::drop(&call.ctx, TemplateId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Render parts for a customer without saving them. A fault names its part, line and column.
#[utoipa::path(post, path = "/v1/templates/preview", tag = "Templates",
    request_body = PreviewInput, security(("token" = ["templates:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = Preview)))]
pub async fn preview_parts(
    call: Call<ReadTemplates>,
    Input(mut body): Input<PreviewInput>,
) -> Result<Json<Preview>> {
    let customer = body.customer.as_deref().map(path_ref).transpose()?;
    let draft = preview_draft(&mut body);
    let options = PreviewOptions {
        data: body.data.unwrap_or_default(),
        language: body.language,
        ..PreviewOptions::default()
    };
    Ok(Json(preview(templates::preview(&call.ctx, &draft, customer, options).await?)))
}

/// Look parts through without saving them: links, pictures, fields and size. Nothing is fetched.
#[utoipa::path(post, path = "/v1/templates/check", tag = "Templates",
    request_body = PreviewInput, security(("token" = ["templates:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = Findings)))]
pub async fn check(
    call: Call<ReadTemplates>,
    Input(mut body): Input<PreviewInput>,
) -> Result<Json<Findings>> {
    let customer = body.customer.as_deref().map(path_ref).transpose()?;
    let draft = preview_draft(&mut body);
    let found = templates::checked(&call.ctx, &draft, customer).await?;
    Ok(Json(Findings { findings: found.into_iter().map(finding).collect() }))
}

/// Render a saved template for a customer.
#[utoipa::path(get, path = "/v1/templates/{id}/preview", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), PreviewQuery),
    responses((status = 200, body = Preview)))]
pub async fn preview_saved(
    call: Call<ReadTemplates>,
    Path(id): Path<Uuid>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<Preview>> {
    let customer = query.customer.as_deref().map(path_ref).transpose()?;
    let draft = TemplateDraft::from(templates::get(&call.ctx, TemplateId(id)).await?);
    let options = PreviewOptions { language: query.language, ..PreviewOptions::default() };
    Ok(Json(preview(templates::preview(&call.ctx, &draft, customer, options).await?)))
}

/// Send one mail to look at; it counts nowhere, and its subject says that it is a test.
#[utoipa::path(post, path = "/v1/templates/{id}/test", tag = "Templates",
    request_body = TestInput, security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = TestDone)))]
pub async fn test(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<TestInput>,
) -> Result<Json<TestDone>> {
    let customer = body.customer.as_deref().map(path_ref).transpose()?;
    let sender = body.sender.map(Into::into);
    let id = TemplateId(id);
    let (sent, reply) =
        templates::send_test(&call.ctx, id, &body.to, customer, sender, body.language).await?;
    Ok(Json(TestDone { sent, reply }))
}

/// The versions of a template, newest first.
#[utoipa::path(get, path = "/v1/templates/{id}/versions", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<Version>)))]
pub async fn versions(
    call: Call<ReadTemplates>,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Version>>> {
    let before = paging.place()?.unwrap_or(i32::MAX);
    let page = templates::versions(&call.ctx, TemplateId(id), before, paging.limit()?).await?;
    Ok(Json(List::page(page.items.into_iter().map(version).collect(), page.next)))
}

/// A template as it was at a version.
#[utoipa::path(get, path = "/v1/templates/{id}/versions/{version}", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), ("version" = i32, Path)),
    responses((status = 200, body = Template)))]
pub async fn show_version(
    call: Call<ReadTemplates>,
    Path((id, version)): Path<(Uuid, i32)>,
) -> Result<Json<Template>> {
    Ok(template(templates::at_version(&call.ctx, TemplateId(id), version).await?))
}

/// What changed from one version to another, line by line.
#[utoipa::path(get, path = "/v1/templates/{id}/diff", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), DiffQuery),
    responses((status = 200, body = List<PartDiff>)))]
pub async fn diff(
    call: Call<ReadTemplates>,
    Path(id): Path<Uuid>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<List<PartDiff>>> {
    let parts = templates::compare(&call.ctx, TemplateId(id), query.from, query.to).await?;
    Ok(Json(List::whole(parts.into_iter().map(part_diff).collect())))
}

/// Save what stood at an older version as the newest one.
#[utoipa::path(post, path = "/v1/templates/{id}/restore", tag = "Templates",
    request_body = RestoreInput, security(("token" = ["templates"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = Template)))]
pub async fn restore(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<RestoreInput>,
) -> Result<Json<Template>> {
    templates::restore(&call.ctx, TemplateId(id), body.version).await?;
    Ok(template(templates::get(&call.ctx, TemplateId(id)).await?))
}
