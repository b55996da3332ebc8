//! `[[command]]`: what a Write or an Execute does to the device.

use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{Value, ValueType};
use ucifi_core::field::{BlockContent, Table as RegisterTable, WriteFunction};

use super::measure::{linear, unit};
use super::modbus::{self, TABLES, refuse_ambiguous};
use super::resource::{Target, UnitOf, Use, value_from_key};
use super::{Draft, Speaks, number};
use crate::command::{Action, Command, CommandContent, RegisterCommand, Verify};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::register::{self, Encoding, Order};

const FUNCTIONS: [(&str, WriteFunction); 4] = [
    ("coil", WriteFunction::SingleCoil),
    ("coils", WriteFunction::MultipleCoils),
    ("register", WriteFunction::SingleRegister),
    ("registers", WriteFunction::MultipleRegisters),
];

/// How the values of a command stand in registers.
#[derive(Clone, Copy)]
struct Form {
    function: WriteFunction,
    encoding: Encoding,
    order: Order,
}

impl<'d> Draft<'d> {
    /// Reads one `[[command]]`.
    pub(super) fn command(&mut self, table: &Table<'d>, scope: Scope) {
        let executed = table.get("on_execute");
        let (item, usage) = match executed {
            Some(item) => (Some(item), Use::Execute),
            None => (table.require("on_write"), Use::Write),
        };
        let target = item.and_then(|item| self.target(&item, scope, usage));
        let action = match self.speaks {
            Speaks::Modbus => self
                .register_command(table, scope, usage, target.as_ref())
                .map(Action::Registers),
            Speaks::LoRaWan => self
                .downlink(table, scope, usage, target.as_ref())
                .map(Action::Downlink),
            Speaks::Mqtt => self
                .publish(table, scope, usage, target.as_ref())
                .map(Action::Publish),
        };
        table.finish();
        let (Some(item), Some(target), Some(action)) = (item, target, action) else {
            return;
        };
        if let Some(first) = self.commanded.get(&target.path) {
            item.error::<()>(format!(
                "{} has a command already, in line {}",
                target.path, first.line
            ));
            return;
        }
        self.commanded.insert(target.path, item.place());
        let value_type = target.definition.value_type;
        self.commands.insert(target.path, Command { value_type, action });
    }

    fn register_command(
        &self,
        table: &Table<'d>,
        scope: Scope,
        usage: Use,
        target: Option<&Target<'d>>,
    ) -> Option<RegisterCommand> {
        refuse_ambiguous(table);
        let form = self.form(table);
        let registers = match form.map(|form| form.function) {
            Some(WriteFunction::SingleCoil | WriteFunction::MultipleCoils) => RegisterTable::Coils,
            Some(WriteFunction::SingleRegister | WriteFunction::MultipleRegisters) | None => {
                RegisterTable::HoldingRegisters
            }
        };
        let count = form.map_or(1, |form| form.encoding.count());
        let at = table.require("at");
        let address = at.and_then(|at| self.address(&at, scope, registers, count));
        let content = target.zip(form).and_then(|(target, form)| {
            command_content(table, form, target.definition, &self.unit_of(target), usage)
        });
        let verify = match (target, form) {
            (Some(target), Some(form)) => {
                self.verify(table, scope, form, registers, address, target.definition)
            }
            (Some(_) | None, _) => {
                table.accept(&CONTENT_KEYS);
                None
            }
        };
        Some(RegisterCommand {
            function: form?.function,
            address: address?,
            content: content?,
            verify: verify?,
        })
    }

    fn form(&self, table: &Table<'d>) -> Option<Form> {
        let function = table.require("function").and_then(|item| item.one_of(&FUNCTIONS));
        let stated = table.get("type");
        let order = match table.get("order") {
            Some(item) => modbus::order(&item),
            None => self.modbus.order,
        };
        let function = function?;
        if matches!(function, WriteFunction::SingleCoil | WriteFunction::MultipleCoils) {
            return Some(Form {
                function,
                encoding: Encoding::Bool,
                order: Order::Abcd,
            });
        }
        let encoding = match stated {
            Some(item) => modbus::encoding(&item)?,
            None => Encoding::U16,
        };
        if encoding == Encoding::Bool {
            return stated?.error("a register is no single bit: map values to whole registers");
        }
        if encoding.count() > 1 && function == WriteFunction::SingleRegister {
            return stated?.error_with_help("one register cannot hold it", "write function = \"registers\"");
        }
        Some(Form {
            function,
            encoding,
            order: order.unwrap_or(Order::Abcd),
        })
    }

    /// Reads `verify`; the outer option says whether it was good, the inner one whether something is read back.
    fn verify(
        &self,
        table: &Table<'d>,
        scope: Scope,
        form: Form,
        written: RegisterTable,
        address: Option<u16>,
        definition: &ResourceDefinition,
    ) -> Option<Option<Verify>> {
        let Some(verify) = verification(table, "{ after_ms = 50, within_ms = 1000 }")? else {
            return Some(None);
        };
        let read = self.read_back(&verify, scope, form, written, address, definition);
        verify.finish();
        read.map(Some)
    }

    fn read_back(
        &self,
        verify: &Table<'d>,
        scope: Scope,
        form: Form,
        written: RegisterTable,
        address: Option<u16>,
        definition: &ResourceDefinition,
    ) -> Option<Verify> {
        let table = match verify.get("table") {
            Some(item) => item.one_of(&TABLES),
            None => Some(written),
        };
        let width = form.encoding.count();
        let index_item = verify.get("index");
        let index = index_item.map_or(Some(0), |item| number(&item, scope));
        let count = match verify.get("count") {
            Some(item) => item.integer(1..=125_u16),
            None => Some(width),
        };
        let at = verify.get("at");
        let expect = verify.get("expect").and_then(|item| item.table());
        let after_ms = verify
            .get("after_ms")
            .map_or(Some(0), |item| item.integer(0..=60_000));
        let within_item = verify.require("within_ms");
        let within_ms = within_item.and_then(|item| item.integer(1..=600_000));
        let (table, count) = (table?, count?);
        let start = match at {
            Some(item) => self.address(&item, scope, table, count)?,
            None => address?,
        };
        let index = u16::try_from(index?)
            .ok()
            .filter(|index| u32::from(*index) + u32::from(width) <= count.into());
        let Some(index) = index else {
            return index_item
                .as_ref()?
                .error(format!("index is outside of the {count} that are read"));
        };
        if table.is_bits() != written.is_bits() && expect.is_none() {
            return verify.error("bits and registers cannot be compared: say what to expect");
        }
        let expect = match expect {
            Some(expect) => read_choices(&expect, form, table, definition)?,
            None => Vec::new(),
        };
        let (after_ms, within_ms) = (after_ms?, within_ms?);
        if after_ms > within_ms {
            return within_item?.error(format!("after_ms {after_ms} is above within_ms {within_ms}"));
        }
        Some(Verify {
            table,
            address: start,
            count,
            at: index,
            expect,
            after_ms,
            within_ms,
        })
    }
}

/// Returns the table of `verify`; the inner option is none where a reason says why nothing is verified.
pub(super) fn verification<'d>(table: &Table<'d>, example: &str) -> Option<Option<Table<'d>>> {
    let Some(item) = table.get("verify") else {
        table.get("reason");
        return table.error_with_help(
            "verify is missing: a write that nobody reads back is a hope",
            format!("write verify = {example}, or verify = \"none\" and the reason"),
        );
    };
    if item.if_string() != Some("none") {
        return item.table().map(Some);
    }
    let reason = table.get("reason").and_then(|reason| reason.string());
    match reason.filter(|reason| !reason.is_empty()) {
        Some(_) => Some(None),
        None => item.error_with_help(
            "verify = \"none\" needs a reason",
            "write reason = \"…\" beside it",
        ),
    }
}

/// What is left unread where a former mistake hides its meaning.
const CONTENT_KEYS: [&str; 8] = [
    "values", "value", "range", "scale", "offset", "unit", "verify", "reason",
];

fn command_content(
    table: &Table<'_>,
    form: Form,
    definition: &ResourceDefinition,
    wanted: &UnitOf,
    usage: Use,
) -> Option<CommandContent> {
    let registers = if form.encoding == Encoding::Bool {
        RegisterTable::Coils
    } else {
        RegisterTable::HoldingRegisters
    };
    if usage == Use::Execute {
        let item = table.require("value")?;
        return Some(CommandContent::Fixed(raw_content(&item, form, registers)?));
    }
    if let Some(values) = table.get("values") {
        for key in ["range", "scale", "offset", "unit"] {
            table.refuse(
                key,
                &format!("{key} has no meaning beside values"),
                "remove one of the two",
            );
        }
        let choices = read_choices(&values.table()?, form, registers, definition)?;
        return Some(CommandContent::Choices(choices));
    }
    if registers.is_bits() {
        return table.error_with_help(
            "values is missing: a coil takes two values",
            "write values = { 0 = \"off\", 100 = \"on\" }",
        );
    }
    let to_registry = linear(table).zip(unit(table, definition, wanted));
    let range = table.require("range").and_then(|item| range(&item));
    let (scale, unit) = to_registry?;
    let (low, high) = range?;
    Some(CommandContent::Number {
        encoding: form.encoding,
        order: form.order,
        to_raw: scale.then(unit)?.inverse()?,
        low,
        high,
    })
}

pub(super) fn range(item: &Item<'_>) -> Option<(f64, f64)> {
    let bounds: Vec<f64> = item.items()?.iter().map(Item::float).collect::<Option<_>>()?;
    match bounds.as_slice() {
        &[low, high] if low <= high => Some((low, high)),
        _ => item.error("range must be [lowest, highest], in the unit of the registry"),
    }
}

fn read_choices(
    map: &Table<'_>,
    form: Form,
    registers: RegisterTable,
    definition: &ResourceDefinition,
) -> Option<Vec<(Value, BlockContent)>> {
    keyed_by_value(map, definition, |item| raw_content(item, form, registers))
}

/// Returns what each value of a resource is paired with.
pub(super) fn keyed_by_value<'d, T>(
    map: &Table<'d>,
    definition: &ResourceDefinition,
    read: impl Fn(&Item<'d>) -> Option<T>,
) -> Option<Vec<(Value, T)>> {
    let value_type = definition.value_type.unwrap_or(ValueType::String);
    let choices: Vec<_> = map
        .entries()
        .into_iter()
        .map(|item| {
            let Some(value) = value_from_key(item.key(), value_type) else {
                return item.error(format!("{:?} is no value of type {value_type}", item.key()));
            };
            if let Err(reason) = definition.check(&value) {
                return item.error(reason);
            }
            Some((value, read(&item)?))
        })
        .collect::<Option<_>>()?;
    if choices.is_empty() {
        return map.error("at least one value is needed");
    }
    Some(choices)
}

fn raw_content(item: &Item<'_>, form: Form, registers: RegisterTable) -> Option<BlockContent> {
    if registers.is_bits() {
        let bit = match item.if_boolean() {
            Some(bit) => bit,
            None if item.is_integer() => item.integer(0..=1_u8)? == 1,
            None => item.one_of(&[("off", false), ("on", true)])?,
        };
        return Some(BlockContent::Bits(vec![bit]));
    }
    let encoding = if form.encoding.is_boolean() {
        Encoding::U16
    } else {
        form.encoding
    };
    match register::encode(encoding, form.order, item.float()?) {
        Some(words) => Some(BlockContent::Words(words)),
        None => item.error("it does not fit the register"),
    }
}
