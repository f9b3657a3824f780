//! A campaign's variants and what their test came to.

use tidings_domain::Timestamp;
use tidings_domain::campaign::{Plan, Variant};

use super::run::wake_shards;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// How a test's winner was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// It was certainly better.
    Evidence,
    /// None was certainly better: it had the highest rate.
    Best,
    /// None was certainly better: it is the first.
    First,
    /// A person chose it.
    Person,
}

impl DecidedBy {
    pub fn name(self) -> &'static str {
        match self {
            DecidedBy::Evidence => "evidence",
            DecidedBy::Best => "best",
            DecidedBy::First => "first",
            DecidedBy::Person => "person",
        }
    }

    fn parse(text: &str) -> Option<DecidedBy> {
        [DecidedBy::Evidence, DecidedBy::Best, DecidedBy::First, DecidedBy::Person]
            .into_iter()
            .find(|by| by.name() == text)
    }
}

/// What a test came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The number of the variant that everybody else gets.
    pub winner: i16,
    pub at: Timestamp,
    pub by: DecidedBy,
}

static DROP_VARIANTS: Sql = Sql::reference(
    "drop_campaign_variants",
    "delete from {s}campaign_variants where campaign_number = ?1",
);

static ADD_VARIANT: Sql = Sql::reference(
    "add_campaign_variant",
    "insert into {s}campaign_variants (campaign_number, variant, template_number, template_version)
     select ?1, ?2, t.number, cast(?4 as integer) from {s}templates t where t.id = ?3",
);

static VERSION_THERE: Sql = Sql::reference(
    "variant_version",
    "select v.version from {s}templates t
     join {s}template_versions v on v.template_number = t.number
       and v.version = coalesce(cast(?2 as integer), t.version)
     where t.id = ?1",
);

static OWN_TEMPLATE: Sql = Sql::reference(
    "campaign_template",
    "select t.id, c.plan from {s}campaigns c join {s}templates t on t.number = c.template_number
     where c.number = ?1",
);

static PUT_PLAN: Sql =
    Sql::reference("put_campaign_plan", "update {s}campaigns set plan = ?2 where number = ?1");

static DECIDE: Sql = Sql::reference(
    "decide_test",
    "update {s}campaigns set winner = ?2, decided_at = ?3, decided_by = ?4
     where number = ?1 and winner is null and state in (2, 3, 4)",
);

static DECIDED: Sql = Sql::reference(
    "test_decision",
    "select winner, decided_at, decided_by from {s}campaigns where number = ?1",
);

/// Those who wait for the winner get it at once; who waits for a local time too is left alone.
static RELEASE_REST: Sql = Sql::fan_out(
    "release_rest",
    "update {s}deliveries set due_at = ?2
     where campaign_number = ?1 and state = 0 and arm = 3 and due_at > ?2",
);

pub(crate) static SQL: &[&Sql] = &[
    &DROP_VARIANTS,
    &ADD_VARIANT,
    &VERSION_THERE,
    &OWN_TEMPLATE,
    &PUT_PLAN,
    &DECIDE,
    &DECIDED,
    &RELEASE_REST,
];

/// The three columns of a decision.
pub(super) fn decision(row: &Row, at: usize) -> Result<Option<Decision>> {
    let Some(winner) = row.opt_int(at)? else { return Ok(None) };
    let corrupt = || Error::Corrupt("a test's decision is unknown".into());
    Ok(Some(Decision {
        winner: i16::try_from(winner).map_err(|_| corrupt())?,
        at: row.time(at + 1)?,
        by: DecidedBy::parse(&row.text(at + 2)?).ok_or_else(corrupt)?,
    }))
}

fn variants(plan: &Plan) -> &[Variant] {
    plan.test.as_ref().map_or(&[], |test| &test.variants)
}

/// Keeps which templates the variants of a plan use; one that is not there is refused by name.
pub(super) async fn put_variants(tx: &mut Tx, number: i32, plan: &Plan) -> Result<()> {
    tx.execute(&DROP_VARIANTS, crate::params![number]).await?;
    for (at, variant) in variants(plan).iter().enumerate() {
        let Some(template) = variant.template else { continue };
        let version = variant.template_version;
        if tx.first(&VERSION_THERE, crate::params![template, version]).await?.is_none() {
            let what = version.map_or_else(String::new, |version| format!("version {version} of "));
            return Err(Error::NotFound(format!("{what}template {template}")));
        }
        let params = crate::params![number, at as i64, template, version];
        tx.execute(&ADD_VARIANT, params).await?;
    }
    Ok(())
}

/// Fixes the version of every variant's template, as a launch does.
pub(super) async fn fix_versions(tx: &mut Tx, number: i32) -> Result<()> {
    let Some(row) = tx.first(&OWN_TEMPLATE, crate::params![number]).await? else { return Ok(()) };
    let own = tidings_domain::TemplateId(row.uuid(0)?);
    let mut plan = super::plan(&row.text(1)?)?;
    let Some(test) = &mut plan.test else { return Ok(()) };
    for variant in &mut test.variants {
        let template = variant.template.unwrap_or(own);
        let params = crate::params![template, variant.template_version];
        let Some(row) = tx.first(&VERSION_THERE, params).await? else {
            return Err(Error::NotFound(format!("the template of variant {}", variant.name)));
        };
        variant.template_version = Some(row.small(0)?);
        variant.template = Some(template);
    }
    put_variants(tx, number, &plan).await?;
    let text = super::plan_text(&plan)?;
    tx.execute(&PUT_PLAN, crate::params![number, text]).await.map(|_| ())
}

async fn decided(tx: &mut Tx, number: i32) -> Result<Option<Decision>> {
    match tx.first(&DECIDED, crate::params![number]).await? {
        Some(row) => decision(&row, 0),
        None => Ok(None),
    }
}

impl Workspace {
    /// Decides a test, unless it is decided already; gives what then stands. The holder of a job of
    /// the campaign does it under its lease.
    pub async fn decide_test(
        &self,
        job: &Job,
        number: i32,
        wanted: Decision,
    ) -> Result<Option<Decision>> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let by = wanted.by.name();
                tx.execute(&DECIDE, crate::params![number, wanted.winner, wanted.at, by]).await?;
                decided(tx, number).await
            })
        })
        .await
    }

    /// Decides a test by hand; false where it is decided, or not running. Those who wait get the
    /// winner at once, unless they wait for a local time as well.
    pub async fn choose_winner(&self, number: i32, winner: i16, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let by = DecidedBy::Person.name();
                if tx.execute(&DECIDE, crate::params![number, winner, at, by]).await? == 0 {
                    return Ok(false);
                }
                let row = tx.first(&OWN_TEMPLATE, crate::params![number]).await?;
                let text = row.map_or_else(|| Ok("{}".to_owned()), |row| row.text(1))?;
                if super::plan(&text)?.local.is_none() {
                    tx.execute(&RELEASE_REST, crate::params![number, at]).await?;
                }
                wake_shards(tx, number, at).await?;
                Ok(true)
            })
        })
        .await
    }
}
