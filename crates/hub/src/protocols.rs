//! Every language the outside speaks to the hub, on one screen.

use std::sync::Arc;

use axum::Router;
use tidings_engine::Hub;

pub fn router(hub: &Arc<Hub>) -> Router {
    Router::new()
        .merge(tidings_wire_api::router(hub.clone()))
        .merge(tidings_wire_mail::router(hub.clone()))
        .merge(tidings_console::router())
}
