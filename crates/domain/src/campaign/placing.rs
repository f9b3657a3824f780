//! Where a customer of an audience stands: in which arm of a campaign, with which variant, and when
//! their message is due. The freeze of an audience and the review before it ask the same function,
//! so their figures agree.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::share::part_of;
use super::{MessageClass, Passed, Plan, Share, Test, keyed_hash};
use crate::{CampaignId, CustomerId, Timestamp, WorkspaceId};

/// No zone's clock is further ahead of UTC, and none further behind.
const FIRST_ZONE: Offset = Offset::constant(14);
const LAST_ZONE: Offset = Offset::constant(-12);
/// How many names of zones are remembered.
const MAX_NAMES: usize = 2_000;

/// The part of a campaign that a customer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arm {
    /// There is no test: they get the message.
    Message,
    /// They get a variant of the test.
    Test,
    /// They get the winner when the test is over.
    Rest,
    /// They get nothing from this campaign.
    Holdout,
    /// They get nothing from any campaign.
    GlobalHoldout,
}

/// Where one customer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub arm: Arm,
    /// The variant by its number; `None` where it is not known yet, or nothing is sent.
    pub variant: Option<i16>,
    /// When their message is due, or would have been.
    pub due_at: Timestamp,
    /// Their local time had passed, and the plan leaves such customers out.
    pub too_late: bool,
}

/// What places the customers of one campaign.
pub struct Placing {
    plan: Plan,
    campaign: CampaignId,
    workspace: WorkspaceId,
    class: MessageClass,
    /// Of every marketing campaign of the workspace.
    global_holdout: Option<Share>,
    /// When the campaign began; the same for all slices of its audience.
    begun: Timestamp,
    own_zone: TimeZone,
    zones: Mutex<HashMap<String, Option<TimeZone>>>,
}

/// When a local time is, in a zone. Where the clocks skip it, it is as much later as they skip;
/// where it comes twice, it is the first.
pub fn local_instant(at: DateTime, zone: &TimeZone) -> Timestamp {
    match zone.to_ambiguous_timestamp(at).compatible() {
        Ok(instant) => Timestamp(instant.as_microsecond()),
        // Only at the very ends of the calendar, which a checked plan does not reach.
        Err(_) => Timestamp::MAX,
    }
}

/// When a campaign for a local time begins: when the first clock on earth shows it.
pub fn begins_at(at: DateTime) -> Timestamp {
    local_instant(at, &TimeZone::fixed(FIRST_ZONE))
}

/// When the test of a campaign that began at a time is over. Where a local time is planned, its
/// hours count from when the last clock on earth has shown it.
pub fn test_ends_at(plan: &Plan, begun: Timestamp) -> Option<Timestamp> {
    let hours = plan.test.as_ref()?.hours;
    let from = match &plan.local {
        Some(local) => begun.max(local_instant(local.at, &TimeZone::fixed(LAST_ZONE))),
        None => begun,
    };
    Some(from.plus_secs(i64::from(hours) * 3_600))
}

impl Placing {
    pub fn new(
        plan: Plan,
        (campaign, class): (CampaignId, MessageClass),
        (workspace, zone): (WorkspaceId, &str),
        global_holdout: Option<Share>,
        begun: Timestamp,
    ) -> Placing {
        Placing {
            plan,
            campaign,
            workspace,
            class,
            global_holdout,
            begun,
            own_zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC),
            zones: Mutex::default(),
        }
    }

    /// Whether everybody simply gets the message, and at once.
    pub fn is_plain(&self) -> bool {
        self.plan.local.is_none()
            && self.plan.holdout.is_none()
            && self.plan.test.is_none()
            && (self.global_holdout.is_none() || self.class == MessageClass::Transactional)
    }

    /// The attribute that names a customer's zone, where the campaign asks for one.
    pub fn zone_attribute(&self) -> Option<&str> {
        self.plan.local.as_ref().map(|local| local.zone_attribute.as_str())
    }

    /// Whether a text names a zone.
    pub fn knows_zone(&self, name: &str) -> bool {
        self.zone(name).is_some()
    }

    fn zone(&self, name: &str) -> Option<TimeZone> {
        let name = name.trim();
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = zones.get(name) {
            return known.clone();
        }
        let found = TimeZone::get(name).ok();
        if zones.len() < MAX_NAMES {
            zones.insert(name.to_owned(), found.clone());
        }
        found
    }

    /// Places a customer whose zone attribute has this value.
    pub fn place(&self, customer: CustomerId, zone: Option<&str>) -> Placed {
        let (arm, variant) = match &self.plan.test {
            None => (Arm::Message, Some(0)),
            Some(test) => drawn(test, self.campaign, customer),
        };
        let (mut due_at, too_late) = self.due(zone);
        if arm == Arm::Rest
            && let Some(end) = test_ends_at(&self.plan, self.begun)
        {
            due_at = self.due_after(end, zone);
        }
        match self.held_out(customer) {
            Some(arm) => Placed { arm, variant: None, due_at, too_late },
            None => Placed { arm, variant, due_at, too_late },
        }
    }

    /// When the message is due, and whether that had passed already.
    fn due(&self, zone: Option<&str>) -> (Timestamp, bool) {
        let Some(local) = &self.plan.local else { return (self.begun, false) };
        let due = local_instant(local.at, &self.zone_or_own(zone));
        if due >= self.begun {
            return (due, false);
        }
        (self.begun, local.passed == Passed::Skip)
    }

    /// When the winner is due: the end of the test or, where a local time is planned, the first day
    /// after it at that time of day.
    fn due_after(&self, end: Timestamp, zone: Option<&str>) -> Timestamp {
        let Some(local) = &self.plan.local else { return end };
        let zone = self.zone_or_own(zone);
        let mut at = local.at;
        loop {
            let due = local_instant(at, &zone);
            if due >= end {
                return due;
            }
            // Only at the very end of the calendar there is no tomorrow.
            let Ok(tomorrow) = at.tomorrow() else { return end };
            at = tomorrow;
        }
    }

    fn zone_or_own(&self, name: Option<&str>) -> TimeZone {
        name.and_then(|name| self.zone(name)).unwrap_or_else(|| self.own_zone.clone())
    }

    fn held_out(&self, customer: CustomerId) -> Option<Arm> {
        if self.class == MessageClass::Transactional {
            return None;
        }
        let holds = |share: Option<Share>, purpose, key| {
            share.is_some_and(|share| share.holds(keyed_hash(purpose, key, customer)))
        };
        if holds(self.global_holdout, "global holdout", self.workspace.0) {
            return Some(Arm::GlobalHoldout);
        }
        holds(self.plan.holdout, "holdout", self.campaign.0).then_some(Arm::Holdout)
    }
}

/// Whether a customer is in the test, and with which variant.
fn drawn(test: &Test, campaign: CampaignId, customer: CustomerId) -> (Arm, Option<i16>) {
    if !test.share.holds(keyed_hash("test", campaign.0, customer)) {
        return (Arm::Rest, None);
    }
    let mut place = part_of(keyed_hash("variant", campaign.0, customer), 100);
    for (number, variant) in test.variants.iter().enumerate() {
        let weight = u64::from(variant.weight);
        if place < weight {
            return (Arm::Test, i16::try_from(number).ok());
        }
        place -= weight;
    }
    // Only where the weights make less than 100, which a checked plan does not.
    (Arm::Test, Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn placing(plan: &str, class: MessageClass, global: Option<f64>, begun: &str) -> Placing {
        Placing::new(
            serde_json::from_str(plan).expect("a plan"),
            (CampaignId(Uuid::from_u128(1)), class),
            (WorkspaceId(Uuid::from_u128(2)), "Europe/Amsterdam"),
            global.and_then(Share::of_percent),
            begun.parse().expect("a time"),
        )
    }

    fn customer(at: u128) -> CustomerId {
        CustomerId(Uuid::from_u128(at))
    }

    #[test]
    fn everyone_gets_it_when_their_own_clock_shows_the_time() {
        for (at, zone, expected) in [
            ("2026-11-27T09:00", Some("Europe/Amsterdam"), "2026-11-27T08:00:00Z"),
            ("2026-11-27T09:00", Some("America/New_York"), "2026-11-27T14:00:00Z"),
            ("2026-11-27T09:00", Some(" Asia/Kolkata "), "2026-11-27T03:30:00Z"),
            ("2026-11-27T09:00", Some("Pacific/Kiritimati"), "2026-11-26T19:00:00Z"),
            // Missing, empty and unknown: the workspace's zone.
            ("2026-11-27T09:00", None, "2026-11-27T08:00:00Z"),
            ("2026-11-27T09:00", Some(""), "2026-11-27T08:00:00Z"),
            ("2026-11-27T09:00", Some("Europe/Atlantis"), "2026-11-27T08:00:00Z"),
            // Clocks go forward: 02:30 does not exist and becomes 03:30 of summer time.
            ("2027-03-28T02:30", Some("Europe/Amsterdam"), "2027-03-28T01:30:00Z"),
            ("2027-03-14T02:30", Some("America/New_York"), "2027-03-14T07:30:00Z"),
            // Clocks go back: 02:30 comes twice and counts once, the first time.
            ("2027-10-31T02:30", Some("Europe/Amsterdam"), "2027-10-31T00:30:00Z"),
            // Samoa once left out a whole day.
            ("2011-12-30T10:00", Some("Pacific/Apia"), "2011-12-30T20:00:00Z"),
        ] {
            let plan = format!(r#"{{"local": {{"at": "{at}", "zone_attribute": "z"}}}}"#);
            let placing = placing(&plan, MessageClass::Marketing, None, "2000-01-01T00:00:00Z");
            let placed = placing.place(customer(1), zone);
            assert_eq!(placed.due_at.to_string(), expected, "{at} {zone:?}");
            assert!(!placed.too_late);
        }
    }

    #[test]
    fn a_campaign_begins_before_any_clock_shows_its_time() {
        let at: DateTime = "2026-11-27T09:00".parse().expect("a time");
        let begins = begins_at(at);
        assert_eq!(begins.to_string(), "2026-11-26T19:00:00Z");
        for zone in jiff::tz::db().available() {
            let zone = TimeZone::get(zone.as_str()).expect("a zone that is listed");
            assert!(local_instant(at, &zone) >= begins, "{zone:?}");
        }
    }

    #[test]
    fn a_time_that_has_passed_is_now_or_never() {
        let local = r#"{"local": {"at": "2026-11-27T09:00", "zone_attribute": "z"PASSED}}"#;
        for (passed, zone, due, too_late) in [
            ("", "Asia/Tokyo", "2026-11-27T06:00:00Z", false),
            (r#", "passed": "send""#, "Asia/Tokyo", "2026-11-27T06:00:00Z", false),
            (r#", "passed": "skip""#, "Asia/Tokyo", "2026-11-27T06:00:00Z", true),
            (r#", "passed": "skip""#, "Europe/Paris", "2026-11-27T08:00:00Z", false),
        ] {
            let plan = local.replace("PASSED", passed);
            let placing = placing(&plan, MessageClass::Transactional, None, "2026-11-27T06:00:00Z");
            let placed = placing.place(customer(1), Some(zone));
            assert_eq!((placed.due_at.to_string().as_str(), placed.too_late), (due, too_late));
        }
    }

    #[test]
    fn arms_and_variants_have_their_shares() {
        let plan = r#"{"holdout": 10, "test": {"variants": [
            {"name": "A", "weight": 50}, {"name": "B", "weight": 30}, {"name": "C", "weight": 20}],
            "share": 40, "metric": "opens", "hours": 24}}"#;
        let begun = "2026-11-27T06:00:00Z";
        let placing = placing(plan, MessageClass::Marketing, Some(20.0), begun);
        let mut counts: HashMap<(Arm, Option<i16>), f64> = HashMap::new();
        let all = 100_000;
        for at in 0..all {
            let placed = placing.place(customer(at), None);
            *counts.entry((placed.arm, placed.variant)).or_default() += 1.0;
            let later = placed.due_at.to_string() == "2026-11-28T06:00:00Z";
            match placed.arm {
                Arm::Rest => assert!(later),
                Arm::Test => assert!(!later),
                _ => {}
            }
            assert_eq!(placed, placing.place(customer(at), None), "a draw is stable");
        }
        for (arm, variant, share) in [
            (Arm::GlobalHoldout, None, 0.2),
            (Arm::Holdout, None, 0.8 * 0.1),
            (Arm::Rest, None, 0.72 * 0.6),
            (Arm::Test, Some(0), 0.72 * 0.4 * 0.5),
            (Arm::Test, Some(1), 0.72 * 0.4 * 0.3),
            (Arm::Test, Some(2), 0.72 * 0.4 * 0.2),
        ] {
            let found = counts.remove(&(arm, variant)).unwrap_or_default();
            let expected = all as f64 * share;
            let deviation = (expected * (1.0 - share)).sqrt();
            assert!((found - expected).abs() < 5.0 * deviation, "{arm:?} {variant:?}: {found}");
        }
        assert!(counts.is_empty(), "{counts:?}");
    }

    #[test]
    fn the_winner_comes_after_the_test_at_the_same_time_of_day() {
        let plan = r#"{"local": {"at": "2026-11-27T09:00", "zone_attribute": "z"},
            "test": {"variants": [{"name": "A", "weight": 50}, {"name": "B", "weight": 50}],
            "share": 0.01, "metric": "opens", "hours": HOURS}}"#;
        for (hours, zone, expected) in [
            // The last clock shows 09:00 at 21:00 UTC on the 27th.
            ("4", "Europe/Amsterdam", "2026-11-28T08:00:00Z"),
            ("4", "America/Los_Angeles", "2026-11-28T17:00:00Z"),
            ("10", "Pacific/Auckland", "2026-11-28T20:00:00Z"),
            ("48", "Europe/Amsterdam", "2026-11-30T08:00:00Z"),
        ] {
            let plan = plan.replace("HOURS", hours);
            let placing = placing(&plan, MessageClass::Marketing, None, "2026-11-26T19:00:00Z");
            let rest = (0..100).map(|at| placing.place(customer(at), Some(zone)));
            let rest = rest.into_iter().find(|placed| placed.arm == Arm::Rest);
            let due = rest.expect("nearly all are the rest").due_at.to_string();
            assert_eq!(due, expected, "{hours} {zone}");
        }
    }

    #[test]
    fn transactional_mail_reaches_whom_campaigns_leave_out() {
        let placing =
            placing("{}", MessageClass::Transactional, Some(99.0), "2026-11-27T06:00:00Z");
        for at in 0..100 {
            assert_eq!(placing.place(customer(at), None).arm, Arm::Message);
        }
    }
}
