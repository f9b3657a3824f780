//! Asking the index of searched texts, a round at a time, in the order of system ids.
//!
//! On SQLite the index gives its matches in that order. On PostgreSQL it gives them in none, so a
//! text that very many have would be sorted for nothing: the next few thousand texts are read
//! first, and the index is asked only where these do not fill the page, for then few have it.

use std::fmt::Write as _;

use tidings_domain::CustomerId;
use tidings_domain::search::{Wanted, needle_grams};

use super::index::gram_number;
use crate::Result;
use crate::engines::Tx;
use crate::sql::{Dialect, Param, Row};

/// How many system ids are looked through before the index is asked.
const WALK: i64 = 10_000;
/// How many matches are taken from the index at once, at least.
const ROUND: usize = 200;

const MATCHES_SQLITE: &str = "select s.rowid, s.customer_id, s.text from {s}search_texts s
     where s.search_texts match ?1 and s.rowid > ?2 order by s.rowid limit ?3";
/// How far a search has come.
pub(super) struct Place {
    /// Everything up to this system id has been looked at.
    pub reached: i64,
    /// Nothing is left.
    pub is_at_end: bool,
    walked: bool,
}

impl Place {
    pub(super) fn new(after: i64) -> Place {
        Place { reached: after, is_at_end: false, walked: false }
    }

    /// Moves behind the rows of a round that could have given so many.
    fn pass(&mut self, rows: &[Row], most: usize) -> Result<()> {
        match rows.last() {
            Some(last) if rows.len() >= most => self.reached = last.int(0)?,
            _ => (self.reached, self.is_at_end) = (i64::MAX, true),
        }
        Ok(())
    }
}

/// The next customers whose indexed text holds what is wanted; moves the place behind them.
pub(super) async fn next(
    tx: &mut Tx,
    wanted: &Wanted,
    place: &mut Place,
    count: usize,
) -> Result<Vec<CustomerId>> {
    let rows = match tx.dialect() {
        Dialect::Sqlite => {
            let most = count.max(ROUND);
            let params = crate::params![match_text(wanted), place.reached, most as i64];
            let rows = tx.query_text(MATCHES_SQLITE, params).await?;
            place.pass(&rows, most)?;
            rows
        }
        Dialect::Postgres if !place.walked => {
            place.walked = true;
            let to = place.reached.saturating_add(WALK);
            let most = count.max(ROUND);
            let (text, mut params) = walk_postgres(wanted);
            params.splice(0..0, crate::params![place.reached, to, most as i64].to_vec());
            let rows = tx.query_text(&text, &params).await?;
            place.pass(&rows, most)?;
            if rows.len() < most {
                (place.reached, place.is_at_end) = (to, false);
            }
            rows
        }
        Dialect::Postgres => {
            let most = count.max(ROUND);
            let params = crate::params![place.reached, most as i64];
            let rows = tx.query_once(&matches_postgres(wanted), params).await?;
            place.pass(&rows, most)?;
            rows
        }
    };
    let mut found = Vec::new();
    for row in &rows {
        if wanted.is_in(&row.text(2)?) {
            found.push(CustomerId(row.uuid(1)?));
        }
    }
    Ok(found)
}

/// The texts of a range of system ids that hold what is wanted, and the needles as parameters.
fn walk_postgres(wanted: &Wanted) -> (String, Vec<Param>) {
    let mut params: Vec<Param> = Vec::new();
    let mut ways: Vec<String> = Vec::new();
    for way in &wanted.ways {
        let mut conditions = Vec::new();
        for needle in way {
            params.push(needle.as_str().into());
            conditions.push(format!("strpos(text, ?{}) > 0", params.len() + 3));
        }
        ways.push(conditions.join(" and "));
    }
    let text = format!(
        "select system_id, customer_id, text from {{s}}search_texts
         where system_id > ?1 and system_id <= ?2 and ({}) order by system_id limit ?3",
        ways.join(" or ")
    );
    (text, params)
}

/// The index's matches on PostgreSQL, all of them first: the order is made of what few there are. The
/// numbers stand in the text, so that it is planned for how frequent they are.
fn matches_postgres(wanted: &Wanted) -> String {
    let ways: Vec<String> = wanted
        .ways
        .iter()
        .map(|way| format!("grams @> '{}'::integer[]", gram_numbers(way)))
        .collect();
    format!(
        "with found as materialized (
           select system_id, customer_id, text from {{s}}search_texts where {})
         select system_id, customer_id, text from found where system_id > ?1
         order by system_id limit ?2",
        ways.join(" or ")
    )
}

/// Grams of all needles as a condition of SQLite's full-text index: `("abc" AND "bcd") OR …`.
fn match_text(wanted: &Wanted) -> String {
    let mut text = String::new();
    for way in &wanted.ways {
        let grams = way.iter().flat_map(|needle| needle_grams(needle));
        for (at, gram) in grams.enumerate() {
            let before = match (at, text.is_empty()) {
                (0, true) => "(",
                (0, false) => ") OR (",
                _ => " AND ",
            };
            text.push_str(before);
            text.push('"');
            for c in gram {
                text.push(c);
                if c == '"' {
                    text.push(c);
                }
            }
            text.push('"');
        }
    }
    text.push(')');
    text
}

/// The numbers of grams of all needles as an array of PostgreSQL.
fn gram_numbers(way: &[String]) -> String {
    let mut text = String::from("{");
    for (at, gram) in way.iter().flat_map(|needle| needle_grams(needle)).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{}", gram_number(gram));
    }
    text.push('}');
    text
}
