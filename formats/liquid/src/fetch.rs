//! What a `connected_content` tag asks for and what it gets. Knows nothing of how it is fetched.

use crate::value::Value;

/// One HTTP request a template asks for, everything in it already rendered.
/// Equal requests may share an answer, but for POST without `cache_max_age_seconds`, where `place`
/// keeps two tags apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FetchRequest {
    pub url: String,
    /// Upper case.
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub content_type: Option<String>,
    /// Name of a stored credential.
    pub basic_auth: Option<String>,
    pub retry: bool,
    pub no_cache: bool,
    pub cache_max_age_seconds: Option<u32>,
    /// Line and column of the tag, and how often it ran before in this render.
    pub place: (usize, usize, u32),
}

/// The answer to a [`FetchRequest`].
#[derive(Debug, Clone)]
pub struct Fetched {
    pub status: u16,
    pub body: FetchedBody,
}

#[derive(Debug, Clone)]
pub enum FetchedBody {
    /// Saved in the tag's variable.
    Json(Value),
    /// Printed in place of the tag, or saved as text when the tag has `:save`.
    Text(String),
}
