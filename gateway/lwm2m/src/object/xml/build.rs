//! From the texts of elements to definitions.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::object::{ObjectDefinition, Operations, ResourceDefinition, Version};
use crate::path::{ObjectId, ResourceId};
use crate::value::ValueType;

/// An object whose elements are being read.
#[derive(Default)]
pub(super) struct ObjectBuilder {
    id: Option<u16>,
    name: Option<String>,
    version: Option<Version>,
    urn: Option<String>,
    multiple: Option<bool>,
    mandatory: Option<bool>,
    resources: BTreeMap<ResourceId, ResourceDefinition>,
}

impl ObjectBuilder {
    pub(super) fn set(&mut self, element: &str, text: &str) -> Result<(), String> {
        match element {
            "ObjectID" => self.id = Some(number(element, text)?),
            "Name" => self.name = Some(text.to_owned()),
            "ObjectURN" => self.urn = Some(text.to_owned()),
            "ObjectVersion" if !text.is_empty() => self.version = Some(read(element, text)?),
            "MultipleInstances" => self.multiple = Some(multiple(text)?),
            "Mandatory" => self.mandatory = Some(mandatory(text)?),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn add(&mut self, item: ItemBuilder) -> Result<(), String> {
        let resource = item.finish()?;
        let id = resource.id;
        match self.resources.insert(id, resource) {
            None => Ok(()),
            Some(_) => Err(format!("resource {id} occurs twice")),
        }
    }

    pub(super) fn finish(self) -> Result<ObjectDefinition, String> {
        let id = self.id.ok_or_else(|| missing("ObjectID"))?;
        Ok(ObjectDefinition {
            id: ObjectId(id),
            name: self.name.ok_or_else(|| missing("Name"))?,
            // LwM2M Core 1.2, section 7.2.2: an object without a version is one of version 1.0.
            version: self.version.unwrap_or(Version::V1_0),
            urn: self.urn.unwrap_or_default(),
            multiple: self.multiple.ok_or_else(|| missing("MultipleInstances"))?,
            mandatory: self.mandatory.unwrap_or_default(),
            resources: self.resources,
        })
    }
}

/// A resource whose elements are being read.
pub(super) struct ItemBuilder {
    id: u16,
    name: Option<String>,
    operations: Option<Operations>,
    multiple: Option<bool>,
    mandatory: Option<bool>,
    value_type: Option<ValueType>,
    range: String,
    unit: String,
}

impl ItemBuilder {
    pub(super) fn new(id: &str) -> Result<Self, String> {
        Ok(Self {
            id: number("ID", id)?,
            name: None,
            operations: None,
            multiple: None,
            mandatory: None,
            value_type: None,
            range: String::new(),
            unit: String::new(),
        })
    }

    pub(super) fn set(&mut self, element: &str, text: &str) -> Result<(), String> {
        match element {
            "Name" => self.name = Some(text.to_owned()),
            "Operations" => self.operations = Some(read(element, text)?),
            "MultipleInstances" => self.multiple = Some(multiple(text)?),
            "Mandatory" => self.mandatory = Some(mandatory(text)?),
            "Type" if !text.is_empty() => self.value_type = Some(read(element, text)?),
            "RangeEnumeration" => self.range = text.to_owned(),
            "Units" => self.unit = text.to_owned(),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<ResourceDefinition, String> {
        let named = |element| format!("{} of resource {}", missing(element), self.id);
        Ok(ResourceDefinition {
            id: ResourceId(self.id),
            name: self.name.ok_or_else(|| named("Name"))?,
            operations: self.operations.ok_or_else(|| named("Operations"))?,
            multiple: self.multiple.ok_or_else(|| named("MultipleInstances"))?,
            mandatory: self.mandatory.ok_or_else(|| named("Mandatory"))?,
            value_type: self.value_type,
            range: self.range,
            unit: self.unit,
        })
    }
}

fn missing(element: &str) -> String {
    format!("missing element {element}")
}

fn number(element: &str, text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|n| *n != u16::MAX);
    number.ok_or_else(|| format!("{element}: {text:?} is no number below 65535"))
}

fn read<T: FromStr<Err: Display>>(element: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| format!("{element}: {e}"))
}

fn multiple(text: &str) -> Result<bool, String> {
    match text {
        "Multiple" => Ok(true),
        "Single" => Ok(false),
        _ => Err(format!(
            "MultipleInstances: {text:?} is neither Multiple nor Single"
        )),
    }
}

fn mandatory(text: &str) -> Result<bool, String> {
    match text {
        "Mandatory" => Ok(true),
        "Optional" => Ok(false),
        _ => Err(format!("Mandatory: {text:?} is neither Mandatory nor Optional")),
    }
}
