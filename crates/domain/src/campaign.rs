//! Campaigns and deliveries: their states and who may be messaged.

mod evidence;
mod placing;
mod plan;
mod share;
mod uplift;

pub use evidence::{ALPHA, Evidence};
pub use placing::{Arm, Placed, Placing, begins_at, local_instant, test_ends_at};
pub use plan::{
    Goal, LocalTime, MAX_VARIANTS, Metric, Otherwise, Passed, Plan, PlanFault, Test, Variant,
};
pub use share::{Share, keyed_hash};
pub use uplift::{Difference, Means, difference_of_means, difference_of_rates};

use serde::{Deserialize, Serialize};

/// Where a one-off campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    Draft,
    Scheduled,
    /// The audience is being frozen; sending has begun for the part that is.
    Preparing,
    Sending,
    Paused,
    Done,
    Cancelled,
}

/// What a message is for, which decides the checks it must pass and what happens after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageClass {
    Marketing,
    Transactional,
}

/// Where a delivery stands. `Started` is shown as *in flight*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Due,
    /// Committed before the message's last byte leaves.
    Started,
    Sent,
    /// Given up after retries, or refused for another reason than the address.
    Failed,
    /// The receiver says the address does not exist.
    Bounced,
    /// Not sent, with a reason.
    Skipped,
    /// Started, and then the process died: perhaps sent.
    Uncertain,
    Cancelled,
}

macro_rules! names {
    ($type:ident { $($variant:ident = $number:literal $name:literal),* $(,)? }) => {
        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name),* }
            }

            /// The number in the store; frozen.
            pub fn number(self) -> i16 {
                match self { $($type::$variant => $number),* }
            }

            pub fn from_number(number: i16) -> Option<$type> {
                match number { $($number => Some($type::$variant),)* _ => None }
            }

            pub fn parse(text: &str) -> Option<$type> {
                match text { $($name => Some($type::$variant),)* _ => None }
            }
        }
    };
}

names!(CampaignState {
    Draft = 0 "draft", Scheduled = 1 "scheduled", Preparing = 2 "preparing",
    Sending = 3 "sending", Paused = 4 "paused", Done = 5 "done", Cancelled = 6 "cancelled",
});
names!(MessageClass { Marketing = 0 "marketing", Transactional = 1 "transactional" });
names!(DeliveryState {
    Due = 0 "due", Started = 2 "in_flight", Sent = 3 "sent",
    Failed = 4 "failed", Bounced = 5 "bounced", Skipped = 6 "skipped",
    Uncertain = 7 "uncertain", Cancelled = 8 "cancelled",
});

/// Why a message was not sent, in the order the checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    Erased,
    NoAddress,
    Suppressed,
    HardBounced,
    NoConsent,
    /// The template said so, or could not be rendered for this customer.
    NotRendered,
    /// The customer was there when the audience was frozen, and is not any more.
    CustomerGone,
    /// Kept without the message, so that what it does can be seen.
    Holdout,
    /// The local time had passed when the campaign began, and such customers were to be left out.
    LocalTimePassed,
}
names!(SkipReason {
    Erased = 1 "erased", NoAddress = 2 "no_address", Suppressed = 3 "suppressed",
    HardBounced = 4 "hard_bounced", NoConsent = 5 "no_consent", NotRendered = 6 "not_rendered",
    CustomerGone = 7 "customer_gone", Holdout = 8 "holdout",
    LocalTimePassed = 9 "local_time_passed",
});
names!(Arm {
    Message = 1 "message", Test = 2 "test", Rest = 3 "rest", Holdout = 4 "holdout",
    GlobalHoldout = 5 "global_holdout",
});
names!(Metric { Opens = 1 "opens", Clicks = 2 "clicks", Conversions = 3 "conversions" });
names!(Otherwise { Best = 1 "best", First = 2 "first" });
names!(Passed { Send = 1 "send", Skip = 2 "skip" });

/// What is known of a customer when a message to them is considered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reachability {
    pub erased: bool,
    pub has_address: bool,
    pub suppressed: bool,
    pub hard_bounced: bool,
    pub consent: bool,
    /// Their local time has passed, and the campaign leaves such customers out.
    pub too_late: bool,
    /// Drawn to get nothing.
    pub held_out: bool,
}

/// The one place that decides who may be messaged: `None` means yes.
pub fn may_message(class: MessageClass, customer: Reachability) -> Option<SkipReason> {
    if customer.erased {
        return Some(SkipReason::Erased);
    }
    if !customer.has_address {
        return Some(SkipReason::NoAddress);
    }
    if customer.suppressed {
        return Some(SkipReason::Suppressed);
    }
    if customer.hard_bounced {
        return Some(SkipReason::HardBounced);
    }
    if class == MessageClass::Marketing && !customer.consent {
        return Some(SkipReason::NoConsent);
    }
    if customer.too_late {
        return Some(SkipReason::LocalTimePassed);
    }
    if class == MessageClass::Marketing && customer.held_out {
        return Some(SkipReason::Holdout);
    }
    None
}

/// When a refused message is tried again, in seconds after attempt `attempts` (1-based), or `None`
/// to give up. The first two steps are short because greylisting servers ask for just that.
pub fn retry_after_secs(attempts: i32) -> Option<i64> {
    const LADDER: [i64; 8] = [20, 60, 300, 900, 3_600, 10_800, 21_600, 43_200];
    usize::try_from(attempts - 1).ok().and_then(|step| LADDER.get(step)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_made_in_order_and_transactional_skips_consent_and_holdout() {
        use MessageClass::{Marketing, Transactional};
        let fine = Reachability { has_address: true, consent: true, ..Reachability::default() };
        for (class, customer, expected) in [
            (Marketing, fine, None),
            (Marketing, Reachability { consent: false, ..fine }, Some(SkipReason::NoConsent)),
            (Transactional, Reachability { consent: false, ..fine }, None),
            (
                Transactional,
                Reachability { suppressed: true, ..fine },
                Some(SkipReason::Suppressed),
            ),
            (
                Marketing,
                Reachability { suppressed: true, erased: true, ..fine },
                Some(SkipReason::Erased),
            ),
            (Marketing, Reachability::default(), Some(SkipReason::NoAddress)),
            (Marketing, Reachability { held_out: true, ..fine }, Some(SkipReason::Holdout)),
            (Transactional, Reachability { held_out: true, ..fine }, None),
            (
                Marketing,
                Reachability { held_out: true, consent: false, ..fine },
                Some(SkipReason::NoConsent),
            ),
            (
                Transactional,
                Reachability { too_late: true, ..fine },
                Some(SkipReason::LocalTimePassed),
            ),
        ] {
            assert_eq!(may_message(class, customer), expected, "{class:?} {customer:?}");
        }
    }

    #[test]
    fn first_retry_within_30_s_second_within_90_s() {
        assert!(retry_after_secs(1).is_some_and(|s| s <= 30));
        assert!(retry_after_secs(2).is_some_and(|s| s <= 90));
        assert_eq!(retry_after_secs(9), None);
    }
}
