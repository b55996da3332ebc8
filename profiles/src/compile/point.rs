//! One entry of `[points]`.

use std::sync::Arc;

use ucifi_core::field::{PointId, RegisterPoint, Table as RegisterTable};
use ucifi_core::profile::{Deadband, Point, PointClass};

use super::measure::{MEANING_KEYS, NumberRange, absent};
use super::modbus::{self, refuse_ambiguous};
use super::resource::{Target, UnitOf, Use};
use super::{Draft, number};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::layout::{Absent, Layout, Meaning};
use crate::limits::MAX_POINTS;
use crate::register::{Encoding, Order};

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
