//! One, an array, or a stream of lines: how customers, events and records come in.
//!
//! A stream is read and answered bit by bit: at most a batch of lines is in memory, and the next
//! is read when the answers of the last one have been taken.

use std::pin::Pin;

use axum::Json;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::{FutureExt, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_domain::change::Change;
use tidings_engine::{Ctx, changes};
use utoipa::ToSchema;

use crate::errors::{Problem, Result};
use crate::input::{Incoming, parse};
use crate::translate::Done;

/// The most items of an array.
pub const MAX_ITEMS: usize = 10_000;
/// The largest body that is read as a whole.
pub const MAX_BODY: usize = 32 * 1024 * 1024;
/// The longest line of a stream.
const MAX_LINE: usize = 1024 * 1024;
/// Lines that are applied together.
const BATCH: usize = changes::BATCH;

/// What became of the items of an array, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManyDone {
    pub results: Vec<Done>,
    pub counts: ItemCounts,
}

/// What became of one item, or of the items of an array.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrManyDone {
    One(Done),
    Many(ManyDone),
}

/// One item, or an array of at most 10,000. This is for the document alone: the items of an array
/// are read one by one, so that one that is wrong refuses no other.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    #[expect(dead_code, reason = "nobody reads a request by this type")]
    Many(Vec<T>),
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ItemCounts {
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub refused: usize,
}

impl ItemCounts {
    fn of(results: &[Done]) -> ItemCounts {
        let mut counts = ItemCounts::default();
        for done in results {
            match done {
                Done::Created(_) => counts.created += 1,
                Done::Updated(_) => counts.updated += 1,
                Done::Unchanged(_) => counts.unchanged += 1,
                Done::Refused(_) => counts.refused += 1,
            }
        }
        counts
    }
}

/// Turns one item's JSON into a change.
pub type Read = Box<dyn Fn(&[u8]) -> Result<Change> + Send + Sync>;

/// Applies what came in and answers in the same form.
pub async fn receive(ctx: Ctx, incoming: Incoming, read: Read) -> Result<Response> {
    match incoming {
        Incoming::Whole(bytes) if is_array(&bytes) => array(&ctx, &bytes, &read).await,
        Incoming::Whole(bytes) => one(&ctx, read(&bytes)?).await,
        Incoming::Lines(body) => Ok(lines(ctx, body, read)),
    }
}

fn is_array(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

async fn one(ctx: &Ctx, change: Change) -> Result<Response> {
    let done = Done::from(changes::apply_one(ctx, change).await?);
    Ok(match done {
        Done::Refused(field) => return Err(Problem::invalid(vec![field])),
        Done::Created(_) => (StatusCode::CREATED, Json(OneOrManyDone::One(done))).into_response(),
        _ => Json(OneOrManyDone::One(done)).into_response(),
    })
}

async fn array(ctx: &Ctx, bytes: &[u8], read: &Read) -> Result<Response> {
    let items: Vec<&RawValue> = parse(bytes)?;
    if items.len() > MAX_ITEMS {
        let detail = format!("an array holds at most {MAX_ITEMS} items; send lines instead");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    let items = items.into_iter().map(|item| read(item.get().as_bytes())).collect();
    let results = apply(ctx, items).await?;
    let counts = ItemCounts::of(&results);
    Ok(Json(OneOrManyDone::Many(ManyDone { results, counts })).into_response())
}

/// Applies what could be read and puts the outcomes where the items were.
async fn apply(ctx: &Ctx, items: Vec<Result<Change>>) -> Result<Vec<Done>> {
    let mut good = Vec::with_capacity(items.len());
    let mut results: Vec<Option<Done>> = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(change) => {
                good.push(change);
                results.push(None);
            }
            Err(problem) => results.push(Some(Done::Refused(problem.into_field()))),
        }
    }
    let mut outcomes = changes::apply(ctx, good).await?.into_iter().map(Done::from);
    let filled = results.into_iter().map(|done| done.or_else(|| outcomes.next()));
    filled.map(|done| done.ok_or_else(|| internal("an item without an outcome"))).collect()
}

fn internal(text: &str) -> Problem {
    Problem::from(tidings_engine::Error::Internal(text.to_owned()))
}

/// Reads lines and answers with one line each. Where the store goes away in the middle, the lines
/// in hand are answered with `unavailable` and the stream ends: what has no answer was not kept.
fn lines(ctx: Ctx, body: Body, read: Read) -> Response {
    struct Work {
        ctx: Ctx,
        lines: Lines<BodyDataStream>,
        read: Read,
        ended: bool,
    }
    let work = Work { ctx, lines: Lines::new(body.into_data_stream()), read, ended: false };
    let answers = futures::stream::unfold(work, |mut work| async move {
        if work.ended {
            return None;
        }
        let batch = work.lines.next_batch().await?;
        let items: Vec<Result<Change>> = batch
            .into_iter()
            .map(|line| match line {
                Ok(line) => (work.read)(&line),
                Err(TooLong) => Err(Problem::too_large(MAX_LINE)),
            })
            .collect();
        let count = items.len();
        let results = match apply(&work.ctx, items).await {
            Ok(results) => results,
            Err(problem) => {
                work.ended = true;
                let field = problem.into_field();
                (0..count).map(|_| Done::Refused(field.clone())).collect()
            }
        };
        Some((Ok::<Bytes, std::convert::Infallible>(as_lines(&results)), work))
    });
    ndjson(answers)
}

/// Items as lines of JSON.
pub fn as_lines<T: Serialize>(items: &[T]) -> Bytes {
    let mut text = Vec::with_capacity(items.len() * 96);
    for item in items {
        // Writing to memory cannot fail, and our own types are always JSON.
        if serde_json::to_writer(&mut text, item).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}

/// An answer of lines.
pub fn ndjson<E>(stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Response
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Body::from_stream(stream);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// A line that is longer than a line may be.
#[derive(Debug, PartialEq, Eq)]
struct TooLong;

/// Cuts a body into lines.
struct Lines<S> {
    source: Pin<Box<S>>,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    /// Whether the rest of a line that was too long is being thrown away.
    skipping: bool,
    ended: bool,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    fn new(source: S) -> Lines<S> {
        Lines {
            source: Box::pin(source),
            buffer: BytesMut::new(),
            searched: 0,
            skipping: false,
            ended: false,
        }
    }

    /// The lines that are there, at least one and at most a batch; blank ones are left out. `None`
    /// at the end, or where the caller broke off.
    async fn next_batch(&mut self) -> Option<Vec<Result<Bytes, TooLong>>> {
        let mut batch = Vec::new();
        loop {
            while batch.len() < BATCH {
                let Some(line) = self.take_line() else { break };
                batch.push(line);
            }
            if batch.len() >= BATCH {
                return Some(batch);
            }
            if self.ended {
                return (!batch.is_empty()).then_some(batch);
            }
            let next = if batch.is_empty() {
                self.source.next().await
            } else {
                // Whoever waits for the answers to these lines should not wait for more lines.
                match self.source.next().now_or_never() {
                    Some(next) => next,
                    None => return Some(batch),
                }
            };
            match next {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(_)) => {
                    // Half a line of a caller who broke off is not a line.
                    self.buffer.clear();
                    self.searched = 0;
                    self.ended = true;
                }
                None => {
                    self.ended = true;
                    self.buffer.extend_from_slice(b"\n");
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<Result<Bytes, TooLong>> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(at) = found.map(|at| at + self.searched) else {
                self.searched = self.buffer.len();
                if self.buffer.len() > MAX_LINE {
                    self.buffer.clear();
                    self.searched = 0;
                    if !self.skipping {
                        self.skipping = true;
                        return Some(Err(TooLong));
                    }
                }
                return None;
            };
            let line = self.buffer.split_to(at + 1).freeze();
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > MAX_LINE {
                return Some(Err(TooLong));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Ok(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Result<String, TooLong>> {
        let chunks: Vec<Result<Bytes, String>> =
            chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut lines = Lines::new(futures::stream::iter(chunks));
        let mut all = Vec::new();
        futures::executor::block_on(async {
            while let Some(batch) = lines.next_batch().await {
                all.extend(batch);
            }
        });
        let text = |line: Bytes| String::from_utf8_lossy(line.trim_ascii()).into_owned();
        all.into_iter().map(|line| line.map(text)).collect()
    }

    #[test]
    fn lines_are_cut_wherever_the_chunks_end() {
        let expected: Vec<Result<String, TooLong>> =
            ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"].map(|line| Ok(line.to_owned())).into();
        let whole = b"{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":3}";
        assert_eq!(cut(&[whole]), expected);
        for at in 0..whole.len() {
            assert_eq!(cut(&[&whole[..at], &whole[at..]]), expected, "cut at {at}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_one_refusal_and_no_memory() {
        let long = vec![b'x'; MAX_LINE / 2 + 1];
        let lines = cut(&[b"1\n", &long, &long, &long, &long, b"\n2\n", &long, &long, b"\n3"]);
        assert_eq!(
            lines,
            [
                Ok("1".to_owned()),
                Err(TooLong),
                Ok("2".to_owned()),
                Err(TooLong),
                Ok("3".to_owned())
            ]
        );
    }

    #[test]
    fn a_stream_that_breaks_off_gives_no_half_line() {
        let chunks: Vec<Result<Bytes, String>> =
            vec![Ok(Bytes::from_static(b"1\n{\"half\"")), Err("broken".to_owned())];
        let mut lines = Lines::new(futures::stream::iter(chunks));
        let first = futures::executor::block_on(lines.next_batch()).unwrap();
        assert_eq!(first.len(), 1);
        assert!(futures::executor::block_on(lines.next_batch()).is_none());
    }
}
