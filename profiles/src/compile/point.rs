//! One entry of `[points]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{Value, ValueType};
use ucifi_core::field::{PointId, RegisterPoint, Table as RegisterTable};
use ucifi_core::profile::{Deadband, Point, PointClass};

use super::modbus::{self, refuse_ambiguous};
use super::resource::{Target, UnitOf, Use, typed_value, unit_help};
use super::{Draft, number};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::layout::{Layout, Meaning, Number, Take};
use crate::ratio::{Linear, Ratio};
use crate::register::{Encoding, Order, Raw};
use crate::units;

const CLASSES: [(&str, PointClass); 4] = [
    ("alarm", PointClass::Alarm),
    ("billing", PointClass::Billing),
    ("measurement", PointClass::Measurement),
    ("diagnostic", PointClass::Diagnostic),
];

/// How often a point of a class is read where the profile does not say.
fn default_every_ms(class: PointClass) -> u64 {
    match class {
        PointClass::Alarm => 1_000,
        PointClass::Billing => 60_000,
        PointClass::Measurement => 10_000,
        PointClass::Diagnostic => 300_000,
    }
}

/// Where a point stands.
struct Position {
    table: RegisterTable,
    address: u16,
    encoding: Encoding,
    order: Order,
}

impl<'d> Draft<'d> {
    pub(super) fn point(&mut self, item: Item<'d>, scope: Scope) {
        let Some(table) = item.table() else {
            return;
        };
        let name = self.name(&item, scope);
        let position = self.position(&table, scope);
        let path_item = table.require("path");
        let target = path_item.and_then(|path| self.target(&path, scope, Use::Fill));
        let meaning = target
            .as_ref()
            .zip(position.as_ref())
            .and_then(|(target, position)| self.meaning(&table, position, target));
        if target.is_none() || position.is_none() {
            table.accept(&MEANING_KEYS);
        }
        let absent = position
            .as_ref()
            .map(|position| absent(&table, position.encoding))
            .unwrap_or_default();
        let (class, every_ms, heartbeat_ms) = timing(&table);
        table.finish();
        let (Some(name), Some(position), Some(path_item)) = (name, position, path_item) else {
            return;
        };
        let (Some(target), Some((meaning, deadband))) = (target, meaning) else {
            return;
        };
        if !self.fill(&path_item, target.path) {
            return;
        }
        let point = Point {
            name,
            path: target.path,
            unit: match self.unit_of(&target) {
                UnitOf::Fixed(unit) => unit.into(),
                UnitOf::Unnamed(_) => "".into(),
            },
            class,
            every_ms,
            deadband,
            heartbeat_ms,
        };
        self.add(&item, point, &position, absent, meaning);
    }

    fn add(
        &mut self,
        item: &Item<'d>,
        point: Point,
        position: &Position,
        absent: Vec<Raw>,
        meaning: Meaning,
    ) {
        let Ok(index) = u16::try_from(self.points.len()) else {
            return;
        };
        let id = PointId(index);
        self.registers.push(RegisterPoint {
            id,
            table: position.table,
            address: position.address,
            count: position.encoding.count(),
            every_ms: point.every_ms,
        });
        self.layouts.push(Layout {
            encoding: position.encoding,
            order: position.order,
            absent,
            meaning,
        });
        self.point_places.push(item.place());
        self.names.insert(point.name.clone(), id);
        self.points.push(point);
    }

    fn name(&self, item: &Item<'_>, scope: Scope) -> Option<Arc<str>> {
        let name = match scope.text(item.key()) {
            Ok(name) => name,
            Err(reason) => return item.error(reason),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return item.error_with_help(
                format!("{name:?} cannot be the name of a point"),
                "at most 64 lower case letters, digits and underscores",
            );
        }
        if self.names.contains_key(name.as_str()) {
            return item.error(format!("a point is called {name:?} already"));
        }
        Some(name.into())
    }

    fn position(&self, table: &Table<'d>, scope: Scope) -> Option<Position> {
        refuse_ambiguous(table);
        let registers = match table.get("table") {
            Some(item) => Some(modbus::registers(&item)),
            None => self.modbus.table,
        };
        let order = match table.get("order") {
            Some(item) => modbus::order(&item),
            None => self.modbus.order,
        };
        let at = table.require("at");
        let encoding = registers.and_then(|registers| self.encoding(table, registers, order));
        if registers.is_none() {
            table.accept(&["type", "bit"]);
            table.error_with_help::<()>("table is missing", "write table = \"input\" here or in [modbus]");
        }
        let (registers, encoding) = (registers?, encoding?);
        let address = self.address(&at?, scope, registers, encoding.count())?;
        Some(Position {
            table: registers,
            address,
            encoding,
            order: order.unwrap_or(Order::Abcd),
        })
    }

    fn encoding(
        &self,
        table: &Table<'d>,
        registers: RegisterTable,
        order: Option<Order>,
    ) -> Option<Encoding> {
        let stated = table.get("type").map(|item| (item, modbus::encoding(&item)));
        let bit = table.get("bit");
        if registers.is_bits() {
            if let Some(bit) = bit {
                return bit
                    .error("bit picks a bit of a register: coils and discrete inputs are bits already");
            }
            return match stated {
                None | Some((_, Some(Encoding::Bool))) => Some(Encoding::Bool),
                Some((item, _)) => item.error("coils and discrete inputs are of type \"bool\""),
            };
        }
        if let Some(bit) = bit {
            return Some(Encoding::Bit(bit.integer(0..=15)?));
        }
        let encoding = match stated {
            Some((_, encoding)) => encoding?,
            None => match self.modbus.encoding {
                Some(encoding) => encoding,
                None => {
                    return table.error_with_help("type is missing", "write type = \"u16\" or another here");
                }
            },
        };
        if encoding == Encoding::Bool {
            return table.error_with_help(
                "a register has no single truth value",
                "pick one of its bits, as in bit = 0, or map its numbers",
            );
        }
        if encoding.count() > 1 && order.is_none() {
            return table.error_with_help(
                "order is missing for a number of several registers",
                "write order = \"ABCD\" here or in [modbus]",
            );
        }
        Some(encoding)
    }

    /// Returns the wire address of the first register.
    pub(super) fn address(
        &self,
        item: &Item<'_>,
        scope: Scope,
        registers: RegisterTable,
        count: u16,
    ) -> Option<u16> {
        let at = number(item, scope)?;
        let wire = at - i64::from(self.modbus.base);
        if wire < 0 || wire + i64::from(count) > 65_536 {
            return item.error(format!(
                "address {at} with {count} registers is outside of 0 to 65535, counted from {}",
                self.modbus.base
            ));
        }
        let modicon = match registers {
            RegisterTable::InputRegisters => Some(30_001),
            RegisterTable::HoldingRegisters => Some(40_001),
            RegisterTable::Coils | RegisterTable::DiscreteInputs => None,
        };
        if let Some(first) = modicon.filter(|first| (*first..first + 9_999).contains(&at)) {
            item.warn(
                format!("{at} looks like a Modicon number, but is taken as wire address {wire}"),
                format!(
                    "if the manual counts from {first}, write {}",
                    at - first + i64::from(self.modbus.base)
                ),
            );
        }
        u16::try_from(wire).ok()
    }

    fn meaning(
        &self,
        table: &Table<'d>,
        position: &Position,
        target: &Target<'_>,
    ) -> Option<(Meaning, Deadband)> {
        let definition = target.definition;
        let value_type = definition.value_type?;
        if let Some(map) = table.get("map") {
            for key in ["unit", "scale", "offset", "min", "max", "deadband", "take"] {
                table.refuse(
                    key,
                    &format!("{key} has no meaning beside map"),
                    "remove one of the two",
                );
            }
            let meaning = self.choices(&map.table()?, position.encoding, definition, value_type)?;
            return Some((meaning, Deadband::default()));
        }
        if position.encoding.is_boolean() {
            for key in ["unit", "scale", "offset", "min", "max", "deadband", "take"] {
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
        self.measured(table, target, value_type)
    }

    fn choices(
        &self,
        map: &Table<'d>,
        encoding: Encoding,
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
            let Some(key) = key.filter(|key| !encoding.is_boolean() || (0..=1).contains(key)) else {
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

    fn measured(
        &self,
        table: &Table<'d>,
        target: &Target<'_>,
        value_type: ValueType,
    ) -> Option<(Meaning, Deadband)> {
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
        Some((Meaning::Number(number), Deadband::new(width)?))
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
const MEANING_KEYS: [&str; 9] = [
    "map", "unit", "scale", "offset", "min", "max", "deadband", "take", "absent",
];

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

/// Returns the numbers that stand for no value; a bit pattern such as 0x8000 counts for a signed type too.
fn absent(table: &Table<'_>, encoding: Encoding) -> Vec<Raw> {
    let Some(item) = table.get("absent") else {
        return Vec::new();
    };
    if encoding.is_boolean() {
        item.error::<()>("a bit has no number to spare for \"absent\"");
        return Vec::new();
    }
    let items = item.items().unwrap_or_default();
    items.iter().filter_map(|item| sentinel(item, encoding)).collect()
}

fn sentinel(item: &Item<'_>, encoding: Encoding) -> Option<Raw> {
    let (low, high, span): (i128, i128, i128) = match encoding {
        Encoding::F32 => return item.float().map(|value| Raw::Float(f64::from(value as f32))),
        Encoding::F64 => return item.float().map(Raw::Float),
        Encoding::Bool | Encoding::Bit(_) => return None,
        Encoding::U16 => (0, u16::MAX.into(), 0),
        Encoding::U32 => (0, u32::MAX.into(), 0),
        Encoding::U64 => (0, u64::MAX.into(), 0),
        Encoding::I16 => (i16::MIN.into(), i16::MAX.into(), 1 << 16),
        Encoding::I32 => (i32::MIN.into(), i32::MAX.into(), 1 << 32),
        Encoding::I64 => (i64::MIN.into(), i64::MAX.into(), 1 << 64),
    };
    let value = item.integer(low..=high.max(span - 1))?;
    Some(Raw::Integer(if value > high { value - span } else { value }))
}

fn timing(table: &Table<'_>) -> (PointClass, u64, Option<u64>) {
    let class = table
        .get("class")
        .and_then(|item| item.one_of(&CLASSES))
        .unwrap_or(PointClass::Measurement);
    let day = 86_400_000_u64;
    let every_ms = table.get("every_ms").and_then(|item| item.integer(0..=day));
    let heartbeat_ms = table
        .get("heartbeat_ms")
        .and_then(|item| item.integer(1_000..=7 * day));
    (class, every_ms.unwrap_or(default_every_ms(class)), heartbeat_ms)
}
