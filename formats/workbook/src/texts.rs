//! The texts that cells share, held one behind the other.

use std::io::{Read, Seek};

use quick_xml::events::Event;

use crate::unpacking::Parts;
use crate::xml::{next, reader, reference, text_of};
use crate::{Fault, Limits};

#[derive(Debug, Default)]
pub struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        Some(&self.text[start..end])
    }
}

pub fn shared<R: Read + Seek>(parts: &mut Parts<R>, limits: &Limits) -> Result<Texts, Fault> {
    if !parts.has("xl/sharedStrings.xml") {
        return Ok(Texts::default());
    }
    parts.with("xl/sharedStrings.xml", |input| {
        let (mut xml, mut buffer) = (reader(input), Vec::new());
        let mut texts = Texts::default();
        // `rPh` holds how the text is pronounced, which is no part of it.
        let (mut in_text, mut in_phonetic) = (false, false);
        loop {
            match next(&mut xml, &mut buffer)? {
                Event::Eof => return Ok(texts),
                Event::Start(element) => match element.local_name().as_ref() {
                    b"t" => in_text = !in_phonetic,
                    b"rPh" => in_phonetic = true,
                    _ => {}
                },
                Event::Text(text) if in_text => texts.text.push_str(&text_of(&text)?),
                Event::CData(text) if in_text => {
                    texts.text.push_str(&String::from_utf8_lossy(&text));
                }
                Event::GeneralRef(name) if in_text => texts.text.push_str(&reference(&name)?),
                Event::End(element) => match element.local_name().as_ref() {
                    b"t" => in_text = false,
                    b"rPh" => in_phonetic = false,
                    b"si" => {
                        if texts.text.len() + texts.ends.len() * 4 > limits.shared_bytes {
                            return Err(Fault::TooLarge("128 MB of different texts"));
                        }
                        texts.ends.push(u32::try_from(texts.text.len()).unwrap_or(u32::MAX));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    })
}
