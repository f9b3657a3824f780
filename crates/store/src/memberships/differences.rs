//! What judgements come to: rows of memberships and checks, and what is told of them.

use std::collections::{BTreeSet, HashMap};

use tidings_domain::judge::Verdict;
use tidings_domain::rule::calendar::Zone;
use tidings_domain::{CustomerId, Timestamp};

use super::days::Moves;
use super::facts::owner_rows;
use super::transitions::{SEGMENT_ENTERED, SEGMENT_LEFT, Transitions};
use super::{LiveSegment, LiveSegments, MEMBER_KEY, member_key};
use crate::Result;
use crate::bulk::{
    ColumnType, OnConflict, column, delete_many, insert_many, select_many, update_many,
};
use crate::changes::{OWNER_KEY, sort_rows};
use crate::engines::Tx;
use crate::sql::{Dialect, Param};

/// How customers stand now: the segments they are in with the time of the next check, and the
/// checks of those they are not in.
#[derive(Default)]
pub(super) struct Standing {
    member: HashMap<(CustomerId, i32), Option<Timestamp>>,
    check: HashMap<(CustomerId, i32), Timestamp>,
}

impl Standing {
    pub(super) async fn load(tx: &mut Tx, ids: &[CustomerId]) -> Result<Standing> {
        let mut standing = Standing::default();
        let rows = owner_rows(ids);
        let wanted = "t.customer_id, t.segment_number, t.next_check_at";
        for row in select_many(tx, "segment_members", wanted, &OWNER_KEY, &rows, "").await? {
            standing.member.insert((CustomerId(row.uuid(0)?), row.small(1)?), row.opt_time(2)?);
        }
        let wanted = "t.customer_id, t.segment_number, t.check_at";
        for row in select_many(tx, "segment_checks", wanted, &OWNER_KEY, &rows, "").await? {
            standing.check.insert((CustomerId(row.uuid(0)?), row.small(1)?), row.time(2)?);
        }
        Ok(standing)
    }
}

/// Changes of membership that a batch of judgements comes to.
#[derive(Default)]
pub(super) struct Differences {
    now: Timestamp,
    /// When segments that read the calendar are evaluated as a whole.
    midnight: Timestamp,
    enter: Vec<Vec<Param>>,
    leave: Vec<Vec<Param>>,
    recheck: Vec<Vec<Param>>,
    check: Vec<Vec<Param>>,
    uncheck: Vec<Vec<Param>>,
    moved: Vec<(CustomerId, i32, bool)>,
}

impl Differences {
    pub(super) fn at(now: Timestamp, zone: &Zone) -> Differences {
        Differences { now, midnight: zone.next_midnight(now), ..Differences::default() }
    }

    /// `fired` where the clock asked for this judgement.
    pub(super) fn note(
        &mut self,
        id: CustomerId,
        segment: &LiveSegment,
        verdict: Verdict,
        standing: &Standing,
        fired: bool,
    ) {
        let key = (id, segment.number);
        // A segment with dates is evaluated as a whole at midnight, and everybody armed anew.
        let is_later = |at: &Timestamp| segment.rule.reads().calendar && *at >= self.midnight;
        let next = verdict.next_check_at.filter(|at| !is_later(at));
        let check = standing.check.get(&key).copied();
        match (standing.member.get(&key), verdict.member) {
            (None, true) => {
                self.moved.push((id, segment.number, true));
                let mut row = member_key(id, segment.number);
                row.extend([self.now.into(), next.into(), segment.version.into()]);
                self.enter.push(row);
                self.set_check(key, check, None, true);
            }
            (Some(_), false) => {
                self.moved.push((id, segment.number, false));
                self.leave.push(member_key(id, segment.number));
                self.set_check(key, check, next, true);
            }
            (Some(known), true) => {
                let wanted = rearmed(*known, next, fired);
                if wanted != *known {
                    let mut row = member_key(id, segment.number);
                    row.push(wanted.into());
                    self.recheck.push(row);
                }
            }
            (None, false) => self.set_check(key, check, next, fired),
        }
    }

    /// `exact` where an earlier time that was known before has come, or counts no more.
    fn set_check(
        &mut self,
        key: (CustomerId, i32),
        known: Option<Timestamp>,
        next: Option<Timestamp>,
        exact: bool,
    ) {
        let wanted = rearmed(known, next, exact);
        if wanted == known {
            return;
        }
        match wanted {
            Some(at) => {
                let mut row = member_key(key.0, key.1);
                row.push(at.into());
                self.check.push(row);
            }
            None => self.uncheck.push(member_key(key.0, key.1)),
        }
    }

    /// Takes back a check that there is nothing to judge for.
    pub(super) fn disarm(&mut self, key: (CustomerId, i32), standing: &Standing) {
        if standing.member.get(&key).is_some_and(Option::is_some) {
            let mut row = member_key(key.0, key.1);
            row.push(Param::Null);
            self.recheck.push(row);
        }
        self.set_check(key, standing.check.get(&key).copied(), None, true);
    }

    pub(super) async fn apply(
        mut self,
        tx: &mut Tx,
        zone: &Zone,
        live: &LiveSegments,
    ) -> Result<()> {
        self.write_rows(tx).await?;
        self.tell(tx, zone, live).await
    }

    async fn write_rows(&mut self, tx: &mut Tx) -> Result<()> {
        let [bucket, customer, segment] = MEMBER_KEY;
        let next = column("next_check_at", ColumnType::BigInt);
        let columns = [
            bucket,
            customer,
            segment,
            column("since", ColumnType::BigInt),
            next,
            column("version", ColumnType::Int),
        ];
        let rows = [
            &mut self.enter,
            &mut self.leave,
            &mut self.recheck,
            &mut self.check,
            &mut self.uncheck,
        ];
        for rows in rows {
            sort_rows(rows);
        }
        insert_many(tx, "segment_members", &columns, &self.enter, OnConflict::Keep, "").await?;
        delete_many(tx, "segment_members", &MEMBER_KEY, &self.leave).await?;
        let set = [next];
        update_many(tx, "segment_members", &MEMBER_KEY, &set, &self.recheck, "", "").await?;
        delete_many(tx, "segment_checks", &MEMBER_KEY, &self.uncheck).await?;
        let checks = [bucket, customer, segment, column("check_at", ColumnType::BigInt)];
        let clause = match tx.dialect() {
            Dialect::Sqlite => {
                "(segment_number, customer_id) do update set check_at = excluded.check_at"
            }
            Dialect::Postgres => {
                "(bucket, customer_id, segment_number) do update set check_at = excluded.check_at"
            }
        };
        let conflict = OnConflict::Clause(clause);
        insert_many(tx, "segment_checks", &checks, &self.check, conflict, "").await?;
        Ok(())
    }

    /// Writes the events and figures that follow, and marks who must be judged because of them.
    async fn tell(self, tx: &mut Tx, zone: &Zone, live: &LiveSegments) -> Result<()> {
        let asked: BTreeSet<i32> =
            live.segments.iter().flat_map(|segment| segment.rule.references()).collect();
        let mut transitions = Transitions::default();
        let mut moves = Moves::default();
        let mut dirty = crate::changes::Dirty::default();
        for (customer, number, entered) in self.moved {
            let Some(segment) = live.segments.iter().find(|one| one.number == number) else {
                continue;
            };
            moves.note(number, usize::from(entered), usize::from(!entered), segment.evaluated);
            if asked.contains(&number) {
                dirty.mark(customer, format!("s{number}"));
            }
            if segment.evaluated {
                let name = if entered { SEGMENT_ENTERED } else { SEGMENT_LEFT };
                transitions.note(customer, name, segment.id, &segment.name);
            }
        }
        transitions.write(tx, self.now, &mut dirty, live).await?;
        moves.write(tx, zone, self.now).await?;
        dirty.write(tx, self.now).await
    }
}

/// The next check after a judgement. A change never moves it later: it fires, the customer is
/// judged, and only then is the time exact again.
fn rearmed(known: Option<Timestamp>, next: Option<Timestamp>, exact: bool) -> Option<Timestamp> {
    match (known, next) {
        (Some(known), Some(next)) if !exact => Some(known.min(next)),
        (Some(known), None) if !exact => Some(known),
        (_, next) => next,
    }
}
