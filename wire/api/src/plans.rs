//! What a campaign plans beside its message, as callers write it.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use tidings_domain::TemplateId;
use tidings_domain::campaign as domain;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::errors::{Problem, Result};

/// What is planned; null is not planned.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    pub local: Option<LocalPlan>,
    pub holdout_percent: Option<f64>,
    pub test: Option<TestPlan>,
    pub goal: Option<GoalPlan>,
}

/// A date and time that each customer's own clock must show. Where a clock skips it, the message
/// comes as much later as the clock skips; where it comes twice, the message comes the first time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalPlan {
    #[schema(value_type = String, example = "2026-11-27T09:00:00")]
    pub at: DateTime,
    /// The text attribute with a customer's zone, such as `Europe/Amsterdam`. Where it is missing
    /// or unknown, the workspace's zone counts.
    #[schema(example = "time_zone")]
    pub zone_attribute: String,
    /// What becomes of customers whose local time has passed when the campaign begins.
    #[serde(default)]
    pub passed: Passed,
}

/// `send` at once, or `skip` them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    #[default]
    Send,
    Skip,
}

/// Variants of the message, sent to a share of the audience; the others get the winner.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestPlan {
    /// Two to eight; the first is what stands when nothing is better.
    pub variants: Vec<VariantPlan>,
    /// Of the audience, in percent: above 0 and up to 100. With 100 nobody is left to get the
    /// winner.
    #[schema(example = 20)]
    pub share_percent: f64,
    pub metric: Metric,
    /// From the campaign's beginning until the others get the winner.
    #[schema(minimum = 1, maximum = 2160, example = 24)]
    pub hours: u32,
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// One variant: what differs from the campaign's own message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantPlan {
    #[schema(example = "A")]
    pub name: String,
    /// Of the test's customers, in percent; all weights make 100.
    #[schema(minimum = 1, maximum = 99, example = 50)]
    pub weight: u32,
    #[serde(default)]
    pub subject: Option<String>,
    /// Another template than the campaign's.
    #[serde(default)]
    pub template_id: Option<Uuid>,
    /// The newest unless given; fixed by the launch.
    #[serde(default)]
    pub template_version: Option<i32>,
}

/// What makes a variant better. `conversions` need a goal.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Opens,
    Clicks,
    Conversions,
}

/// What the others get when no variant is certainly better: the `best` so far, or the `first`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    #[default]
    Best,
    First,
}

/// What counts as success: a record of a table within a time after the message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoalPlan {
    /// A table whose records belong to customers.
    #[schema(example = "orders")]
    pub table: String,
    /// A timestamp of that table.
    #[schema(example = "at")]
    pub time_field: String,
    /// What a record is worth: money, a decimal or an integer of that table.
    #[serde(default)]
    #[schema(example = "total")]
    pub amount_field: Option<String>,
    #[schema(minimum = 1, maximum = 2160, example = 168)]
    pub window_hours: u32,
}

/// Both sides of an enum that is the same here and in the domain.
macro_rules! same {
    ($name:ident: $($variant:ident),*) => {
        impl From<$name> for domain::$name {
            fn from(one: $name) -> domain::$name {
                match one { $($name::$variant => domain::$name::$variant),* }
            }
        }
        impl From<domain::$name> for $name {
            fn from(one: domain::$name) -> $name {
                match one { $(domain::$name::$variant => $name::$variant),* }
            }
        }
    };
}
same!(Passed: Send, Skip);
same!(Metric: Opens, Clicks, Conversions);
same!(Otherwise: Best, First);

/// A percentage, or what is wrong with it.
pub fn share(path: &str, percent: f64) -> Result<domain::Share> {
    domain::Share::of_percent(percent).ok_or_else(|| {
        let expected = "expected a percentage above 0 and up to 100, with at most two decimals";
        Problem::field(path, "invalid_value", expected)
    })
}

fn test(plan: TestPlan) -> Result<domain::Test> {
    let variant = |one: VariantPlan| domain::Variant {
        name: one.name,
        weight: one.weight,
        subject: one.subject.filter(|text| !text.is_empty()),
        template: one.template_id.map(TemplateId),
        template_version: one.template_version,
    };
    Ok(domain::Test {
        variants: plan.variants.into_iter().map(variant).collect(),
        share: share("test.share_percent", plan.share_percent)?,
        metric: plan.metric.into(),
        hours: plan.hours,
        otherwise: plan.otherwise.into(),
    })
}

impl Plan {
    /// The plan in the hub's words; whether it fits the workspace is asked there.
    pub fn checked(self) -> Result<domain::Plan> {
        Ok(domain::Plan {
            local: self.local.map(|local| domain::LocalTime {
                at: local.at,
                zone_attribute: local.zone_attribute,
                passed: local.passed.into(),
            }),
            holdout: self.holdout_percent.map(|part| share("holdout_percent", part)).transpose()?,
            test: self.test.map(test).transpose()?,
            goal: self.goal.map(|goal| domain::Goal {
                table: goal.table,
                time_field: goal.time_field,
                amount_field: goal.amount_field.filter(|text| !text.is_empty()),
                window_hours: goal.window_hours,
            }),
        })
    }
}

impl From<domain::Plan> for Plan {
    fn from(plan: domain::Plan) -> Plan {
        let variant = |one: domain::Variant| VariantPlan {
            name: one.name,
            weight: one.weight,
            subject: one.subject,
            template_id: one.template.map(|id| id.0),
            template_version: one.template_version,
        };
        Plan {
            local: plan.local.map(|local| LocalPlan {
                at: local.at,
                zone_attribute: local.zone_attribute,
                passed: local.passed.into(),
            }),
            holdout_percent: plan.holdout.map(domain::Share::percent),
            test: plan.test.map(|test| TestPlan {
                variants: test.variants.into_iter().map(variant).collect(),
                share_percent: test.share.percent(),
                metric: test.metric.into(),
                hours: test.hours,
                otherwise: test.otherwise.into(),
            }),
            goal: plan.goal.map(|goal| GoalPlan {
                table: goal.table,
                time_field: goal.time_field,
                amount_field: goal.amount_field,
                window_hours: goal.window_hours,
            }),
        }
    }
}
