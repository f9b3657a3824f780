//! The OpenAPI document: gathered from the handlers' own types, then completed with what holds for
//! every route.

use serde_json::json;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    PathItem, Ref, RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::errors::{FieldProblem, PROBLEM_JSON, ProblemBody};

const ABOUT: &str = "Everything the console does, it does by this API. Calls carry \
`Authorization: Bearer tdg_…`; a token belongs to one workspace and has scopes. Lists come in \
pages (`limit`, `cursor`, `next`). Errors are RFC 9457 problems. Times are RFC 3339 in UTC; \
decimals and money are JSON strings, and strings or numbers are taken. In our own objects a field \
that is unknown or given twice is refused; in free-form ones the last of two counts.";

/// The document without its paths.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Tidings")
        .version("1")
        .description(Some(ABOUT))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ))
        .build();
    let mut token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    token.description =
        Some("An API token; the scope that an operation names is the one it needs".to_owned());
    let session = ApiKey::Cookie(ApiKeyValue::with_description(
        "tidings_session",
        "A signed-in browser; the role that an operation names is the least it takes, and a role of \
         the workspace's own needs the token's scope. Calls name the workspace in Tidings-Workspace and, unless they only \
         read, repeat the session's csrf in Tidings-CSRF",
    ));
    let components = ComponentsBuilder::new()
        .schema(ProblemBody::name(), ProblemBody::schema())
        .schema(FieldProblem::name(), FieldProblem::schema())
        .response("Problem", problem())
        .security_scheme("token", SecurityScheme::Http(token))
        .security_scheme("session", SecurityScheme::ApiKey(session))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

fn problem() -> Response {
    let schema = RefOr::Ref(Ref::from_schema_name(ProblemBody::name()));
    let example = json!({
        "type": "about:blank", "title": "Unprocessable Content", "status": 422, "code": "invalid",
        "detail": "email: expected an address such as ann@example.com",
        "errors": [{"path": "email", "code": "invalid_email",
                    "message": "expected an address such as ann@example.com"}],
    });
    ResponseBuilder::new()
        .description("What went wrong")
        .content(
            PROBLEM_JSON,
            ContentBuilder::new().schema(Some(schema)).example(Some(example)).build(),
        )
        .build()
}

/// Adds what every operation has: the problem as its default answer, and the header that makes it
/// safe to repeat.
pub fn complete(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        for (operation, changes) in operations(item) {
            let answer = RefOr::Ref(Ref::from_response_name("Problem"));
            operation.responses.responses.insert("default".to_owned(), answer);
            if changes && has_token(operation) {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            }
        }
    }
    document
}

/// Whether programs may call it too, which is in a workspace then.
fn has_token(operation: &Operation) -> bool {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    security.as_array().into_iter().flatten().any(|one| one.get("token").is_some())
}

/// The operations of a path, and whether each changes something.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    [
        (item.get.as_mut(), false),
        (item.post.as_mut(), true),
        (item.put.as_mut(), true),
        (item.patch.as_mut(), true),
        (item.delete.as_mut(), true),
    ]
    .into_iter()
    .filter_map(|(operation, changes)| Some((operation?, changes)))
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some("Makes the call safe to repeat: its answer is kept for a day"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).build()))
        .build()
}
