//! Who got a campaign's message, who not and why: in pages, and as a file.

use tidings_delimited::{ExportOptions, ExportWriter};
use tidings_domain::campaign::DeliveryState;
use tidings_domain::{CustomerId, Timestamp};
use tidings_store::Page;
use tidings_store::campaigns::Campaign;
use tidings_store::deliveries::Delivery;

use super::contest;
use crate::{Ctx, Error, Result};

/// A page of who got a message, who not and why.
pub async fn deliveries(
    ctx: &Ctx,
    campaign: &Campaign,
    state: Option<DeliveryState>,
    reason: Option<String>,
    after: Option<CustomerId>,
    limit: usize,
) -> Result<Page<Delivery, CustomerId>> {
    let number = campaign.number;
    Ok(ctx.workspace.deliveries(number, state, reason, after, limit).await?)
}

/// The whole list as CSV, a page at a time, so that its size is no matter. Cells that a spreadsheet
/// would run as a formula are defused.
pub fn deliveries_csv(
    ctx: Ctx,
    campaign: Campaign,
) -> impl futures::Stream<Item = Result<Vec<u8>>> + Send {
    enum At {
        Head,
        After(CustomerId),
        End,
    }
    futures::stream::unfold(At::Head, move |at| {
        let (ctx, campaign) = (ctx.clone(), campaign.clone());
        async move {
            let after = match at {
                At::Head => None,
                At::After(id) => Some(id),
                At::End => return None,
            };
            let page = match deliveries(&ctx, &campaign, None, None, after, 1_000).await {
                Ok(page) => page,
                Err(error) => return Some((Err(error), At::End)),
            };
            let next = page.next.map_or(At::End, At::After);
            Some((csv(&campaign, &page.items, after.is_none()), next))
        }
    })
}

/// The name of the variant that a delivery is of, where the campaign has a test.
pub fn variant_name<'c>(campaign: &'c Campaign, delivery: &Delivery) -> Option<&'c str> {
    let at = usize::try_from(delivery.variant?).ok()?;
    contest::name_of(campaign, at)
}

fn csv(campaign: &Campaign, deliveries: &[Delivery], with_head: bool) -> Result<Vec<u8>> {
    let mut writer = ExportWriter::new(Vec::new(), ExportOptions::default());
    let broken = |error: std::io::Error| Error::Internal(error.to_string());
    if with_head {
        let head = [
            "customer",
            "external_id",
            "email",
            "state",
            "reason",
            "reply",
            "attempts",
            "finished_at",
            "opened_at",
            "clicked_at",
            "arm",
            "variant",
        ];
        writer.write_row(head).map_err(broken)?;
    }
    let variant = |one: &Delivery| variant_name(campaign, one);
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    for one in deliveries {
        let cells = [
            one.customer.to_string(),
            one.external_id.clone().unwrap_or_default(),
            one.address.clone().unwrap_or_default(),
            one.state.name().to_owned(),
            one.reason.clone().unwrap_or_default(),
            one.reply.clone().unwrap_or_default(),
            one.attempts.to_string(),
            time(one.finished_at),
            time(one.opened_at),
            time(one.clicked_at),
            one.arm.map(|arm| arm.name().to_owned()).unwrap_or_default(),
            variant(one).unwrap_or_default().to_owned(),
        ];
        writer.write_row(cells.iter().map(String::as_str)).map_err(broken)?;
    }
    writer.finish().map_err(broken)
}
