//! `/v1/audit`: who did what to which thing; and the layer that sees to it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_engine::accounts::{self, Caller};
use tidings_engine::audit::{self, ActorKind, Wanted};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Api, Authenticated, Call, ReadAudit, authenticate};
use crate::errors::{Problem, Result};
use crate::input::Query;
use crate::paging::{List, checked_limit, place};

/// Names what a call is about to do, so that the transaction that does it writes it down.
pub async fn layer(
    State(api): State<Api>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let Some(path) = path.filter(|_| !request.method().is_safe()) else {
        return next.run(request).await;
    };
    let path = path.as_str();
    if path.starts_with("/v1/session") || path.contains("{*") {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &()).await.ok();
    let mut request = Request::from_parts(parts, body);
    let known = request.extensions_mut().remove::<Authenticated>();
    let authenticated = match known {
        Some(known) => known,
        // Who cannot be known is told so by the handler.
        None => match authenticate(request.headers(), request.method(), &api).await {
            Ok(authenticated) => authenticated,
            Err(_) => return next.run(request).await,
        },
    };
    let is_program = matches!(authenticated.caller, Caller::Token { .. });
    let act = (!is_program || !is_data(path)).then(|| {
        let thing = params.iter().flatten().map(|(_, value)| value).next();
        let action = action(request.method(), path);
        let Authenticated { ctx, caller } = &authenticated;
        audit::act(ctx, caller, &action, &named(noun(path), thing.unwrap_or_default()))
    });
    request.extensions_mut().insert(authenticated);
    match act {
        Some(act) => act.run(next.run(request)).await,
        None => next.run(request).await,
    }
}

/// The first part of a path: `campaigns` of `/v1/campaigns/{id}/launch`.
fn noun(path: &str) -> &str {
    path.trim_start_matches("/v1/").split('/').next().unwrap_or_default()
}

/// What programs send all day: it is on each customer's timeline, and not written down here unless
/// a person does it.
fn is_data(path: &str) -> bool {
    ["customers", "events", "batch"].contains(&noun(path)) || path.ends_with("/records")
}

/// What a call does, in words: `campaigns.launch`, `groups.create`, `customers.tags.delete`.
fn action(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let mut words: Vec<&str> =
        parts.iter().copied().filter(|part| !part.starts_with('{')).collect();
    let is_list = words.last().is_some_and(|word| word.ends_with('s'));
    let ends_in_word = parts.last().is_some_and(|part| !part.starts_with('{'));
    match *method {
        // A verb at the end says what is done: launch, cancel, start.
        Method::POST if ends_in_word && parts.len() > 1 && !is_list => {}
        Method::POST => words.push("create"),
        Method::PUT => words.push("put"),
        Method::PATCH => words.push("change"),
        Method::DELETE => words.push("delete"),
        _ => {}
    }
    words.join(".")
}

/// The thing of a path, unless its name is somebody's address or number.
fn named(noun: &str, thing: &str) -> String {
    let is_id = Uuid::parse_str(thing).is_ok();
    if is_id || ["attributes", "tables", "roles"].contains(&noun) {
        thing.chars().filter(|c| !c.is_control()).take(200).collect()
    } else {
        String::new()
    }
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Counted from 1, without gaps.
    pub number: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub actor: AuditActor,
    #[schema(example = "campaigns.launch")]
    pub action: String,
    /// Its id, or its name where it has none.
    pub thing: String,
    #[schema(example = "role editor")]
    pub detail: String,
    /// The seal of this entry over itself and the one before it.
    pub seal: String,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditActor {
    /// `user`, `token` or `command`.
    pub kind: &'static str,
    pub id: Option<Uuid>,
    /// The address of the user or the name of the token, where they are still here.
    pub name: Option<String>,
}

/// Which entries are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// The id of a user or a token.
    pub actor: Option<Uuid>,
    /// The beginning of the action, such as `campaigns`.
    pub action: Option<String>,
    /// The id of the thing.
    pub thing: Option<String>,
    /// Not before this time.
    #[param(value_type = Option<String>)]
    pub from: Option<String>,
    /// Before this time.
    #[param(value_type = Option<String>)]
    pub until: Option<String>,
    /// How many items at most: 1 to 1000, 50 unless given.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

fn time(name: &'static str, text: Option<&String>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(Some(Timestamp(at.as_microsecond()))),
        Err(_) => Err(Problem::field(
            name,
            "invalid_time",
            "expected a time such as 2026-01-31T12:00:00Z",
        )),
    }
}

/// What was done here, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "People and tokens",
    security(("token" = ["audit"]), ("session" = ["admin"])),
    params(AuditQuery),
    responses((status = 200, body = List<AuditEntry>)))]
pub async fn list(
    call: Call<ReadAudit>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<List<AuditEntry>>> {
    let wanted = Wanted {
        actor: query.actor,
        action: query.action.clone(),
        thing: query.thing.clone(),
        from: time("from", query.from.as_ref())?,
        until: time("until", query.until.as_ref())?,
    };
    let limit = checked_limit(query.limit)?;
    let page = audit::page(&call.ctx, wanted, place(query.cursor.as_deref())?, limit).await?;
    let names = names(&call).await?;
    let items = page.items.into_iter().map(|one| entry(one, &names)).collect();
    Ok(Json(List::page(items, page.next)))
}

/// The names of those who may appear, by id.
async fn names(call: &Call<ReadAudit>) -> Result<HashMap<Uuid, String>> {
    let users = accounts::users(&call.ctx).await?;
    let tokens = accounts::tokens(&call.ctx).await?;
    let users = users.into_iter().map(|user| (user.id.0, user.mail));
    Ok(users.chain(tokens.into_iter().map(|token| (token.id.0, token.name))).collect())
}

fn entry(one: audit::Entry, names: &HashMap<Uuid, String>) -> AuditEntry {
    let audit::Entry { number, entry, hash } = one;
    let name = match (entry.actor.kind, entry.actor.id) {
        (ActorKind::Command, _) | (_, None) => None,
        (_, Some(id)) => names.get(&id).cloned(),
    };
    AuditEntry {
        number,
        at: entry.at,
        actor: AuditActor { kind: entry.actor.kind.name(), id: entry.actor.id, name },
        action: entry.action,
        thing: entry.thing,
        detail: entry.detail,
        seal: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// What a check of the log found.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditCheck {
    /// How many entries are as they were written, from the first.
    pub entries: i64,
    /// `number:seal` of the last of these. Write it down elsewhere: a later check can be given it,
    /// and sees then whether the end of the log was cut off.
    pub head: Option<String>,
    /// The first entry that is not as it was written.
    pub fault: Option<AuditFault>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditFault {
    pub number: i64,
    pub reason: String,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditCheckQuery {
    /// The `head` of a check before, which must still stand in the log.
    pub head: Option<String>,
}

/// Read the whole log and say whether it is as it was written.
#[utoipa::path(get, path = "/v1/audit/check", tag = "People and tokens",
    security(("token" = ["audit"]), ("session" = ["admin"])),
    params(AuditCheckQuery),
    responses((status = 200, body = AuditCheck)))]
pub async fn check(
    call: Call<ReadAudit>,
    Query(query): Query<AuditCheckQuery>,
) -> Result<Json<AuditCheck>> {
    let checked = match &query.head {
        Some(head) => audit::check_with(&call.ctx, head).await?,
        None => audit::check(&call.ctx).await?,
    };
    Ok(Json(AuditCheck {
        entries: checked.entries,
        head: (checked.entries > 0).then(|| format!("{}:{}", checked.entries, checked.head)),
        fault: checked.fault.map(|(number, reason)| AuditFault { number, reason }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_words() {
        for (method, path, expected) in [
            (Method::POST, "/v1/groups", "groups.create"),
            (Method::POST, "/v1/campaigns/{id}/launch", "campaigns.launch"),
            (Method::PATCH, "/v1/campaigns/{id}", "campaigns.change"),
            (Method::DELETE, "/v1/customers/{id}/tags/{tag}", "customers.tags.delete"),
            (Method::POST, "/v1/tables/{table}/fields", "tables.fields.create"),
            (Method::PUT, "/v1/security", "security.put"),
        ] {
            assert_eq!(action(&method, path), expected, "{path}");
        }
    }

    #[test]
    fn things_are_ids_and_never_addresses() {
        let id = "01980000-0000-7000-8000-000000000001";
        for (noun, thing, expected) in [
            ("customers", id, id),
            ("customers", "email:ann@example.com", ""),
            ("users", "ann@example.com", ""),
            ("suppressions", "email", ""),
            ("attributes", "score", "score"),
        ] {
            assert_eq!(named(noun, thing), expected);
        }
    }
}
