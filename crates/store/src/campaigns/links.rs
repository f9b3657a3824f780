//! The links of a campaign's mails, each under a number of its own.

use crate::Result;
use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;

static LINKS: Sql = Sql::reference(
    "campaign_links",
    "select number, url from {s}campaign_links where campaign_number = ?1 order by number",
);

static LINK: Sql = Sql::reference(
    "campaign_link",
    "select url from {s}campaign_links where campaign_number = ?1 and number = ?2",
);

static ADD_LINK: Sql = Sql::reference(
    "add_campaign_link",
    "insert into {s}campaign_links (campaign_number, number, url)
     select ?1, coalesce(max(number), 0) + 1, ?2 from {s}campaign_links where campaign_number = ?1
     on conflict do nothing",
);

pub(crate) static SQL: &[&Sql] = &[&LINKS, &LINK, &ADD_LINK];

async fn links(tx: &mut Tx, number: i32) -> Result<Vec<(i32, String)>> {
    let rows = tx.query(&LINKS, crate::params![number]).await?;
    rows.iter().map(|row| Ok((row.small(0)?, row.text(1)?))).collect()
}

impl Workspace {
    /// Numbers for the links of a campaign's template: each address once.
    pub async fn number_links(&self, number: i32, urls: Vec<String>) -> Result<Vec<(i32, String)>> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let known = links(tx, number).await?;
                for url in urls.iter().filter(|url| !known.iter().any(|(_, k)| k == *url)) {
                    tx.execute(&ADD_LINK, crate::params![number, url]).await?;
                }
                links(tx, number).await
            })
        })
        .await
    }

    pub async fn campaign_links(&self, number: i32) -> Result<Vec<(i32, String)>> {
        self.read(move |tx| Box::pin(async move { links(tx, number).await })).await
    }

    pub async fn campaign_link(&self, number: i32, link: i32) -> Result<Option<String>> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&LINK, crate::params![number, link]).await?;
                row.map(|row| row.text(0)).transpose()
            })
        })
        .await
    }
}
