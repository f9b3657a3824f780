//! `abort_message` and `connected_content`. A missing answer suspends the render: the caller
//! fetches and renders again from the start, so nothing here waits.

use std::sync::Arc;

use super::{Flow, Renderer, Run, Stop, failed};
use crate::ast::{Block, Fetch, Offset};
use crate::context::Escape;
use crate::error::locate;
use crate::fetch::{FetchRequest, Fetched, FetchedBody};
use crate::value::{Object, Value};

const STATUS_FIELD: &str = "__http_status_code__";

impl Renderer<'_> {
    pub(super) fn abort(&mut self, at: Offset, reason: &Block) -> Run<Flow> {
        let reason = self.plain(at, reason)?;
        Err(Box::new(Stop::Aborted(reason)))
    }

    /// Renders a part of a tag, which is no HTML.
    fn plain(&mut self, at: Offset, block: &Block) -> Run<String> {
        let escape = std::mem::replace(&mut self.escape, Escape::None);
        let text = self.captured(at, block);
        self.escape = escape;
        text.map(|(text, _)| text)
    }

    fn optional(&mut self, at: Offset, block: Option<&Block>) -> Run<Option<String>> {
        block.map(|block| self.plain(at, block)).transpose()
    }

    pub(super) fn fetch(&mut self, at: Offset, node: &Fetch) -> Run<()> {
        let request = self.request(at, node)?;
        let answer = self.context.answers.and_then(|answers| answers(&request));
        let Some(Fetched { status, body }) = answer else {
            return Err(Box::new(Stop::Pending(request)));
        };
        match body {
            FetchedBody::Json(value) => self.set_local(&node.save, with_status(value, status)),
            FetchedBody::Text(text) if node.has_save => {
                self.set_local(&node.save, Value::text(text));
            }
            FetchedBody::Text(text) => {
                self.out.push_str(&text);
                self.check_size(at)?;
            }
        }
        Ok(())
    }

    fn request(&mut self, at: Offset, node: &Fetch) -> Run<FetchRequest> {
        let url = self.plain(at, &node.url)?.trim().to_owned();
        let method = self.optional(at, node.method.as_ref())?;
        let headers = self.optional(at, node.headers.as_ref())?;
        let count = self.fetches.entry(at).or_insert(0);
        let round = *count;
        *count += 1;
        let (line, column) = locate(&self.source, at as usize);
        Ok(FetchRequest {
            url,
            method: method.map_or_else(|| "GET".into(), |method| method.trim().to_uppercase()),
            headers: read_headers(headers.as_deref()).or_else(|message| failed(at, message))?,
            body: self.optional(at, node.body.as_ref())?,
            content_type: self.optional(at, node.content_type.as_ref())?,
            basic_auth: self.optional(at, node.basic_auth.as_ref())?,
            retry: node.retry,
            no_cache: node.no_cache,
            cache_max_age_seconds: node.cache_max_age_seconds,
            place: (line, column, round),
        })
    }
}

fn read_headers(json: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|error| format!("read :headers: {error}"))?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(map.into_iter().map(|(name, value)| (name, text(value))).collect())
}

fn with_status(value: Value, status: u16) -> Value {
    let Value::Object(object) = &value else { return value };
    let mut entries = object.entries().to_vec();
    entries.push((Arc::from(STATUS_FIELD), Value::Int(i64::from(status))));
    Value::Object(Arc::new(Object::new(entries)))
}
