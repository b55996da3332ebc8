//! What a server that knows an older state of the object registry is shown, and what it writes is turned back.
//!
//! A resource whose definition differs between the version shown and the newest one is translated: unit, type and
//! multiplicity are compared, and the conversion follows from them. Nothing is relabelled without being converted.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::client::{Content, EnablerVersion};
use lwm2m_client::object::{Model, ObjectDefinition, ObjectTable, ResourceDefinition};
use lwm2m_client::{ObjectId, ResourceId, ResourceInstanceId, Value, ValueType};

use crate::derive::numeric;

/// The object versions that a server is shown, and how values get there.
#[derive(Debug)]
pub(crate) struct Shown {
    objects: BTreeMap<ObjectId, ShownObject>,
}

/// One object as a server is shown it.
#[derive(Debug)]
struct ShownObject {
    definition: Arc<ObjectDefinition>,
    translations: BTreeMap<ResourceId, Translation>,
}

impl Shown {
    /// Returns what a server of this model and enabler version is shown of the objects named.
    pub(crate) fn new(
        table: &ObjectTable,
        model: Model,
        enabler: EnablerVersion,
        objects: impl Iterator<Item = ObjectId>,
    ) -> Self {
        let shown = |object| {
            let definition = table
                .in_enabler(object, enabler)
                .or_else(|| table.in_model(object, model))?;
            let newest = table.latest(object)?;
            let translations = translations(definition, newest);
            let definition = Arc::clone(definition);
            Some((
                object,
                ShownObject {
                    definition,
                    translations,
                },
            ))
        };
        Self {
            objects: objects.filter_map(shown).collect(),
        }
    }

    /// Returns the definition that the server knows, none where its model lacks the object.
    pub(crate) fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition> {
        self.objects.get(&object).map(|shown| &*shown.definition)
    }

    /// Returns one resource as the server knows it.
    pub(crate) fn resource(&self, object: ObjectId, resource: ResourceId) -> Option<&ResourceDefinition> {
        self.definition(object)?.resources.get(&resource)
    }

    /// Turns the content of a resource into what the server expects; none where that cannot be said in its version.
    pub(crate) fn show(&self, object: ObjectId, resource: ResourceId, content: Content) -> Option<Content> {
        let shown = self.objects.get(&object)?;
        let definition = shown.definition.resources.get(&resource)?;
        match shown.translations.get(&resource) {
            Some(translation) => translation.show(content),
            None if fits(&content, definition) => Some(content),
            None => None,
        }
    }

    /// Turns a value that the server wrote into one of the newest version.
    ///
    /// # Errors
    /// In words, when the value has no counterpart there.
    pub(crate) fn unshow(
        &self,
        object: ObjectId,
        resource: ResourceId,
        value: Value,
    ) -> Result<Value, String> {
        let translation = self
            .objects
            .get(&object)
            .and_then(|shown| shown.translations.get(&resource));
        match translation {
            Some(translation) => translation.unshow(value),
            None => Ok(value),
        }
    }
}

/// A content of another type than the definition says would confuse every reader.
fn fits(content: &Content, definition: &ResourceDefinition) -> bool {
    let typed = |value: &Value| definition.value_type == Some(value.value_type());
    match content {
        Content::Single(value) => !definition.multiple && typed(value),
        Content::Multiple(values) => definition.multiple && values.values().all(typed),
    }
}

fn translations(shown: &ObjectDefinition, newest: &ObjectDefinition) -> BTreeMap<ResourceId, Translation> {
    let translation = |(id, shown): (&ResourceId, &ResourceDefinition)| {
        let newest = newest.resources.get(id)?;
        Some((*id, Translation::between(shown, newest)?))
    };
    shown.resources.iter().filter_map(translation).collect()
}

/// How the values of one resource get from the newest version to the one shown, and back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Translation {
    shown: Shape,
    newest: Shape,
    /// The number shown is the newest one divided by this.
    divisor: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    value_type: ValueType,
    multiple: bool,
}

impl Translation {
    /// Compares two definitions of one resource; none where values are the same in both.
    pub(crate) fn between(shown: &ResourceDefinition, newest: &ResourceDefinition) -> Option<Self> {
        let shape = |definition: &ResourceDefinition| {
            Some(Shape {
                value_type: definition.value_type?,
                multiple: definition.multiple,
            })
        };
        let translation = Self {
            shown: shape(shown)?,
            newest: shape(newest)?,
            divisor: divisor(shown, newest),
        };
        let same = translation.shown == translation.newest && translation.divisor == 1.0;
        (!same).then_some(translation)
    }

    /// Turns content of the newest version into content of the one shown.
    pub(crate) fn show(&self, content: Content) -> Option<Content> {
        let value = |value| self.show_value(value);
        Some(match (content, self.shown.multiple) {
            (Content::Single(v), false) => Content::Single(value(v)?),
            (Content::Single(v), true) => {
                Content::Multiple(BTreeMap::from([(ResourceInstanceId(0), value(v)?)]))
            }
            // An older version with room for one value gets the first: for a list of vehicle classes that is the
            // one that every counter has.
            (Content::Multiple(values), false) => Content::Single(value(values.into_values().next()?)?),
            (Content::Multiple(values), true) => {
                let shown = values.into_iter().map(|(ri, v)| Some((ri, value(v)?)));
                Content::Multiple(shown.collect::<Option<_>>()?)
            }
        })
    }

    /// Turns a value as the server wrote it into one of the newest version.
    pub(crate) fn unshow(&self, value: Value) -> Result<Value, String> {
        let text = value.to_string();
        convert(value, self.newest.value_type, |n| n * self.divisor)
            .ok_or_else(|| format!("{text:?} is no {}", self.newest.value_type))
    }

    fn show_value(&self, value: Value) -> Option<Value> {
        convert(value, self.shown.value_type, |n| n / self.divisor)
    }
}

/// Converts a value: numbers are scaled, numbers become decimal text and back, bytes become hex text and back.
fn convert(value: Value, target: ValueType, scale: impl Fn(f64) -> f64) -> Option<Value> {
    let scaled = |number: f64| numeric(target, scale(number));
    match (value, target) {
        (Value::Opaque(bytes), ValueType::String) => Some(Value::String(Value::Opaque(bytes).to_string())),
        (Value::String(text), ValueType::Opaque) => bytes_of_hex(&text).map(Value::Opaque),
        (Value::String(text), ValueType::String) => Some(Value::String(text)),
        // Exact beyond 2^53, where a float is not.
        (Value::Integer(v), ValueType::Integer) if scale(1.0) == 1.0 => Some(Value::Integer(v)),
        (Value::Integer(v), ValueType::String) if scale(1.0) == 1.0 => Some(Value::String(v.to_string())),
        (value @ (Value::Integer(_) | Value::Unsigned(_) | Value::Float(_)), ValueType::String) => {
            value.as_f64().map(|n| Value::String(scale(n).to_string()))
        }
        (Value::String(text), ValueType::Integer) if scale(1.0) == 1.0 => {
            text.trim().parse().ok().map(Value::Integer)
        }
        (Value::String(text), _) => scaled(text.trim().parse().ok()?),
        // Whole hours of a point in time: rounded down, as a clock that shows only hours does.
        (Value::Time(v), ValueType::Integer) => numeric(target, scale(v as f64).floor()),
        (value, _) if value.value_type() == target && scale(1.0) == 1.0 => Some(value),
        (value, _) => scaled(value.as_f64()?),
    }
}

/// Returns how many of the newest unit make one of the unit shown.
fn divisor(shown: &ResourceDefinition, newest: &ResourceDefinition) -> f64 {
    let unit = |definition: &ResourceDefinition| match definition.value_type {
        // The registry gives no unit to points in time: they are seconds.
        Some(ValueType::Time) => "s".to_owned(),
        _ => definition.unit.clone(),
    };
    match (scale_of(&unit(shown)), scale_of(&unit(newest))) {
        (Some((shown_base, shown)), Some((newest_base, newest))) if shown_base == newest_base => {
            shown / newest
        }
        _ => 1.0,
    }
}

/// Returns the base unit of a unit, and how many of it make one.
fn scale_of(unit: &str) -> Option<(&'static str, f64)> {
    Some(match unit {
        "Wh" => ("Wh", 1.0),
        "kWh" => ("Wh", 1000.0),
        "varh" => ("varh", 1.0),
        "kvarh" => ("varh", 1000.0),
        "VAh" => ("VAh", 1.0),
        "kVAh" => ("VAh", 1000.0),
        "W" => ("W", 1.0),
        "kW" => ("W", 1000.0),
        "s" => ("s", 1.0),
        "min" => ("s", 60.0),
        "h" => ("s", 3600.0),
        "m" => ("m", 1.0),
        "cm" => ("m", 0.01),
        "mm" => ("m", 0.001),
        "Hz" => ("Hz", 1.0),
        "MHz" => ("Hz", 1e6),
        _ => return None,
    })
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
