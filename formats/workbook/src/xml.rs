//! A reader of XML that takes no DTD and knows names without their prefix.

use std::cell::Cell;
use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::Fault;
use crate::unpacking::Input;

pub struct Xml<'r> {
    reader: Reader<&'r mut dyn BufRead>,
    since: &'r Cell<u64>,
}

pub fn reader(input: Input<'_>) -> Xml<'_> {
    let mut reader = Reader::from_reader(input.bytes);
    reader.config_mut().expand_empty_elements = true;
    Xml { reader, since: input.since }
}

/// The next event; a document type is refused, because nothing in a workbook needs one.
pub fn next<'b>(xml: &mut Xml<'_>, buffer: &'b mut Vec<u8>) -> Result<Event<'b>, Fault> {
    buffer.clear();
    xml.since.set(0);
    match xml.reader.read_event_into(buffer) {
        Ok(Event::DocType(_)) => Err(Fault::Damaged("it has a document type".to_owned())),
        Ok(event) => Ok(event),
        Err(error) => Err(Fault::Damaged(error.to_string())),
    }
}

/// An attribute by its name without a prefix.
pub fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, Fault> {
    // The check for names given twice compares each with all before it, which takes hours where an
    // element has a million of them.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| Fault::Damaged(error.to_string()))?;
        if attribute.key.local_name().as_ref() == name.as_bytes() {
            return text_of(&attribute.value).map(Some);
        }
    }
    Ok(None)
}

/// Text with its five entities and numbers of characters resolved.
pub fn text_of(raw: &[u8]) -> Result<String, Fault> {
    let text = String::from_utf8_lossy(raw);
    let text = quick_xml::escape::unescape(&text);
    text.map(|text| text.into_owned()).map_err(|error| Fault::Damaged(error.to_string()))
}

/// The character that a reference such as `&amp;` or `&#10;` stands for.
pub fn reference(raw: &[u8]) -> Result<String, Fault> {
    text_of(&[b"&", raw, b";"].concat())
}
