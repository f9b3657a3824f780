//! The workspace's own rules of sending: who is held out of every campaign, at which share of
//! bounces a campaign pauses itself, and whom alerts are mailed to.

use serde::{Deserialize, Serialize};
use tidings_domain::campaign::Share;
use tidings_domain::checked;
use tidings_store::own_texts::OwnText;

use crate::{Ctx, Error, Result};

const MAX_RECIPIENTS: usize = 20;
/// Too few mails say nothing about a share.
const LEAST_MAILS: i64 = 20;
const MOST_MAILS: i64 = 1_000_000;

/// The rules; a workspace that has said nothing has the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SendingRules {
    /// Customers who get no marketing campaign at all, so that all campaigns together can be
    /// compared with none.
    pub global_holdout: Option<Share>,
    pub bounces: BounceLimit,
    pub alerts: AlertMail,
}

/// When a campaign pauses itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BounceLimit {
    /// The share of bounced mails; nothing means that no campaign pauses by itself.
    pub share: Option<Share>,
    /// From how many mails on.
    pub from_mails: i64,
}

impl Default for BounceLimit {
    fn default() -> BounceLimit {
        BounceLimit { share: Share::of_percent(5.0), from_mails: 200 }
    }
}

/// Whom alerts are mailed to, and from which address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertMail {
    pub to: Vec<String>,
    pub from: Option<String>,
}

impl BounceLimit {
    /// Whether so many bounces of so many mails are too many.
    pub fn is_passed(&self, ended: i64, bounced: i64) -> bool {
        let Some(share) = self.share else { return false };
        ended >= self.from_mails && bounced as f64 >= ended as f64 * share.percent() / 100.0
    }
}

/// The rules as they stand.
pub async fn get(ctx: &Ctx) -> Result<SendingRules> {
    match ctx.workspace.own_text(OwnText::SendingRules).await? {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Error::Internal(format!("read the rules of sending: {error}"))),
        None => Ok(SendingRules::default()),
    }
}

/// Changes the rules, the whole of them.
pub async fn put(ctx: &Ctx, rules: SendingRules) -> Result<SendingRules> {
    let rules = checked(rules)?;
    let text = serde_json::to_string(&rules)
        .map_err(|error| Error::Internal(format!("write the rules of sending: {error}")))?;
    ctx.workspace.put_own_text(OwnText::SendingRules, text).await?;
    Ok(rules)
}

/// The rules in their one spelling, or what is wrong with them.
pub(crate) fn checked(mut rules: SendingRules) -> Result<SendingRules> {
    if rules.global_holdout.is_some_and(Share::is_whole) {
        let text = "a holdout of 100 % leaves nobody to send to";
        return Err(Error::invalid("global_holdout_percent", text));
    }
    if !(LEAST_MAILS..=MOST_MAILS).contains(&rules.bounces.from_mails) {
        let text = format!("expected {LEAST_MAILS} to {MOST_MAILS} mails");
        return Err(Error::invalid("bounce_pause.from_mails", text));
    }
    check_mail(&mut rules.alerts)?;
    Ok(rules)
}

fn check_mail(alerts: &mut AlertMail) -> Result<()> {
    if alerts.to.len() > MAX_RECIPIENTS {
        let text = format!("expected at most {MAX_RECIPIENTS} addresses");
        return Err(Error::invalid("alert_mail.to", text));
    }
    for (at, address) in alerts.to.iter_mut().enumerate() {
        *address = checked::email(address)
            .map_err(|text| Error::invalid(format!("alert_mail.to[{at}]"), text))?;
    }
    alerts.from = alerts.from.take().filter(|text| !text.trim().is_empty());
    if let Some(from) = &mut alerts.from {
        *from = checked::email(from).map_err(|text| Error::invalid("alert_mail.from", text))?;
    }
    if alerts.from.is_none() && !alerts.to.is_empty() {
        return Err(Error::invalid("alert_mail.from", "alerts need an address to come from"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounces_are_judged_from_enough_mails_on() {
        let limit = BounceLimit::default();
        for (ended, bounced, expected) in [
            (199, 199, false),
            (200, 9, false),
            (200, 10, true),
            (10_000, 499, false),
            (10_000, 500, true),
        ] {
            assert_eq!(limit.is_passed(ended, bounced), expected, "{bounced} of {ended}");
        }
        let never = BounceLimit { share: None, ..limit };
        assert!(!never.is_passed(1_000, 1_000));
    }
}
