//! What changed between two texts, line by line. Knows nothing of what the texts are.

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Same,
    Removed,
    Added,
}

/// A line and its numbers in both texts, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub change: Change,
    pub text: String,
    pub old: Option<usize>,
    pub new: Option<usize>,
}

/// What changed in one part; parts that are the same are left out of lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDiff {
    pub part: String,
    pub lines: Vec<Line>,
}

/// Past so many comparisons, the lines between a common beginning and end count as all replaced.
const MAX_CELLS: usize = 4_000_000;

/// The parts that differ: name, old text, new text.
pub fn parts(all: impl IntoIterator<Item = (String, String, String)>) -> Vec<PartDiff> {
    let differ = all.into_iter().filter(|(_, old, new)| old != new);
    differ.map(|(part, old, new)| PartDiff { part, lines: lines(&old, &new) }).collect()
}

/// All lines of both texts, with as many as possible the same.
pub fn lines(old: &str, new: &str) -> Vec<Line> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail =
        old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut found = Found::default();
    for line in &old[..head] {
        found.push(Change::Same, line);
    }
    middle(&old[head..old.len() - tail], &new[head..new.len() - tail], &mut found);
    for line in &old[old.len() - tail..] {
        found.push(Change::Same, line);
    }
    found.lines
}

#[derive(Default)]
struct Found {
    lines: Vec<Line>,
    old: usize,
    new: usize,
}

impl Found {
    fn push(&mut self, change: Change, text: &str) {
        self.old += usize::from(change != Change::Added);
        self.new += usize::from(change != Change::Removed);
        self.lines.push(Line {
            change,
            text: text.to_owned(),
            old: (change != Change::Added).then_some(self.old),
            new: (change != Change::Removed).then_some(self.new),
        });
    }
}

/// The longest common lines, by the table of all pairs.
fn middle(old: &[&str], new: &[&str], found: &mut Found) {
    let width = new.len() + 1;
    let mut common = Vec::new();
    if (old.len() + 1).saturating_mul(width) <= MAX_CELLS {
        common = vec![0_u32; (old.len() + 1) * width];
        for i in (0..old.len()).rev() {
            for j in (0..new.len()).rev() {
                common[i * width + j] = if old[i] == new[j] {
                    common[(i + 1) * width + j + 1] + 1
                } else {
                    common[(i + 1) * width + j].max(common[i * width + j + 1])
                };
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() && !common.is_empty() {
        if old[i] == new[j] {
            found.push(Change::Same, old[i]);
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            found.push(Change::Removed, old[i]);
            i += 1;
        } else {
            found.push(Change::Added, new[j]);
            j += 1;
        }
    }
    for line in &old[i..] {
        found.push(Change::Removed, line);
    }
    for line in &new[j..] {
        found.push(Change::Added, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        let mut text = String::new();
        for line in lines(old, new) {
            let sign = match line.change {
                Change::Same => ' ',
                Change::Removed => '-',
                Change::Added => '+',
            };
            text.push_str(&format!("{sign}{} ", line.text));
        }
        text.trim_end().to_owned()
    }

    #[test]
    fn as_many_lines_as_possible_stay() {
        for (old, new, expected) in [
            ("", "", ""),
            ("a", "a", " a"),
            ("", "a\nb", "+a +b"),
            ("a\nb", "", "-a -b"),
            ("a\nb\nc", "a\nx\nc", " a -b +x  c"),
            ("a\nb\nc\nd", "b\nd\ne", "-a  b -c  d +e"),
            ("a\na\na", "a\na", " a  a -a"),
            ("a\nb", "b\na", "-a  b +a"),
        ] {
            assert_eq!(shown(old, new), expected.trim_end(), "{old:?} {new:?}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let all = lines("a\nb", "a\nc");
        let numbers: Vec<_> = all.iter().map(|line| (line.old, line.new)).collect();
        assert_eq!(numbers, [(Some(1), Some(1)), (Some(2), None), (None, Some(2))]);
    }

    #[test]
    fn either_text_can_be_read_out_of_what_changed() {
        let old = (0..300).map(|at| format!("{}\n", at % 7)).collect::<String>();
        let new = (0..280).map(|at| format!("{}\n", at % 5)).collect::<String>();
        for (old, new) in [(&old, &new), (&"x\n".repeat(2_500), &"y\n".repeat(2_500))] {
            let all = lines(old, new);
            let without = |left: Change| {
                let kept = all.iter().filter(|line| line.change != left);
                kept.map(|line| format!("{}\n", line.text)).collect::<String>()
            };
            assert_eq!(without(Change::Added), **old);
            assert_eq!(without(Change::Removed), **new);
        }
    }
}
