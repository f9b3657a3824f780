//! After any sequence of changes and moves of the clock, the live membership equals a full
//! evaluation, and so does the count.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidings_domain::change::Change;
use tidings_domain::{SegmentId, Timestamp};
use tidings_engine::{Ctx, jobs, segments};
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

use super::world::*;

const CUSTOMERS: usize = 8;
const STEPS: usize = 60;

/// Numbers from a fixed seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn period(&mut self) -> &'static str {
        self.pick::<&str>(&["1m", "6h", "1d", "3d", "2w"])
    }

    fn days(&mut self) -> &'static str {
        self.pick::<&str>(&["1d", "3d", "2w"])
    }
}

fn condition(dice: &mut Dice) -> Json {
    match dice.below(9) {
        0 => json!({"attribute": "seen", "op": "within", "value": dice.period()}),
        1 => json!({"attribute": "born", "op": "anniversary_within", "value": dice.days()}),
        2 => json!({"attribute": "born", "op": "within", "value": dice.days()}),
        3 => json!({"tag": (["a", "b"][dice.below(2)])}),
        4 => json!({"attribute": "score", "op": "gt", "value": dice.below(4)}),
        5 => json!({"table": "orders", "count": {"gte": dice.below(3)},
            "where": [{"field": (["placed", "day"][dice.below(2)]), "op": "within",
                       "value": dice.days()}]}),
        6 => json!({"event": (["segment_entered", "segment_left"][dice.below(2)]),
            "where": [{"property": "segment", "op": "eq", "value": "S0"}],
            "within": dice.period()}),
        _ => json!({"event": (["visit", "order"][dice.below(2)]), "within": dice.period(),
            "count": {"gte": dice.below(3), "lte": 1 + dice.below(3)}}),
    }
}

/// A rule over the segments before it.
fn rule(dice: &mut Dice, before: usize, depth: usize) -> Json {
    match dice.below(if depth == 0 { 1 } else { 5 }) {
        1 => json!({"not": rule(dice, before, depth - 1)}),
        2 | 3 => {
            let parts: Vec<Json> =
                (0..1 + dice.below(3)).map(|_| rule(dice, before, depth - 1)).collect();
            json!({(["all", "any"][dice.below(2)]): parts})
        }
        4 if before > 0 => json!({"segment": format!("S{}", dice.below(before))}),
        _ => condition(dice),
    }
}

fn change(dice: &mut Dice, now: Timestamp) -> Change {
    let name = format!("c{}", dice.below(CUSTOMERS));
    let near = now.plus_ms((dice.below(200) as i64 - 180) * HOUR);
    match dice.below(8) {
        0 => customer(&name, &[("seen", json!(near))]),
        1 => customer(&name, &[("born", json!(near.date()))]),
        2 => customer(&name, &[("score", json!(dice.below(6)))]),
        3 => tag(&name, ["a", "b"][dice.below(2)], Some(near)),
        4 => order(&name, &format!("o{}", dice.below(6)), near),
        5 => Change::RemoveTag { customer: named(&name), tag: "a".to_owned() },
        _ => {
            // Events may lie a day ahead of the clock.
            let at = near.min(now.plus_ms(20 * HOUR));
            event(&name, ["visit", "order"][dice.below(2)], at)
        }
    }
}

async fn check(ctx: &Ctx, segments: &BTreeMap<String, SegmentId>, after: &str) -> usize {
    let mut members = 0;
    for (name, id) in segments {
        let (listed, found) = (listed(ctx, *id).await, found(ctx, *id).await);
        let rule = segments::get(ctx, *id).await.expect("the segment").rule;
        let counted = segments::count(ctx, &rule).await.expect("count");
        assert_eq!(counted.count, found.len() as i64, "{name} {after} at {}: {rule}", ctx.now());
        if listed != found {
            panic!("{name} {after} at {}: lists {listed:?}, is {found:?}\n{rule}", ctx.now());
        }
        members += listed.len();
    }
    members
}

async fn live_membership_equals_a_full_evaluation(hub: TestHub) {
    let seed = std::env::var("TIDINGS_AUDIENCE_SEED").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice(seed.unwrap_or(0x5eed_0003));
    let made = hub.hub.store.create_workspace("Dam", "Europe/Amsterdam", false).await.unwrap();
    let ctx = &hub.hub.ctx(made.row.id).await.unwrap();
    // Counts come from columns where these can tell.
    hub.hub.store.columns.set_limit(64 << 20);
    schema(ctx).await;
    let list = (0..CUSTOMERS).map(|number| customer(&format!("c{number}"), &[])).collect();
    apply(ctx, list).await;
    let mut all: BTreeMap<String, SegmentId> = BTreeMap::new();
    let (mut turned_by_clock, mut before) = (0, Vec::new());
    for step in 0..STEPS {
        let what = match dice.below(10) {
            0 | 1 if all.len() < 12 => {
                let name = format!("S{}", all.len());
                let id = segment(ctx, &name, rule(&mut dice, all.len(), 2)).await;
                all.insert(name, id);
                "after a new rule".to_owned()
            }
            0 => {
                let at = dice.below(all.len());
                let (name, id) = (format!("S{at}"), all[&format!("S{at}")]);
                let rule = rule(&mut dice, at, 2);
                segments::change(ctx, id, &name, &rule).await.expect("edit the rule");
                format!("after an edited rule of {name}")
            }
            1 => {
                // What the end of an import does.
                let numbers = segments::list(ctx).await.unwrap();
                let numbers = numbers.iter().map(|one| one.number).collect();
                ctx.workspace.restart_segments(numbers).await.unwrap();
                "after a refresh".to_owned()
            }
            2..=4 => {
                let list = (0..2 + dice.below(8)).map(|_| change(&mut dice, ctx.now())).collect();
                apply(ctx, list).await;
                "after changes".to_owned()
            }
            5..=7 => {
                // To the very moment at which something may turn.
                settle(ctx).await;
                let next = jobs::plan(ctx).await.unwrap();
                let wait = next.map_or(MINUTE, |at| at.ms_since(ctx.now()) + 1);
                hub.clock.advance_ms(wait.min(10 * DAY));
                "at the next check".to_owned()
            }
            _ => {
                let waits = [1, HOUR, 7 * HOUR, DAY, 4 * DAY, 12 * DAY];
                hub.clock.advance_ms(*dice.pick(&waits));
                "after a while".to_owned()
            }
        };
        let by_clock = what.ends_with("check") || what.ends_with("while");
        settle(ctx).await;
        check(ctx, &all, &format!("{what}, step {step}")).await;
        let mut now = Vec::new();
        for id in all.values() {
            now.push(listed(ctx, *id).await);
        }
        turned_by_clock += usize::from(by_clock && now != before);
        before = now;
    }
    // A walk on which the clock moved nobody would have shown nothing.
    assert!(turned_by_clock > 5, "{turned_by_clock} times the clock alone moved somebody");
}

on_both_engines!(live_membership_equals_a_full_evaluation);
