//! What a search for people looks at, and when it finds somebody.
//!
//! A customer's *searched text* is made of everything they are found by: parts of the name, e-mail
//! address, phone number and external id, folded and each word behind two blanks. A typed text is
//! cut into words as well; each must be found, short ones at the beginning of a word and those of
//! three characters or more anywhere. Indexes are made of the text's *grams*, its runs of three
//! characters; what they find is held against the text itself.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::schema::Schema;
use crate::value::Kind;

/// How many attributes a search looks at.
const MOST_ATTRIBUTES: usize = 8;
/// How many words of a typed text are looked for.
const MOST_WORDS: usize = 8;
/// Longer words are cut: of a text, so that its grams stay few; of what is typed alike.
const LONGEST_WORD: usize = 64;
/// At most so many characters of a text are searched.
const LONGEST_TEXT: usize = 512;

/// The text in small letters without diacritics.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'ı' => folded.push('i'),
            // The dot that a capital İ leaves behind.
            c if is_combining_mark(c) => {}
            c => folded.push(c),
        }
    }
    folded
}

/// Whether an attribute of this name holds a part of somebody's name, in the languages that we
/// know the word of.
pub fn is_name(name: &str) -> bool {
    let name = fold(name);
    let parts = ["name", "naam", "nombre", "apellid", "prenom", "cognome", "sobrenome", "imie"];
    name == "nom" || parts.iter().any(|part| name.contains(part))
}

/// The attributes that a search looks at, by their place in the schema.
pub fn searched_attributes(schema: &Schema) -> Vec<usize> {
    let named = schema.attributes.iter().enumerate();
    let named = named.filter(|(_, one)| matches!(one.kind, Kind::Text) && is_name(&one.name));
    named.map(|(at, _)| at).take(MOST_ATTRIBUTES).collect()
}

/// The text that a customer is found by; empty where there is nothing.
pub fn searched_text<'p>(parts: impl Iterator<Item = &'p str>) -> String {
    let mut text = String::new();
    for word in parts.flat_map(str::split_whitespace) {
        if text.len() >= LONGEST_TEXT {
            break;
        }
        text.push_str("  ");
        text.extend(fold(word).chars().take(LONGEST_WORD));
    }
    text
}

/// Every run of three characters of a text, once each.
pub fn grams(text: &str) -> Vec<[char; 3]> {
    let characters: Vec<char> = text.chars().collect();
    let mut grams: Vec<[char; 3]> =
        characters.windows(3).map(|run| [run[0], run[1], run[2]]).collect();
    grams.sort_unstable();
    grams.dedup();
    grams
}

/// The grams by which an index finds a needle: of a long one a few that lie apart, since each costs a
/// list to go through, and what is found is held against the text anyway.
pub fn needle_grams(needle: &str) -> Vec<[char; 3]> {
    const MOST: usize = 4;
    let characters: Vec<char> = needle.chars().collect();
    let all: Vec<[char; 3]> = characters.windows(3).map(|run| [run[0], run[1], run[2]]).collect();
    let mut picked: Vec<[char; 3]> = match all.len() {
        0..=MOST => all,
        count => (0..MOST).map(|at| all[at * (count - 1) / (MOST - 1)]).collect(),
    };
    picked.sort_unstable();
    picked.dedup();
    picked
}

/// What somebody typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Ways to read it: all needles of one of them must be in the text.
    pub ways: Vec<Vec<String>>,
}

impl Wanted {
    /// `None` where nothing was typed.
    pub fn read(typed: &str) -> Option<Wanted> {
        let folded = fold(typed);
        let words: Vec<String> = folded
            .split_whitespace()
            .take(MOST_WORDS)
            .map(|word| {
                let word: String = word.chars().take(LONGEST_WORD).collect();
                let short = 3_usize.saturating_sub(word.chars().count());
                format!("{}{word}", " ".repeat(short))
            })
            .collect();
        if words.is_empty() {
            return None;
        }
        let mut ways = vec![words];
        if let Some(digits) = phone_digits(&folded)
            && ways[0] != [digits.as_str()]
        {
            ways.push(vec![digits]);
        }
        Some(Wanted { ways })
    }

    /// Whether a searched text is what was meant.
    pub fn is_in(&self, text: &str) -> bool {
        self.ways.iter().any(|way| way.iter().all(|needle| text.contains(needle.as_str())))
    }
}

/// The digits of a text that may be a phone number as people write it, without the zeros that a
/// number with its country does not have.
fn phone_digits(text: &str) -> Option<String> {
    let may_be = |c: char| c.is_ascii_digit() || " +-()/.".contains(c);
    if !text.chars().all(may_be) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    (digits.len() >= 3).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_folded() {
        for (text, folded) in [
            ("Ann", "ann"),
            ("Müller", "muller"),
            ("Weiß", "weiss"),
            ("Søren Ærø", "soren aero"),
            ("Łódź", "lodz"),
            ("İstanbul", "istanbul"),
            ("Žižek", "zizek"),
            ("ﬁne", "fine"),
            ("Иванов", "иванов"),
            ("Ёлкин", "елкин"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn names_are_known_by_their_attribute() {
        for (name, expected) in [
            ("first_name", true),
            ("Achternaam", true),
            ("Prénom", true),
            ("nom", true),
            ("company name", true),
            ("nominal", false),
            ("city", false),
            ("score", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_typed_finds_whom_it_means() {
        let parts = ["Zoë", "van den Berg", "zoe.berg@example.com", "+31612345678", "NL-0042"];
        let text = searched_text(parts.into_iter());
        for (typed, found) in [
            ("z", true),
            ("zo", true),
            ("ZOË", true),
            ("zoe berg", true),
            ("berg zoe", true),
            ("ber", true),
            ("erg", true),
            ("er", false),
            ("b", true),
            ("x", false),
            ("@example.com", true),
            ("zoe.b", true),
            ("06 1234 5678", true),
            ("0031 6 12345678", true),
            ("+31 (6) 123", true),
            ("+31 (6) 124", false),
            ("5678", true),
            ("nl-0042", true),
            ("0042", true),
            ("zoe bergen", false),
            ("zoe%", false),
        ] {
            assert_eq!(Wanted::read(typed).unwrap().is_in(&text), found, "{typed}");
        }
        assert_eq!(Wanted::read("  "), None);
    }

    /// An index of grams finds at least what the text itself would.
    #[test]
    fn the_grams_of_a_needle_are_among_those_of_its_text() {
        let text = searched_text(["Zoë van den Berg", "z@example.com"].into_iter());
        let all = grams(&text);
        for typed in ["z", "va", "berg", "example zoe", "n", "z@example.com"] {
            for needle in Wanted::read(typed).unwrap().ways.concat() {
                if text.contains(&needle) {
                    let own = needle_grams(&needle);
                    assert!((1..=4).contains(&own.len()), "{typed}");
                    assert!(own.iter().all(|gram| all.contains(gram)), "{typed}");
                }
            }
        }
    }

    #[test]
    fn long_texts_are_bounded() {
        let long = "x".repeat(10_000);
        assert!(searched_text([long.as_str(); 100].into_iter()).len() < 700);
        assert_eq!(Wanted::read(&"a ".repeat(100)).unwrap().ways[0].len(), MOST_WORDS);
    }
}
