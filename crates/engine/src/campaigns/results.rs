//! What a campaign came to, arm by arm and variant by variant, beside those who were held out.

use tidings_domain::Timestamp;
use tidings_domain::campaign::{Arm, Difference, Means, difference_of_means, difference_of_rates};
use tidings_domain::{CampaignId, campaign::Goal};
use tidings_store::campaigns::{GoalFigures, Group};

use super::contest::{self, Contest};
use super::goals::{self, GoalSums};
use crate::{Ctx, Result};

/// One arm with one variant.
pub struct GroupResult {
    pub group: Group,
    /// The variant's name, where there is a test.
    pub name: Option<String>,
    /// `None` without a goal.
    pub goal: Option<GoalFigures>,
}

/// How the goal is measured, and until when.
pub struct GoalResult {
    pub goal: Goal,
    pub currency: Option<String>,
    /// Digits after the point of the amounts.
    pub scale: u8,
    /// When the last customer's window ends; `None` while messages are still to go.
    pub closes_at: Option<Timestamp>,
    /// Whether the goal's table and fields are still there.
    pub is_there: bool,
}

/// How much those who got the message did better than those who were held out.
pub struct Uplift {
    /// Whom they are compared with.
    pub control: Arm,
    pub treated_customers: i64,
    pub treated_converted: i64,
    pub control_customers: i64,
    pub control_converted: i64,
    /// Of the share of customers who converted.
    pub rate: Option<Difference>,
    /// Of the revenue a customer, in units of the amount; `None` without amounts.
    pub revenue: Option<Difference>,
}

pub struct Results {
    pub groups: Vec<GroupResult>,
    pub contest: Option<Contest>,
    pub goal: Option<GoalResult>,
    pub uplift: Option<Uplift>,
}

/// What a campaign came to so far.
pub async fn results(ctx: &Ctx, id: CampaignId) -> Result<Results> {
    let campaign = super::get(ctx, id).await?;
    let groups = ctx.workspace.campaign_groups(campaign.number).await?;
    let contest = contest::contest(ctx, &campaign, &groups).await?;
    let sums = goals::sums(ctx, &campaign).await?;
    let goal = match &campaign.plan.goal {
        Some(goal) => {
            let window = i64::from(goal.window_hours) * 3_600;
            let last = ctx.workspace.last_due(campaign.number).await?;
            Some(GoalResult {
                goal: goal.clone(),
                currency: sums.as_ref().and_then(|sums| sums.currency.clone()),
                scale: sums.as_ref().map_or(0, |sums| sums.scale),
                closes_at: last.filter(|(_, waiting)| !waiting).map(|(at, _)| at.plus_secs(window)),
                is_there: sums.is_some(),
            })
        }
        None => None,
    };
    let uplift = sums.as_ref().and_then(uplift);
    let groups = groups
        .into_iter()
        .map(|group| {
            let variant = group.variant.and_then(|at| usize::try_from(at).ok());
            let name = variant.and_then(|at| contest::name_of(&campaign, at)).map(str::to_owned);
            GroupResult { goal: goal_of(sums.as_ref(), &group), name, group }
        })
        .collect();
    Ok(Results { groups, contest, goal, uplift })
}

fn goal_of(sums: Option<&GoalSums>, group: &Group) -> Option<GoalFigures> {
    let sums = sums?;
    let same = |one: &&GoalFigures| (one.arm, one.variant) == (group.arm, group.variant);
    let none = GoalFigures {
        arm: group.arm,
        variant: group.variant,
        customers: 0,
        converted: 0,
        conversions: 0,
        amount: 0,
        squares: 0.0,
    };
    Some(sums.figures.iter().find(same).copied().unwrap_or(none))
}

/// What several arms come to together.
#[derive(Default)]
struct Together {
    customers: i64,
    converted: i64,
    amount: i128,
    squares: f64,
}

fn together(figures: &[GoalFigures], arms: &[Arm]) -> Together {
    let mut sum = Together::default();
    for one in figures.iter().filter(|one| arms.contains(&one.arm)) {
        sum.customers += one.customers;
        sum.converted += one.converted;
        sum.amount += one.amount;
        sum.squares += one.squares;
    }
    sum
}

/// Compares everybody who got the message with the campaign's own holdout or, where it has none,
/// with those who get no campaign at all.
fn uplift(sums: &GoalSums) -> Option<Uplift> {
    let treated = together(&sums.figures, &[Arm::Message, Arm::Test, Arm::Rest]);
    let (arm, control) = [Arm::Holdout, Arm::GlobalHoldout]
        .into_iter()
        .map(|arm| (arm, together(&sums.figures, &[arm])))
        .find(|(_, control)| control.customers > 0)?;
    let unit = 10_f64.powi(i32::from(sums.scale));
    let means = |of: &Together| Means {
        customers: of.customers as f64,
        sum: of.amount as f64 / unit,
        squares: of.squares / (unit * unit),
    };
    let has_amounts = treated.amount != 0 || control.amount != 0;
    Some(Uplift {
        control: arm,
        rate: difference_of_rates(
            (treated.converted, treated.customers),
            (control.converted, control.customers),
        ),
        revenue: has_amounts
            .then(|| difference_of_means(means(&treated), means(&control)))
            .flatten(),
        treated_customers: treated.customers,
        treated_converted: treated.converted,
        control_customers: control.customers,
        control_converted: control.converted,
    })
}

/// An amount as it is written, exact: `1234` with two digits is `12.34`.
pub fn amount_text(amount: i128, scale: u8) -> String {
    if scale == 0 {
        return amount.to_string();
    }
    let unit = 10_u128.pow(u32::from(scale));
    let (whole, part) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{whole}.{part:0width$}", width = usize::from(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (amount, scale, expected) in [
            (1_234, 2, "12.34"),
            (-5, 2, "-0.05"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (i128::from(i64::MAX) * 3, 4, "2767011611056432.7421"),
        ] {
            assert_eq!(amount_text(amount, scale), expected);
        }
    }
}
