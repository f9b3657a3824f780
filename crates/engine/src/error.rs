//! The handful of kinds of error that a caller can act on. Each protocol turns them into its own
//! answer, in one place.

use tidings_store::Error as StoreError;

/// One field that is wrong: where, a stable code, and a sentence that says what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    pub code: &'static str,
    pub message: String,
    /// Where in a text, for templates: line and column, counted from 1.
    pub place: Option<(u32, u32)>,
}

impl Fault {
    pub fn new(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Fault {
        Fault { path: path.into(), code, message: message.into(), place: None }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's input is wrong; each fault names a field.
    #[error("{}", faults_text(.0))]
    Invalid(Vec<Fault>),
    #[error("{0} was not found")]
    NotFound(String),
    /// It is there already, or it is not in a state for this.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("not signed in")]
    Unauthenticated,
    /// The password was right; the code beside it is missing, wrong, or was used before.
    #[error("{}", second_factor_text(*given))]
    SecondFactor { given: bool },
    /// Too many at once; try again after so many seconds.
    #[error("too many requests; try again in {0} s")]
    Limited(u64),
    /// The store cannot be reached now; nothing was kept.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// One wrong field.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Invalid(vec![Fault::new(path, "invalid", message)])
    }
}

fn second_factor_text(given: bool) -> &'static str {
    match given {
        true => "this code is wrong or was used before",
        false => "expected the code of the authenticator app beside the password",
    }
}

fn faults_text(faults: &[Fault]) -> String {
    let texts: Vec<String> = faults
        .iter()
        .map(|fault| match fault.path.as_str() {
            "" => fault.message.clone(),
            path => format!("{path}: {}", fault.message),
        })
        .collect();
    texts.join("; ")
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        match error {
            StoreError::Invalid(text) => Error::invalid("", text),
            StoreError::NotFound(text) => Error::NotFound(text),
            StoreError::Conflict(text) => Error::Conflict(text),
            StoreError::Unavailable(_)
            | StoreError::DiskFull(_)
            | StoreError::DiskFailed(_)
            | StoreError::SchemaMoved(_)
            | StoreError::Fenced => Error::Unavailable(error.to_string()),
            StoreError::Corrupt(_) | StoreError::Database(_) | StoreError::Io(_) => {
                Error::Internal(error.to_string())
            }
        }
    }
}
