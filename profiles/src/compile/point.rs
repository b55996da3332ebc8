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
use crate::layout::{Absent, Layout, Limit, Meaning, Number, Take};
use crate::limits::MAX_POINTS;
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
            .and_then(|(target, position)| self.meaning(&table, position.encoding.is_boolean(), target));
        if target.is_none() || position.is_none() {
            table.accept(&MEANING_KEYS);
        }
        let absent = position
            .as_ref()
            .map(|position| absent(&table, range_of(position.encoding)))
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
            unit: self.unit_text(&target),
            class,
            every_ms,
            deadband,
            heartbeat_ms,
        };
        self.add(&item, point, &position, absent, meaning);
    }

    fn add(&mut self, item: &Item<'d>, point: Point, position: &Position, absent: Absent, meaning: Meaning) {
        let every_ms = point.every_ms;
        let Some(id) = self.push_point(item, point) else {
            return;
        };
        self.registers.push(RegisterPoint {
            id,
            table: position.table,
            address: position.address,
            count: position.encoding.count(),
            every_ms,
        });
        self.layouts.push(Layout {
            encoding: position.encoding,
            order: position.order,
            absent,
            meaning,
        });
    }

    fn push_point(&mut self, item: &Item<'d>, point: Point) -> Option<PointId> {
        let id = PointId(u16::try_from(self.points.len()).ok()?);
        self.point_places.push(item.place());
        self.names.insert(point.name.clone(), id);
        self.points.push(point);
        Some(id)
    }

    /// Returns the point that a device fills by itself. It may stand in several payloads or messages: it is the same
    /// one where the name and the resource are the same.
    pub(super) fn sent_point(
        &mut self,
        item: &Item<'d>,
        table: &Table<'d>,
        scope: Scope,
        every_ms: u64,
        target: Option<&Target<'d>>,
        deadband: Option<Deadband>,
    ) -> Option<PointId> {
        table.refuse(
            "every_ms",
            "nobody asks this device: it sends by itself",
            "write every_secs beside the points, for how often it does",
        );
        let text = scope.text(item.key()).ok();
        if let Some(id) = text.and_then(|text| self.names.get(text.as_str()).copied()) {
            return self.known_again(item, table, id, target?);
        }
        let name = self.name(item, scope);
        let (class, _, heartbeat_ms) = timing(table);
        let (name, target, deadband) = (name?, target?, deadband?);
        if self.points.len() >= MAX_POINTS {
            return item.error(format!("a profile has at most {MAX_POINTS} points"));
        }
        if !self.fill(item, target.path) {
            return None;
        }
        let unit = self.unit_text(target);
        let point = Point {
            name,
            path: target.path,
            unit,
            class,
            every_ms,
            deadband,
            heartbeat_ms,
        };
        self.push_point(item, point)
    }

    fn known_again(
        &self,
        item: &Item<'_>,
        table: &Table<'_>,
        id: PointId,
        target: &Target<'_>,
    ) -> Option<PointId> {
        for key in ["class", "deadband", "heartbeat_ms"] {
            table.refuse(
                key,
                &format!("{key} stands where the point stands first"),
                "remove it here",
            );
        }
        let path = self.points.get(usize::from(id.0))?.path;
        if path == target.path {
            return Some(id);
        }
        item.error_with_help(
            format!("the point stands for {path} above"),
            "give one of the two another name",
        )
    }

    fn unit_text(&self, target: &Target<'_>) -> Arc<str> {
        match self.unit_of(target) {
            UnitOf::Fixed(unit) => unit.into(),
            UnitOf::Unnamed(_) => "".into(),
        }
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

fn range_of(encoding: Encoding) -> NumberRange {
    match encoding {
        Encoding::Bool | Encoding::Bit(_) => NumberRange::Bit,
        Encoding::F32 => NumberRange::Single,
        Encoding::F64 => NumberRange::Double,
        Encoding::U16 => NumberRange::unsigned(16),
        Encoding::U32 => NumberRange::unsigned(32),
        Encoding::U64 => NumberRange::unsigned(64),
        Encoding::I16 => NumberRange::signed(16),
        Encoding::I32 => NumberRange::signed(32),
        Encoding::I64 => NumberRange::signed(64),
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
