//! `/v1/events`: what happened to customers.

use axum::response::Response;

use crate::call::{Call, WriteCustomers};
use crate::errors::Result;
use crate::input::{Incoming, object};
use crate::many::{OneOrMany, OneOrManyDone, receive};
use crate::translate::{Done, EventInput, event};

/// Record events: one, an array of at most 10,000, or lines of NDJSON. An event with an `id` is
/// kept once, however often it is sent.
#[utoipa::path(post, path = "/v1/events", tag = "Events",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    request_body(content(
        (OneOrMany<EventInput> = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, body = OneOrManyDone),
        (status = 201, body = Done, description = "A new event"),
    ))]
pub async fn record(call: Call<WriteCustomers>, body: Incoming) -> Result<Response> {
    receive(call.ctx, body, Box::new(|item| event(object::<EventInput>(item)?))).await
}
