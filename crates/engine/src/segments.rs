//! Segments: who is in them.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;
use tidings_domain::rule::{
    BoundRule, Names, Operator, OwnColumn, Rule, RuleFault, cycles, operators,
};
use tidings_domain::schema::{Attribute, Schema};
use tidings_domain::value::Kind;
use tidings_domain::{CustomerId, SegmentId, Timestamp};
use tidings_store::audience;
use tidings_store::campaigns::Campaign;
use tidings_store::memberships::LiveSegment;
pub use tidings_store::segments::Segment;
use tidings_store::sql::Param;

use crate::customers::{Listed, Page};
use crate::{Ctx, Error, Fault, Result};

/// A condition over customers `c` with its parameters, as the store takes it.
pub type Condition = (String, Vec<Param>);

/// How many customers meet a rule, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub count: i64,
    pub of: i64,
}

fn faults(prefix: &str, faults: Vec<RuleFault>) -> Error {
    let at = |path: String| match (prefix, path.as_str()) {
        ("", _) => path,
        (prefix, "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    };
    Error::Invalid(
        faults
            .into_iter()
            .map(|fault| Fault::new(at(fault.path), "invalid_rule", fault.message))
            .collect(),
    )
}

/// Everything that binding a rule needs.
struct Binding {
    schema: std::sync::Arc<Schema>,
    names: Names,
    segments: Vec<Segment>,
}

impl Binding {
    async fn load(ctx: &Ctx) -> Result<Binding> {
        Ok(Binding {
            schema: ctx.workspace.schema().await?,
            names: ctx.workspace.rule_names().await?,
            segments: ctx.workspace.segments().await?,
        })
    }

    fn bind(&self, rule: &Json) -> Result<BoundRule, Vec<RuleFault>> {
        Rule::parse(rule)?.bind(&self.schema, &self.names)
    }

    /// The rule with those of other segments in place, so that it asks what is true now.
    fn inlined(&self, rule: &Json) -> Result<BoundRule> {
        let bound = self.bind(rule).map_err(|found| faults("rule", found))?;
        if bound.reads().segments.is_empty() {
            return Ok(bound);
        }
        let mut rules = HashMap::new();
        for segment in &self.segments {
            // A segment that lost what it reads stays as its members were.
            if let Ok(bound) = self.bind(&segment.rule) {
                rules.insert(segment.number, bound);
            }
        }
        Ok(bound.inlined(&rules))
    }
}

/// The condition of a rule, asking what is true now.
pub async fn condition(ctx: &Ctx, rule: &Json, now: Timestamp) -> Result<Condition> {
    let rule = Binding::load(ctx).await?.inlined(rule)?;
    let mut params = Vec::new();
    let text = audience::condition(&rule, ctx.workspace.dialect(), "{s}", now, &mut params);
    Ok((text, params))
}

/// Every segment with its rule ready to judge by. One whose rule no longer fits the schema is left
/// as its members are.
pub(crate) async fn live(ctx: &Ctx) -> Result<Vec<LiveSegment>> {
    let binding = Binding::load(ctx).await?;
    let mut live = Vec::with_capacity(binding.segments.len());
    for segment in &binding.segments {
        match binding.inlined(&segment.rule) {
            Ok(rule) => {
                live.push(LiveSegment { number: segment.number, version: segment.version, rule })
            }
            Err(error) => tracing::warn!(segment = segment.name, %error, "bind segment"),
        }
    }
    Ok(live)
}

/// The audience of a campaign: its segment's rule, or everyone.
pub async fn audience(ctx: &Ctx, campaign: &Campaign) -> Result<Condition> {
    let Some((id, ..)) = &campaign.segment else { return Ok(("true".to_owned(), Vec::new())) };
    let segment = get(ctx, *id).await?;
    condition(ctx, &segment.rule, ctx.now()).await
}

/// Counts the customers who meet a rule.
pub async fn count(ctx: &Ctx, rule: &Json) -> Result<Count> {
    let condition = condition(ctx, rule, ctx.now()).await?;
    let (count, of) = ctx.workspace.count_customers(condition).await?;
    Ok(Count { count, of })
}

/// One segment by its id.
pub async fn get(ctx: &Ctx, id: SegmentId) -> Result<Segment> {
    let segments = ctx.workspace.segments().await?;
    let found = segments.into_iter().find(|segment| segment.id == id);
    found.ok_or_else(|| Error::NotFound(format!("segment {id}")))
}

/// Saves a new segment; its membership is filled in the background.
pub async fn create(ctx: &Ctx, name: &str, rule: &Json) -> Result<SegmentId> {
    check(ctx, None, name, rule).await?;
    let id = ctx.workspace.add_segment(name, rule.clone(), ctx.now()).await?;
    ctx.wake();
    Ok(id)
}

/// Changes a segment; its membership follows in the background.
pub async fn change(ctx: &Ctx, id: SegmentId, name: &str, rule: &Json) -> Result<()> {
    let segment = get(ctx, id).await?;
    check(ctx, Some(&segment), name, rule).await?;
    if !ctx.workspace.change_segment(id, name, rule.clone(), ctx.now()).await? {
        return Err(Error::NotFound(format!("segment {id}")));
    }
    ctx.wake();
    Ok(())
}

/// Drops a segment that no other segment and no open campaign uses.
pub async fn drop(ctx: &Ctx, id: SegmentId) -> Result<()> {
    if ctx.workspace.is_done_already().await? {
        return Ok(());
    }
    let segment = get(ctx, id).await?;
    let binding = Binding::load(ctx).await?;
    for other in binding.segments.iter().filter(|other| other.id != id) {
        let uses = binding
            .bind(&other.rule)
            .is_ok_and(|rule| rule.reads().segments.contains(&segment.number));
        if uses {
            return Err(Error::Conflict(format!("the segment {} uses it", other.name)));
        }
    }
    ctx.workspace.drop_segment(segment.number).await?;
    Ok(())
}

/// Checks a name and a rule, and that no circle of segments would come about.
async fn check(ctx: &Ctx, own: Option<&Segment>, name: &str, rule: &Json) -> Result<()> {
    tidings_domain::schema::checked_name(name).map_err(|text| Error::invalid("name", text))?;
    let binding = Binding::load(ctx).await?;
    let bound = binding.bind(rule).map_err(|found| faults("rule", found))?;
    let Some(own) = own else { return Ok(()) };
    let mut references: HashMap<i32, BTreeSet<i32>> = HashMap::new();
    for segment in &binding.segments {
        if let Ok(rule) = binding.bind(&segment.rule) {
            references.insert(segment.number, rule.reads().segments.clone());
        }
    }
    references.insert(own.number, bound.reads().segments.clone());
    match cycles::find(&references) {
        Some(_) => {
            Err(Error::invalid("rule", "the segments would refer to each other in a circle"))
        }
        None => Ok(()),
    }
}

/// All segments, oldest first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Segment>> {
    Ok(ctx.workspace.segments().await?)
}

/// How many customers are in each segment, by its number.
pub async fn sizes(ctx: &Ctx) -> Result<HashMap<i32, i64>> {
    Ok(ctx.workspace.segment_sizes().await?)
}

/// A page of a segment's customers.
pub async fn customers(
    ctx: &Ctx,
    id: SegmentId,
    after: Option<CustomerId>,
    limit: usize,
) -> Result<Page<Listed, CustomerId>> {
    let segment = get(ctx, id).await?;
    let page = ctx.workspace.segment_customers(segment.number, after, limit).await?;
    Ok(Page { items: crate::customers::with_tags(ctx, page.items).await?, next: page.next })
}

/// A field that rules can test, with the operators that fit its kind.
#[derive(Clone, Debug)]
pub struct RuleField {
    pub name: String,
    pub kind: Kind,
    pub operators: Vec<Operator>,
}

impl RuleField {
    fn new(name: &str, kind: Kind) -> RuleField {
        RuleField { name: name.to_owned(), operators: operators(&kind), kind }
    }

    fn of(attribute: &Attribute) -> RuleField {
        RuleField::new(&attribute.name, attribute.kind.clone())
    }
}

/// What a rule may use.
#[derive(Clone, Debug)]
pub struct RuleFields {
    pub attributes: Vec<RuleField>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    pub segments: Vec<String>,
    /// Names with the properties seen on recent ones.
    pub events: Vec<(String, Vec<String>)>,
    pub tables: Vec<(String, Vec<RuleField>)>,
}

/// What a rule may use in this workspace.
pub async fn fields(ctx: &Ctx) -> Result<RuleFields> {
    let schema = ctx.workspace.schema().await?;
    let words = ctx.workspace.rule_words().await?;
    let own = OwnColumn::ALL.into_iter().map(|own| RuleField::new(own.name(), own.kind()));
    Ok(RuleFields {
        attributes: own.chain(schema.attributes.iter().map(RuleField::of)).collect(),
        tags: words.tags,
        groups: words.groups,
        segments: words.segments,
        events: words.events,
        tables: schema
            .tables
            .iter()
            .map(|table| (table.name.clone(), table.fields.iter().map(RuleField::of).collect()))
            .collect(),
    })
}
