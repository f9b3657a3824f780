//! The reading half: a thread of its own goes through the file in bounded memory, translates rows
//! into changes, checks them against the schema, and hands over whole chunks.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_delimited::{Item, Layout, Limits, OpenError, Position, Reader, Reason};
use tidings_domain::change::Change;
use tidings_domain::schema::Schema;
use tidings_store::changes::Ready;
use tidings_store::imports::{Chunk, RefusedRow, Source};
use tokio::sync::mpsc;

use crate::imports::json_lines;
use crate::imports::plan::{Plan, column_name};
use crate::imports::unpack::FileKind;

/// Everything the thread needs.
pub(super) struct Reading {
    pub path: PathBuf,
    pub layout: Layout,
    pub kind: FileKind,
    pub headers: Vec<String>,
    pub bytes_total: u64,
    /// The saved position; empty at the beginning.
    pub from: String,
    pub plan: Plan,
    pub schema: Arc<Schema>,
    /// Rows of a chunk, which the writer changes as it learns what fits a turn.
    pub rows: Arc<AtomicUsize>,
    pub bytes: usize,
    pub hand_over: mpsc::Sender<Result<Chunk, Ended>>,
}

/// Why there are no more chunks although the file has not ended.
#[derive(Debug)]
pub enum Ended {
    /// Trying again would not help.
    Failed(String),
    /// The disk failed us; trying again may help.
    Broken(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Broken(error)
    }
}

impl Reading {
    pub(super) fn run(self) {
        if let Err(ended) = self.read() {
            // Where nobody listens any more, nobody wants to know.
            let _ = self.hand_over.blocking_send(Err(ended));
        }
    }

    fn read(&self) -> Result<(), Ended> {
        let mut reader = self.open()?;
        let mut gathered = Gathered::new(self.from.clone());
        loop {
            let last = match reader.read()? {
                None => true,
                Some(item) => {
                    self.take(item, &mut gathered);
                    false
                }
            };
            let rows = self.rows.load(Ordering::Relaxed);
            if !last && gathered.rows() < rows && gathered.bytes < self.bytes {
                continue;
            }
            let position = reader.position();
            let to = serde_json::to_string(&position).map_err(io::Error::other)?;
            let next = Gathered::new(to.clone());
            let chunk = std::mem::replace(&mut gathered, next);
            let chunk = self.chunk(chunk, to, position.byte, last);
            // A closed channel means that the writer has stopped; then so do we.
            if self.hand_over.blocking_send(Ok(chunk)).is_err() || last {
                return Ok(());
            }
        }
    }

    fn open(&self) -> Result<Reader<File>, Ended> {
        let mut file = File::open(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Ended::Failed("the uploaded file is gone; send it again".to_owned())
            }
            _ => Ended::Broken(error),
        })?;
        if file.metadata()?.len() != self.bytes_total {
            let text = "the uploaded file is no longer the one that was sent; send it again";
            return Err(Ended::Failed(text.to_owned()));
        }
        if self.from.is_empty() {
            return Reader::open(file, &self.layout, Limits::default()).map_err(
                |error| match error {
                    OpenError::Fault(fault) => Ended::Failed(fault.to_string()),
                    OpenError::Io(error) => Ended::Broken(error),
                },
            );
        }
        let position: Position = serde_json::from_str(&self.from)
            .map_err(|error| Ended::Failed(format!("the saved position is unreadable: {error}")))?;
        file.seek(SeekFrom::Start(position.byte))?;
        let columns = self.headers.len();
        Ok(Reader::resume(file, &self.layout, Limits::default(), columns, position))
    }

    fn take(&self, item: Item<'_>, gathered: &mut Gathered) {
        match item {
            Item::Row(row) => {
                let position = row.position();
                gathered.bytes += row.raw().len();
                let sets_new = self.plan.sets_new(&row);
                match sets_new.and_then(|sets| Ok((sets, self.plan.change(&row)?))) {
                    Ok((sets_new, change)) => {
                        gathered.sets_new.push(sets_new);
                        gathered.raw.extend_from_slice(row.raw());
                        let (row, line) = (position.row, position.line);
                        gathered.changes.push(change);
                        gathered.sources.push(Source { row, line, end: gathered.raw.len() });
                    }
                    Err(refusal) => {
                        let paths = self.plan.paths.iter();
                        let mut named = paths.filter(|(path, _)| *path == refusal.path);
                        gathered.refused.push(RefusedRow {
                            row: position.row,
                            line: position.line,
                            column: named.next().map(|(_, name)| name.clone()).unwrap_or_default(),
                            code: refusal.code.into_owned(),
                            message: refusal.message,
                            raw: row.raw().to_vec(),
                        });
                    }
                }
            }
            Item::Refused(refused) => {
                gathered.bytes += refused.raw.len();
                let column = refused.fault.column;
                let named = |column: usize| column_name(&self.headers, column.saturating_sub(1));
                let (code, message) = match (self.kind, &refused.fault.reason) {
                    // Lines that are no object were made rows that are too wide.
                    (FileKind::JsonLines, Reason::TooManyColumns { .. }) => {
                        (json_lines::REFUSAL.0, json_lines::REFUSAL.1.to_owned())
                    }
                    (_, reason) => (reason.code(), reason.to_string()),
                };
                gathered.refused.push(RefusedRow {
                    row: refused.position.row,
                    line: refused.position.line,
                    column: column.map(named).unwrap_or_default(),
                    code: code.to_owned(),
                    message,
                    raw: refused.raw.to_vec(),
                });
            }
        }
    }

    fn chunk(&self, gathered: Gathered, to: String, bytes_done: u64, last: bool) -> Chunk {
        Chunk {
            from: gathered.from,
            to,
            bytes_done,
            changes: Ready::new(&self.schema, gathered.changes),
            sources: gathered.sources,
            raw: gathered.raw,
            sets_new: gathered.sets_new,
            refused: gathered.refused,
            columns: self.plan.paths.clone(),
            last,
            marks_absent: self.plan.present.is_some(),
        }
    }
}

/// Rows of the chunk at hand.
struct Gathered {
    from: String,
    changes: Vec<Change>,
    sources: Vec<Source>,
    raw: Vec<u8>,
    sets_new: Vec<bool>,
    refused: Vec<RefusedRow>,
    /// Of all its rows, refused ones too.
    bytes: usize,
}

impl Gathered {
    fn new(from: String) -> Gathered {
        Gathered {
            from,
            changes: Vec::new(),
            sources: Vec::new(),
            raw: Vec::new(),
            sets_new: Vec::new(),
            refused: Vec::new(),
            bytes: 0,
        }
    }

    fn rows(&self) -> usize {
        self.changes.len() + self.refused.len()
    }
}
