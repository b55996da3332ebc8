//! What a number, a bit or a word stands for: scale and unit, bounds, maps and limits, numbers for "no value".

use std::collections::BTreeMap;

use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{Value, ValueType};
use ucifi_core::profile::Deadband;

use super::Draft;
use super::resource::{Target, UnitOf, typed_value, unit_help};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::layout::{Absent, Limit, Meaning, Number, Take};
use crate::ratio::{Linear, Ratio};
use crate::register::Raw;
use crate::units;

impl<'d> Draft<'d> {
    /// Returns what a number or a bit stands for, and which change of it is no news.
    pub(super) fn meaning(
        &self,
        table: &Table<'d>,
        is_bit: bool,
        target: &Target<'_>,
    ) -> Option<(Meaning, Deadband)> {
        let definition = target.definition;
        let value_type = definition.value_type?;
        if let Some(map) = table.get("map") {
            refuse_beside_map(table);
            let meaning = self.choices(&map.table()?, is_bit, definition, value_type)?;
            return Some((meaning, Deadband::default()));
        }
        if is_bit {
            for key in NUMBER_KEYS {
                table.refuse(key, &format!("{key} has no meaning for a bit"), "remove it");
            }
            if value_type == ValueType::Boolean {
                return Some((Meaning::Flag, Deadband::default()));
            }
            return table.error_with_help(
                format!("a bit does not fit {}, of type {value_type}", definition.name),
                "say what 0 and 1 stand for, as in map = { 0 = 0, 1 = 100 }",
            );
        }
        if value_type == ValueType::Boolean
            && let Some(limit) = limit(table)
        {
            return Some((Meaning::Limit(limit?), Deadband::default()));
        }
        let (number, deadband) = self.measured(table, target, value_type)?;
        Some((Meaning::Number(number), deadband))
    }

    fn choices(
        &self,
        map: &Table<'d>,
        is_bit: bool,
        definition: &ResourceDefinition,
        value_type: ValueType,
    ) -> Option<Meaning> {
        let mut choices = BTreeMap::new();
        for item in map.entries() {
            let key = match item.key() {
                "false" => Some(0),
                "true" => Some(1),
                text => Scope::default().number(text).ok().map(i128::from),
            };
            let Some(key) = key.filter(|key| !is_bit || (0..=1).contains(key)) else {
                return item.error(format!("{:?} is no value of the register", item.key()));
            };
            let value: Value = typed_value(&item, value_type, Scope::default())?;
            if let Err(reason) = definition.check(&value) {
                return item.error(reason);
            }
            choices.insert(key, value);
        }
        if choices.is_empty() {
            return map.error("map is empty");
        }
        Some(Meaning::Choices(choices))
    }

    /// Returns how a measured number is scaled and checked, and which change of it is no news.
    pub(super) fn measured(
        &self,
        table: &Table<'d>,
        target: &Target<'_>,
        value_type: ValueType,
    ) -> Option<(Number, Deadband)> {
        let definition = target.definition;
        let scale = linear(table);
        let unit = unit(table, definition, &self.unit_of(target));
        let (min, max) = bounds(table);
        let take = match table.get("take") {
            Some(item) => item.one_of(&Take::WORDS),
            None => Some(Take::All),
        };
        let width = table.get("deadband").map(|item| deadband(&item));
        if !is_number(value_type) {
            return table.error_with_help(
                format!("a number does not fit {}, of type {value_type}", definition.name),
                "say what each number stands for, as in map = { 0 = …, 1 = … }",
            );
        }
        let (scale, unit) = (scale?, unit?);
        let to_registry = scale.then(unit)?;
        let width = width.map_or(Some(0.0), |width| width)?;
        let number = Number {
            scale,
            to_registry,
            min,
            max,
            take: take?,
            value_type,
        };
        let width = (width * unit.slope.as_f64()).abs();
        Some((number, Deadband::new(width)?))
    }
}

fn is_number(value_type: ValueType) -> bool {
    match value_type {
        ValueType::Float | ValueType::Integer | ValueType::Unsigned | ValueType::Time => true,
        ValueType::String
        | ValueType::Boolean
        | ValueType::Opaque
        | ValueType::Objlnk
        | ValueType::Corelnk => false,
    }
}

/// What is left unread where a former mistake hides its meaning.
pub(super) const MEANING_KEYS: [&str; 11] = [
    "map", "unit", "scale", "offset", "min", "max", "deadband", "take", "absent", "above", "below",
];

const NUMBER_KEYS: [&str; 7] = ["unit", "scale", "offset", "min", "max", "deadband", "take"];

pub(super) fn refuse_beside_map(table: &Table<'_>) {
    for key in NUMBER_KEYS {
        table.refuse(
            key,
            &format!("{key} has no meaning beside map"),
            "remove one of the two",
        );
    }
}

/// Reads `above` or `below`, where one is there; the inner option says whether it is good.
pub(super) fn limit(table: &Table<'_>) -> Option<Option<Limit>> {
    let above = table.get("above");
    let below = table.get("below");
    let item = above.or(below)?;
    for key in ["unit", "min", "max", "deadband", "take"] {
        table.refuse(
            key,
            &format!("{key} has no meaning beside {}", item.key()),
            "remove one of the two",
        );
    }
    if above.is_some() && below.is_some() {
        return Some(item.error("an alarm is either above or below a limit"));
    }
    let (scale, at) = (linear(table), item.float());
    Some(scale.zip(at).map(|(scale, at)| Limit {
        scale,
        at,
        above: above.is_some(),
    }))
}

pub(super) fn linear(table: &Table<'_>) -> Option<Linear> {
    let ratio = |key: &str, default: Ratio| match table.get(key) {
        None => Some(default),
        Some(item) => match item.number_text().and_then(|text| Ratio::from_decimal(&text)) {
            Some(ratio) => Some(ratio),
            None => item.error(format!("{key} must be a decimal number of at most 18 digits")),
        },
    };
    let (slope, offset) = (ratio("scale", Ratio::ONE), ratio("offset", Ratio::ZERO));
    let slope = slope?;
    if slope.is_zero() {
        return table.get("scale")?.error_with_help(
            "a scale of 0 makes every value 0",
            "leave it out where the register needs none",
        );
    }
    Some(Linear {
        slope,
        offset: offset?,
    })
}

/// Returns how a value of the unit that the table names becomes one of the resource's.
pub(super) fn unit(table: &Table<'_>, definition: &ResourceDefinition, wanted: &UnitOf) -> Option<Linear> {
    let name = &definition.name;
    let item = table.get("unit");
    let wanted = match (wanted, item) {
        (UnitOf::Fixed(unit), _) => unit.as_str(),
        (UnitOf::Unnamed(_), None) => "",
        (UnitOf::Unnamed(path), Some(item)) => {
            return item.error_with_help(
                format!("{name} has the unit that {path} names, and nothing gives that a value"),
                format!("write [constants] \"{path}\" = {:?}", item.string()?),
            );
        }
    };
    let Some(item) = item else {
        if wanted.is_empty() {
            return Some(Linear::IDENTITY);
        }
        return table.error_with_help(
            format!("unit is missing: {name} is in {wanted}"),
            format!("known are {}", units::convertible_to(wanted).join(", ")),
        );
    };
    let given = item.string()?;
    match units::convert(given, wanted) {
        Some(linear) => Some(linear),
        None if wanted.is_empty() => item.error_with_help(
            format!("{given:?} does not become a plain number, as {name} is"),
            unit_help(given, wanted),
        ),
        None => item.error_with_help(
            format!("{given:?} does not become {wanted}, the unit of {name}"),
            unit_help(given, wanted),
        ),
    }
}

fn bounds(table: &Table<'_>) -> (Option<f64>, Option<f64>) {
    let min = table.get("min").and_then(|item| item.float());
    let max_item = table.get("max");
    let max = max_item.and_then(|item| item.float());
    if let (Some(min), Some(max), Some(item)) = (min, max, max_item)
        && min > max
    {
        item.error::<()>(format!("min {min} is above max {max}"));
    }
    (min, max)
}

fn deadband(item: &Item<'_>) -> Option<f64> {
    let width = item.float()?;
    if width < 0.0 {
        return item.error("deadband cannot be negative");
    }
    Some(width)
}

/// Which numbers an encoding can hold.
pub(super) enum NumberRange {
    /// Whole ones; a signed one also counts by its bit pattern, below the span.
    Whole {
        low: i128,
        high: i128,
        span: i128,
    },
    Single,
    Double,
    Bit,
}

impl NumberRange {
    pub(super) fn unsigned(bits: u32) -> Self {
        Self::Whole {
            low: 0,
            high: (1 << bits) - 1,
            span: 0,
        }
    }

    pub(super) fn signed(bits: u32) -> Self {
        Self::Whole {
            low: -(1 << (bits - 1)),
            high: (1 << (bits - 1)) - 1,
            span: 1 << bits,
        }
    }
}

/// Returns the numbers that stand for no value; a bit pattern such as 0x8000 counts for a signed type too.
pub(super) fn absent(table: &Table<'_>, range: NumberRange) -> Absent {
    let Some(item) = table.get("absent") else {
        return Absent::default();
    };
    if matches!(range, NumberRange::Bit) {
        item.error::<()>("a bit has no number to spare for \"absent\"");
        return Absent::default();
    }
    let items = item.items().unwrap_or_default();
    Absent(items.iter().filter_map(|item| sentinel(item, &range)).collect())
}

fn sentinel(item: &Item<'_>, range: &NumberRange) -> Option<Raw> {
    match range {
        NumberRange::Single => item.float().map(|value| Raw::Float(f64::from(value as f32))),
        NumberRange::Double => item.float().map(Raw::Float),
        NumberRange::Bit => None,
        NumberRange::Whole { low, high, span } => {
            let value = item.integer(*low..=*high.max(&(span - 1)))?;
            Some(Raw::Integer(if value > *high { value - span } else { value }))
        }
    }
}
