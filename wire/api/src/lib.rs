//! Our own JSON API: `/v1`, its OpenAPI document and its reference pages.
//!
//! This crate is the only one that knows the API's words, shapes and error answers. It decides
//! nothing: it reads, translates, calls the engine and writes the outcome.

mod alerts;
mod attributes;
mod audit;
mod blocks;
mod call;
mod campaigns;
mod consents;
mod customers;
mod definitions;
mod deliveries;
mod docs;
mod errors;
mod events;
mod forms;
mod groups;
mod idempotency;
mod images;
mod import_mappings;
mod imports;
mod input;
mod mailbox;
mod many;
mod marks;
mod merges;
mod openapi;
mod overview;
mod paging;
mod personal;
mod plans;
mod relays;
mod results;
mod retention;
mod reviews;
mod roles;
mod segments;
mod senders;
mod sending_rules;
mod session;
mod storage;
mod suppressions;
mod tables;
mod templates;
mod tokens;
mod topics;
mod totp;
mod translate;
mod users;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tidings_engine::Hub;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use call::Api;
use errors::Problem;
use input::SMALL_BODY;
use many::MAX_BODY;

/// A template with its pictures inside is larger than other bodies.
const TEMPLATE_BODY: usize = 4 * 1024 * 1024;

/// Everything the API answers, on one screen.
fn contents() -> OpenApiRouter<Api> {
    let many = || DefaultBodyLimit::max(MAX_BODY);
    let template = || DefaultBodyLimit::max(TEMPLATE_BODY);
    // One byte more, so that the engine says what is too large.
    let image = || DefaultBodyLimit::max(tidings_engine::images::MAX_BYTES + 1);
    OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(session::show, session::sign_in, session::sign_out))
        .routes(routes!(totp::show, totp::propose, totp::confirm, totp::remove))
        .routes(routes!(overview::show))
        .routes(routes!(customers::list, customers::upsert).layer(many()))
        .routes(routes!(customers::show, personal::erase))
        .routes(routes!(personal::export))
        .routes(routes!(personal::readmit))
        .routes(routes!(merges::alias))
        .routes(routes!(merges::merge))
        .routes(routes!(merges::list))
        .routes(routes!(merges::undo))
        .routes(routes!(customers::events))
        .routes(routes!(customers::records))
        .routes(routes!(marks::put_tag, marks::remove_tag))
        .routes(routes!(marks::put_group, marks::remove_group))
        .routes(routes!(consents::history))
        .routes(routes!(consents::record))
        .routes(routes!(events::record).layer(many()))
        .routes(routes!(groups::list, groups::create))
        .routes(routes!(groups::show, groups::remove))
        .routes(routes!(groups::customers, groups::add).layer(many()))
        .routes(routes!(groups::take).layer(many()))
        .routes(routes!(suppressions::list, suppressions::add))
        .routes(routes!(suppressions::remove))
        .routes(routes!(suppressions::import))
        .routes(routes!(suppressions::hashes))
        .routes(routes!(topics::list, topics::create))
        .routes(routes!(topics::change))
        .routes(routes!(topics::versions))
        .routes(routes!(forms::list, forms::create))
        .routes(routes!(forms::show, forms::change))
        .routes(routes!(forms::show_pages, forms::change_pages))
        .routes(routes!(attributes::list, attributes::create))
        .routes(routes!(attributes::rename, attributes::remove))
        .routes(routes!(tables::list, tables::create))
        .routes(routes!(tables::add_field))
        .routes(routes!(tables::upsert_records).layer(many()))
        .routes(routes!(imports::list, imports::upload))
        .routes(routes!(imports::show, imports::change))
        .routes(routes!(imports::preview))
        .routes(routes!(imports::attempt))
        .routes(routes!(imports::verdicts))
        .routes(routes!(imports::revert))
        .routes(routes!(imports::kept))
        .routes(routes!(imports::start))
        .routes(routes!(imports::cancel))
        .routes(routes!(imports::refusals))
        .routes(routes!(imports::errors))
        .routes(routes!(import_mappings::list, import_mappings::create))
        .routes(routes!(import_mappings::change, import_mappings::remove))
        .routes(routes!(segments::list, segments::create))
        .routes(routes!(segments::count))
        .routes(routes!(segments::fields))
        .routes(routes!(segments::show, segments::change, segments::remove))
        .routes(routes!(segments::customers))
        .routes(routes!(segments::explain))
        .routes(routes!(segments::sizes))
        .routes(routes!(segments::freeze))
        .routes(routes!(templates::list, templates::create).layer(template()))
        .routes(routes!(templates::preview_parts).layer(template()))
        .routes(routes!(templates::check).layer(template()))
        .routes(routes!(templates::show, templates::put, templates::remove).layer(template()))
        .routes(routes!(templates::preview_saved))
        .routes(routes!(templates::test))
        .routes(routes!(templates::versions))
        .routes(routes!(templates::show_version))
        .routes(routes!(templates::diff))
        .routes(routes!(templates::restore))
        .routes(routes!(blocks::list, blocks::create))
        .routes(routes!(blocks::show, blocks::put, blocks::remove))
        .routes(routes!(blocks::uses))
        .routes(routes!(blocks::versions))
        .routes(routes!(blocks::show_version))
        .routes(routes!(blocks::diff))
        .routes(routes!(blocks::restore))
        .routes(routes!(images::list, images::upload).layer(image()))
        .routes(routes!(images::show, images::remove))
        .routes(routes!(images::uses))
        .routes(routes!(campaigns::list, campaigns::create))
        .routes(routes!(campaigns::show, campaigns::change, campaigns::remove))
        .routes(routes!(reviews::review))
        .routes(routes!(campaigns::launch))
        .routes(routes!(campaigns::pause))
        .routes(routes!(campaigns::resume))
        .routes(routes!(campaigns::cancel))
        .routes(routes!(deliveries::uncertain))
        .routes(routes!(campaigns::progress))
        .routes(routes!(results::show))
        .routes(routes!(results::choose))
        .routes(routes!(deliveries::deliveries))
        .routes(routes!(deliveries::deliveries_csv))
        .routes(routes!(definitions::export))
        .routes(routes!(definitions::make_plan).layer(many()))
        .routes(routes!(definitions::apply).layer(many()))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge_all))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(sending_rules::show, sending_rules::put))
        .routes(routes!(relays::list, relays::create))
        .routes(routes!(relays::show, relays::put, relays::remove))
        .routes(routes!(relays::test))
        .routes(routes!(senders::list))
        .routes(routes!(senders::show, senders::put, senders::remove))
        .routes(routes!(senders::create_key))
        .routes(routes!(senders::switch_key, senders::remove_key))
        .routes(routes!(senders::list_limits, senders::put_limits))
        .routes(routes!(mailbox::list))
        .routes(routes!(mailbox::show))
        .routes(routes!(retention::show, retention::change))
        .routes(routes!(retention::preview))
        .routes(routes!(storage::show))
        .routes(routes!(storage::measure))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::change, users::remove))
        .routes(routes!(roles::list))
        .routes(routes!(roles::put, roles::remove))
        .routes(routes!(roles::show_security, roles::put_security))
        .routes(routes!(audit::list))
        .routes(routes!(audit::check))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
}

/// The room of a workspace as `GET /v1/storage` answers it, for the command.
pub fn storage_shown(found: tidings_engine::storage::Storage) -> impl serde::Serialize {
    storage::shown(found)
}

/// The API's routes over a hub.
pub fn router(hub: Arc<Hub>) -> Router {
    let api = Api { hub };
    let (routes, _) = contents().split_for_parts();
    routes
        .route("/v1/openapi.json", get(show_document))
        .route("/v1", any(not_found))
        .route("/v1/", any(not_found))
        .route("/v1/{*rest}", any(not_found))
        .layer(DefaultBodyLimit::max(SMALL_BODY))
        .layer(axum::middleware::from_fn_with_state(api.clone(), audit::layer))
        .layer(axum::middleware::from_fn_with_state(api.clone(), idempotency::layer))
        .layer(axum::middleware::map_response(not_stored))
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
        .merge(docs::router())
}

/// The customer that a text names, as a path does: an id, or `external_id:…`, `email:…`, `phone:…`
/// or `system_id:…`. For commands.
pub fn customer_ref(text: &str) -> Option<tidings_domain::change::CustomerRef> {
    translate::path_ref(text).ok()
}

/// Everything that is known of one person. For commands.
pub async fn personal_data(
    ctx: &tidings_engine::Ctx,
    reference: tidings_domain::change::CustomerRef,
) -> tidings_engine::Result<impl serde::Serialize> {
    personal::gather(ctx, reference).await
}

/// The OpenAPI document.
pub fn document() -> OpenApi {
    openapi::complete(contents().into_openapi())
}

async fn show_document() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_json().unwrap_or_default()).as_str();
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// Answers hold personal data, so nothing on the way may keep them.
async fn not_stored(mut response: Response) -> Response {
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(value);
    response
}

async fn wrong_method() -> Problem {
    let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "wrong_method", "this path does not take this method")
}

/// What is not there.
async fn not_found() -> Problem {
    Problem::not_found("this path")
}
