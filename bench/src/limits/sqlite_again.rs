//! The bare SQLite engine taking the same file once more: each customer is looked up by number, what
//! is stored is compared with what comes, and only what differs is written.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::people::Person;

/// Customers in one commit.
const CUSTOMERS_A_COMMIT: u64 = 50_000;

/// Takes customers `0..rows` as they are now; gives how long the engine took and how many it wrote.
pub fn customers(
    db: &mut Connection,
    columns: &[String],
    rows: u64,
    person: impl Fn(u64) -> Person,
) -> anyhow::Result<(Duration, u64)> {
    let (named, set): (Vec<String>, Vec<String>) = columns
        .iter()
        .enumerate()
        .map(|(at, name)| (format!("c.{name}"), format!("{name} = ?{}", at + 2)))
        .unzip();
    let find = "select customer_id from identities where kind = 1 and value = ?1";
    let read = format!(
        "select c.system_id, c.email, {} from customers c where c.id = ?1",
        named.join(", ")
    );
    let write =
        format!("update customers set {}, updated_at = ?10 where system_id = ?1", set.join(", "));
    let (mut took, mut written, mut from) = (Duration::ZERO, 0, 0);
    while from < rows {
        let to = rows.min(from + CUSTOMERS_A_COMMIT);
        let people: Vec<Person> = (from..to).map(&person).collect();
        let started = Instant::now();
        let turn = db.transaction()?;
        {
            let mut find = turn.prepare_cached(find)?;
            let mut read = turn.prepare_cached(&read)?;
            let mut write = turn.prepare_cached(&write)?;
            for p in &people {
                let id: [u8; 16] = find.query_row([&p.external_id], |row| row.get(0))?;
                let (number, same) = read.query_row([id], |row| {
                    let text = |at: usize, own: &str| -> rusqlite::Result<bool> {
                        Ok(row.get_ref(at)?.as_str()? == own)
                    };
                    let same = text(1, &p.email)?
                        && text(2, p.first_name)?
                        && text(3, p.last_name)?
                        && text(4, p.country)?
                        && text(5, p.city)?
                        && text(6, &p.birthday)?
                        && row.get::<_, i64>(7)? == p.score
                        && row.get::<_, i64>(8)? == p.revenue
                        && row.get::<_, bool>(9)? == p.newsletter;
                    Ok((row.get::<_, i64>(0)?, same))
                })?;
                if !same {
                    write.execute(params![
                        number,
                        p.first_name,
                        p.last_name,
                        p.country,
                        p.city,
                        p.birthday,
                        p.score,
                        p.revenue,
                        p.newsletter,
                        1_700_000_000_000_001_i64
                    ])?;
                    written += 1;
                }
            }
        }
        turn.commit()?;
        took += started.elapsed();
        from = to;
    }
    Ok((took, written))
}
