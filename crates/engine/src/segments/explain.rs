//! Why one customer is in a segment or not: every condition with what was found of them.

use std::collections::HashMap;

use serde_json::Value as Json;
use tidings_domain::change::CustomerRef;
use tidings_domain::judge::{Explained, explain as explained};
use tidings_domain::{CustomerId, SegmentId, Timestamp};

use super::{Binding, faults};
use crate::{Ctx, Error, Result};

/// A segment's rule over one customer, as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub customer: CustomerId,
    /// Whether the membership says so. A moment after a change it may still say otherwise than the
    /// rule.
    pub listed: bool,
    pub rule: ExplainedPart,
}

/// One part of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedPart {
    /// `all`, `any`, `not`, `attribute`, `tag` and so on.
    pub kind: String,
    /// The condition as it is written; null for `all`, `any` and `not`, whose parts follow.
    pub condition: Json,
    pub holds: bool,
    /// The value that decided; see `tidings_domain::judge::Explained`.
    pub found: Json,
    /// When the clock alone could first change whether it holds.
    pub changes_at: Option<Timestamp>,
    pub parts: Vec<ExplainedPart>,
}

/// Explains a segment for one customer.
pub async fn explain(ctx: &Ctx, id: SegmentId, customer: CustomerRef) -> Result<Explanation> {
    let schema = ctx.workspace.fresh_schema().await?;
    let binding = Binding::by(ctx, schema).await?;
    let segment = binding.segments.iter().find(|segment| segment.id == id);
    let segment = segment.ok_or_else(|| Error::NotFound(format!("segment {id}")))?;
    let rule = binding.bind(&segment.rule).map_err(|found| faults("rule", found))?;
    let rules = binding.rules();
    let reads = rule.inlined(&rules).reads().clone();
    let found = ctx.workspace.facts(customer, binding.schema.clone(), &reads).await?;
    let (customer, facts) = found.ok_or_else(|| Error::NotFound("the customer".to_owned()))?;
    let tree = explained(&rule, &binding.schema, &facts, &rules, ctx.now());
    let texts: HashMap<&str, &Json> =
        binding.segments.iter().map(|one| (one.name.as_str(), &one.rule)).collect();
    Ok(Explanation {
        customer,
        listed: facts.segments.contains(&segment.number),
        rule: with_texts(&segment.rule, tree, &texts),
    })
}

/// Puts the rule as it is written beside what came of it; both have the same shape.
fn with_texts(rule: &Json, tree: Explained, segments: &HashMap<&str, &Json>) -> ExplainedPart {
    const HEADS: [&str; 10] =
        ["all", "any", "not", "attribute", "tag", "group", "segment", "consent", "event", "table"];
    let kind = HEADS.into_iter().find(|head| rule.get(head).is_some()).unwrap_or_default();
    let texts: Vec<&Json> = match kind {
        "all" | "any" => rule[kind].as_array().into_iter().flatten().collect(),
        "not" => vec![&rule[kind]],
        "segment" => {
            let name = rule[kind].as_str().unwrap_or_default();
            segments.get(name).copied().into_iter().collect()
        }
        _ => Vec::new(),
    };
    let condition = match kind {
        "all" | "any" | "not" => Json::Null,
        _ => rule.clone(),
    };
    let parts = texts.into_iter().zip(tree.parts);
    ExplainedPart {
        kind: kind.to_owned(),
        condition,
        holds: tree.verdict.member,
        found: tree.found,
        changes_at: tree.verdict.next_check_at,
        parts: parts.map(|(text, part)| with_texts(text, part, segments)).collect(),
    }
}
