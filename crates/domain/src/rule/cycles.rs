//! Segments that refer to each other must not go round in a circle.

use std::collections::{BTreeSet, HashMap, HashSet};

/// A circle among segments, as the numbers along it; the first is not repeated. `None` where there
/// is none. `references` maps a segment to the segments that its rule names.
pub fn find(references: &HashMap<i32, BTreeSet<i32>>) -> Option<Vec<i32>> {
    let mut done: HashSet<i32> = HashSet::new();
    let mut starts: Vec<i32> = references.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        if let Some(circle) = walk(start, references, &mut done) {
            return Some(circle);
        }
    }
    None
}

/// Walks depth first with a stack of its own: chains of segments may be long.
fn walk(
    start: i32,
    references: &HashMap<i32, BTreeSet<i32>>,
    done: &mut HashSet<i32>,
) -> Option<Vec<i32>> {
    let none = BTreeSet::new();
    let children = |segment: i32| references.get(&segment).unwrap_or(&none).iter();
    let mut on_path: HashSet<i32> = HashSet::from([start]);
    let mut path = vec![(start, children(start))];
    while let Some((segment, rest)) = path.last_mut() {
        let segment = *segment;
        match rest.next() {
            Some(next) if done.contains(next) => {}
            Some(next) if !on_path.insert(*next) => {
                let circle = path.iter().map(|(segment, _)| *segment);
                return Some(circle.skip_while(|segment| segment != next).collect());
            }
            Some(next) => path.push((*next, children(*next))),
            None => {
                done.insert(segment);
                on_path.remove(&segment);
                path.pop();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: &[(i32, &[i32])], expected: Option<&[i32]>) {
        let references = edges.iter().map(|(from, to)| (*from, to.iter().copied().collect()));
        assert_eq!(find(&references.collect()).as_deref(), expected);
    }

    #[test]
    fn circles_are_found() {
        check(&[], None);
        check(&[(1, &[2, 3]), (2, &[3]), (3, &[])], None);
        check(&[(1, &[1])], Some(&[1]));
        check(&[(1, &[2]), (2, &[3]), (3, &[2])], Some(&[2, 3]));
        check(&[(1, &[9]), (5, &[6]), (6, &[7, 1]), (7, &[5])], Some(&[5, 6, 7]));
    }

    #[test]
    fn a_long_chain_is_walked() {
        let mut chain: HashMap<i32, BTreeSet<i32>> =
            (0..100_000).map(|at| (at, BTreeSet::from([at + 1]))).collect();
        assert_eq!(find(&chain), None);
        chain.insert(100_000, BTreeSet::from([99_999]));
        assert_eq!(find(&chain), Some(vec![99_999, 100_000]));
    }
}
