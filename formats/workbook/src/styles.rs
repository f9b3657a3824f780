//! Which cell styles show a number as a date or a time.

use std::collections::HashMap;
use std::io::{Read, Seek};

use quick_xml::events::Event;

use crate::Fault;
use crate::unpacking::Parts;
use crate::xml::{attribute, next, reader};

/// More styles than any program writes.
const MAX_STYLES: usize = 100_000;

/// By the number of a style: whether it shows dates.
pub fn date_styles<R: Read + Seek>(parts: &mut Parts<R>) -> Result<Vec<bool>, Fault> {
    if !parts.has("xl/styles.xml") {
        return Ok(Vec::new());
    }
    parts.with("xl/styles.xml", |input| {
        let (mut xml, mut buffer) = (reader(input), Vec::new());
        let mut own: HashMap<u32, bool> = HashMap::new();
        let (mut styles, mut in_cells) = (Vec::new(), false);
        loop {
            match next(&mut xml, &mut buffer)? {
                Event::Eof => return Ok(styles),
                Event::Start(element) => match element.local_name().as_ref() {
                    b"numFmt" => {
                        let number = attribute(&element, "numFmtId")?.and_then(|n| n.parse().ok());
                        let code = attribute(&element, "formatCode")?;
                        if let (Some(number), Some(code)) = (number, code)
                            && own.len() < MAX_STYLES
                        {
                            own.insert(number, shows_dates(&code));
                        }
                    }
                    b"cellXfs" => in_cells = true,
                    b"xf" if in_cells && styles.len() < MAX_STYLES => {
                        let number = attribute(&element, "numFmtId")?.and_then(|n| n.parse().ok());
                        let number: u32 = number.unwrap_or(0);
                        let built_in = matches!(number, 14..=22 | 27..=36 | 45..=47 | 50..=58);
                        styles.push(own.get(&number).copied().unwrap_or(built_in));
                    }
                    _ => {}
                },
                Event::End(element) if element.local_name().as_ref() == b"cellXfs" => {
                    in_cells = false;
                }
                _ => {}
            }
        }
    })
}

/// Whether a format has letters of dates and times outside of quotes, brackets and escapes.
fn shows_dates(code: &str) -> bool {
    let (mut quoted, mut in_brackets, mut escaped) = (false, false, false);
    // Only the part for positive numbers counts.
    for c in code.chars() {
        match c {
            _ if escaped => escaped = false,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '\\' | '_' | '*' => escaped = true,
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            ';' => return false,
            // `[h]` counts hours beyond a day.
            'h' | 'm' | 's' if in_brackets => return true,
            _ if in_brackets => {}
            'y' | 'Y' | 'm' | 'M' | 'd' | 'D' | 'h' | 'H' | 's' | 'S' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_show_dates_or_not() {
        for (code, expected) in [
            ("yyyy-mm-dd", true),
            ("[$-409]d/m/yy h:mm AM/PM;@", true),
            ("[h]:mm:ss", true),
            ("0.00", false),
            ("General", false),
            ("[Red]0.00", false),
            ("0 \"days\"", false),
            ("#,##0\\d", false),
            ("0;-0;\"never\" yyyy", false),
        ] {
            assert_eq!(shows_dates(code), expected, "{code}");
        }
    }
}
