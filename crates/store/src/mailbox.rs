//! The demo's mailbox: what its own mail server has taken in.

use tidings_domain::Timestamp;
use uuid::Uuid;

use crate::Result;
use crate::customers::Page;
use crate::engines::Priority;
use crate::sql::{Param, Row, Sql};
use crate::workspace::Workspace;

/// A mail as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRow {
    pub id: Uuid,
    pub recipient: String,
    pub sender: String,
    pub subject: String,
    pub received_at: Timestamp,
    pub read_at: Option<Timestamp>,
}

/// A mail that has just come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMail {
    pub recipient: String,
    pub sender: String,
    pub subject: String,
    pub message_id: String,
    pub raw: Vec<u8>,
}

static ADD: Sql = Sql::reference(
    "add_mail",
    "insert into {s}mailbox (id, recipient, sender, subject, message_id, raw, received_at)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
);
static GET: Sql = Sql::reference(
    "mail",
    "select id, recipient, sender, subject, received_at, read_at, raw from {s}mailbox where id = ?1",
);
static READ: Sql = Sql::reference(
    "read_mail",
    "update {s}mailbox set read_at = ?2 where id = ?1 and read_at is null",
);

pub(crate) static SQL: &[&Sql] = &[&ADD, &GET, &READ];

fn mail(row: &Row) -> Result<MailRow> {
    Ok(MailRow {
        id: row.uuid(0)?,
        recipient: row.text(1)?,
        sender: row.text(2)?,
        subject: row.text(3)?,
        received_at: row.time(4)?,
        read_at: row.opt_time(5)?,
    })
}

impl Workspace {
    /// Keeps mails that came in together.
    pub async fn add_mails(&self, mails: Vec<NewMail>, at: Timestamp) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                for mail in mails {
                    let params = crate::params![
                        Uuid::now_v7(),
                        &mail.recipient,
                        &mail.sender,
                        &mail.subject,
                        &mail.message_id,
                        mail.raw,
                        at
                    ];
                    tx.execute(&ADD, params).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Mails, newest first; `text` narrows them to those whose recipient or subject contains it.
    pub async fn mails(
        &self,
        text: Option<String>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<MailRow, Uuid>> {
        let mut params: Vec<Param> =
            vec![before.unwrap_or(Uuid::max()).into(), (limit as i64 + 1).into()];
        let mut filter = String::new();
        if let Some(text) = text {
            params.push(text.to_lowercase().into());
            // The mailbox is a demo's: a look through all of it is fine here.
            filter = match self.dialect() {
                crate::sql::Dialect::Sqlite => {
                    " and instr(lower(recipient || ' ' || subject), ?3) > 0".to_owned()
                }
                crate::sql::Dialect::Postgres => {
                    " and strpos(lower(recipient || ' ' || subject), ?3) > 0".to_owned()
                }
            };
        }
        let sql = format!(
            "select id, recipient, sender, subject, received_at, read_at from {{s}}mailbox \
             where id < ?1{filter} order by id desc limit ?2"
        );
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query_text(&sql, &params).await?;
                    rows.iter().map(mail).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |mail| mail.id))
    }

    /// One mail with its bytes, marked as read.
    pub async fn read_mail(&self, id: Uuid, at: Timestamp) -> Result<Option<(MailRow, Vec<u8>)>> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&READ, crate::params![id, at]).await?;
                let row = tx.first(&GET, crate::params![id]).await?;
                row.map(|row| Ok((mail(&row)?, row.bytes(6)?))).transpose()
            })
        })
        .await
    }
}
