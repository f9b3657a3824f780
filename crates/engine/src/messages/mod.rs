//! What one customer gets: a template compiled once, rendered per customer, its links made ours.

mod data;
mod rewrite;

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::{CustomerId, Timestamp};
use tidings_liquid::{Context, Escape, ParseError, Rendered, Template, Value, deadline};
use tidings_store::campaigns::Campaign;
use tidings_store::customers::Customer;
use tidings_store::templates::TemplateDraft;

pub use data::customer_value;
pub use rewrite::links as links_of;

use crate::links::{Link, LinkKeys, Purpose};
use crate::{Error, Fault, Result};

/// A template whose parts are parsed.
pub struct Compiled {
    subject: Template,
    html: Template,
    text: Option<Template>,
    /// Addresses that stand in the HTML as they are, the same for every customer.
    pub fixed_links: Vec<String>,
}

/// The parts of a rendered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub subject: String,
    pub html: String,
    /// `None` where the text is to be made from the HTML.
    pub text: Option<String>,
}

/// Why a message was not rendered for a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRendered {
    /// The template called it off, with its reason.
    Aborted(String),
    /// A fault in the template that shows with this customer's data.
    Failed(Fault),
}

impl Compiled {
    /// Parses all parts; each fault names its part, line and column.
    pub fn new(draft: &TemplateDraft) -> Result<Compiled> {
        let mut faults = Vec::new();
        let mut parse = |path: &str, source: &str| match Template::parse(source) {
            Ok(template) => Some(template),
            Err(error) => {
                faults.push(parse_fault(path, &error));
                None
            }
        };
        let subject = parse("subject", &draft.subject);
        let html = parse("html", &draft.html);
        let has_text = !draft.text.trim().is_empty();
        let text = if has_text { parse("text", &draft.text) } else { None };
        match (subject, html) {
            (Some(subject), Some(html)) if faults.is_empty() => Ok(Compiled {
                subject,
                html,
                text,
                fixed_links: rewrite::links(&draft.html)
                    .into_iter()
                    .filter(|url| !url.contains("{{") && !url.contains("{%"))
                    .collect(),
            }),
            _ => Err(Error::Invalid(faults)),
        }
    }

    /// Whether any part reads this variable, by its first name.
    pub fn reads(&self, name: &str) -> bool {
        let parts = [Some(&self.subject), Some(&self.html), self.text.as_ref()];
        parts.into_iter().flatten().any(|part| {
            part.variables().iter().any(|path| path.first().is_some_and(|first| first == name))
        })
    }

    /// Renders all parts with the given variables. Outputs in the HTML are escaped; those in the
    /// subject and the text are plain, and a subject is one line.
    pub fn render(
        &self,
        variables: &[(&str, Value)],
        now: &jiff::Zoned,
    ) -> Result<Parts, NotRendered> {
        let subject = render_part(&self.subject, "subject", variables, now, Escape::None)?;
        let html = render_part(&self.html, "html", variables, now, Escape::Html)?;
        let text = match &self.text {
            Some(text) => Some(render_part(text, "text", variables, now, Escape::None)?),
            None => None,
        };
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Parts { subject, html, text })
    }
}

fn render_part(
    template: &Template,
    path: &str,
    variables: &[(&str, Value)],
    now: &jiff::Zoned,
    escape: Escape,
) -> Result<String, NotRendered> {
    let expired = deadline(tidings_liquid::DEFAULT_TIME);
    let mut context = Context::new(now.clone());
    context.variables = variables;
    context.escape = escape;
    context.expired = Some(&expired);
    match template.render(&context) {
        Ok(Rendered::Complete(text)) => Ok(text),
        Ok(Rendered::Aborted(reason)) => Err(NotRendered::Aborted(reason)),
        Ok(Rendered::Pending(_)) => Err(NotRendered::Failed(Fault::new(
            path,
            "not_rendered",
            "connected content is not available in this message",
        ))),
        Err(error) => Err(NotRendered::Failed(Fault {
            path: path.to_owned(),
            code: "not_rendered",
            message: error.message.clone(),
            place: place(error.line, error.column),
        })),
    }
}

fn parse_fault(path: &str, error: &ParseError) -> Fault {
    Fault {
        path: path.to_owned(),
        code: "template",
        message: error.message.clone(),
        place: place(error.line, error.column),
    }
}

fn place(line: usize, column: usize) -> Option<(u32, u32)> {
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}

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
            campaign_value: Value::object([
                ("name", Value::text(campaign.name.as_str())),
                ("number", Value::Int(i64::from(campaign.number))),
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
        let variables = [
            ("customer", customer_value(customer)),
            ("campaign", self.campaign_value.clone()),
            ("workspace", self.workspace_value.clone()),
            ("unsubscribe_url", Value::text(unsubscribe_url.as_str())),
        ];
        let mut parts = self.compiled.render(&variables, &self.now)?;
        let own = format!("{}/t/", self.tracking_url);
        parts.html = rewrite::rewrite(&parts.html, |url| {
            if url.starts_with(&own) {
                return None;
            }
            let purpose = match self.links.get(url) {
                Some(number) => Purpose::Click(*number),
                None => Purpose::ClickTo(url.to_owned()),
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

/// The variables of a preview: as a message would have them, with links that lead nowhere.
pub fn preview_variables(
    ctx: &crate::Ctx,
    customer: Option<&Customer>,
    campaign: &str,
    data: serde_json::Map<String, serde_json::Value>,
) -> Vec<(Arc<str>, Value)> {
    let mut variables: Vec<(Arc<str>, Value)> = vec![
        ("customer".into(), customer.map_or(Value::Nil, customer_value)),
        ("campaign".into(), Value::object([("name", Value::text(campaign))])),
        ("workspace".into(), workspace_value(ctx)),
        ("unsubscribe_url".into(), Value::text("#unsubscribe")),
    ];
    for (name, value) in data {
        variables.retain(|(known, _)| known.as_ref() != name.as_str());
        variables.push((name.as_str().into(), Value::from(value)));
    }
    variables
}
