//! Reading of object definition files: elements and their texts.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::XmlError;
use super::build::{ItemBuilder, ObjectBuilder};
use crate::limits::{MAX_XML_BYTES, MAX_XML_DEPTH};
use crate::object::ObjectDefinition;

/// Reads the objects of a file.
pub fn parse(xml: &str) -> Result<Vec<ObjectDefinition>, XmlError> {
    if xml.len() > MAX_XML_BYTES {
        let reason = format!("the file has {} bytes, {MAX_XML_BYTES} at most", xml.len());
        return Err(XmlError { line: 1, reason });
    }
    let mut reader = Reader::from_str(xml);
    reader.config_mut().expand_empty_elements = true;
    let mut file = File::default();
    loop {
        let outcome = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => file.handle(&event),
            Err(error) => Err(error.to_string()),
        };
        outcome.map_err(|reason| XmlError {
            line: line_at(xml, reader.buffer_position()),
            reason,
        })?;
    }
    file.finish().map_err(|reason| XmlError {
        line: line_at(xml, xml.len() as u64),
        reason,
    })
}

fn line_at(xml: &str, position: u64) -> usize {
    let end = usize::try_from(position).map_or(xml.len(), |p| p.min(xml.len()));
    let before = xml.as_bytes().get(..end).unwrap_or_default();
    1 + before.iter().filter(|b| **b == b'\n').count()
}

/// What has been read so far.
#[derive(Default)]
struct File {
    /// The names of the open elements.
    open: Vec<String>,
    /// The text of the innermost element.
    text: String,
    object: Option<ObjectBuilder>,
    item: Option<ItemBuilder>,
    objects: Vec<ObjectDefinition>,
}

impl File {
    fn handle(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(_) => self.end(),
            Event::Text(text) => {
                self.text.push_str(text);
                Ok(())
            }
            Event::CData(text) => {
                self.text.push_str(text);
                Ok(())
            }
            Event::GeneralRef(reference) => {
                let escaped = format!("&{};", &**reference);
                let text = quick_xml::escape::unescape(&escaped).map_err(|e| e.to_string())?;
                self.text.push_str(&text);
                Ok(())
            }
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let name = tag.local_name().as_ref().to_owned();
        if self.open.len() == MAX_XML_DEPTH {
            return Err(format!("elements are nested deeper than {MAX_XML_DEPTH}"));
        }
        if self.open.is_empty() && name != "LWM2M" {
            return Err(format!("the file is about {name}, expected LWM2M"));
        }
        match name.as_str() {
            "Object" if self.object.is_none() => self.object = Some(ObjectBuilder::default()),
            "Item" if self.object.is_some() && self.item.is_none() => {
                self.item = Some(ItemBuilder::new(&attribute(tag, "ID")?)?);
            }
            "Object" | "Item" => return Err(format!("{name} stands at the wrong place")),
            _ => {}
        }
        self.open.push(name);
        self.text.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let name = self.open.pop().unwrap_or_default();
        let parent = self.open.last().map(String::as_str);
        let text = collapsed(&std::mem::take(&mut self.text));
        match (name.as_str(), parent, &mut self.object, &mut self.item) {
            ("Object", ..) => {
                let object = self.object.take().unwrap_or_default();
                self.objects.push(object.finish()?);
            }
            ("Item", _, Some(object), item) => {
                object.add(item.take().ok_or("Item ends where none is open")?)?;
            }
            (field, Some("Item"), _, Some(item)) => item.set(field, &text)?,
            (field, Some("Object"), Some(object), _) => object.set(field, &text)?,
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<ObjectDefinition>, String> {
        if let Some(open) = self.open.last() {
            return Err(format!("the file ends within {open}"));
        }
        if self.objects.is_empty() {
            return Err("the file defines no object".to_owned());
        }
        Ok(self.objects)
    }
}

/// Makes one space of each run of white space: files break and indent names as they like.
fn collapsed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<String, String> {
    let found = tag.try_get_attribute(name).map_err(|e| e.to_string())?;
    let attribute = found.ok_or_else(|| format!("the attribute {name} is missing"))?;
    Ok(attribute.value.trim().to_owned())
}
