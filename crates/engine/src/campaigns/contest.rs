//! A campaign's variants: what each of them says, what the test has shown so far, and who wins.

use tidings_domain::campaign::{Arm, Evidence, Metric, Otherwise, Test, test_ends_at};
use tidings_domain::{CampaignId, Timestamp};
use tidings_store::campaigns::{Campaign, DecidedBy, Decision, Group, Minute};
use tidings_store::jobs::Job;
use tidings_store::templates::TemplateDraft;

use super::{Level, Problem, goals};
use crate::{Ctx, Error, Result, templates};

/// What a test has shown so far; holds whenever it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The variant that is certainly better than all others.
    pub winner: Option<usize>,
    /// The variant with the highest rate.
    pub best: usize,
    /// For every pair: the chance of such evidence if the two were equal, at most.
    pub chances: Vec<Chance>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    pub better: usize,
    pub worse: usize,
    pub chance: f64,
}

/// Where a test stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Contest {
    pub test: Test,
    /// When the others get the winner; `None` before the campaign begins.
    pub ends_at: Option<Timestamp>,
    pub decision: Option<Decision>,
    /// `None` until the whole audience is known.
    pub shown: Option<Shown>,
}

/// What each variant says, in the order of their numbers: the campaign's template alone where there
/// is no test. Of a draft it is the newest version of each template, unless a variant names one.
pub(crate) async fn drafts(ctx: &Ctx, campaign: &Campaign) -> Result<Vec<TemplateDraft>> {
    let Some(test) = &campaign.plan.test else {
        let own = templates::get(ctx, campaign.template.0).await?;
        return Ok(vec![TemplateDraft::from(own)]);
    };
    let mut drafts = Vec::with_capacity(test.variants.len());
    for variant in &test.variants {
        let id = variant.template.unwrap_or(campaign.template.0);
        let template = match variant.template_version {
            Some(version) => templates::at_version(ctx, id, version).await?,
            None => templates::get(ctx, id).await?,
        };
        let mut draft = TemplateDraft::from(template);
        if let Some(subject) = &variant.subject {
            draft.subject.clone_from(subject);
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

/// The name that a variant has in what users read; nothing where there is no test.
pub(crate) fn name_of(campaign: &Campaign, variant: usize) -> Option<&str> {
    let test = campaign.plan.test.as_ref()?;
    test.variants.get(variant).map(|variant| variant.name.as_str())
}

/// A variant's subject stands in place of the template's own, not of those in other languages.
pub(super) fn hidden_subject(
    campaign: &Campaign,
    variant: usize,
    draft: &TemplateDraft,
) -> Option<Problem> {
    let one = campaign.plan.test.as_ref()?.variants.get(variant)?;
    one.subject.as_ref()?;
    let languages: Vec<&str> = draft.variants.iter().map(|one| one.language.as_str()).collect();
    if languages.is_empty() {
        return None;
    }
    let (name, languages) = (&one.name, languages.join(", "));
    Some(Problem::new(
        Level::Warning,
        format!("variant {name}: its subject is not seen by those who read it in {languages}"),
        "give the variant a template of its own, with a subject in every language",
    ))
}

/// What the test has shown so far; nothing while the audience is still being frozen, as then nobody
/// knows how many customers it has.
async fn evidence(
    ctx: &Ctx,
    campaign: &Campaign,
    test: &Test,
    groups: &[Group],
) -> Result<Option<Evidence>> {
    if !ctx.workspace.audience_is_frozen(campaign.number).await? {
        return Ok(None);
    }
    let mut customers = vec![0; test.variants.len()];
    for group in groups.iter().filter(|group| group.arm == Arm::Test) {
        let slot = group.variant.and_then(|at| customers.get_mut(usize::try_from(at).ok()?));
        if let Some(slot) = slot {
            *slot = group.customers.unsigned_abs();
        }
    }
    let minutes = match test.metric {
        Metric::Conversions => goals::reactions(ctx, campaign).await?,
        metric => ctx.workspace.test_reactions(campaign.number, metric).await?,
    };
    let mut evidence = Evidence::new(customers);
    for minute in minutes.chunk_by(|one, other| one.minute == other.minute) {
        evidence.add(&reactions(minute, test.variants.len()));
    }
    Ok(Some(evidence))
}

fn reactions(minute: &[Minute], variants: usize) -> Vec<u64> {
    let mut all = vec![0; variants];
    for one in minute {
        if let Some(slot) = usize::try_from(one.variant).ok().and_then(|at| all.get_mut(at)) {
            *slot = one.customers.unsigned_abs();
        }
    }
    all
}

fn shown(evidence: &Evidence, variants: usize) -> Shown {
    let mut chances = Vec::new();
    for better in 0..variants {
        for worse in (0..variants).filter(|worse| *worse != better) {
            chances.push(Chance { better, worse, chance: evidence.chance(better, worse) });
        }
    }
    Shown { winner: evidence.winner(), best: evidence.best(), chances }
}

/// Where a campaign's test stands, if it has one.
pub(crate) async fn contest(
    ctx: &Ctx,
    campaign: &Campaign,
    groups: &[Group],
) -> Result<Option<Contest>> {
    let Some(test) = &campaign.plan.test else { return Ok(None) };
    let evidence = evidence(ctx, campaign, test, groups).await?;
    Ok(Some(Contest {
        ends_at: campaign.started_at.and_then(|begun| test_ends_at(&campaign.plan, begun)),
        decision: campaign.decision,
        shown: evidence.map(|evidence| shown(&evidence, test.variants.len())),
        test: test.clone(),
    }))
}

/// Decides a test whose time is over, under a job of its campaign; `None` while the audience is
/// still being frozen.
pub(crate) async fn decide(ctx: &Ctx, job: &Job, campaign: &Campaign) -> Result<Option<Decision>> {
    let Some(test) = &campaign.plan.test else { return Ok(None) };
    if !ctx.workspace.audience_is_frozen(campaign.number).await? {
        return Ok(None);
    }
    let groups = ctx.workspace.campaign_groups(campaign.number).await?;
    let Some(evidence) = evidence(ctx, campaign, test, &groups).await? else { return Ok(None) };
    let (winner, by) = match (evidence.winner(), test.otherwise) {
        (Some(winner), _) => (winner, DecidedBy::Evidence),
        (None, Otherwise::Best) => (evidence.best(), DecidedBy::Best),
        (None, Otherwise::First) => (0, DecidedBy::First),
    };
    let winner = i16::try_from(winner).unwrap_or_default();
    let wanted = Decision { winner, at: ctx.now(), by };
    Ok(ctx.workspace.decide_test(job, campaign.number, wanted).await?)
}

/// Decides a running test by hand: everybody else gets this variant now.
pub async fn choose(ctx: &Ctx, id: CampaignId, variant: &str) -> Result<()> {
    let campaign = super::get(ctx, id).await?;
    let Some(test) = &campaign.plan.test else {
        return Err(Error::Conflict("this campaign has no test".to_owned()));
    };
    let found = test.variants.iter().position(|one| one.name == variant);
    let Some(winner) = found.and_then(|at| i16::try_from(at).ok()) else {
        return Err(Error::invalid("variant", format!("there is no variant named {variant}")));
    };
    if !ctx.workspace.choose_winner(campaign.number, winner, ctx.now()).await? {
        let text = match campaign.decision {
            Some(_) => "this test is decided already".to_owned(),
            None => {
                format!("the test of a campaign that is {} is not running", campaign.state.name())
            }
        };
        return Err(Error::Conflict(text));
    }
    ctx.wake();
    Ok(())
}
