//! What files are called: after the names of things, in letters that every file system and every
//! shell takes, and never two the same, not even where case does not count.

use std::collections::HashSet;

/// The longest name of a file, without its end.
const MAX_LENGTH: usize = 60;
/// Names that are devices on Windows.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// Small Latin letters, digits and dashes; empty where a name has nothing of these.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match plain(c) {
            "" => {
                if !slug.is_empty() && !slug.ends_with('-') {
                    slug.push('-');
                }
            }
            "*" => slug.push(c),
            letters => slug.push_str(letters),
        }
        if slug.len() >= MAX_LENGTH {
            break;
        }
    }
    slug.truncate(MAX_LENGTH);
    slug.trim_matches('-').to_owned()
}

/// A letter without its marks; `*` for one that stays, and nothing for anything else.
fn plain(c: char) -> &'static str {
    match c {
        'a'..='z' | '0'..='9' => "*",
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'į' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'œ' => "oe",
        'ř' => "r",
        'ś' | 'š' | 'ş' => "s",
        'ß' => "ss",
        'ť' | 'þ' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ž' | 'ż' => "z",
        _ => "",
    }
}

fn is_device(slug: &str) -> bool {
    let bare = slug.trim_end_matches(|c: char| c.is_ascii_digit());
    DEVICES.contains(&slug) || (slug.len() == 4 && ["com", "lpt"].contains(&bare))
}

/// Gives out names of files of one folder. Things are to come in the order of their numbers, so that
/// a name stays as it is when something is added.
#[derive(Default)]
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// The name for a thing of this name and number; `kind` where nothing of the name is left.
    pub fn give(&mut self, name: &str, number: Option<i32>, kind: &str) -> String {
        let slug = slug(name);
        let number = number.unwrap_or_default();
        let first = match slug.as_str() {
            "" => format!("{kind}-{number}"),
            slug if is_device(slug) => format!("{slug}-{number}"),
            slug => slug.to_owned(),
        };
        let mut given = first.clone();
        let mut further = 1;
        while !self.taken.insert(given.clone()) {
            given = match further {
                1 => format!("{first}-{number}"),
                _ => format!("{first}-{number}-{further}"),
            };
            further += 1;
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_after_things() {
        let mut names = Names::default();
        for (name, number, expected) in [
            ("Newsletter readers", 1, "newsletter-readers"),
            ("NEWSLETTER  Readers", 2, "newsletter-readers-2"),
            ("newsletter/readers", 3, "newsletter-readers-3"),
            ("newsletter readers 2", 4, "newsletter-readers-2-4"),
            ("../../etc/passwd", 5, "etc-passwd"),
            ("Größe in Łódź", 6, "grosse-in-lodz"),
            ("日本", 7, "segment-7"),
            ("..", 8, "segment-8"),
            ("con", 9, "con-9"),
            ("COM1", 10, "com1-10"),
            ("İstanbul", 11, "i-stanbul"),
            ("-a-", 12, "a"),
        ] {
            assert_eq!(names.give(name, Some(number), "segment"), expected, "{name}");
        }
        let long = names.give(&"x".repeat(100), Some(13), "segment");
        assert_eq!(long.len(), MAX_LENGTH);
        assert_eq!(names.give(&"X".repeat(90), Some(14), "segment"), format!("{long}-14"));
    }
}
