//! A file of customers that are there already, a tenth of them changed, imported again; beside the
//! bare engine that looks each one up, compares and writes what differs.

use anyhow::ensure;

use super::import::same;
use super::search::until_indexed;
use crate::hub::{Hub, Place};
use crate::limits::{sqlite_again, sqlite_fill};
use crate::measure::{Goal, Row};
use crate::people::{Person, person, write_csv, write_csv_of};
use crate::{Options, host};

/// Larger files are no different, and this many rounds of them take long enough.
const MOST: u64 = 300_000;
/// One in so many is changed.
const PART: u64 = 10;

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let rows = options.rows.min(MOST);
    let work = format!("import of {rows} customers again, 10 % changed, SQLite");
    let mut row = Row::new(work, "bare engine", "rows", Goal::AtLeast(0.3));
    let file = host::scratch().join(format!("again-{rows}.csv"));
    write_csv(&file, rows)?;
    let place = Place::sqlite("reimport-hub")?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, rows).await?;
    until_indexed(&hub, rows).await?;
    let path = host::fresh("reimport-limit")?.join("limit.db");
    let mut db = sqlite_fill::like(&place.file(), &path, &["customers", "identities"])?;
    let columns = sqlite_fill::attribute_columns(&place.file())?;
    sqlite_fill::customers(&mut db, &columns, rows)?;
    for round in 0..options.rounds as u64 {
        let now = |number: u64| changed(number, round);
        write_csv_of(&file, rows, now)?;
        let (took, counts) = hub.import_again(&file).await?;
        let of_round = (0..rows).filter(|number| number % PART == round % PART).count() as u64;
        let (updated, unchanged) = (counts["updated"].as_u64(), counts["unchanged"].as_u64());
        ensure!(
            (updated, unchanged) == (Some(of_round), Some(rows - of_round)),
            "{of_round} of {rows} were changed, the hub says {counts}"
        );
        let (bare, written) = sqlite_again::customers(&mut db, &columns, rows, now)?;
        ensure!(written == of_round, "the limit wrote {written} of {of_round}");
        row.round(rows as f64 / took.as_secs_f64(), rows as f64 / bare.as_secs_f64());
        same(&place, &db, &columns)?;
    }
    hub.process.stop().await?;
    Ok(vec![row])
}

/// A customer as they are in a round: another tenth has changed in each, the others stay as they
/// were left.
fn changed(number: u64, round: u64) -> Person {
    let mut one = person(number);
    // The last round up to this one in which it was this customer's turn.
    let turn = number % PART;
    let since = (round + PART - turn) % PART;
    if since <= round {
        let last = i64::try_from(round - since).unwrap_or_default();
        one.score += 1_000 + last;
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_changes_each_round() {
        for round in 1..25 {
            let moved: Vec<u64> =
                (0..100).filter(|one| changed(*one, round) != changed(*one, round - 1)).collect();
            assert_eq!(moved.len(), 10, "round {round}: {moved:?}");
            assert!(moved.iter().all(|one| one % PART == round % PART));
        }
        assert_eq!((0..100).filter(|one| changed(*one, 0) != person(*one)).count(), 10);
    }
}
