//! What can go wrong in the store.

/// A fault of the store itself; refusals of a change are outcomes, not errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached or is too busy; trying again may help.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The disk is full.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// The disk gave an input or output error. After one at a commit nobody can say what is on disk.
    #[error("disk failed: {0}")]
    DiskFailed(String),
    /// A unique name is taken, or the row moved under the caller.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The job's lease went to somebody else; nothing of this write was kept.
    #[error("the lease went to another holder")]
    Fenced,
    /// A column or table is not there any more, as somebody has changed the workspace's schema since
    /// the statement was made; nothing of it was kept.
    #[error("the schema was changed meanwhile: {0}")]
    SchemaMoved(String),
    #[error("not found: {0}")]
    NotFound(String),
    /// The caller's value does not fit.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Stored data is not what the schema says.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error("database: {0}")]
    Database(String),
    #[error("file: {0}")]
    Io(#[from] std::io::Error),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
