//! Segments: who is in them.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;
use tidings_domain::rule::calendar::{self, Zone};
use tidings_domain::rule::{
    BoundRule, Names, Operator, OwnColumn, Rule, RuleFault, cycles, operators,
};
use tidings_domain::schema::{Attribute, Schema};
use tidings_domain::value::Kind;
use tidings_domain::{CustomerId, SegmentId, Timestamp};
use tidings_store::audience;
use tidings_store::campaigns::Campaign;
use tidings_store::memberships::{LiveSegment, LiveSegments};
pub use tidings_store::segments::Segment;
use tidings_store::sql::Param;

use crate::customers::{Listed, Page};
use crate::groups::Group;
use crate::{Ctx, Error, Fault, Result};

mod explain;

pub use explain::{ExplainedPart, Explanation, explain};
pub use tidings_store::memberships::SegmentDay;

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
        Binding::by(ctx, ctx.workspace.schema().await?).await
    }

    async fn by(ctx: &Ctx, schema: std::sync::Arc<Schema>) -> Result<Binding> {
        let names = ctx.workspace.rule_names().await?;
        Ok(Binding { schema, names, segments: ctx.workspace.segments().await? })
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
        Ok(bound.inlined(&self.rules()))
    }

    /// The rules of all segments by their numbers. A segment that lost what it reads is not among
    /// them; it stays as its members were.
    fn rules(&self) -> HashMap<i32, BoundRule> {
        let mut rules = HashMap::new();
        for segment in &self.segments {
            if let Ok(bound) = self.bind(&segment.rule) {
                rules.insert(segment.number, bound);
            }
        }
        rules
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
pub async fn live(ctx: &Ctx) -> Result<LiveSegments> {
    // The stamp first: what moves behind it is noticed by whoever judges.
    let stamp = ctx.workspace.segments_stamp().await?;
    let schema = ctx.workspace.fresh_schema().await?;
    let binding = Binding::by(ctx, schema).await?;
    let mut segments = Vec::with_capacity(binding.segments.len());
    for segment in &binding.segments {
        match binding.inlined(&segment.rule) {
            Ok(rule) => segments.push(LiveSegment {
                number: segment.number,
                id: segment.id,
                name: segment.name.clone(),
                version: segment.version,
                evaluated: !segment.is_evaluating(),
                rule,
            }),
            Err(error) => tracing::warn!(segment = segment.name, %error, "bind segment"),
        }
    }
    Ok(LiveSegments { segments, schema: binding.schema, stamp })
}

/// The audience of a campaign: its segment's rule, or everyone.
pub async fn audience(ctx: &Ctx, campaign: &Campaign) -> Result<Condition> {
    let Some((id, ..)) = &campaign.segment else { return Ok(("true".to_owned(), Vec::new())) };
    let segment = get(ctx, *id).await?;
    condition(ctx, &segment.rule, ctx.now()).await
}

/// Counts the customers who meet a rule: by columns in memory where they can tell, else by SQL.
pub async fn count(ctx: &Ctx, rule: &Json) -> Result<Count> {
    let binding = Binding::load(ctx).await?;
    let (rule, now) = (binding.inlined(rule)?, ctx.now());
    if ctx.hub.store.columns.is_on() {
        let counted = ctx.workspace.count_by_columns(&rule, &binding.schema, now).await;
        match counted {
            Some(_) => metrics::counter!("tidings_column_cache_hits_total").increment(1),
            None => metrics::counter!("tidings_column_cache_misses_total").increment(1),
        }
        if let Some((count, of)) = counted {
            return Ok(Count { count, of });
        }
    }
    let mut params = Vec::new();
    let text = audience::condition(&rule, ctx.workspace.dialect(), "{s}", now, &mut params);
    let (count, of) = ctx.workspace.count_customers((text, params)).await?;
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

/// The size of a segment at the end of each of the last days, the oldest first. It begins with the
/// day on which the segment was first evaluated.
pub async fn days(ctx: &Ctx, id: SegmentId, count: usize) -> Result<Vec<SegmentDay>> {
    let segment = get(ctx, id).await?;
    // One row more: the size before the first of these days.
    let mut rows = ctx.workspace.segment_days(segment.number, count + 1).await?;
    let today = Zone::named(&ctx.workspace.row.time_zone).today(ctx.now());
    let Some(mut last) = rows.pop() else { return Ok(Vec::new()) };
    rows.reverse();
    let mut changed = rows.into_iter().peekable();
    let mut date = calendar::parse(&last.day).unwrap_or(today);
    let mut days = Vec::new();
    loop {
        days.push(last.clone());
        let Some(next) = calendar::plus_days(date, 1).filter(|next| *next <= today) else { break };
        date = next;
        let day = date.to_string();
        last = match changed.next_if(|row| row.day <= day) {
            Some(row) => row,
            None => SegmentDay { day, size: last.size, entered: 0, left: 0 },
        };
    }
    Ok(days.split_off(days.len().saturating_sub(count)))
}

/// Keeps the members that a segment has now as a group of this name. The group is there at once; its
/// members are copied in the background.
pub async fn freeze(ctx: &Ctx, id: SegmentId, group: &str) -> Result<Group> {
    if let Err(expected) = tidings_domain::schema::checked_name(group) {
        return Err(Error::Invalid(vec![Fault::new("group", "invalid_name", expected)]));
    }
    let segment = get(ctx, id).await?;
    if segment.is_evaluating() {
        let message = "its rule is still being evaluated; try again when that is done";
        return Err(Error::Conflict(message.to_owned()));
    }
    let frozen = ctx.workspace.freeze_segment(segment.number, id, group, ctx.now()).await?;
    ctx.wake();
    Ok(frozen)
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
