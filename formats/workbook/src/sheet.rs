//! Which part holds the first visible sheet, and from which day its dates are counted.

use std::io::{Read, Seek};

use quick_xml::events::Event;

use crate::Fault;
use crate::unpacking::Parts;
use crate::xml::{attribute, next, reader};

pub struct Sheet {
    pub path: String,
    pub since_1904: bool,
}

impl Sheet {
    pub fn find<R: Read + Seek>(parts: &mut Parts<R>) -> Result<Sheet, Fault> {
        if !parts.has("xl/workbook.xml") {
            return Err(Fault::Damaged("it has no xl/workbook.xml".to_owned()));
        }
        let (id, since_1904) = parts.with("xl/workbook.xml", |input| {
            let (mut xml, mut buffer) = (reader(input), Vec::new());
            let (mut first, mut since_1904) = (None, false);
            loop {
                match next(&mut xml, &mut buffer)? {
                    Event::Eof => return Ok((first, since_1904)),
                    Event::Start(element) => match element.local_name().as_ref() {
                        b"workbookPr" => {
                            let said = attribute(&element, "date1904")?;
                            since_1904 = said.is_some_and(|text| text == "1" || text == "true");
                        }
                        b"sheet" if first.is_none() => {
                            let state = attribute(&element, "state")?;
                            if state.is_none_or(|state| state == "visible") {
                                first = attribute(&element, "id")?;
                            }
                        }
                        _ => {}
                    },
                    _ => {}
                }
            }
        })?;
        let id = id.ok_or(Fault::NoSheet)?;
        let target = parts.with("xl/_rels/workbook.xml.rels", |input| {
            let (mut xml, mut buffer) = (reader(input), Vec::new());
            loop {
                match next(&mut xml, &mut buffer)? {
                    Event::Eof => return Ok(None),
                    Event::Start(element)
                        if element.local_name().as_ref() == b"Relationship"
                            && attribute(&element, "Id")?.as_deref() == Some(&id) =>
                    {
                        return attribute(&element, "Target");
                    }
                    _ => {}
                }
            }
        })?;
        let target = target.ok_or(Fault::NoSheet)?;
        let path = match target.strip_prefix('/') {
            Some(whole) => whole.to_owned(),
            None => format!("xl/{target}"),
        };
        match parts.has(&path) {
            true => Ok(Sheet { path, since_1904 }),
            false => Err(Fault::NoSheet),
        }
    }
}
