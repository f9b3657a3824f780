//! Who meets a rule, by columns.

use std::collections::BTreeSet;

use tidings_domain::consent::Channel;
use tidings_domain::rule::Bound;

use super::bits::Bits;
use super::column::Moment;
use super::held::{Held, Key};

/// What a rule reads; `None` where it reads what columns do not hold, such as events and records, or
/// nothing at all.
pub(super) fn keys(bound: &Bound) -> Option<BTreeSet<Key>> {
    let mut found = BTreeSet::new();
    (gather(bound, &mut found) && !found.is_empty()).then_some(found)
}

fn gather(bound: &Bound, found: &mut BTreeSet<Key>) -> bool {
    match bound {
        Bound::All(parts) | Bound::Any(parts) => parts.iter().all(|part| gather(part, found)),
        Bound::Not(part) => gather(part, found),
        Bound::Constant(_) => true,
        Bound::Event(_) | Bound::Table(_) => false,
        other => match key(other) {
            Some(key) => {
                found.insert(key);
                true
            }
            None => false,
        },
    }
}

/// The column that a condition reads.
fn key(bound: &Bound) -> Option<Key> {
    Some(match bound {
        Bound::Attribute { column, .. } => Key::Column(column.name().to_owned()),
        Bound::Tag(tag) => Key::Tag(tag.clone()),
        Bound::Group(number) => Key::Group(*number),
        Bound::Segment(number) => Key::Segment(*number),
        Bound::Consent { channel, topic, state } => {
            Key::Consent(Channel::number(*channel), topic.clone(), state.name())
        }
        _ => return None,
    })
}

/// Who meets a rule; `None` where a column or a test is not at hand.
pub(super) fn select(bound: &Bound, held: &Held, moment: Moment<'_>) -> Option<Bits> {
    Some(match bound {
        Bound::All(parts) => {
            let mut bits = held.present().clone();
            for part in parts {
                bits.and(&select(part, held, moment)?);
            }
            bits
        }
        Bound::Any(parts) => {
            let mut bits = Bits::none(held.length());
            for part in parts {
                bits.or(&select(part, held, moment)?);
            }
            bits
        }
        Bound::Not(part) => select(part, held, moment)?.missing_from(held.present()),
        Bound::Constant(true) => held.present().clone(),
        Bound::Constant(false) => Bits::none(held.length()),
        Bound::Attribute { test, .. } => held.column(&key(bound)?)?.select(test, moment)?,
        other => held.column(&key(other)?)?.marked(moment.now)?,
    })
}
