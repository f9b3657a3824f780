//! What is done to a value between the file and the customer: small steps in an order that the
//! mapping gives. A step knows text and lists of texts; what the value is for, it does not know.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Steps of one column, and entries of one lookup.
const MAX_STEPS: usize = 20;
const MAX_ENTRIES: usize = 1_000;
/// Bytes that a compiled pattern may take. Matching is linear in the text whatever it says.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// One step, as mappings say it: `"trim"`, `{"split": {"by": " ", "part": 1}}` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Without blanks around it.
    Trim,
    Lower,
    Upper,
    /// The first letter of each word large, the others small.
    Capitalise,
    Split(Split),
    /// This text where there is none.
    Default(String),
    Lookup(Lookup),
    Pattern(Pattern),
}

/// Cuts a text in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    pub by: String,
    /// Which piece, counted from 1, or from the end with -1; without it all of them, as a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<i32>,
}

/// Another text for each of some texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    pub map: BTreeMap<String, String>,
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// The part of a text that a regular expression finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    pub find: String,
    /// Which group; the first one unless said, or all that was found where there is no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<usize>,
    #[serde(default = "blank")]
    pub otherwise: Otherwise,
}

fn blank() -> Otherwise {
    Otherwise::Blank
}

/// What becomes of a text that a lookup does not hold or a pattern does not find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    #[default]
    Keep,
    Blank,
    /// The row is refused.
    Refuse,
}

/// A value on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moving {
    Text(String),
    List(Vec<String>),
}

/// Steps that were checked and are ready for rows.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    steps: Vec<(Transform, Option<Regex>)>,
    /// The value comes out as a list.
    pub gives_list: bool,
}

impl Steps {
    /// Checks steps; a fault has the number of the step it is about, counted from 0.
    pub fn new(transforms: &[Transform]) -> Result<Steps, (usize, String)> {
        if transforms.len() > MAX_STEPS {
            return Err((MAX_STEPS, format!("a column has at most {MAX_STEPS} transforms")));
        }
        let mut steps = Steps::default();
        for (at, transform) in transforms.iter().enumerate() {
            let regex = checked(transform).map_err(|message| (at, message))?;
            if let Transform::Split(split) = transform {
                if steps.gives_list {
                    return Err((at, "this is a list already: it cannot be split".to_owned()));
                }
                steps.gives_list = split.part.is_none();
            }
            steps.steps.push((transform.clone(), regex));
        }
        Ok(steps)
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The value behind all steps, or why there is none.
    pub fn apply(&self, text: &str) -> Result<Moving, String> {
        let mut moving = Moving::Text(text.to_owned());
        for (transform, regex) in &self.steps {
            moving = match (moving, transform) {
                (Moving::Text(text), Transform::Split(Split { by, part: None })) => {
                    let pieces = text.split(by.as_str()).map(str::trim);
                    let pieces = pieces.filter(|piece| !piece.is_empty()).map(str::to_owned);
                    Moving::List(pieces.collect())
                }
                (Moving::List(items), Transform::Default(text)) if items.is_empty() => {
                    Moving::List(vec![text.clone()])
                }
                (Moving::Text(text), _) => Moving::Text(one(&text, transform, regex.as_ref())?),
                (Moving::List(items), _) => {
                    let each = items.iter().map(|item| one(item, transform, regex.as_ref()));
                    let mut items = each.collect::<Result<Vec<_>, _>>()?;
                    items.retain(|item| !item.is_empty());
                    Moving::List(items)
                }
            };
        }
        Ok(moving)
    }
}

fn checked(transform: &Transform) -> Result<Option<Regex>, String> {
    match transform {
        Transform::Split(split) if split.by.is_empty() => {
            Err("expected the text to split by".to_owned())
        }
        Transform::Split(Split { part: Some(0), .. }) => {
            Err("parts are counted from 1, or from the end with -1".to_owned())
        }
        Transform::Lookup(lookup) if lookup.map.is_empty() || lookup.map.len() > MAX_ENTRIES => {
            Err(format!("a lookup has 1 to {MAX_ENTRIES} entries"))
        }
        Transform::Pattern(pattern) => {
            let regex = RegexBuilder::new(&pattern.find).size_limit(MAX_PATTERN_BYTES).build();
            let regex =
                regex.map_err(|error| format!("not a regular expression: {}", said(&error)))?;
            let groups = regex.captures_len() - 1;
            match pattern.take {
                Some(take) if take > groups => Err(format!("the pattern has {groups} groups")),
                _ => Ok(Some(regex)),
            }
        }
        _ => Ok(None),
    }
}

/// The last line of a message that otherwise draws the pattern with marks below it.
fn said(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

fn one(text: &str, transform: &Transform, regex: Option<&Regex>) -> Result<String, String> {
    let otherwise = |otherwise: Otherwise, expected: &dyn Fn() -> String| match otherwise {
        Otherwise::Keep => Ok(text.to_owned()),
        Otherwise::Blank => Ok(String::new()),
        // A blank cell stays one: whether the value may be missing is not asked here.
        Otherwise::Refuse if text.trim().is_empty() => Ok(String::new()),
        Otherwise::Refuse => Err(expected()),
    };
    Ok(match transform {
        Transform::Trim => text.trim().to_owned(),
        Transform::Lower => text.to_lowercase(),
        Transform::Upper => text.to_uppercase(),
        Transform::Capitalise => capitalised(text),
        Transform::Default(default) if text.trim().is_empty() => default.clone(),
        Transform::Default(_) => text.to_owned(),
        Transform::Split(split) => part(text, split).to_owned(),
        Transform::Lookup(lookup) => match lookup.map.get(text).or(lookup.map.get(text.trim())) {
            Some(found) => found.clone(),
            None => otherwise(lookup.otherwise, &|| {
                let known: Vec<&str> = lookup.map.keys().take(10).map(String::as_str).collect();
                let more = if lookup.map.len() > 10 { " and so on" } else { "" };
                format!("expected one of {}{more}", known.join(", "))
            })?,
        },
        Transform::Pattern(pattern) => {
            let captures = regex.and_then(|regex| regex.captures(text));
            let take = |captures: regex::Captures<'_>| {
                let group = pattern.take.unwrap_or(usize::from(captures.len() > 1));
                captures.get(group).map(|found| found.as_str().to_owned()).unwrap_or_default()
            };
            match captures.map(take) {
                Some(found) => found,
                None => otherwise(pattern.otherwise, &|| {
                    format!("expected a text that fits {}", pattern.find)
                })?,
            }
        }
    })
}

/// A piece of the text; blank where there are fewer.
fn part<'t>(text: &'t str, split: &Split) -> &'t str {
    let number = split.part.unwrap_or(1);
    let at = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX).saturating_sub(1);
    let piece = match number > 0 {
        true => text.split(split.by.as_str()).nth(at),
        false => text.rsplit(split.by.as_str()).nth(at),
    };
    piece.unwrap_or_default().trim()
}

/// `van DER berg-smit` as `Van Der Berg-Smit`.
fn capitalised(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            written.extend(c.to_uppercase());
        } else {
            written.extend(c.to_lowercase());
        }
        begins = !(c.is_alphanumeric() || c == '\'' || c == '\u{2019}');
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn steps(json: Json) -> Result<Steps, (usize, String)> {
        Steps::new(&serde_json::from_value::<Vec<Transform>>(json).expect("transforms"))
    }

    #[track_caller]
    fn check(json: Json, text: &str, expected: Result<Moving, &str>) {
        let found = steps(json.clone()).expect("steps that fit").apply(text);
        assert_eq!(found, expected.map_err(str::to_owned), "{json} {text:?}");
    }

    fn text(text: &str) -> Result<Moving, &'static str> {
        Ok(Moving::Text(text.to_owned()))
    }

    fn list(items: &[&str]) -> Result<Moving, &'static str> {
        Ok(Moving::List(items.iter().map(|item| (*item).to_owned()).collect()))
    }

    #[test]
    fn texts_change_step_by_step() {
        check(json!([]), " a ", text(" a "));
        check(json!(["trim"]), "  a  b\u{a0}", text("a  b"));
        check(json!(["lower"]), "ÅSA", text("åsa"));
        check(json!(["upper"]), "straße", text("STRASSE"));
        check(json!(["capitalise"]), "van DER berg-smit", text("Van Der Berg-Smit"));
        check(json!(["capitalise"]), "o'NEILL", text("O'neill"));
        check(json!([{"default": "x"}]), " ", text("x"));
        check(json!([{"default": "x"}]), "y", text("y"));
        check(json!(["trim", "lower", {"default": "none"}]), "  ", text("none"));
    }

    #[test]
    fn texts_are_split_into_a_part_or_a_list() {
        let part = |part: i32| json!([{"split": {"by": " ", "part": part}}]);
        check(part(1), "Ann Lee", text("Ann"));
        check(part(2), "Ann Lee", text("Lee"));
        check(part(-1), "Ann van Lee", text("Lee"));
        check(part(3), "Ann Lee", text(""));
        let all = json!([{"split": {"by": ";"}}, "upper"]);
        check(all.clone(), "a; b ;;c", list(&["A", "B", "C"]));
        check(all, "", list(&[]));
        check(json!([{"split": {"by": ";"}}, {"default": "x"}]), "", list(&["x"]));
    }

    #[test]
    fn lookups_and_patterns_say_what_else_happens() {
        let lookup = |otherwise: &str| json!([{"lookup": {"map": {"M": "male", "V": "female"}, "otherwise": otherwise}}]);
        check(lookup("keep"), "V", text("female"));
        check(lookup("keep"), " V ", text("female"));
        check(lookup("keep"), "X", text("X"));
        check(lookup("blank"), "X", text(""));
        check(lookup("refuse"), "X", Err("expected one of M, V"));
        check(lookup("refuse"), "", text(""));
        let pattern = |find: &str, otherwise: &str| json!([{"pattern": {"find": find, "otherwise": otherwise}}]);
        check(pattern(r"(\d{4}) ?([A-Z]{2})", "blank"), "NL-1012 AB", text("1012"));
        check(pattern(r"\d+", "blank"), "no 42!", text("42"));
        check(pattern(r"\d+", "blank"), "none", text(""));
        check(pattern(r"\d+", "keep"), "none", text("none"));
        check(pattern(r"\d+", "refuse"), "none", Err(r"expected a text that fits \d+"));
        check(json!([{"pattern": {"find": "(a)(b)?", "take": 2}}]), "a", text(""));
        // Linear in the text: the classic trap for other engines is no trap.
        check(pattern("(a*)*b", "blank"), &"a".repeat(20_000), text(""));
    }

    #[test]
    fn steps_that_cannot_be_are_refused() {
        for (json, at, word) in [
            (json!(["trim", {"split": {"by": ""}}]), 1, "split by"),
            (json!([{"split": {"by": ",", "part": 0}}]), 0, "counted from 1"),
            (json!([{"split": {"by": ","}}, {"split": {"by": " "}}]), 1, "a list already"),
            (json!([{"lookup": {"map": {}}}]), 0, "1 to 1000 entries"),
            (json!([{"pattern": {"find": "("}}]), 0, "unclosed group"),
            (json!([{"pattern": {"find": "a", "take": 1}}]), 0, "0 groups"),
            (json!([{"pattern": {"find": "(a{1000}){1000}"}}]), 0, "size"),
            (Json::from(vec!["trim"; 21]), 20, "at most 20"),
        ] {
            let (found, message) = steps(json.clone()).map(|_| ()).unwrap_err();
            assert_eq!(found, at, "{json}");
            assert!(message.contains(word), "{json}: {message}");
        }
        for json in [json!(["shout"]), json!([{"split": {"by": ",", "parts": 1}}]), json!([7])] {
            assert!(serde_json::from_value::<Vec<Transform>>(json.clone()).is_err(), "{json}");
        }
    }
}
