//! `[[command]]` of devices that are not read: downlinks and messages.

use lwm2m_client::ValueType;
use serde_json::Value as Json;
use ucifi_core::field::TopicTemplate;

use super::Draft;
use super::command::{keyed_by_value, range, verification};
use super::measure::{linear, unit};
use super::mqtt::{qos, topic};
use super::payload::{Context, command_number};
use super::resource::{Target, Use};
use crate::command::{
    DownlinkCommand, Expectation, PayloadTemplate, Piece, PublishCommand, Setting, VALUE_MARK,
};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::golden;
use crate::limits::{MAX_LORAWAN_PAYLOAD, MAX_MESSAGE_BYTES};

/// What is left unread where a former mistake hides its meaning.
const SETTING_KEYS: [&str; 9] = [
    "values", "range", "scale", "offset", "unit", "whole", "verify", "reason", "type",
];

const VERIFY_EXAMPLE: &str = "{ point = \"…\", within_ms = 60_000 }";

impl<'d> Draft<'d> {
    pub(super) fn downlink(
        &self,
        table: &Table<'d>,
        scope: Scope,
        usage: Use,
        target: Option<&Target<'d>>,
    ) -> Option<DownlinkCommand> {
        let port = table.require("port").and_then(|item| item.integer(1..=223));
        let confirmed = table.get("confirmed").map_or(Some(false), |item| item.boolean());
        let bytes_item = table.require("bytes");
        let endian = self.lorawan.endian();
        let context = Context {
            scope,
            endian,
            every_ms: 0,
        };
        let pieces = bytes_item.and_then(|item| pieces(&item, context));
        let (setting, expectation) = self.outcome(table, usage, target, &|word: &Item<'d>| {
            word.float()?;
            json(word)
        });
        let (pieces, setting) = (pieces?, setting?);
        let takes_value = pieces.iter().any(|piece| matches!(piece, Piece::Value(_)));
        fits_setting(&bytes_item?, takes_value, &setting, "{ type = \"u8\" }")?;
        Some(DownlinkCommand {
            port: port?,
            confirmed: confirmed?,
            pieces,
            setting,
            expectation: expectation?,
        })
    }

    pub(super) fn publish(
        &self,
        table: &Table<'d>,
        scope: Scope,
        usage: Use,
        target: Option<&Target<'d>>,
    ) -> Option<PublishCommand> {
        let topic: Option<TopicTemplate> = table.require("topic").and_then(|item| topic(&item, scope));
        let qos = match table.get("qos") {
            Some(item) => qos(&item),
            None => Some(self.mqtt.qos),
        };
        let retain = table.get("retain").map_or(Some(false), |item| item.boolean());
        let payload_item = table.require("payload");
        let payload = payload_item.and_then(|item| template(&item));
        let (setting, expectation) = self.outcome(table, usage, target, &json);
        let (payload, setting) = (payload?, setting?);
        let takes_value = match &payload {
            PayloadTemplate::Text(text) => text.contains(VALUE_MARK),
            PayloadTemplate::Json(json) => has_mark(json),
        };
        fits_setting(&payload_item?, takes_value, &setting, "\"{value}\"")?;
        Some(PublishCommand {
            topic: topic?,
            qos: qos?,
            retain: retain?,
            payload,
            setting,
            expectation: expectation?,
        })
    }

    /// Reads what a value becomes, and what shows that it was taken.
    fn outcome(
        &self,
        table: &Table<'d>,
        usage: Use,
        target: Option<&Target<'d>>,
        word: &dyn Fn(&Item<'d>) -> Option<Json>,
    ) -> (Option<Setting>, Option<Option<Expectation>>) {
        let Some(target) = target else {
            table.accept(&SETTING_KEYS);
            return (None, None);
        };
        let setting = match usage {
            Use::Execute => Some(Setting::Fixed),
            Use::Write | Use::Fill => self.setting(table, target, word),
        };
        (setting, self.expectation_of(table, usage))
    }

    fn setting(
        &self,
        table: &Table<'d>,
        target: &Target<'d>,
        word: &dyn Fn(&Item<'d>) -> Option<Json>,
    ) -> Option<Setting> {
        let definition = target.definition;
        if let Some(values) = table.get("values") {
            for key in ["range", "scale", "offset", "unit", "whole"] {
                table.refuse(
                    key,
                    &format!("{key} has no meaning beside values"),
                    "remove one of the two",
                );
            }
            let words = keyed_by_value(&values.table()?, definition, word)?;
            return Some(Setting::Words(words));
        }
        let to_registry = linear(table).zip(unit(table, definition, &self.unit_of(target)));
        let range = table.require("range").and_then(|item| range(&item));
        let whole = table.get("whole").map_or(Some(false), |item| item.boolean());
        let (scale, unit) = to_registry?;
        let (low, high) = range?;
        Some(Setting::Number {
            to_device: scale.then(unit)?.inverse()?,
            low,
            high,
            whole: whole?,
        })
    }

    /// Reads `verify`; the inner option is none where nothing shows that the command was taken.
    fn expectation_of(&self, table: &Table<'d>, usage: Use) -> Option<Option<Expectation>> {
        let Some(verify) = verification(table, VERIFY_EXAMPLE)? else {
            return Some(None);
        };
        if usage == Use::Execute {
            return verify.error_with_help(
                "nothing says what an Execute changes",
                "write verify = \"none\" and the reason",
            );
        }
        let path = self.shown_by(&verify);
        let tolerance = match verify.get("tolerance") {
            Some(item) => item.float().filter(|tolerance| *tolerance >= 0.0),
            None => Some(0.0),
        };
        let within_ms = verify
            .require("within_ms")
            .and_then(|item| item.integer(1..=86_400_000));
        verify.finish();
        let (path, value_type) = path?;
        Some(Some(Expectation {
            path,
            value_type,
            tolerance: tolerance?,
            within_ms: within_ms?,
        }))
    }

    fn shown_by(&self, verify: &Table<'d>) -> Option<(lwm2m_client::Path, ValueType)> {
        let (item, path) = match verify.get("point") {
            Some(item) => {
                let name = item.string()?;
                match self
                    .names
                    .get(name)
                    .and_then(|id| self.points.get(usize::from(id.0)))
                {
                    Some(point) => (item, point.path),
                    None => return self.unknown_point(&item, name),
                }
            }
            None => {
                let item = verify.get("path").or_else(|| verify.require("point"))?;
                (item, item.parse()?)
            }
        };
        if !self.filled.contains_key(&path) {
            return item.error(format!("nothing gives {path} a value"));
        }
        let target = self.target_of(&item, &path.to_string(), Use::Fill)?;
        Some((path, target.definition.value_type?))
    }
}

fn fits_setting(item: &Item<'_>, takes_value: bool, setting: &Setting, mark: &str) -> Option<()> {
    match (takes_value, setting) {
        (true, Setting::Fixed) => item.error("what is executed has no value"),
        (false, Setting::Words(_) | Setting::Number { .. }) => item.error(format!(
            "the value is nowhere in it: write {mark} where it belongs"
        )),
        (true, Setting::Words(_) | Setting::Number { .. }) | (false, Setting::Fixed) => Some(()),
    }
}

/// Reads the bytes of a downlink: numbers, texts of hex digits, and tables where the value belongs.
fn pieces(item: &Item<'_>, context: Context) -> Option<Vec<Piece>> {
    let items = item.one_or_more()?;
    let mut length = 0;
    let mut pieces = Vec::new();
    for item in &items {
        let piece = match item.if_string() {
            Some(text) => match golden::from_hex(text) {
                Some(bytes) => Piece::Literal(bytes),
                None => {
                    return item
                        .error("bytes are pairs of hex digits, numbers, or { type = \"u8\" } for the value");
                }
            },
            None if item.is_table() => {
                let table = item.table()?;
                let number = command_number(&table, context);
                table.finish();
                Piece::Value(number?)
            }
            None => Piece::Literal(vec![item.integer(0..=0xFF_u8)?]),
        };
        length += match &piece {
            Piece::Literal(bytes) => bytes.len(),
            Piece::Value(number) => number.shape.bytes(),
        };
        pieces.push(piece);
    }
    if length > MAX_LORAWAN_PAYLOAD {
        return item.error(format!(
            "a payload has at most {MAX_LORAWAN_PAYLOAD} bytes, not {length}"
        ));
    }
    Some(pieces)
}

fn template(item: &Item<'_>) -> Option<PayloadTemplate> {
    match item.if_string() {
        Some(text) if text.len() <= MAX_MESSAGE_BYTES => Some(PayloadTemplate::Text(text.to_owned())),
        Some(_) => item.error("the payload is too long"),
        None => json(item).map(PayloadTemplate::Json),
    }
}

fn has_mark(json: &Json) -> bool {
    match json {
        Json::String(text) => text == VALUE_MARK,
        Json::Array(items) => items.iter().any(has_mark),
        Json::Object(entries) => entries.values().any(has_mark),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Returns what a value of the document is in JSON; the document bounds how deep it nests.
fn json(item: &Item<'_>) -> Option<Json> {
    if let Some(text) = item.if_string() {
        return Some(Json::from(text));
    }
    if let Some(truth) = item.if_boolean() {
        return Some(Json::from(truth));
    }
    if item.is_integer() {
        return item.integer(i64::MIN..=i64::MAX).map(Json::from);
    }
    if item.is_array() {
        return item.items()?.iter().map(json).collect();
    }
    if item.is_table() {
        let entries = item.table()?.entries();
        let entry = |item: &Item<'_>| Some((item.key().to_owned(), json(item)?));
        return entries.iter().map(entry).collect::<Option<_>>().map(Json::Object);
    }
    item.float().map(Json::from)
}
