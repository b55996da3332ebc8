//! What a server that knows an older state of the object registry is shown, and what it writes is turned back.
//!
//! A resource whose definition differs between the version shown and the newest one is translated: unit, type and
//! multiplicity are compared, and the conversion follows from them. Nothing is relabelled without being converted.

use std::collections::{BTreeMap, BTreeSet};
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
        objects: &BTreeSet<ObjectId>,
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
            objects: objects.iter().copied().filter_map(shown).collect(),
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn shown(model: Model) -> Shown {
        let table = testing::table();
        Shown::new(&table, model, EnablerVersion::V1_1, &table.objects().collect())
    }

    fn show(model: Model, object: u16, resource: u16, value: Value) -> Option<Content> {
        shown(model).show(ObjectId(object), ResourceId(resource), Content::Single(value))
    }

    fn unshow(model: Model, object: u16, resource: u16, value: Value) -> Result<Value, String> {
        shown(model).unshow(ObjectId(object), ResourceId(resource), value)
    }

    fn single(value: Value) -> Option<Content> {
        Some(Content::Single(value))
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    /// Every resource that some released version defines otherwise than the newest one.
    static DIFFERING: LazyLock<Vec<(ObjectId, ResourceId, Translation)>> = LazyLock::new(|| {
        let table = testing::table();
        let mut all = Vec::new();
        for object in table.objects() {
            let newest = table.latest(object).unwrap();
            for version in table.versions(object) {
                let old = table.definition(object, version).unwrap();
                all.extend(
                    translations(old, newest)
                        .into_iter()
                        .map(|(id, t)| (object, id, t)),
                );
            }
        }
        all
    });

    #[test]
    fn energy_is_kilowatt_hours_in_2020_and_watt_hours_since() {
        let value = Value::Float(12_345_678.0);
        assert_eq!(
            show(Model::Y2020, 3418, 6, value.clone()),
            single(Value::Float(12_345.678))
        );
        assert_eq!(show(Model::Y2023, 3418, 6, value.clone()), single(value.clone()));
        assert_eq!(show(Model::Y2026, 3418, 6, value.clone()), single(value));
    }

    #[test]
    fn types_are_converted_and_not_relabelled() {
        let hours = Value::Float(1204.6);
        assert_eq!(
            show(Model::Y2020, 3416, 15, hours.clone()),
            single(Value::Integer(1205))
        );
        assert_eq!(show(Model::Y2023, 3416, 15, hours.clone()), single(hours));
        assert_eq!(
            show(Model::Y2020, 3416, 40, Value::Integer(4000)),
            single(text("4000"))
        );
        assert_eq!(
            show(Model::Y2023, 3416, 40, Value::Integer(4000)),
            single(Value::Integer(4000))
        );
        assert_eq!(
            show(Model::Y2020, 3414, 1, Value::Opaque(vec![0x0a, 0xff])),
            single(text("0aff"))
        );
        assert_eq!(
            show(Model::Y2020, 3415, 3, Value::Integer(24)),
            single(text("24"))
        );
        let synchronized = Value::Time(1_760_000_000);
        assert_eq!(
            show(Model::Y2023, 3415, 4, synchronized.clone()),
            single(Value::Integer(488_888))
        );
        assert_eq!(
            show(Model::Y2026, 3415, 4, synchronized.clone()),
            single(synchronized)
        );
    }

    #[test]
    fn a_list_becomes_its_first_value_where_there_is_room_for_one() {
        let values = [(0, 2), (1, 13)].map(|(ri, v)| (ResourceInstanceId(ri), Value::Integer(v)));
        let content = Content::Multiple(BTreeMap::from(values));
        for (object, resource) in [(3416, 35), (3432, 1), (3432, 4)] {
            let at =
                |model: Model| shown(model).show(ObjectId(object), ResourceId(resource), content.clone());
            assert_eq!(at(Model::Y2020), single(Value::Integer(2)), "{object}/{resource}");
            assert_eq!(at(Model::Y2026), Some(content.clone()), "{object}/{resource}");
        }
    }

    #[test]
    fn a_write_comes_back_in_the_newest_type_or_is_refused() {
        assert_eq!(
            unshow(Model::Y2020, 3416, 39, text(" 3000 ")),
            Ok(Value::Integer(3000))
        );
        assert_eq!(
            unshow(Model::Y2023, 3416, 39, Value::Integer(3000)),
            Ok(Value::Integer(3000))
        );
        assert!(
            unshow(Model::Y2020, 3416, 39, text("warm"))
                .unwrap_err()
                .contains("Integer")
        );
        assert_eq!(
            unshow(Model::Y2020, 3414, 1, text("0AfF")),
            Ok(Value::Opaque(vec![0x0a, 0xff]))
        );
        for bad in ["0", "zz", "+1", "0x"] {
            assert!(unshow(Model::Y2020, 3414, 1, text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_version_does_not_have_is_not_shown() {
        assert_eq!(show(Model::Y2023, 3418, 36, Value::Float(1.0)), None, "since 2.1");
        assert_eq!(show(Model::Y2020, 3418, 5518, Value::Time(1)), None, "since 2.0");
        let of = |model: Model, object| {
            shown(model)
                .definition(ObjectId(object))
                .map(|d| d.version.to_string())
        };
        assert_eq!(of(Model::Y2026, 600).as_deref(), Some("1.0"));
        assert_eq!(of(Model::Y2020, 600), None);
        assert_eq!(of(Model::Y2020, 3416).as_deref(), Some("1.0"));
        assert_eq!(of(Model::Y2023, 3416).as_deref(), Some("2.0"));
        assert_eq!(of(Model::Y2026, 3416).as_deref(), Some("3.0"));
    }

    #[test]
    fn every_difference_that_the_registry_lists_is_translated() {
        // The resources of the registry's own list of changes whose type, unit or multiplicity changed.
        let expected: [(u16, &[u16]); 7] = [
            (3414, &[1]),
            (3415, &[3, 4]),
            (3416, &[15, 35, 39, 40]),
            (3418, &[6]),
            (3432, &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]),
            (3455, &[0]),
            (3459, &[4]),
        ];
        for (object, resources) in expected {
            for resource in resources {
                let there = DIFFERING
                    .iter()
                    .any(|(o, r, _)| (o.0, r.0) == (object, *resource));
                assert!(there, "{object}/{resource}");
            }
        }
    }

    /// A value of a type, as large as a device would send.
    fn value_of(value_type: ValueType, number: i32, bytes: &[u8]) -> Value {
        match value_type {
            ValueType::String => Value::String(bytes.iter().map(|b| char::from(b'a' + b % 26)).collect()),
            ValueType::Integer => Value::Integer(number.into()),
            ValueType::Unsigned => Value::Unsigned(number.unsigned_abs().into()),
            ValueType::Float => Value::Float(f64::from(number) / 16.0),
            ValueType::Boolean => Value::Boolean(number % 2 == 0),
            ValueType::Opaque => Value::Opaque(bytes.to_vec()),
            ValueType::Time => Value::Time(number.into()),
            ValueType::Objlnk => Value::Objlnk(ObjectId(3), lwm2m_client::InstanceId(0)),
            ValueType::Corelnk => Value::Corelnk("</3/0>".to_owned()),
        }
    }

    /// What the older type cannot say: a float shown as an integer is rounded, a time in hours is cut.
    fn precision(translation: &Translation) -> f64 {
        match (translation.newest.value_type, translation.shown.value_type) {
            (ValueType::Float, ValueType::Integer) => translation.divisor / 2.0,
            (ValueType::Time, ValueType::Integer) => translation.divisor,
            _ => 0.0,
        }
    }

    fn there_and_back(translation: &Translation, content: Content) -> Option<Content> {
        let back = |value| translation.unshow(value).ok();
        Some(match translation.show(content)? {
            Content::Single(value) => Content::Single(back(value)?),
            Content::Multiple(values) => {
                let values = values.into_iter().map(|(ri, value)| Some((ri, back(value)?)));
                Content::Multiple(values.collect::<Option<_>>()?)
            }
        })
    }

    fn first(content: Content) -> Option<Value> {
        match content {
            Content::Single(value) => Some(value),
            Content::Multiple(values) => values.into_values().next(),
        }
    }

    proptest! {
        #[test]
        fn down_and_up_again_is_the_same_value(number: i32, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for (object, resource, translation) in &*DIFFERING {
                let value = value_of(translation.newest.value_type, number, &bytes);
                let content = if translation.newest.multiple {
                    Content::Multiple(BTreeMap::from([(ResourceInstanceId(0), value.clone())]))
                } else {
                    Content::Single(value.clone())
                };
                let Some(back) = there_and_back(translation, content).and_then(first) else {
                    return Err(TestCaseError::fail(format!("{object}/{resource}: {value} is lost")));
                };
                prop_assert_eq!(back.value_type(), value.value_type(), "{}/{}", object, resource);
                match (value.as_f64(), back.as_f64()) {
                    (Some(value), Some(back)) => {
                        let error = (value - back).abs();
                        let bound = precision(translation) + value.abs() * 1e-12;
                        prop_assert!(error <= bound, "{}/{}: {} became {}", object, resource, value, back);
                    }
                    _ => prop_assert_eq!(back, value, "{}/{}", object, resource),
                }
            }
        }

        #[test]
        fn nothing_a_server_writes_makes_the_translation_panic(text: String, float: f64, integer: i64) {
            for (_, _, translation) in &*DIFFERING {
                for value in [Value::String(text.clone()), Value::Float(float), Value::Integer(integer)] {
                    if let Ok(value) = translation.unshow(value) {
                        prop_assert_eq!(value.value_type(), translation.newest.value_type);
                    }
                }
            }
        }
    }
}
