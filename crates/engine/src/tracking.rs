//! What comes back from mail readers: opens, clicks, and the wish to hear no more.

use tidings_domain::CustomerId;
use tidings_domain::change::{Change, CustomerRef};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_store::campaigns::Campaign;
use tidings_store::deliveries::{DeliveryKey, Reaction};

use crate::links::{Link, Purpose};
use crate::pages::{self, Words};
use crate::{Ctx, Error, Hub, Result, changes};
use std::sync::Arc;

/// Who follows a link, as far as the request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    pub ip: Option<std::net::IpAddr>,
    pub user_agent: Option<String>,
}

impl Visitor {
    /// What is kept of the visitor beside what they said.
    pub fn proof(&self, via: Via) -> Proof {
        let user_agent = self
            .user_agent
            .as_ref()
            .map(|text| text.chars().filter(|c| !c.is_control()).take(400).collect::<String>());
        let ip = self.ip.map(|ip| ip.to_canonical().to_string());
        Proof { via, text_version: None, ip, user_agent }
    }
}

/// A signed link that was followed, with its campaign.
struct Followed {
    ctx: Ctx,
    campaign: Campaign,
    key: DeliveryKey,
}

async fn follow(hub: &Arc<Hub>, link: &Link) -> Result<Followed> {
    let gone = || Error::NotFound("this link".to_owned());
    let rows = hub.store.system.workspaces().await?;
    let row = rows.into_iter().find(|row| u32::try_from(row.number) == Ok(link.workspace));
    let ctx = hub.ctx(row.ok_or_else(gone)?.id).await?;
    let number = i32::try_from(link.campaign).map_err(|_| gone())?;
    let campaign = ctx.workspace.campaign_by_number(number).await?.ok_or_else(gone)?;
    let key = DeliveryKey { campaign: number, customer: link.customer };
    Ok(Followed { ctx, campaign, key })
}

async fn react(
    followed: &Followed,
    reaction: Reaction,
    properties: serde_json::Value,
) -> Result<()> {
    let Followed { ctx, campaign, key } = followed;
    ctx.workspace.react(*key, campaign.id, reaction, properties, ctx.now()).await?;
    ctx.wake();
    Ok(())
}

/// Records that a message was opened.
pub async fn open(hub: &Arc<Hub>, token: &str) -> Result<()> {
    let link = read(hub, token)?;
    if link.purpose != Purpose::Open {
        return Err(Error::NotFound("this link".to_owned()));
    }
    react(&follow(hub, &link).await?, Reaction::Opened, serde_json::json!({})).await
}

/// Records a click and gives where it leads.
pub async fn click(hub: &Arc<Hub>, token: &str) -> Result<String> {
    let link = read(hub, token)?;
    let followed = follow(hub, &link).await?;
    let gone = || Error::NotFound("this link".to_owned());
    let url = match link.purpose {
        Purpose::ClickTo(url) => url,
        Purpose::Click(number) => {
            let number = i32::try_from(number).map_err(|_| gone())?;
            let found = followed.ctx.workspace.campaign_link(followed.key.campaign, number);
            found.await?.ok_or_else(gone)?
        }
        Purpose::Open | Purpose::Unsubscribe => return Err(gone()),
    };
    react(&followed, Reaction::Clicked, serde_json::json!({"url": url})).await?;
    Ok(url)
}

/// The words of the page that asks, in the reader's language.
pub async fn unsubscribe_page(hub: &Arc<Hub>, token: &str, accept: Option<&str>) -> Result<Words> {
    let link = unsubscribe_link(hub, token)?;
    pages::words(&follow(hub, &link).await?.ctx, accept).await
}

/// Whose an unsubscribe link is; it opens the preference page too.
pub(crate) async fn link_holder(hub: &Arc<Hub>, token: &str) -> Result<(Ctx, CustomerId)> {
    let link = unsubscribe_link(hub, token)?;
    let ctx = follow(hub, &link).await?.ctx;
    let customer = ctx.workspace.customer(CustomerRef::Id(link.customer)).await?;
    let gone = || Error::NotFound("this link".to_owned());
    Ok((ctx, customer.ok_or_else(gone)?.id))
}

/// Takes consent for e-mail back. What is planned and has not begun is called off in the same
/// transaction.
pub async fn unsubscribe(hub: &Arc<Hub>, token: &str, source: &str, proof: Proof) -> Result<()> {
    let link = unsubscribe_link(hub, token)?;
    let followed = follow(hub, &link).await?;
    withdraw(&followed.ctx, link.customer, source, proof).await?;
    react(&followed, Reaction::Unsubscribed, serde_json::json!({"source": source})).await
}

async fn withdraw(ctx: &Ctx, customer: CustomerId, source: &str, proof: Proof) -> Result<()> {
    let change = Change::ChangeConsent {
        customer: CustomerRef::Id(customer),
        channel: Channel::Email,
        topic: String::new(),
        state: ConsentState::Withdrawn,
        source: source.to_owned(),
        proof,
    };
    changes::apply_one(ctx, change).await.map(|_| ())
}

fn read(hub: &Arc<Hub>, token: &str) -> Result<Link> {
    hub.link_keys().read(token).ok_or_else(|| Error::NotFound("this link".to_owned()))
}

fn unsubscribe_link(hub: &Arc<Hub>, token: &str) -> Result<Link> {
    let link = read(hub, token)?;
    match link.purpose {
        Purpose::Unsubscribe => Ok(link),
        _ => Err(Error::NotFound("this link".to_owned())),
    }
}
