//! Lists: a page of items and an opaque cursor to the next.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::errors::{Problem, Result};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// What to give as `cursor` for the next page; null at the end.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A whole list that needs no pages.
    pub fn whole(items: Vec<T>) -> List<T> {
        List { items, next: None }
    }

    /// A page whose next one starts after `next`.
    pub fn page<C: Serialize>(items: Vec<T>, next: Option<C>) -> List<T> {
        List { items, next: next.map(|next| cursor(&next)) }
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// How many items at most: 1 to 1000, 50 unless given.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1_000;

/// The size of a page, checked.
pub fn checked_limit(limit: Option<usize>) -> Result<usize> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        let message = format!("expected a number from 1 to {MAX_LIMIT}");
        Err(Problem::field("limit", "invalid_value", message))
    }
}

/// A place in a list as opaque text.
pub fn cursor<C: Serialize>(place: &C) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

/// The place that a cursor names.
pub fn place<C: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<C>> {
    let Some(cursor) = cursor else { return Ok(None) };
    let wrong = || Problem::field("cursor", "invalid_cursor", "expected next of a page before");
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    // No name holds a NUL, and PostgreSQL has no place for one.
    if json.windows(6).any(|window| window == b"\\u0000") {
        return Err(wrong());
    }
    serde_json::from_slice(&json).map(Some).map_err(|_| wrong())
}

impl Paging {
    pub fn limit(&self) -> Result<usize> {
        checked_limit(self.limit)
    }

    pub fn place<C: DeserializeOwned>(&self) -> Result<Option<C>> {
        place(self.cursor.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_strange_ones_are_refused() {
        let here = ("ann@example.com".to_owned(), 7);
        assert_eq!(place::<(String, i32)>(Some(&cursor(&here))).unwrap(), Some(here));
        assert_eq!(place::<i32>(None).unwrap(), None);
        for strange in ["", "%%%", "bnVsbA", &cursor(&"text"), &cursor(&("\0", 1))] {
            assert!(place::<(String, i32)>(Some(strange)).is_err(), "{strange}");
        }
        assert!(checked_limit(Some(0)).is_err() && checked_limit(Some(1_001)).is_err());
    }
}
