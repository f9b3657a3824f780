//! `/v1/forms`: sign-up forms, and `/v1/public-pages`: the words of the pages that people see.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{FormId, Timestamp};
use tidings_engine::{forms, pages};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::Result;
use crate::input::{Input, Path};
use crate::paging::List;

/// One thing that a form asks beside the e-mail address.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FormField {
    /// `phone`, or the name of an attribute.
    #[schema(example = "first_name")]
    pub to: String,
    #[schema(example = "First name")]
    pub label: String,
    #[serde(default)]
    pub required: bool,
}

/// Who the confirmation mail comes from.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FormSender {
    #[schema(example = "Harbour & Hearth")]
    pub name: String,
    #[schema(example = "letters@example.com")]
    pub address: String,
}

/// A form: what it shows and asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FormInput {
    /// For colleagues; it stands in the proof of consents too.
    pub name: String,
    #[schema(example = "Our letters")]
    pub title: String,
    #[serde(default)]
    pub intro: String,
    /// Of the words around yours.
    #[schema(example = "en")]
    pub language: String,
    #[serde(default)]
    pub fields: Vec<FormField>,
    /// Names of e-mail topics, at least one.
    #[schema(example = json!(["offers"]))]
    pub topics: Vec<String>,
    pub sender: FormSender,
    /// Where people go once they have confirmed.
    #[serde(default)]
    pub redirect_url: Option<String>,
    /// An archived form takes nobody.
    #[serde(default)]
    pub archived: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Form {
    pub id: Uuid,
    pub number: i32,
    pub name: String,
    pub title: String,
    pub intro: String,
    pub language: String,
    pub fields: Vec<FormField>,
    pub topics: Vec<String>,
    pub sender: FormSender,
    pub redirect_url: Option<String>,
    pub archived: bool,
    /// The page that the hub shows.
    pub url: String,
    /// HTML that puts the form into another page.
    pub snippet: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

fn form(made: forms::Form) -> Form {
    let forms::Form { stored, definition, url, snippet } = made;
    let field = |field: forms::FormField| FormField {
        to: field.to,
        label: field.label,
        required: field.required,
    };
    Form {
        id: stored.id.0,
        number: stored.number,
        name: stored.name,
        title: definition.title,
        intro: definition.intro,
        language: definition.language,
        fields: definition.fields.into_iter().map(field).collect(),
        topics: definition.topics,
        sender: FormSender { name: definition.sender.name, address: definition.sender.address },
        redirect_url: definition.redirect_url,
        archived: stored.archived_at.is_some(),
        url,
        snippet,
        created_at: stored.created_at,
        updated_at: stored.updated_at,
    }
}

fn definition(body: &FormInput) -> forms::Definition {
    let field = |field: &FormField| forms::FormField {
        to: field.to.clone(),
        label: field.label.clone(),
        required: field.required,
    };
    forms::Definition {
        title: body.title.clone(),
        intro: body.intro.clone(),
        language: body.language.clone(),
        fields: body.fields.iter().map(field).collect(),
        topics: body.topics.clone(),
        sender: forms::FormSender {
            name: body.sender.name.clone(),
            address: body.sender.address.clone(),
        },
        redirect_url: body.redirect_url.clone().filter(|url| !url.is_empty()),
    }
}

/// Sign-up forms, oldest first.
#[utoipa::path(get, path = "/v1/forms", tag = "Topics and forms",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = List<Form>)))]
pub async fn list(call: Call<ReadCustomers>) -> Result<Json<List<Form>>> {
    let all = forms::list(&call.ctx).await?;
    Ok(Json(List::whole(all.into_iter().map(form).collect())))
}

/// Make a sign-up form. Whoever fills it in is signed up once they follow the link in a mail.
#[utoipa::path(post, path = "/v1/forms", tag = "Topics and forms", request_body = FormInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 201, body = Form)))]
pub async fn create(
    call: Call<WriteCustomers>,
    Input(body): Input<FormInput>,
) -> Result<(StatusCode, Json<Form>)> {
    let made = forms::create(&call.ctx, &body.name, definition(&body)).await?;
    Ok((StatusCode::CREATED, Json(form(made))))
}

/// One sign-up form.
#[utoipa::path(get, path = "/v1/forms/{id}", tag = "Topics and forms",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Form)))]
pub async fn show(call: Call<ReadCustomers>, Path(id): Path<Uuid>) -> Result<Json<Form>> {
    Ok(Json(form(forms::get(&call.ctx, FormId(id)).await?)))
}

/// Change a sign-up form, all of it at once.
#[utoipa::path(put, path = "/v1/forms/{id}", tag = "Topics and forms", request_body = FormInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Form)))]
pub async fn change(
    call: Call<WriteCustomers>,
    Path(id): Path<Uuid>,
    Input(body): Input<FormInput>,
) -> Result<Json<Form>> {
    let (id, definition) = (FormId(id), definition(&body));
    let made = forms::change(&call.ctx, id, &body.name, definition, body.archived).await?;
    Ok(Json(form(made)))
}

/// The words of unsubscribe, preference and sign-up pages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicPagesInput {
    /// For people whose own language has no words.
    #[schema(example = "en")]
    pub default_language: String,
    /// By language, then by key; what is left out is built in.
    #[serde(default)]
    pub texts: BTreeMap<String, BTreeMap<String, String>>,
}

/// The words as they are shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPages {
    pub default_language: String,
    /// The workspace's own, by language and key.
    pub texts: BTreeMap<String, BTreeMap<String, String>>,
    /// All of them as they are shown, by language and key; `{workspace}` stands for its name.
    pub effective: BTreeMap<String, BTreeMap<String, String>>,
}

fn public_pages(settings: pages::PageSettings) -> PublicPages {
    let texts = |(language, texts): (String, BTreeMap<&'static str, String>)| {
        (language, texts.into_iter().map(|(key, text)| (key.to_owned(), text)).collect())
    };
    PublicPages {
        effective: pages::all(&settings).into_iter().map(texts).collect(),
        default_language: settings.default_language,
        texts: settings.texts,
    }
}

/// The words of the pages that people see.
#[utoipa::path(get, path = "/v1/public-pages", tag = "Topics and forms",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = PublicPages)))]
pub async fn show_pages(call: Call<ReadCustomers>) -> Result<Json<PublicPages>> {
    Ok(Json(public_pages(pages::settings(&call.ctx).await?)))
}

/// Change the words of the pages that people see, all of them at once.
#[utoipa::path(put, path = "/v1/public-pages", tag = "Topics and forms",
    request_body = PublicPagesInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 200, body = PublicPages)))]
pub async fn change_pages(
    call: Call<WriteCustomers>,
    Input(body): Input<PublicPagesInput>,
) -> Result<Json<PublicPages>> {
    let PublicPagesInput { default_language, texts } = body;
    let settings = pages::PageSettings { default_language, texts };
    Ok(Json(public_pages(pages::save(&call.ctx, settings).await?)))
}
