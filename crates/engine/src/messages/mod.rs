//! What one customer gets: a template compiled once, rendered per customer, its links made ours.

mod blocks;
mod compiled;
mod data;
pub mod mjml;
mod rewrite;

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::{CustomerId, Timestamp};
use tidings_liquid::Value;
use tidings_store::campaigns::Campaign;
use tidings_store::customers::Customer;

pub use blocks::Blocks;
pub use compiled::{Compiled, Data, NotRendered, Parts};
pub(crate) use compiled::{line_and_column, parse_fault, place};
pub use data::{customer_value, dollar_value, is_dollar_known};
pub use rewrite::{links as links_of, with_parameters, with_parameters_everywhere};

use crate::links::{Link, LinkKeys, Purpose};

/// Makes the messages of one campaign: everything that does not change from customer to customer.
pub struct Maker {
    compiled: Compiled,
    keys: LinkKeys,
    /// Where its links point to: the hub, or the sender's own address of it.
    tracking_url: String,
    workspace: u32,
    campaign: u32,
    /// Numbers of the addresses that stand in the template.
    links: HashMap<String, u32>,
    /// What is added to every link.
    link_parameters: Vec<(String, String)>,
    campaign_value: Value,
    workspace_value: Value,
    now: jiff::Zoned,
}

/// A message of one customer, ready to become a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub parts: Parts,
    pub unsubscribe_url: String,
}

impl Maker {
    pub fn new(
        ctx: &crate::Ctx,
        compiled: Compiled,
        campaign: &Campaign,
        links: Vec<(i32, String)>,
        tracking_url: String,
    ) -> Maker {
        let number = |number: i32| u32::try_from(number).unwrap_or_default();
        Maker {
            compiled,
            keys: ctx.hub.link_keys(),
            tracking_url,
            workspace: number(ctx.workspace.row.number),
            campaign: number(campaign.number),
            links: links.into_iter().map(|(at, url)| (url, number(at))).collect(),
            link_parameters: campaign.link_parameters.clone(),
            campaign_value: Value::object([
                ("name", Value::text(campaign.name.as_str())),
                ("number", Value::Int(i64::from(campaign.number))),
                ("api_id", Value::text(campaign.id.to_string())),
                ("dispatch_id", Value::text(campaign.id.to_string())),
            ]),
            workspace_value: workspace_value(ctx),
            now: zoned(ctx),
        }
    }

    fn link(&self, customer: CustomerId, purpose: Purpose) -> Link {
        Link { workspace: self.workspace, campaign: self.campaign, customer, purpose }
    }

    fn url(&self, path: &str, customer: CustomerId, purpose: Purpose) -> String {
        let token = self.keys.token(&self.link(customer, purpose));
        format!("{}/t/{path}/{token}", self.tracking_url)
    }

    /// Renders for a customer, makes the links ours and adds the pixel that tells of an opening.
    pub fn make(&self, customer: &Customer) -> Result<Message, NotRendered> {
        let unsubscribe_url = self.url("u", customer.id, Purpose::Unsubscribe);
        let known = customer_value(customer);
        let dollar = match self.compiled.reads_dollar {
            true => dollar_value(customer, &known, &unsubscribe_url),
            false => Value::Nil,
        };
        let variables = [
            ("custom_attribute", known.clone()),
            ("customer", known),
            ("campaign", self.campaign_value.clone()),
            ("workspace", self.workspace_value.clone()),
            ("unsubscribe_url", Value::text(unsubscribe_url.as_str())),
            ("preferences_url", Value::text(self.url("p", customer.id, Purpose::Unsubscribe))),
        ];
        let language = data::language(customer);
        let data = Data { variables: &variables, dollar, language, now: &self.now };
        let mut parts = self.compiled.render(&data)?;
        let own = format!("{}/t/", self.tracking_url);
        parts.html = rewrite::rewrite(&parts.html, |url| {
            if url.starts_with(&own) {
                return None;
            }
            let url = with_parameters(url, &self.link_parameters);
            let purpose = match self.links.get(url.as_ref()) {
                Some(number) => Purpose::Click(*number),
                None => Purpose::ClickTo(url.into_owned()),
            };
            Some(self.url("c", customer.id, purpose))
        });
        let pixel = format!(
            "<img src=\"{}.gif\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0\">",
            self.url("o", customer.id, Purpose::Open)
        );
        rewrite::append_to_body(&mut parts.html, &pixel);
        Ok(Message { parts, unsubscribe_url })
    }

    /// Where bounces of a customer's message come back to, at the sender's own domain.
    pub fn return_path(&self, customer: CustomerId, domain: &str) -> String {
        let local = self.keys.return_path(self.workspace, self.campaign, customer);
        format!("{local}@{domain}")
    }
}

pub(crate) fn workspace_value(ctx: &crate::Ctx) -> Value {
    Value::object([("name", Value::text(ctx.workspace.row.name.as_str()))])
}

/// Now, in the workspace's time zone.
pub(crate) fn zoned(ctx: &crate::Ctx) -> jiff::Zoned {
    let Timestamp(us) = ctx.now();
    let zone =
        jiff::tz::TimeZone::get(&ctx.workspace.row.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    jiff::Timestamp::from_microsecond(us).unwrap_or_default().to_zoned(zone)
}

/// What a preview knows: as a message would have it, with links that lead nowhere.
pub struct PreviewData {
    variables: Vec<(Arc<str>, Value)>,
    dollar: Value,
    language: Option<String>,
    now: jiff::Zoned,
}

impl PreviewData {
    /// `data` adds variables and wins over what is known; `language` wins over the customer's.
    pub fn new(
        ctx: &crate::Ctx,
        customer: Option<&Customer>,
        campaign: &str,
        data: serde_json::Map<String, serde_json::Value>,
        language: Option<String>,
    ) -> PreviewData {
        let known = customer.map_or(Value::Nil, customer_value);
        let dollar =
            customer.map_or(Value::Nil, |customer| dollar_value(customer, &known, "#unsubscribe"));
        let mut variables: Vec<(Arc<str>, Value)> = vec![
            ("custom_attribute".into(), known.clone()),
            ("customer".into(), known),
            ("campaign".into(), Value::object([("name", Value::text(campaign))])),
            ("workspace".into(), workspace_value(ctx)),
            ("unsubscribe_url".into(), Value::text("#unsubscribe")),
            ("preferences_url".into(), Value::text("#preferences")),
        ];
        for (name, value) in data {
            variables.retain(|(known, _)| known.as_ref() != name.as_str());
            variables.push((name.as_str().into(), Value::from(value)));
        }
        let of_customer = || customer.and_then(data::language).map(str::to_owned);
        PreviewData { variables, dollar, language: language.or_else(of_customer), now: zoned(ctx) }
    }

    /// Renders a template with what is known here.
    pub fn render(&self, compiled: &Compiled) -> Result<Parts, NotRendered> {
        let variables: Vec<(&str, Value)> =
            self.variables.iter().map(|(name, value)| (name.as_ref(), value.clone())).collect();
        compiled.render(&Data {
            variables: &variables,
            dollar: self.dollar.clone(),
            language: self.language.as_deref(),
            now: &self.now,
        })
    }
}
